"""The measures of presentation attack detection, from a score table alone.

After ISO/IEC 30107-3: APCER is the share of one attack species that is accepted, BPCER the share of bona
fide presentations that is rejected, both among presentations that got a score; APNRR and BPNRR are the
shares that got none. Rates over all attacks together are called FAR, FRR and HTER, and count what got no
score as rejected (`policy="reject"`: what could not be judged is not accepted) or leave it out
(`"exclude"`). The share of impostor attacks that a whole system with a face matcher accepts (IAPAR) cannot
be measured without the matcher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.errors import ScoreTableError, SettingsError, did_you_mean
from bonaface.evaluation.arrays import Sample
from bonaface.evaluation.checking import text_column
from bonaface.evaluation.intervals import (
    DEFAULT_INTERVALS,
    Estimate,
    Interval,
    IntervalSettings,
    Resampling,
    mean_interval,
    scale_interval,
)
from bonaface.evaluation.rates import Figure, Rate
from bonaface.evaluation.results import Counts, Evaluation, Measures, Policy
from bonaface.evaluation.threshold_free import AtRate, Ranking, rank
from bonaface.evaluation.thresholds import NEEDS_LOGITS, OperatingPoint, accepts, rounded_apart

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
    "count",
    "evaluate",
    "measure",
    "published_summary",
]

Bools = NDArray[np.bool_]

PERSONS_UNKNOWN = (
    "persons are not known for all presentations: each such presentation counts as a person of its own, "
    "and the intervals are narrower than they should be"
)


def evaluate(
    presentations: pd.DataFrame,
    points: Sequence[OperatingPoint],
    *,
    policy: Policy = "reject",
    intervals: IntervalSettings | None = DEFAULT_INTERVALS,
) -> Evaluation:
    """Measure presentations (see `scores.presentations`) at each operating point; `intervals=None` skips
    intervals."""
    _check_policy(policy)
    if not len(presentations):
        raise ScoreTableError("there are no presentations to evaluate; expected at least one")
    sample = Sample.of(presentations)
    resampling = Resampling(sample.person, sample.persons, intervals) if intervals else None
    counts = count(sample)
    return Evaluation(
        counts=counts,
        ranking=rank(sample, resampling),
        at=tuple(measure(sample, point, policy=policy, resampling=resampling) for point in points),
        notes=_notes(counts),
    )


def by_group(
    presentations: pd.DataFrame,
    column: str,
    point: OperatingPoint,
    *,
    policy: Policy = "reject",
    intervals: IntervalSettings | None = DEFAULT_INTERVALS,
) -> dict[str, Measures]:
    """The measures of each value of a column, in order of the values; what names none is the group `""`.

    Of more than 50 groups the intervals are computed to first order, without resampling.
    """
    _check_policy(policy)
    if column not in presentations.columns:
        known = [str(name) for name in presentations.columns]
        raise SettingsError(f"no column {column!r} to group by{did_you_mean(column, known)}; known: {', '.join(known)}")
    sample = Sample.of(presentations)
    code, names = pd.factorize(text_column(presentations, column), sort=True)
    if intervals and len(names) > 50:
        intervals = IntervalSettings(0, intervals.seed, intervals.confidence, intervals.groups)
    groups: dict[str, Measures] = {}
    for i, name in enumerate(names):
        part = sample.take(code == i)
        resampling = Resampling(part.person, part.persons, intervals) if intervals else None
        groups[str(name)] = measure(part, point, policy=policy, resampling=resampling)
    return groups


def published_summary(measures: Measures) -> str:
    """The five lines that the published baseline prints, without a final newline."""
    rows = (
        ("Test Loss", measures.loss.value, measures.loss.reason),
        ("Test Acc", measures.accuracy.value, measures.accuracy.reason),
        ("FAR", measures.far.value, measures.far.reason),
        ("FRR", measures.frr.value, measures.frr.reason),
        ("HTER", measures.hter.value, measures.hter.reason),
    )
    return "\n".join(
        f"{title:<9} : " + (f"undefined ({reason})" if math.isnan(value) else f"{value:.4f}")
        for title, value, reason in rows
    )


class _Meter:
    """Rates with their intervals over one sample."""

    def __init__(self, sample: Sample, resampling: Resampling | None) -> None:
        self.sample = sample
        self.resampling = resampling

    def estimate(self, hit: Bools, of: Bools) -> Estimate | None:
        return self.resampling.ratio(hit, of) if self.resampling and of.any() else None

    def rate(self, hit: Bools, of: Bools, nothing: str) -> Rate:
        """The share of `of` where `hit` holds as well; undefined for the reason `nothing` where `of` is
        empty."""
        total = int(of.sum())
        if not total:
            return Rate(0, 0, 0, reason=nothing)
        persons = self.sample.persons_in(of)
        rate = Rate(int((hit & of).sum()), total, persons)
        estimate = self.estimate(hit, of)
        return _bounded(rate, estimate.rate_interval(self.confidence)) if estimate else rate

    @property
    def confidence(self) -> float:
        return self.resampling.confidence if self.resampling else math.nan

    def half_total(
        self, hit: Bools, first: Bools, second: Bools, rates: tuple[Rate, Rate], *, bounds: Interval | None = None
    ) -> Figure:
        """The mean of two rates; `bounds` of the first where they are not those of any rate."""
        for rate in rates:
            if not rate.defined:
                return Figure(math.nan, reason=rate.reason)
        value = (rates[0].value + rates[1].value) / 2
        persons = self.sample.persons_in(first | second)
        estimates = self.estimate(hit, first), self.estimate(hit, second)
        if estimates[0] is None or estimates[1] is None:
            return Figure(value, persons)
        own, other = (estimate.rate_interval(self.confidence, part=True) for estimate in estimates if estimate)
        return Figure(value, persons, *mean_interval(estimates[0], estimates[1], (bounds or own, other)))


def _bounded(rate: Rate, interval: Interval) -> Rate:
    return Rate(rate.errors, rate.total, rate.persons, *interval)


def measure(
    sample: Sample, point: OperatingPoint, *, policy: Policy = "reject", resampling: Resampling | None = None
) -> Measures:
    """The measures of a sample at one operating point; without a resampling, without intervals."""
    counts = count(sample)
    accepted, undefined = accepts(sample, point)
    meter = _Meter(sample, resampling)
    ok, bona_fide, attack = sample.ok, sample.bona_fide, ~sample.bona_fide
    judged = ok if not undefined else np.zeros(len(sample), dtype=bool)
    base = judged if policy == "exclude" or undefined else np.ones(len(sample), dtype=bool)
    no_attack = undefined or ("no attack presentation has a score" if attack.any() else "no attack presentations")
    no_bona_fide = undefined or (
        "no bona fide presentation has a score" if bona_fide.any() else "no bona fide presentations"
    )
    wrong = accepted != bona_fide
    apcer, apnrr = {}, {}
    for k, name in enumerate(sample.species_names):
        species = sample.species == k
        apcer[name] = meter.rate(accepted, judged & species, undefined or "no presentation of it has a score")
        apnrr[name] = meter.rate(~ok, species, "")
    apcer_max, worst, worst_part = _worst(meter, accepted, judged, apcer, nothing=no_attack)
    bpcer = meter.rate(~accepted, judged & bona_fide, no_bona_fide)
    far = meter.rate(accepted, base & attack, no_attack)
    frr = meter.rate(~accepted, base & bona_fide, no_bona_fide)
    pooled = meter.rate(accepted, judged & attack, no_attack)
    worst_attacks = judged & (
        sample.species == (sample.species_names.index(worst) if worst else len(sample.species_names))
    )
    notes = list(_notes(counts))
    if point.logit_threshold is not None and not undefined:
        apart = rounded_apart(sample, point.threshold, point.logit_threshold)
        if apart:
            notes.append(f"{apart} scores lie within rounding of the threshold and were decided on their logits")
    return Measures(
        point=point,
        policy=policy,
        counts=counts,
        apcer=apcer,
        apcer_max=apcer_max,
        worst_species=worst,
        bpcer=bpcer,
        acer_max=meter.half_total(wrong, worst_attacks, judged & bona_fide, (apcer_max, bpcer), bounds=worst_part),
        acer_pooled=meter.half_total(wrong, judged & attack, judged & bona_fide, (pooled, bpcer)),
        far=far,
        frr=frr,
        hter=meter.half_total(wrong, base & attack, base & bona_fide, (far, frr)),
        accuracy=meter.rate(~wrong, base, undefined or "no presentation has a score"),
        apnrr=apnrr,
        bpnrr=meter.rate(~ok, bona_fide, "no bona fide presentations"),
        loss=_loss(sample, resampling),
        notes=tuple(notes),
    )


def _worst(
    meter: _Meter, accepted: Bools, judged: Bools, apcer: dict[str, Rate], *, nothing: str
) -> tuple[Rate, str, Interval | None]:
    """The worst species' rate, of equals the one with most presentations; its name; its bounds as part of a mean."""
    known = {name: rate for name, rate in apcer.items() if rate.defined}
    if not known:
        return Rate(0, 0, 0, reason=nothing), "", None
    worst = max(known, key=lambda name: (known[name].value, known[name].total))
    rate = known[worst]
    if meter.resampling is None or len(known) == 1 or rate.reason:
        return rate, worst, None
    estimates = {}
    for name in known:
        species = meter.sample.species == meter.sample.species_names.index(name)
        estimate = meter.estimate(accepted, judged & species)
        assert estimate is not None
        estimates[name] = estimate
    # The worst was picked after looking: the lower bounds of all that may really be the worst must hold at once. Where there
    # are several, the truth is hardly ever above the upper bound of the worst: what that saves goes to the lower side.
    rivals = [name for name in known if known[name].high >= rate.value]
    confidence = 1 - (1 - meter.confidence) * min(2 / max(len(rivals), 1), 1)

    def lower(*, part: bool) -> float:
        return max((estimates[name].rate_interval(confidence, part=part).low for name in rivals), default=0.0)

    whole = estimates[worst].rate_interval(meter.confidence, part=True)
    bounds = Interval(min(lower(part=True), rate.value), whole.high, whole.method, whole.reason)
    low = min(lower(part=False), rate.low)
    return Rate(rate.errors, rate.total, rate.persons, low, rate.high, rate.method), worst, bounds


