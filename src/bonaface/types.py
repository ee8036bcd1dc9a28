"""Types that every layer uses: labels, statuses, boxes and scores.

A higher score is more bona fide, and `score >= threshold` accepts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bonaface.choices import FusionRule


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
    LOW_QUALITY = "low_quality"
    UNREADABLE = "unreadable"


UNSPECIFIED = "unspecified"
"""The species of an attack that names none."""

CATEGORIES = ("print", "replay", "paper_mask", "mask_3d", "partial", "other")
"""The coarse kinds of attack; a dataset's own, finest name is the `species`."""

CLASS_COLOURS = {"bona_fide": "#2f79c7", "attack": "#d06a12"}
"""The colour of each class in every figure and on every annotated picture."""


class Box(NamedTuple):
    """A rectangle in pixels of the upright frame: left, top, width, height."""

    x: float
    y: float
    w: float
    h: float


class Quality(NamedTuple):
    """Quality of a face in a frame, or the medians over the frames of a presentation; None for what is unknown.

    `sharpness` is the variance of the Laplacian of the network's crop; `luminance_mean`, `under_exposure` and
    `over_exposure` (shares of almost black and almost white pixels) are between 0 and 1, all of them on the face alone.
    `face_size` is the longer side of the face box in pixels, `face_cut` the share of the box outside the frame.
    `head_pose_yaw`, `head_pose_pitch` and `head_pose_roll` are degrees away from frontal and upright, estimated from the
    detector's landmarks. `identical_frames` is the share of the frames after the first whose crop repeats an earlier one.
    """

    sharpness: float | None = None
    luminance_mean: float | None = None
    under_exposure: float | None = None
    over_exposure: float | None = None
    face_size: float | None = None
    face_cut: float | None = None
    head_pose_yaw: float | None = None
    head_pose_pitch: float | None = None
    head_pose_roll: float | None = None
    identical_frames: float | None = None


NOT_MEASURED = Quality()
QUALITY_COLUMNS = tuple(f"quality_{name}" for name in Quality._fields)
"""The columns of a score table that hold the measures, in order."""


class Finding(NamedTuple):
    """A measure of Quality outside its limits, and what a person can do about it; `min` or `max` is the limit broken."""

    name: str
    value: float
    min: float | None
    max: float | None
    advice: str

    def __str__(self) -> str:
        limit = f"at least {self.min:.4g}" if self.min is not None else f"at most {self.max:.4g}"
        return f"{self.name} {self.value:.4g}, {limit} is needed: {self.advice.rstrip('.')}"


@dataclass(frozen=True)
class FrameScore:
    """Result of one frame of a presentation.

    `logit` and `score` are None unless `status` is `ok`; `time` is in seconds from the start, None for an image; `faces`
    counts the faces that are large enough to be scored, and `box` is the face that was scored. `quality` is that face's,
    and `findings` are the limits that it breaks.
    """

    frame: int
    status: Status
    logit: float | None = None
    box: Box | None = None
    time: float | None = None
    confidence: float | None = None
    faces: int = 0
    quality: Quality = NOT_MEASURED
    findings: tuple[Finding, ...] = ()
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
    attacks, failed, far, frr and apcer_max (the errors there on validation; without attacks frr alone), mean and standard
    deviation of each class's logits, and digest; empty for a threshold that was fixed beforehand or given.
    """

    threshold: float
    logit_threshold: float | None
    criterion: str
    chosen_on: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Progress(Protocol):
    """Callback for the progress of a long task; the command line shows it as a bar or, without a terminal, as lines."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Report that `done` of `total` items of a stage are finished; `total` is 0 while it is unknown."""

    def epoch(self, line: str, figures: Mapping[str, float], /) -> None:
        """Report the result of one training epoch, as one line of text and as numbers by name."""


Item = TypeVar("Item")


def counted(items: Iterable[Item], progress: Callable[[int, int], None] | None, total: int) -> Iterator[Item]:
    """Yield items, and report after each how many of `total` are done."""
    for done, item in enumerate(items, start=1):
        yield item
        if progress:
            progress(done, total)


def probability(value: float | NDArray[np.floating]) -> NDArray[np.float64]:
    """The logistic function in float64, without overflow.

    >>> float(probability(0.0)), float(probability(-800.0))
    (0.5, 0.0)
    """
    x = np.asarray(value, dtype=np.float64)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def percent(share: float, *, unit: bool = True) -> str:
    """Return a share as a percentage to two places; a dash where it is undefined.

    >>> percent(0.0267), percent(float("nan"))
    ('2.67 %', '–')
    """
    if math.isnan(share):
        return "–"
    return f"{100 * share:.2f}" + (" %" if unit else "")


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
