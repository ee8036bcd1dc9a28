"""The measures that need no threshold fixed beforehand, or choose it on the very scores that they measure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bonaface.evaluation.arrays import Sample
from bonaface.evaluation.auc import auc_estimate
from bonaface.evaluation.error_curve import Sweep, sweep
from bonaface.evaluation.intervals import Estimate, Resampling, scale_interval
from bonaface.evaluation.rates import Figure, Rate, json_safe
from bonaface.types import probability

__all__ = ["AtRate", "Ranking", "auc", "rank"]

Floats = NDArray[np.float64]

CHOSEN_HERE = "threshold chosen on the scores that are measured"

# Thresholds that a resample may choose among, for each of four ways to spread them over the scores.
_CANDIDATES = 256


@dataclass(frozen=True)
class AtRate:
    """A rate at the threshold, chosen on these very scores, where another rate meets its target.

    `title` says it in words, such as `BPCER where APCER of the worst species is at most 5 %`; `threshold` is
    a score.
    """

    name: str
    title: str
    rate: Rate
    threshold: float
    note: str

    def to_dict(self) -> dict[str, Any]:
        """All of it, safe for JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "rate": self.rate.to_dict(),
            "threshold": json_safe(self.threshold),
            "note": self.note,
        }


@dataclass(frozen=True)
class Ranking:
    """What needs no threshold fixed beforehand, over scored presentations; bona fide is the positive class.

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
        return {
            "auc": self.auc.to_dict(),
            "eer": self.eer.to_dict(),
            "eer_threshold": json_safe(self.eer_threshold),
            "at": {name: item.to_dict() for name, item in self.at.items()},
        }


class _Target(NamedTuple):
    name: str
    title: str
    of: str  # the rate that is reported: frr, apcer_max or tpr
    under: str  # the rate that is held at its limit: apcer_max, frr or far
    limit: float


_APCER = "APCER of the worst species"
_TARGETS = (
    _Target("bpcer10", f"BPCER where {_APCER} is at most 10 %", "frr", "apcer_max", 1 / 10),
    _Target("bpcer20", f"BPCER where {_APCER} is at most 5 %", "frr", "apcer_max", 1 / 20),
    _Target("bpcer100", f"BPCER where {_APCER} is at most 1 %", "frr", "apcer_max", 1 / 100),
    _Target("apcer_at_bpcer_1", f"{_APCER} where BPCER is at most 1 %", "apcer_max", "frr", 0.01),
    _Target("apcer_at_bpcer_5", f"{_APCER} where BPCER is at most 5 %", "apcer_max", "frr", 0.05),
    _Target("tpr_at_fpr_1e-2", "bona fide accepted where at most 1 % of attacks are", "tpr", "far", 1e-2),
    _Target("tpr_at_fpr_5e-3", "bona fide accepted where at most 0.5 % of attacks are", "tpr", "far", 5e-3),
    _Target("tpr_at_fpr_1e-3", "bona fide accepted where at most 0.1 % of attacks are", "tpr", "far", 1e-3),
)


def rank(sample: Sample, resampling: Resampling | None) -> Ranking:
    """Everything about the order of the scores; without a resampling, without intervals."""
    scored = {"bona fide": sample.ok & sample.bona_fide, "attack": sample.ok & ~sample.bona_fide}
    missing = [title for title, which in scored.items() if not which.any()]
    if missing:
        reason = f"no {' and no '.join(missing)} presentation has a score"
        undefined = Figure(math.nan, reason=reason)
        at = {t.name: AtRate(t.name, t.title, Rate(0, 0, 0, reason=reason), math.nan, CHOSEN_HERE) for t in _TARGETS}
        return Ranking(undefined, undefined, math.nan, at)
    errors = sweep(sample)
    drawn = _Drawn(sample, errors, resampling) if resampling and resampling.weights is not None else None
    step = _equal_error(errors.far, errors.frr)
    at = {target.name: _at(target, sample, errors, resampling, drawn) for target in _TARGETS}
    return Ranking(
        auc=auc(sample, resampling),
        eer=_eer(sample, errors, step, resampling, drawn),
        eer_threshold=_score(sample, errors.threshold(step, step)),
        at=at,
    )


def auc(sample: Sample, resampling: Resampling | None) -> Figure:
    """The area under the ROC curve with its interval; undefined where a class is missing."""
    quiet = resampling or Resampling.none(sample.person, sample.persons)
    estimate = auc_estimate(sample, quiet)
    if estimate is None:
        return Figure(math.nan, reason="needs scores of both classes")
    if resampling is None:
        return Figure(estimate.value, sample.persons)
    bounds = scale_interval(estimate, resampling.confidence, scale="logit")
    return Figure(estimate.value, sample.persons, bounds.low, bounds.high, bounds.method, bounds.reason)


def _eer(sample: Sample, errors: Sweep, step: int, resampling: Resampling | None, drawn: _Drawn | None) -> Figure:
    value = float(errors.far[step] + errors.frr[step]) / 2
    if resampling is None:
        return Figure(value, sample.persons, note=CHOSEN_HERE)
    wrong = _accepted(sample, errors, step) != sample.bona_fide
    parts = [
        resampling.mean(wrong.astype(np.float64), sample.ok & (sample.bona_fide == side)) for side in (True, False)
    ]
    replicates = drawn.equal_error() if drawn else np.empty(0)
    estimate = resampling.estimate(
        value,
        (parts[0].influence + parts[1].influence) / 2,
        replicates,
        sample.ok & sample.bona_fide,
        sample.ok & ~sample.bona_fide,
    )
    bounds = estimate.rate_interval(resampling.confidence, chosen=True)
    return Figure(value, sample.persons, bounds.low, bounds.high, bounds.method, bounds.reason, CHOSEN_HERE)


def _at(
    target: _Target,
    sample: Sample,
    errors: Sweep,
    resampling: Resampling | None,
    drawn: _Drawn | None,
) -> AtRate:
    step = _meets(getattr(errors, target.under), target)
    accepted = _accepted(sample, errors, step)
    note = CHOSEN_HERE
    if target.of == "apcer_max":
        shares = errors.accepted[:, step] / errors.attacks
        worst = errors.species_names[int(np.argmax(shares))]
        of = sample.ok & (sample.species == sample.species_names.index(worst))
        hit = accepted
        note += f"; worst species: {worst}"
    else:
        of = sample.ok & sample.bona_fide
        hit = accepted if target.of == "tpr" else ~accepted
    resolved = errors.bona_fide if target.under == "frr" else int(errors.attacks.sum())
    if target.under == "apcer_max":
        resolved = int(errors.attacks.min())
    if resolved * target.limit < 1 - 1e-9:
        note += f"; {resolved} presentations cannot resolve {100 * target.limit:g} %: it is held at 0 errors"
    count = int((hit & of).sum())
    persons = sample.persons_in(of)
    rate = Rate(count, int(of.sum()), persons)
    if resampling:
        fixed = resampling.ratio(hit, of)
        replicates = drawn.at(target) if drawn else np.empty(0)
        estimate: Estimate = resampling.estimate(fixed.value, fixed.influence, replicates, of)
        bounds = estimate.rate_interval(resampling.confidence, chosen=True)
        rate = Rate(count, int(of.sum()), persons, bounds.low, bounds.high, bounds.method, bounds.reason)
    threshold = _score(sample, errors.threshold(step, step))
    return AtRate(target.name, target.title, rate, threshold, note)


class _Drawn:
    """The error curves of every resample, over a choice of thresholds that is dense where errors are rare."""

    def __init__(self, sample: Sample, errors: Sweep, resampling: Resampling) -> None:
        assert resampling.weights is not None
        steps = _candidates(errors)
        scored = sample.ok
        index = np.searchsorted(errors.values, sample.value[scored])
        cell = np.searchsorted(steps, index, side="right")
        unit = resampling.unit[scored]
        cells = len(steps) + 1

        def accepted(which: NDArray[np.bool_]) -> tuple[Floats, Floats]:
            at = unit[which] * cells + cell[which]
            counts = np.bincount(at, minlength=resampling.units * cells).reshape(resampling.units, cells)
            assert resampling.weights is not None
            drawn = resampling.weights @ counts
            # A row in cell c passes the first c of the steps.
            return np.cumsum(drawn[:, :0:-1], axis=1)[:, ::-1], drawn.sum(axis=1, keepdims=True)

        with np.errstate(invalid="ignore"):
            passed, total = accepted(sample.bona_fide[scored])
            self.frr = 1 - passed / total
            attacks, attack_total = np.zeros_like(passed), np.zeros_like(total)
            self.apcer_max = np.zeros_like(passed)
            for k in range(len(sample.species_names)):
                passed, total = accepted(sample.species[scored] == k)
                attacks += passed
                attack_total += total
                np.fmax(self.apcer_max, passed / total, out=self.apcer_max)
            self.far = attacks / attack_total
        self.empty = np.isnan(self.frr[:, 0]) | np.isnan(self.far[:, 0])

    def equal_error(self) -> Floats:
        apart = np.where(self.empty[:, None], 0.0, np.abs(self.far - self.frr))
        step = np.argmin(apart, axis=1)[:, None]
        both = np.take_along_axis(self.far, step, 1) + np.take_along_axis(self.frr, step, 1)
        return np.asarray(both[:, 0] / 2)

    def at(self, target: _Target) -> Floats:
        under: Floats = getattr(self, target.under)
        meets = under <= target.limit + 1e-12
        last = meets.shape[1] - 1 - np.argmax(meets[:, ::-1], axis=1)
        step = last if target.under == "frr" else np.argmax(meets, axis=1)
        curve = self.apcer_max if target.of == "apcer_max" else self.frr
        values = np.take_along_axis(curve, step[:, None], 1)[:, 0]
        values = np.where(self.empty, np.nan, values)
        return 1 - values if target.of == "tpr" else values


def _candidates(errors: Sweep) -> NDArray[np.intp]:
    """At most 4 x _CANDIDATES + 2 steps: even in both classes, and one by one where a class begins to err."""
    last = len(errors.values)
    if last + 1 <= 4 * _CANDIDATES:
        return np.arange(last + 1)
    accepted = errors.accepted.sum(axis=0, dtype=np.int64)
    steps = [np.array([0, last])]
    for count, rising in ((errors.rejected, True), (accepted, False)):
        total = int(count.max())
        rare = np.unique(np.geomspace(1, max(total, 2), _CANDIDATES).astype(np.int64))
        for wanted in (np.linspace(0, total, _CANDIDATES), rare):
            at = np.searchsorted(count, wanted) if rising else last - np.searchsorted(count[::-1], wanted)
            steps.append(np.clip(at, 0, last))
    return np.unique(np.concatenate(steps))


def _meets(under: Floats, target: _Target) -> int:
    """The first step that accepts few enough attacks, or the last that rejects few enough bona fide."""
    meets = under <= target.limit
    return int(np.flatnonzero(meets)[-1] if target.under == "frr" else np.argmax(meets))


def _equal_error(far: Floats, frr: Floats) -> int:
    apart = np.abs(far - frr)
    nearest = np.flatnonzero(apart <= apart.min() + 1e-12)
    return int(nearest[np.argmin((far + frr)[nearest])])


def _accepted(sample: Sample, errors: Sweep, step: int) -> NDArray[np.bool_]:
    if step == len(errors.values):
        return np.zeros(len(sample), dtype=bool)
    return np.asarray(sample.ok & (sample.value >= errors.values[step]))


def _score(sample: Sample, value: float) -> float:
    return float(probability(value)) if sample.on_logits else value
