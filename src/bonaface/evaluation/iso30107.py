"""The error rates of ISO/IEC 30107-3 at a fixed threshold: APCER, BPCER, ACER, APNRR, BPNRR; and FAR, FRR, HTER.

APCER is the share of one attack species that is accepted, BPCER the share of bona fide presentations that is rejected,
both among presentations that got a score; APNRR and BPNRR are the shares that got none. Rates over all attacks together
are called FAR, FRR and HTER. They count presentations without a score as rejected (`policy="reject"`) or leave it out
(`"exclude"`). The share of impostor attacks that a whole system with a face matcher accepts (IAPAR) cannot be measured
without the matcher.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.choices import Policy
from bonaface.errors import ScoreTableError
from bonaface.evaluation.arrays import Bools, Floats, ScoreArrays, binary_cross_entropy
from bonaface.evaluation.intervals import NONE_OF_ONE, log_interval, mean_influence, rate_interval, spread
from bonaface.evaluation.results import Counts, Evaluation, Figure, Measures, Rate
from bonaface.evaluation.scores import digest
from bonaface.evaluation.threshold_free import CHOSEN_HERE, rank
from bonaface.evaluation.thresholds import NEEDS_LOGITS, accepts, rounded_apart
from bonaface.types import Threshold

PERSONS_UNKNOWN = (
    "persons are not known for all presentations: each such presentation counts as one person, "
    "so the intervals are too narrow"
)

ONE_PERSON = "all presentations are of one person: no rate has an interval, since one person says nothing about others"


def evaluate(
    presentations: pd.DataFrame,
    points: Sequence[Threshold],
    *,
    policy: Policy = "reject",
) -> Evaluation:
    """Measure presentations (see `scores.presentations`) at each operating point.

    Rates at a point that was chosen on these very presentations have no interval, and their reason says so.
    """
    if not len(presentations):
        raise ScoreTableError("there are no presentations to evaluate; expected at least one")
    arrays = ScoreArrays.from_table(presentations)
    found = evaluate_arrays(arrays, points, policy=policy)
    if not any("digest" in point.chosen_on for point in points):
        return found
    measured = digest(presentations)
    at = (_without_intervals(each) if each.point.chosen_on.get("digest") == measured else each for each in found.at)
    return replace(found, at=tuple(at))


def evaluate_arrays(arrays: ScoreArrays, points: Sequence[Threshold], *, policy: Policy = "reject") -> Evaluation:
    """Measure presentations that were read before at each operating point."""
    counts = count(arrays)
    return Evaluation(
        counts=counts,
        ranking=rank(arrays),
        at=tuple(measure(arrays, point, policy=policy) for point in points),
        notes=_notes(counts),
    )


def by_group(
    arrays: ScoreArrays, values: NDArray[Any], point: Threshold, *, policy: Policy = "reject"
) -> dict[str, Measures]:
    """Return the measures of each value of a column, in order of the values; an empty value is the group `""`."""
    code, names = pd.factorize(values, sort=True)
    return {str(name): measure(arrays.take(code == i), point, policy=policy) for i, name in enumerate(names)}


def published_summary(measures: Measures) -> str:
    """Return the five lines that the published baseline prints, without a final newline."""
    rows: dict[str, Rate | Figure] = {
        "Test Loss": measures.loss,
        "Test Acc": measures.accuracy,
        "FAR": measures.far,
        "FRR": measures.frr,
        "HTER": measures.hter,
    }
    return "\n".join(
        f"{title:<9} : " + (f"{each.value:.4f}" if each.defined else f"undefined ({each.reason})")
        for title, each in rows.items()
    )


def measure(arrays: ScoreArrays, point: Threshold, *, policy: Policy = "reject") -> Measures:
    """Return the measures of presentations at one operating point."""
    counts = count(arrays)
    accepted, undefined = accepts(arrays, point)
    ok, bona_fide, attack = arrays.ok, arrays.bona_fide, ~arrays.bona_fide
    scored = ok if not undefined else np.zeros(len(arrays), dtype=bool)
    base = scored if policy == "exclude" or undefined else np.ones(len(arrays), dtype=bool)
    no_attack = undefined or ("no attack presentation has a score" if attack.any() else "no attack presentations")
    no_bona_fide = undefined or (
        "no bona fide presentation has a score" if bona_fide.any() else "no bona fide presentations"
    )
    wrong = accepted != bona_fide

    rate, mean_error_rate = partial(_rate, arrays), partial(_mean_error_rate, arrays, wrong)
    apcer, apnrr = {}, {}
    for k, name in enumerate(arrays.species_names):
        species = arrays.species == k
        apcer[name] = rate(accepted, scored & species, undefined or "no presentation of it has a score")
        apnrr[name] = rate(~ok, species, "")
    worst = _worst_species(apcer)
    apcer_max = apcer[worst] if worst else Rate(0, 0, 0, reason=no_attack)
    worst_attacks = scored & (arrays.species == arrays.species_names.index(worst)) if worst else np.zeros_like(scored)
    bpcer = rate(~accepted, scored & bona_fide, no_bona_fide)
    far = rate(accepted, base & attack, no_attack)
    frr = rate(~accepted, base & bona_fide, no_bona_fide)
    pooled = rate(accepted, scored & attack, no_attack)
    notes = list(_notes(counts))
    if point.logit_threshold is not None and not undefined:
        apart = rounded_apart(arrays, point.threshold, point.logit_threshold)
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
        acer_max=mean_error_rate(worst_attacks, scored & bona_fide, (apcer_max, bpcer)),
        acer_pooled=mean_error_rate(scored & attack, scored & bona_fide, (pooled, bpcer)),
        far=far,
        frr=frr,
        hter=mean_error_rate(base & attack, base & bona_fide, (far, frr)),
        accuracy=rate(~wrong, base, undefined or "no presentation has a score"),
        apnrr=apnrr,
        bpnrr=rate(~ok, bona_fide, "no bona fide presentations"),
        loss=_loss(arrays),
        notes=tuple(notes),
    )


def count(arrays: ScoreArrays) -> Counts:
    """Count what presentations consist of."""
    failed = ~arrays.ok
    statuses, numbers = np.unique(arrays.status[failed].astype(str), return_counts=True)
    return Counts(
        presentations=len(arrays),
        bona_fide=int(arrays.bona_fide.sum()),
        attacks=int((~arrays.bona_fide).sum()),
        persons=arrays.subjects,
        persons_known=arrays.subjects_known,
        failed_bona_fide=int((failed & arrays.bona_fide).sum()),
        failed_attacks=int((failed & ~arrays.bona_fide).sum()),
        failures={str(status): int(number) for status, number in zip(statuses, numbers, strict=True)},
        species={name: int((arrays.species == k).sum()) for k, name in enumerate(arrays.species_names)},
    )


def _rate(arrays: ScoreArrays, hit: Bools, of: Bools, nothing: str) -> Rate:
    """Return the share of `of` where `hit` holds as well; undefined for the reason `nothing` where `of` is empty."""
    errors, total = int((hit & of).sum()), int(of.sum())
    if not total:
        return Rate(0, 0, 0, reason=nothing)
    bounds = rate_interval(arrays.per_subject(hit & of), arrays.per_subject(of))
    return Rate(errors, total, arrays.subjects_in(of), *bounds)


def _mean_error_rate(
    arrays: ScoreArrays, wrong: Bools, attacks: Bools, bona_fide: Bools, rates: tuple[Rate, Rate]
) -> Figure:
    """Return the mean of the two classes' rates: the error rate of presentations of which each class weighs half."""
    for rate in rates:
        if not rate.defined:
            return Figure(math.nan, reason=rate.reason)
    value = (rates[0].value + rates[1].value) / 2
    persons = arrays.subjects_in(attacks | bona_fide)
    if min(rate.persons for rate in rates) < 2:
        return Figure(value, persons, *NONE_OF_ONE)

    def half(of: Bools) -> tuple[Floats, Floats]:
        total = 2 * int(of.sum())
        return arrays.per_subject(wrong & of) / total, arrays.per_subject(of) / total

    (wrong1, of1), (wrong2, of2) = half(attacks), half(bona_fide)
    return Figure(value, persons, *rate_interval(wrong1 + wrong2, of1 + of2))


