"""Types that every layer uses: labels, statuses, boxes, scores and the verdict.

A higher score is more bona fide, and `score >= threshold` accepts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray


class Label(StrEnum):
    """Class of a presentation."""

    BONA_FIDE = "bona_fide"
    ATTACK = "attack"


class Status(StrEnum):
    """Whether a sample has a score, and if not, why."""

    OK = "ok"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    TOO_SMALL = "too_small"
    UNREADABLE = "unreadable"


CATEGORIES = ("print", "replay", "paper_mask", "mask_3d", "partial", "other")
"""The coarse kinds of attack; a dataset's own, finest name is the `species`."""

CLASS_COLOURS = {"bona_fide": "#2f79c7", "attack": "#d06a12"}
"""The colour of each class in every figure and on every annotated picture."""

FusionRule = Literal["mean", "median", "max_attack", "first"]
FUSION_RULES: tuple[FusionRule, ...] = get_args(FusionRule)


class Box(NamedTuple):
    """A rectangle in pixels of the upright frame: left, top, width, height."""

    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True)
class FrameScore:
    """Result of one frame of a presentation.

    `logit` and `score` are None unless `status` is `ok`; `time` is in seconds from the start, None for an image; `faces`
    counts the faces that are large enough to be scored, and `box` is the face that was scored.
    """

    frame: int
    status: Status
    logit: float | None = None
    box: Box | None = None
    time: float | None = None
    confidence: float | None = None
    faces: int = 0
    embedding: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    @property
    def score(self) -> float | None:
        """Probability of bona fide, None where there is no logit."""
        return None if self.logit is None else float(probability(self.logit))


@dataclass(frozen=True)
class Threshold:
    """A threshold, how it was chosen and on what.

    `score >= threshold` accepts; where a table has logits, `logit >= logit_threshold` does (None for a different system,
    whose scores have a scale of their own). `chosen_on` holds split, presentations, persons, persons_known, bona_fide,
    attacks, failed, far, frr and apcer_max (the errors there on validation) and digest; empty for a threshold that was
    fixed beforehand or given.
    """

    threshold: float
    logit_threshold: float | None
    criterion: str
    chosen_on: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Result of one presentation: `bona_fide` or `attack`, or the status that says why there is neither.

    `kind` names the operating point that was applied; `faces` is the largest number of faces in a frame that were large
    enough to be scored. `reason` says what a caller should know of the verdict: few frames with a face, several faces,
    damage. `seconds` maps a stage (`decode`, `detect`, `crop`, `network`) to the time spent in it.
    """

    source: str
    outcome: Label | Status
    score: float | None
    threshold: float
    logit: float | None = None
    frames: tuple[FrameScore, ...] = ()
    bundle: str = ""
    reason: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)
    logit_threshold: float | None = None
    kind: Literal["image", "video"] = "image"
    faces: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", MappingProxyType(dict(self.seconds)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "seconds": dict(self.seconds)}  # a mapping proxy can be neither pickled nor copied

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, seconds=MappingProxyType(state["seconds"]))

    @property
    def accepted(self) -> bool:
        """Whether the outcome is `bona_fide`; a presentation that could not be scored is not accepted."""
        return self.outcome is Label.BONA_FIDE

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain values for JSON, the same in the command line, the API and Python."""
        return {
            "source": self.source,
            "verdict": self.outcome.value,
            "accepted": self.accepted,
            "score": self.score,
            "threshold": self.threshold,
            "logit": self.logit,
            "logit_threshold": self.logit_threshold,
            "kind": self.kind,
            "faces": self.faces,
            "reason": self.reason,
            "bundle": self.bundle,
            "frames": [
                {
                    "frame": frame.frame,
                    "time": frame.time,
                    "status": frame.status.value,
                    "score": frame.score,
                    "logit": frame.logit,
                    "faces": frame.faces,
                    "box": None if frame.box is None else [round(value, 2) for value in frame.box],
                    "confidence": frame.confidence,
                }
                for frame in self.frames
            ],
            "seconds": {stage: round(spent, 6) for stage, spent in self.seconds.items()},
        }

    def describe(self) -> str:
        """Return score, threshold and reason in words.

        >>> Verdict("a.jpg", Label.ATTACK, 0.25, 0.5, reason="2 faces, the largest judged").describe()
        'score 0.2500, threshold 0.5000 (2 faces, the largest judged)'
        """
        parts = (f"score {self.score_text()}", f"threshold {self.threshold:.4f}", self.margin_text())
        return ", ".join(part for part in parts if part) + (f" ({self.notes()})" if self.reason else "")

    def notes(self) -> str:
        """Return the reason without the name of the source, for a line that has it already."""
        return self.reason.replace(f"{self.source}: ", "", 1)

    def score_text(self) -> str:
        """Return the probability with four decimals, `-` where there is none."""
        return "-" if self.score is None else f"{self.score:.4f}"

    def margin_text(self) -> str:
        """Return the logit and its distance to the threshold where the printed probabilities say too little.

        That is where one of them rounds to 0 or 1, or both are printed alike; empty elsewhere.
        """
        shown = {self.score_text(), f"{self.threshold:.4f}"}
        distinct = len(shown) == 2 and not shown & {"0.0000", "1.0000"}
        if self.logit is None or self.logit_threshold is None or distinct:
            return ""
        margin = self.logit - self.logit_threshold
        where = f"{_compact(abs(margin))} {'above' if margin > 0 else 'below'}" if margin else "at"
        return f"logit {_compact(self.logit)}, {where} the threshold"


