"""Whether one system is really better than another on the same presentations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.errors import ScoreTableError, SettingsError, few
from bonaface.evaluation.arrays import Sample
from bonaface.evaluation.auc import auc_estimate
from bonaface.evaluation.checking import text_column
from bonaface.evaluation.distributions import student_cdf, student_quantile
from bonaface.evaluation.intervals import DEFAULT_INTERVALS, ONE_PERSON, IntervalSettings, Resampling
from bonaface.evaluation.iso30107 import Evaluation, Policy, evaluate
from bonaface.evaluation.rates import json_safe
from bonaface.evaluation.thresholds import OperatingPoint, accepts

__all__ = ["Comparison", "Difference", "align", "compare", "differ"]

Mismatch = Literal["refuse", "intersect"]
MEASURES = ("hter", "apcer_max", "auc")

# Facts of a presentation, not of a system: the first table's hold for all.
_FACTS = ("label", "species", "subject", "subject_known", "dataset")


@dataclass(frozen=True)
class Difference:
    """`second` minus `first` in one measure, with the interval of a paired bootstrap over persons.

    `measure` is `hter`, `apcer_max` or `auc`. `p` is two-sided, `p_holm` is corrected over all differences
    of the comparison, and `real` is `p_holm` below 0.05 (or what the confidence leaves); `better` then names
    the better system, else it is empty. NaN with a `reason` where undefined.
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

    def to_dict(self) -> dict[str, Any]:
        """All of it, safe for JSON."""
        return {key: json_safe(value) if isinstance(value, float) else value for key, value in vars(self).items()}


@dataclass(frozen=True)
class Comparison:
    """Systems measured on the same presentations, each at its own operating point, and their differences.

    `left_out` counts each system's presentations that another one lacks (with `mismatch="intersect"`).
    """

    evaluations: dict[str, Evaluation]
    differences: tuple[Difference, ...]
    presentations: int
    persons: int
    left_out: dict[str, int]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it, safe for JSON."""
        return {
            "evaluations": {name: evaluation.to_dict() for name, evaluation in self.evaluations.items()},
            "differences": [difference.to_dict() for difference in self.differences],
            "presentations": self.presentations,
            "persons": self.persons,
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }


def compare(
    tables: Mapping[str, pd.DataFrame],
    points: Mapping[str, OperatingPoint],
    *,
    mismatch: Mismatch = "refuse",
    policy: Policy = "reject",
    intervals: IntervalSettings = DEFAULT_INTERVALS,
) -> Comparison:
    """Compare systems on the same presentations (see `scores.presentations`), each at its own operating
    point.

    Every pair is compared in every measure; persons are drawn for both systems at once, and the difference
    is judged by Student's t with the degrees of freedom of its persons. Raises ScoreTableError where the
    systems were given different presentations (unless they are to be intersected) or disagree about what one
    is.
    """
    if len(tables) < 2:
        raise SettingsError(f"a comparison needs two systems or more; got {', '.join(tables) or 'none'}")
    without = [name for name in tables if name not in points]
    if without:
        raise SettingsError(f"no operating point for {few(without)}; choose each on its own validation scores")
    aligned, left_out = align(tables, mismatch=mismatch)
    evaluations = {
        name: evaluate(table, [points[name]], policy=policy, intervals=intervals) for name, table in aligned.items()
    }
    samples = {name: Sample.of(table) for name, table in aligned.items()}
    first = next(iter(samples.values()))
    resampling = Resampling(first.person, first.persons, intervals)
    differences = differ(samples, points, resampling, policy=policy)
    notes = list(dict.fromkeys(note for evaluation in evaluations.values() for note in evaluation.notes))
    if any(left_out.values()):
        counts = ", ".join(f"{count} of {name}" for name, count in left_out.items() if count)
        notes.append(f"only presentations that every system was given are compared; left out: {counts}")
    return Comparison(
        evaluations=evaluations,
        differences=differences,
        presentations=len(first),
        persons=first.persons,
        left_out=left_out,
        notes=tuple(notes),
    )


def differ(
    samples: Mapping[str, Sample],
    points: Mapping[str, OperatingPoint],
    resampling: Resampling,
    *,
    policy: Policy = "reject",
) -> tuple[Difference, ...]:
    """The differences of every pair of systems, over samples of the same presentations in the same order."""
    measured = {name: _measure(sample, points[name], policy, resampling) for name, sample in samples.items()}
    pairs = combinations(samples, 2)
    differences = [_difference(measure, pair, measured, resampling) for pair in pairs for measure in MEASURES]
    return _holm(differences, 1 - resampling.confidence)


def align(
    tables: Mapping[str, pd.DataFrame], *, mismatch: Mismatch = "refuse"
) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    """The tables with the same presentations in the same order, and how many each had to leave out."""
    names = {system: pd.Index(text_column(table, "presentation")) for system, table in tables.items()}
    for system, index in names.items():
        if not index.is_unique:
            raise ScoreTableError(
                f"{system} has several rows for {index[index.duplicated()][0]}; fuse its frames first"
            )
    systems = list(names)
    common = names[systems[0]]
    for system in systems[1:]:
        common = common.intersection(names[system])
    common = common.sort_values()
    left_out = {system: len(index) - len(common) for system, index in names.items()}
    if not len(common):
        raise ScoreTableError(f"{few(systems)} have no presentation in common; compare scores of the same manifest")
    if any(left_out.values()) and mismatch == "refuse":
        counts = ", ".join(f"{count} of {system}'s" for system, count in left_out.items() if count)
        system = next(system for system, count in left_out.items() if count)
        example = names[system].difference(common)[0]
        raise ScoreTableError(
            f"the systems were not given the same presentations: {counts} are not in every table, "
            f"such as {example}; score the same manifest, or compare on the intersection"
        )
    aligned: dict[str, pd.DataFrame] = {}
    base: pd.DataFrame | None = None
    for system, table in tables.items():
        rows = table.iloc[names[system].get_indexer(common)].reset_index(drop=True)
        if base is None:
            base = rows
        else:
            apart = text_column(base, "label") != text_column(rows, "label")
            if apart.any():
                raise ScoreTableError(
                    f"{systems[0]} and {system} disagree about the label of {int(apart.sum())} "
                    f"presentations: {few(common[apart], limit=3)}; one of the tables has wrong labels"
                )
            rows = rows.assign(**{fact: base[fact].to_numpy() for fact in _FACTS if fact in base.columns})
        aligned[system] = rows
    return aligned, left_out


class _Measured(NamedTuple):
    """A measure of one system: value, each unit's influence, replicates; or why it is undefined."""

    value: float
    influence: NDArray[np.float64]
    replicates: NDArray[np.float64]
    bona_fide: NDArray[np.bool_]
    attack: NDArray[np.bool_]
    reason: str = ""