def _loss(sample: Sample, resampling: Resampling | None) -> Figure:
    if not sample.ok.any():
        return Figure(math.nan, reason="no presentation has a score")
    if not sample.on_logits:
        return Figure(math.nan, reason=NEEDS_LOGITS.replace("this threshold", "the loss"))
    signed = np.where(sample.bona_fide, -sample.value, sample.value)
    losses = np.logaddexp(0.0, np.where(sample.ok, signed, 0.0))
    # Sorted, so that the last bit does not hang on the order of the rows.
    value = float(np.sort(losses[sample.ok]).mean())
    persons = sample.persons_in(sample.ok)
    if resampling is None:
        return Figure(value, persons)
    estimate = resampling.mean(losses, sample.ok)
    low, high, method, reason = scale_interval(estimate, resampling.confidence, scale="log")
    return Figure(value, persons, low, high, method, reason)


def count(sample: Sample) -> Counts:
    """What a sample consists of."""
    failed = ~sample.ok
    statuses, numbers = np.unique(sample.status[failed].astype(str), return_counts=True)
    return Counts(
        presentations=len(sample),
        bona_fide=int(sample.bona_fide.sum()),
        attacks=int((~sample.bona_fide).sum()),
        persons=sample.persons,
        persons_known=sample.persons_known,
        failed_bona_fide=int((failed & sample.bona_fide).sum()),
        failed_attacks=int((failed & ~sample.bona_fide).sum()),
        failures={str(status): int(number) for status, number in zip(statuses, numbers, strict=True)},
        species={name: int((sample.species == k).sum()) for k, name in enumerate(sample.species_names)},
    )


def _notes(counts: Counts) -> tuple[str, ...]:
    return () if counts.persons_known else (PERSONS_UNKNOWN,)


def _check_policy(policy: str) -> None:
    if policy not in {"reject", "exclude"}:
        raise SettingsError(f"unknown policy {policy!r} for presentations without a score; known: reject, exclude")
