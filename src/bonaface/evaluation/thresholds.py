"""Operating points: the threshold is chosen on validation by a criterion, and applied to everything else as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

__all__ = ["CRITERIA", "OperatingPoint", "choose_threshold", "fixed_point", "given_point"]

CRITERIA = ("eer", "hter", "bpcer10", "bpcer20", "bpcer100", "apcer<=X", "bpcer<=X", "fixed=X")


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, how it was chosen and on what.

    `score >= threshold` accepts; where a table has logits the decision is `logit >= logit_threshold`, which is the same
    but for scores that float64 has rounded together. `chosen_on` holds split, presentations, persons, bona_fide,
    attacks, failed, far, frr (validation error there) and digest of the validation table; empty for `fixed` and `given`.
    """

    threshold: float
    logit_threshold: float | None
    criterion: str
    chosen_on: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything, safe for JSON; `OperatingPoint.from_dict` reads it back exactly."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OperatingPoint:
        """The point that `to_dict` wrote."""
        raise NotImplementedError


def choose_threshold(validation: pd.DataFrame, criterion: str = "eer") -> OperatingPoint:
    """The operating point that the criterion picks on validation presentations (see `scores.presentations`)."""
    raise NotImplementedError


def fixed_point(score: float = 0.5) -> OperatingPoint:
    """A threshold on the probability, fixed beforehand: criterion `fixed=0.5`."""
    raise NotImplementedError


def given_point(
    threshold: float, *, criterion: str = "given", chosen_on: Mapping[str, Any] | None = None
) -> OperatingPoint:
    """A threshold that the caller brings, on the scale of a foreign system's scores."""
    raise NotImplementedError
