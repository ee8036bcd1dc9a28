"""What an evaluation holds: plain frozen results, safe to print, to compare and to write as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bonaface.evaluation.rates import Figure, Rate
from bonaface.evaluation.threshold_free import Ranking
from bonaface.evaluation.thresholds import OperatingPoint

__all__ = ["Counts", "Evaluation", "Measures", "Policy"]

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

    def to_dict(self) -> dict[str, Any]:
        """All of it, safe for JSON."""
        return {**vars(self), "failures": dict(self.failures), "species": dict(self.species)}


@dataclass(frozen=True)
class Measures:
    """Every error rate of one set of presentations at one threshold.

    `apcer`, `bpcer`, `acer_*` are over presentations that got a score, with `apnrr` and `bpnrr` beside them;
    `far`, `frr`, `hter` and `accuracy` follow `policy`. `apcer` and `apnrr` map a species (as
    `dataset/species` where the table holds several datasets) to its rate. `apcer_max` is the worst species'
    rate; its lower bound is Bonferroni's over the species that may really be the worst, since it was picked. `acer_max`
    is its mean with BPCER, `acer_pooled` takes all attacks together. `loss` is the binary cross-entropy in
    nats over scored presentations.
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
        return {
            "point": self.point.to_dict(),
            "policy": self.policy,
            "counts": self.counts.to_dict(),
            "apcer": {name: rate.to_dict() for name, rate in self.apcer.items()},
            "apcer_max": {**self.apcer_max.to_dict(), "species": self.worst_species},
            "bpcer": self.bpcer.to_dict(),
            "acer_max": self.acer_max.to_dict(),
            "acer_pooled": self.acer_pooled.to_dict(),
            "far": self.far.to_dict(),
            "frr": self.frr.to_dict(),
            "hter": self.hter.to_dict(),
            "accuracy": self.accuracy.to_dict(),
            "apnrr": {name: rate.to_dict() for name, rate in self.apnrr.items()},
            "bpnrr": self.bpnrr.to_dict(),
            "loss": self.loss.to_dict(),
            "notes": list(self.notes),
        }


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
        return {
            "counts": self.counts.to_dict(),
            "ranking": self.ranking.to_dict(),
            "at": [measures.to_dict() for measures in self.at],
            "notes": list(self.notes),
        }
