"""Whether one system is really better than another on the same presentations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from bonaface.evaluation.intervals import IntervalSettings
from bonaface.evaluation.metrics import Evaluation, Policy
from bonaface.evaluation.thresholds import OperatingPoint

__all__ = ["Comparison", "Difference", "compare"]


@dataclass(frozen=True)
class Difference:
    """`second` minus `first` in one measure, with the paired person bootstrap's 95 % interval.

    `measure` is `hter`, `apcer_max` or `auc`. `p` is two-sided, `p_holm` corrected over all differences of
    the comparison, and `real` is `p_holm < 0.05`. `better` names the better system where the difference is
    real, else "".
    """

    measure: str
    first: str
    second: str
    value: float
    low: float
    high: float
    p: float
    p_holm: float
    real: bool
    better: str
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """Systems measured on the same presentations, each at its own operating point, and their differences."""

    evaluations: dict[str, Evaluation]
    differences: tuple[Difference, ...]
    presentations: int
    persons: int
    left_out: dict[str, int]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it, safe for JSON."""
        raise NotImplementedError


def compare(
    tables: Mapping[str, pd.DataFrame],
    points: Mapping[str, OperatingPoint],
    *,
    mismatch: Literal["refuse", "intersect"] = "refuse",
    policy: Policy = "reject",
    intervals: IntervalSettings = IntervalSettings(),
) -> Comparison:
    """Compare systems on the presentations that all of them were given (see `scores.presentations`)."""
    raise NotImplementedError