def _without_intervals(measures: Measures) -> Measures:
    """Return the measures with no interval on what depends on the threshold, because these scores chose it."""

    def without(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: without(item) for name, item in value.items()}
        return replace(value, low=math.nan, high=math.nan, method="", reason=CHOSEN_HERE) if value.defined else value

    names = ("apcer", "apcer_max", "bpcer", "acer_max", "acer_pooled", "far", "frr", "hter", "accuracy")
    return replace(measures, **{name: without(getattr(measures, name)) for name in names})


def _worst_species(apcer: dict[str, Rate]) -> str:
    """Return the species with the highest rate, of equals the one with most presentations; empty without any."""
    known = {name: rate for name, rate in apcer.items() if rate.defined}
    return max(known, key=lambda name: (known[name].value, known[name].total), default="")


def _loss(arrays: ScoreArrays) -> Figure:
    if not arrays.ok.any():
        return Figure(math.nan, reason="no presentation has a score")
    if not arrays.on_logits:
        return Figure(math.nan, reason=NEEDS_LOGITS.replace("this threshold", "the loss"))
    losses = np.where(arrays.ok, binary_cross_entropy(np.where(arrays.ok, arrays.value, 0.0), arrays.bona_fide), 0.0)
    # Sorted, so that the last bit does not depend on the order of the rows.
    value = float(np.sort(losses[arrays.ok]).mean())
    persons = arrays.subjects_in(arrays.ok)
    influence = mean_influence(arrays.per_subject(losses), arrays.per_subject(arrays.ok))
    return Figure(value, persons, *log_interval(value, spread(influence, persons)))


def _notes(counts: Counts) -> tuple[str, ...]:
    if counts.persons == 1:
        return (ONE_PERSON,)
    return () if counts.persons_known else (PERSONS_UNKNOWN,)
