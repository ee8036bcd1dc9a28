"""95 % intervals that take a person's presentations as one piece of evidence, not many."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Interval", "IntervalSettings"]


@dataclass(frozen=True)
class IntervalSettings:
    """How intervals are computed."""

    resamples: int = 1000
    seed: int = 0
    confidence: float = 0.95


@dataclass(frozen=True)
class Interval:
    """Lower and upper bound, and the method that gave them."""

    low: float
    high: float
    method: str