def _compact(value: float) -> str:
    """Return a logit with a number of decimals that suits its size: 12.03, 0.0417, 1.2e-05, 3.1e+07.

    >>> [_compact(value) for value in (12.0341, -0.0417, 0.0000123, 31000000.0, 0.0)]
    ['12.0341', '-0.0417', '1.23e-05', '3.1e+07', '0.0000']
    """
    return f"{value:.4f}" if value == 0 or 1e-4 <= abs(value) < 1e6 else f"{value:.3g}"


class Progress(Protocol):
    """Callback for the progress of a long task; the command line shows it as a bar or, without a terminal, as lines."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Report that `done` of `total` items of a stage are finished; `total` is 0 while it is unknown."""

    def epoch(self, line: str, /) -> None:
        """Report the result of one training epoch, as one line of text."""


def probability(value: float | NDArray[np.floating]) -> NDArray[np.float64]:
    """The logistic function in float64, without overflow.

    >>> float(probability(0.0)), float(probability(-800.0))
    (0.5, 0.0)
    """
    x = np.asarray(value, dtype=np.float64)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def logit(score: float) -> float:
    """The logit of a probability; infinite at 0 and 1.

    >>> logit(0.5), logit(1.0)
    (0.0, inf)
    """
    if score <= 0:
        return -math.inf
    if score >= 1:
        return math.inf
    return math.log(score) - math.log1p(-score)


_FUSE: dict[FusionRule, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "mean": lambda values: values.mean(axis=-1),
    "median": lambda values: np.asarray(np.median(values, axis=-1)),
    "max_attack": lambda values: values.min(axis=-1),
    "first": lambda values: values[..., 0],
}


def fuse_frames(values: NDArray[np.float64], rule: FusionRule) -> NDArray[np.float64]:
    """Return one value per presentation from those of its frames, which lie along the last axis in frame order."""
    return _FUSE[rule](values)


def fuse(logits: Sequence[float], *, rule: FusionRule = "mean") -> float:
    """Return one logit for a presentation from those of its frames, in frame order.

    `max_attack` takes the frame that looks most like an attack. Raises ValueError without a frame.

    >>> fuse([2.0, -1.0, 0.5], rule="max_attack")
    -1.0
    """
    if len(logits) == 0:
        raise ValueError("no frame has a logit: there is nothing to fuse")
    return float(fuse_frames(np.asarray(logits, dtype=np.float64), rule))
