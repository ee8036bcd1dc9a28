"""Results of an evaluation: frozen dataclasses, which `io.json_safe` turns into JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from bonaface.choices import Policy
from bonaface.types import Threshold, percent


@dataclass(frozen=True)
class Rate:
    """A share of counted presentations, with its 95 % interval.

    `errors` counts what the rate is of: errors, but correct decisions for an accuracy, accepted bona fide for a true
    positive rate, missing answers for a non-response rate. `total` comes from `persons` subjects. `value` is NaN where
    nothing was counted, never zero. `low` and `high` are NaN where there is no interval; `reason` then says why, as it
    does where the rate itself is undefined.

    >>> Rate(24, 449, 20).value, Rate(0, 0, 0, reason="no attacks").value
    (0.053452115812917596, nan)
    """

    value: float = field(init=False, compare=False)
    errors: int
    total: int
    persons: int
    low: float = math.nan
    high: float = math.nan
    method: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", self.errors / self.total if self.total else math.nan)

    @property
    def defined(self) -> bool:
        """Whether there was anything to count."""
        return self.total > 0

    def __str__(self) -> str:
        """Return the rate with its counts.

        >>> print(Rate(24, 449, 20), "and", Rate(0, 0, 0, reason="no attacks"))
        5.35 % (24/449) and undefined (no attacks)
        """
        if not self.defined:
            return f"undefined ({self.reason or 'nothing to count'})"
        return f"{percent(self.value)} ({self.errors}/{self.total})"


@dataclass(frozen=True)
class Figure:
    """A measure that is no single count (a mean of rates, an area, a loss), with its 95 % interval.

    `value` is a share between 0 and 1, or a loss in nats. NaN with a `reason` where undefined. `note` is a caveat, such
    as a threshold that was chosen on the same scores.
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
        """Return the value to four places.

        >>> print(Figure(0.0267), "and", Figure(float("nan"), reason="no attacks"))
        0.0267 and undefined (no attacks)
        """
        return f"{self.value:.4f}" if self.defined else f"undefined ({self.reason})"


@dataclass(frozen=True)
class AtRate:
    """A rate at the threshold, chosen on these very scores, where another rate meets its target.

    `title` says it in words, such as `BPCER where APCER of the worst species is at most 5 %`; `threshold` is a score.
    """

    name: str
    title: str
    rate: Rate
    threshold: float
    note: str


@dataclass(frozen=True)
class Ranking:
    """Measures without a threshold fixed beforehand, over scored presentations; bona fide is the positive class.

    `at` holds `bpcer10`, `bpcer20`, `bpcer100`, `apcer_at_bpcer_1`, `apcer_at_bpcer_5`, `tpr_at_fpr_1e-2`,
    `tpr_at_fpr_5e-3`, `tpr_at_fpr_1e-3`. `eer` and all of `at` choose their threshold on the scores that they measure:
    they have no interval, and their reason says so.
    """

    auc: Figure
    eer: Figure
    eer_threshold: float
    at: dict[str, AtRate]


@dataclass(frozen=True)
class Counts:
    """Counts of a set of presentations; a failed one has no score, `failures` counts them by status."""

    presentations: int
    bona_fide: int
    attacks: int
    persons: int
    persons_known: bool
    failed_bona_fide: int
    failed_attacks: int
    failures: dict[str, int]
    species: dict[str, int]


@dataclass(frozen=True)
class Measures:
    """Every error rate of one set of presentations at one threshold.

    `apcer`, `bpcer`, `acer_*` are over presentations that got a score, `apnrr` and `bpnrr` are the shares that got none;
    `far`, `frr`, `hter` and `accuracy` follow `policy`. `apcer` and `apnrr` map a species (as `dataset/species` where the
    table holds several datasets) to its rate. `apcer_max` is the rate of `worst_species`, `acer_max` its mean with BPCER;
    `acer_pooled` takes all attacks together. `loss` is the binary cross-entropy in nats over scored presentations.
    """

    point: Threshold
    policy: Policy
    counts: Counts
    apcer: dict[str, Rate]
    apcer_max: Rate
    worst_species: str
    bpcer: Rate
    acer_max: Figure
    acer_pooled: Figure
    far: Rate
    frr: Rate
    hter: Figure
    accuracy: Rate
    apnrr: dict[str, Rate]
    bpnrr: Rate
    loss: Figure
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """One set of presentations, measured: what depends on no threshold, and the rates at each operating point."""

    counts: Counts
    ranking: Ranking
    at: tuple[Measures, ...]
    notes: tuple[str, ...] = ()
