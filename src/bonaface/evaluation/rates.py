"""One measured figure with its counts, its interval, and a reason where there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

__all__ = ["Figure", "Rate", "json_safe"]


@dataclass(frozen=True)
class Rate:
    """A share of counted presentations, with its 95 % interval.

    `errors` counts what the rate is of: errors, but correct decisions for an accuracy, accepted bona fide
    for a true positive rate, missing answers for a non-response rate. `persons` stand behind `total`. `low`
    and `high` are NaN where no interval can be given; `reason` then says why, as it does where the rate
    itself is undefined.
    """

    errors: int
    total: int
    persons: int
    low: float = math.nan
    high: float = math.nan
    method: str = ""
    reason: str = ""

    @property
    def value(self) -> float:
        """The share; NaN where nothing was counted, never zero.

        >>> Rate(24, 449, 20).value, Rate(0, 0, 0, reason="no attacks").value
        (0.053452115812917596, nan)
        """
        return self.errors / self.total if self.total else math.nan

    @property
    def defined(self) -> bool:
        """Whether there was anything to count."""
        return self.total > 0

    def __str__(self) -> str:
        """The rate with its counts.

        >>> print(Rate(24, 449, 20), "and", Rate(0, 0, 0, reason="no attacks"))
        5.35 % (24/449) and undefined (no attacks)
        """
        if not self.defined:
            return f"undefined ({self.reason or 'nothing to count'})"
        return f"{100 * self.value:.2f} % ({self.errors}/{self.total})"

    @property
    def interval(self) -> str:
        """The interval in words, or why there is none.

        >>> Rate(24, 449, 20, 0.035, 0.078).interval
        '3.50 to 7.80 %'
        """
        return _interval(self.low, self.high, self.reason)

    def to_dict(self) -> dict[str, Any]:
        """All of it, safe for JSON: null with a reason where undefined."""
        return {
            "value": json_safe(self.value),
            "errors": self.errors,
            "total": self.total,
            "persons": self.persons,
            "low": json_safe(self.low),
            "high": json_safe(self.high),
            "method": self.method,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Figure:
    """A measure that is no single count (a mean of rates, an area, a loss), with its 95 % interval.

    `value` is a share between 0 and 1, but for a loss, which is in nats. NaN with a `reason` where undefined.
    `note` is what a reader must know of it, such as a threshold that was chosen on the same scores.
    """

    value: float
    persons: int = 0
    low: float = math.nan
    high: float = math.nan
    method: str = ""
    reason: str = ""
    note: str = ""

    @property
    def defined(self) -> bool:
        """Whether the measure exists for these scores."""
        return not math.isnan(self.value)

    def __str__(self) -> str:
        """The value to four places.

        >>> print(Figure(0.0267), "and", Figure(float("nan"), reason="no attacks"))
        0.0267 and undefined (no attacks)
        """
        return f"{self.value:.4f}" if self.defined else f"undefined ({self.reason})"

    @property
    def percent(self) -> str:
        """The value as a percentage.

        >>> Figure(0.0267).percent
        '2.67 %'
        """
        return f"{100 * self.value:.2f} %" if self.defined else str(self)

    @property
    def interval(self) -> str:
        """The interval in words, or why there is none."""
        return _interval(self.low, self.high, self.reason)

    def to_dict(self) -> dict[str, Any]:
        """All of it, safe for JSON: null with a reason where undefined."""
        return {
            "value": json_safe(self.value),
            "persons": self.persons,
            "low": json_safe(self.low),
            "high": json_safe(self.high),
            "method": self.method,
            "reason": self.reason,
            "note": self.note,
        }


def json_safe(value: float) -> float | None:
    """The number, or None where JSON has no word for it.

    >>> json_safe(0.5), json_safe(float("nan")), json_safe(float("-inf"))
    (0.5, None, None)
    """
    return float(value) if math.isfinite(value) else None


def _interval(low: float, high: float, reason: str) -> str:
    if math.isnan(low) or math.isnan(high):
        return f"no interval ({reason or 'none asked for'})"
    return f"{100 * low:.2f} to {100 * high:.2f} %"
