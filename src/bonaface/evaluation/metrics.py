"""The measures of presentation attack detection, from a score table alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from bonaface.evaluation.intervals import IntervalSettings
from bonaface.evaluation.rates import Figure, Rate
from bonaface.evaluation.thresholds import OperatingPoint

__all__ = [
    "AtRate",
    "Counts",
    "Evaluation",
    "Figure",
    "Measures",
    "Policy",
    "Ranking",
    "Rate",
    "by_group",
    "evaluate",
    "published_summary",
]

Policy = Literal["reject", "exclude"]


@dataclass(frozen=True)
class Counts:
    """What a set of presentations consists of; a failed one has no score, `failures` counts them by
    status."""

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

    `apcer`, `bpcer`, `acer_*` are over presentations that got a score, as ISO/IEC 30107-3 has it, with
    `apnrr` and `bpnrr` beside them; `far`, `frr`, `hter` and `accuracy` follow `policy`. `apcer` and `apnrr`
    map a species (as `dataset/species` where the table holds several datasets) to its rate. `acer_max` takes
    the worst species, `acer_pooled` all attacks together. `loss` is the binary cross-entropy over scored
    presentations.
    """

    point: OperatingPoint
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

    def to_dict(self) -> dict[str, Any]:
        """All of it, safe for JSON."""
        raise NotImplementedError


@dataclass(frozen=True)
class AtRate:
    """A rate at the threshold, chosen on these very scores, where another rate meets its target.

    `title` says it in words, such as `BPCER where APCER of the worst species is at most 5 %`.
    """

    name: str
    title: str
    rate: Rate
    threshold: float
    note: str


@dataclass(frozen=True)
class Ranking:
    """What needs no threshold fixed beforehand: computed over scored presentations, bona fide being positive.

    `at` holds `bpcer10`, `bpcer20`, `bpcer100`, `apcer_at_bpcer_1`, `apcer_at_bpcer_5`, `tpr_at_fpr_1e-2`,
    `tpr_at_fpr_5e-3`, `tpr_at_fpr_1e-3`. `eer` and all of `at` choose on the scores that they measure, and
    say so.
    """

    auc: Figure
    eer: Figure
    eer_threshold: float
    at: dict[str, AtRate]

    def to_dict(self) -> dict[str, Any]:
        """All of it, safe for JSON."""
        raise NotImplementedError


@dataclass(frozen=True)
class Evaluation:
    """One set of presentations, measured: what depends on no threshold, and the rates at each operating
    point."""

    counts: Counts
    ranking: Ranking
    at: tuple[Measures, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it, safe for JSON."""
        raise NotImplementedError


def evaluate(
    presentations: pd.DataFrame,
    points: Sequence[OperatingPoint],
    *,
    policy: Policy = "reject",
    intervals: IntervalSettings | None = IntervalSettings(),
) -> Evaluation:
    """Measure presentations (see `scores.presentations`) at each operating point; `intervals=None` skips
    intervals."""
    raise NotImplementedError


def by_group(
    presentations: pd.DataFrame,
    column: str,
    point: OperatingPoint,
    *,
    policy: Policy = "reject",
    intervals: IntervalSettings | None = IntervalSettings(),
) -> dict[str, Measures]:
    """The measures of each value of a column, in order of the values; an empty value is the group `""`."""
    raise NotImplementedError


def published_summary(measures: Measures) -> str:
    """The five lines that the published baseline prints, without a final newline."""
    raise NotImplementedError
