"""The plain values that every room shares: labels, statuses, boxes, scores and the verdict.

One orientation everywhere: **a higher score is more bona fide, and `score >= threshold` accepts.**
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CATEGORIES",
    "FUSION_RULES",
    "Box",
    "FrameScore",
    "FusionRule",
    "Label",
    "Progress",
    "Status",
    "Verdict",
    "fuse",
    "logit",
    "probability",
]


class Label(StrEnum):
    """What a presentation is."""

    BONA_FIDE = "bona_fide"
    ATTACK = "attack"


class Status(StrEnum):
    """Why a sample has, or has not, a score."""

    OK = "ok"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    TOO_SMALL = "too_small"
    UNREADABLE = "unreadable"


CATEGORIES = ("print", "replay", "paper_mask", "mask_3d", "partial", "other")
"""The coarse kinds of attack; a dataset's own, finest name is the `species`."""

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
    """What one frame of a presentation gave.

    `logit` and `probability` are None unless `status` is `ok`; `time` is in seconds from the start, None for an image.
    """

    frame: int
    status: Status
    logit: float | None = None
    box: Box | None = None
    time: float | None = None
    confidence: float | None = None
    embedding: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    @property
    def score(self) -> float | None:
        """Probability of bona fide, None where there is no logit."""
        return None if self.logit is None else float(probability(self.logit))


@dataclass(frozen=True)
class Verdict:
    """The answer for one presentation: `bona_fide` or `attack`, or the status that says why there is neither.

    `seconds` maps a stage (`decode`, `detect`, `crop`, `network`) to the time spent in it.
    """

    source: str
    outcome: Label | Status
    score: float | None
    threshold: float
    logit: float | None = None
    frames: tuple[FrameScore, ...] = ()
    bundle: str = ""
    reason: str = ""
    seconds: dict[str, float] = field(default_factory=dict, compare=False)

    @property
    def accepted(self) -> bool:
        """True for `bona_fide` alone: what could not be judged is not accepted."""
        return self.outcome is Label.BONA_FIDE


class Progress(Protocol):
    """Receives how far a long task is; the command line shows it as a bar or, without a terminal, as lines."""

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


def fuse(logits: Sequence[float], *, rule: FusionRule = "mean") -> float:
    """One logit for a presentation from those of its frames, in frame order.

    `max_attack` takes the frame that looks most like an attack. Raises ValueError without a frame.

    >>> fuse([2.0, -1.0, 0.5], rule="max_attack")
    -1.0
    """
    if len(logits) == 0:
        raise ValueError("no frame has a logit: there is nothing to fuse")
    values = np.asarray(logits, dtype=np.float64)
    if rule == "mean":
        return float(values.mean())
    if rule == "median":
        return float(np.median(values))
    if rule == "max_attack":
        return float(values.min())
    return float(values[0])