def _measure(sample: Sample, point: OperatingPoint, policy: Policy, resampling: Resampling) -> dict[str, _Measured]:
    none = np.empty(0)
    accepted, undefined = accepts(sample, point)
    base = np.ones(len(sample), dtype=bool) if policy == "reject" else sample.ok

    def measured(of: NDArray[np.bool_], reason: str = "") -> _Measured:
        bona_fide, attack = of & sample.bona_fide, of & ~sample.bona_fide
        for which, title in ((bona_fide, "bona fide"), (attack, "attack")):
            if not which.any() and not reason:
                reason = f"no {title} presentation {'has a score' if len(sample) else ''}".strip()
        return _Measured(math.nan, none, none, bona_fide, attack, reason)

    hter = measured(base, undefined)
    if not hter.reason:
        far, frr = resampling.ratio(accepted, hter.attack), resampling.ratio(~accepted, hter.bona_fide)
        hter = hter._replace(
            value=(far.value + frr.value) / 2,
            influence=(far.influence + frr.influence) / 2,
            replicates=(far.replicates + frr.replicates) / 2,
        )
    worst = measured(sample.ok, undefined)
    if worst.attack.any() and not undefined:
        rates = [
            resampling.ratio(accepted, worst.attack & (sample.species == k))
            for k in range(len(sample.species_names))
            if (worst.attack & (sample.species == k)).any()
        ]
        top = max(rates, key=lambda rate: (rate.value, rate.total))
        with np.errstate(invalid="ignore"):
            drawn = np.fmax.reduce([rate.replicates for rate in rates])
        # Bona fide have no part in it: whoever lacks them can still be compared.
        worst = _Measured(top.value, top.influence, drawn, worst.attack, worst.attack)
    auc = measured(sample.ok)
    estimate = auc_estimate(sample, resampling)
    if estimate is not None:
        auc = auc._replace(value=estimate.value, influence=estimate.influence, replicates=estimate.replicates)
    return {"hter": hter, "apcer_max": worst, "auc": auc}


def _difference(
    measure: str, pair: tuple[str, str], measured: Mapping[str, dict[str, _Measured]], resampling: Resampling
) -> Difference:
    first, second = (measured[name][measure] for name in pair)
    nan = math.nan
    for name, one in zip(pair, (first, second), strict=True):
        if one.reason:
            return Difference(measure, *pair, nan, nan, nan, nan, nan, False, "", f"{name}: {one.reason}")
    value = second.value - first.value
    estimate = resampling.estimate(
        value,
        second.influence - first.influence,
        second.replicates - first.replicates,
        first.bona_fide | second.bona_fide,
        first.attack | second.attack,
    )
    if not estimate.persons:
        return Difference(measure, *pair, value, nan, nan, nan, nan, False, "", ONE_PERSON)
    if estimate.variance <= 0:
        reason = "alike in every presentation that counts" if value == 0 else "no spread between persons"
        p = 1.0 if value == 0 else nan
        return Difference(measure, *pair, value, value, value, p, nan, False, "", reason)
    error = math.sqrt(estimate.variance)
    reach = student_quantile(estimate.freedom, (1 + resampling.confidence) / 2) * error
    p = 2 * student_cdf(estimate.freedom, -abs(value) / error)
    return Difference(measure, *pair, value, max(value - reach, -1.0), min(value + reach, 1.0), p, nan, False, "")


def _holm(differences: list[Difference], level: float) -> tuple[Difference, ...]:
    """Holm's step-down correction over all differences that have a p-value."""
    tested = sorted((d for d in differences if not math.isnan(d.p)), key=lambda d: d.p)
    corrected: dict[int, float] = {}
    largest = 0.0
    for rank, difference in enumerate(tested):
        largest = max(largest, min(1.0, difference.p * (len(tested) - rank)))
        corrected[id(difference)] = largest
    result = []
    for difference in differences:
        p = corrected.get(id(difference), math.nan)
        real = p < level
        second_is_better = (difference.value > 0) == (difference.measure == "auc")
        better = (difference.second if second_is_better else difference.first) if real else ""
        result.append(replace(difference, p_holm=p, real=real, better=better))
    return tuple(result)
