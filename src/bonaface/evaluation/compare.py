"""Test whether one system is better than another on the same presentations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd

from bonaface.choices import Policy
from bonaface.errors import ScoreTableError, SettingsError, format_list
from bonaface.evaluation.arrays import Bools, Floats, ScoreArrays
from bonaface.evaluation.auc import area_of
from bonaface.evaluation.checking import text_column
from bonaface.evaluation.intervals import CONFIDENCE, ONE_PERSON, mean_influence, spread, student_p
from bonaface.evaluation.iso30107 import evaluate_arrays
from bonaface.evaluation.results import Evaluation
from bonaface.evaluation.thresholds import accepts
from bonaface.types import Threshold

Mismatch = Literal["refuse", "intersect"]
MEASURES = ("hter", "apcer_max", "auc")

# Properties of a presentation, not of a system: taken from the first table.
_FACTS = ("label", "species", "subject", "subject_known", "dataset")


@dataclass(frozen=True)
class Difference:
    """`second` minus `first` in one measure, with its 95 % interval over subjects.

    `measure` is `hter`, `apcer_max` or `auc`. `p` is two-sided, `p_holm` is corrected over all differences of the
    comparison, and `real` is `p_holm` below 0.05; `better` then names the better system, else it is empty. NaN with a
    `reason` where undefined.
    """

    measure: str
    first: str
    second: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan
    real: bool = False
    better: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """Systems measured on the same presentations, each at its own operating point, and their differences.

    `left_out` counts each system's presentations that a different one lacks (with `mismatch="intersect"`).
    """

    evaluations: dict[str, Evaluation]
    differences: tuple[Difference, ...]
    presentations: int
    persons: int
    left_out: dict[str, int]
    notes: tuple[str, ...] = ()


def compare(
    tables: Mapping[str, pd.DataFrame],
    points: Mapping[str, Threshold],
    *,
    mismatch: Mismatch = "refuse",
    policy: Policy = "reject",
) -> Comparison:
    """Compare systems on the same presentations (see `scores.presentations`), each at its own operating point.

    Every pair is compared in every measure. A difference is tested by Student's t with the linearised variance of the
    paired difference over subjects. Raises ScoreTableError where the systems were given different presentations (unless
    they are to be intersected) or disagree about a label.
    """
    if len(tables) < 2:
        raise SettingsError(f"a comparison needs two systems or more; got {', '.join(tables) or 'none'}")
    without = [name for name in tables if name not in points]
    if without:
        raise SettingsError(f"no operating point for {format_list(without)}; choose each on its own validation scores")
    aligned, left_out = align(tables, mismatch=mismatch)
    arrays = {name: ScoreArrays.from_table(table) for name, table in aligned.items()}
    evaluations = {name: evaluate_arrays(each, [points[name]], policy=policy) for name, each in arrays.items()}
    notes = list(dict.fromkeys(note for evaluation in evaluations.values() for note in evaluation.notes))
    if any(left_out.values()):
        counts = ", ".join(f"{count} of {name}" for name, count in left_out.items() if count)
        notes.append(f"only presentations that every system was given are compared; left out: {counts}")
    first = next(iter(arrays.values()))
    return Comparison(
        evaluations=evaluations,
        differences=differences_of(arrays, evaluations),
        presentations=len(first),
        persons=first.subjects,
        left_out=left_out,
        notes=tuple(notes),
    )


def differences_of(arrays: Mapping[str, ScoreArrays], evaluations: Mapping[str, Evaluation]) -> tuple[Difference, ...]:
    """Return the differences of every pair of systems, over arrays of the same presentations in the same order."""
    figures = {name: _figures(each, evaluations[name]) for name, each in arrays.items()}
    return _holm([_difference(measure, pair, figures) for pair in combinations(arrays, 2) for measure in MEASURES])


def align(
    tables: Mapping[str, pd.DataFrame], *, mismatch: Mismatch = "refuse"
) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    """Return the tables with the same presentations in the same order, and how many each had to leave out."""
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
        raise ScoreTableError(
            f"{format_list(systems)} have no presentation in common; compare scores of the same manifest"
        )
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
                    f"presentations: {format_list(common[apart], limit=3)}; one of the tables has wrong labels"
                )
            rows = rows.assign(**{fact: base[fact].to_numpy() for fact in _FACTS if fact in base.columns})
        aligned[system] = rows
    return aligned, left_out


@dataclass(frozen=True)
class _Figure:
    """A measure of one system: its value, each subject's influence on it and the subjects that it comes from."""

    value: float
    influence: Floats
    subjects: int
    reason: str = ""


def _figures(arrays: ScoreArrays, evaluation: Evaluation) -> dict[str, _Figure]:
    """Return what is compared: the figures of the evaluation, each with its influences."""
    at, ranking = evaluation.at[0], evaluation.ranking
    accepted, undefined = accepts(arrays, at.point)
    wrong = accepted != arrays.bona_fide
    base = np.ones(len(arrays), dtype=bool) if at.policy == "reject" and not undefined else arrays.ok

    def influence(of: Bools) -> Floats:
        return mean_influence(arrays.per_subject(wrong & of), arrays.per_subject(of))

    classes = [base & (arrays.bona_fide == side) for side in (True, False)]
    reasons = {"hter": at.hter.reason, "apcer_max": at.apcer_max.reason, "auc": ranking.auc.reason}
    found = {name: _Figure(math.nan, np.zeros(0), 0, reason) for name, reason in reasons.items()}
    if at.hter.defined:
        both = (influence(classes[0]) + influence(classes[1])) / 2
        found["hter"] = _Figure(at.hter.value, both, min(arrays.subjects_in(of) for of in classes))
    if at.apcer_max.defined:
        worst = arrays.ok & (arrays.species == arrays.species_names.index(at.worst_species))
        found["apcer_max"] = _Figure(
            at.apcer_max.value, influence(worst), arrays.subjects_in(arrays.ok & ~arrays.bona_fide)
        )
    area = area_of(arrays)
    if area is not None:
        scored = [arrays.ok & (arrays.bona_fide == side) for side in (True, False)]
        found["auc"] = _Figure(area.value, area.influence, min(arrays.subjects_in(of) for of in scored))
    return found


def _difference(measure: str, pair: tuple[str, str], figures: Mapping[str, dict[str, _Figure]]) -> Difference:
    first, second = (figures[name][measure] for name in pair)
    for name, one in zip(pair, (first, second), strict=True):
        if one.reason:
            return Difference(measure, *pair, reason=f"{name}: {one.reason}")
    value = second.value - first.value
    found = spread(second.influence - first.influence, min(first.subjects, second.subjects))
    if not found.freedom:
        return Difference(measure, *pair, value, reason=ONE_PERSON)
    if not found.error:
        reason = "equal in every presentation that counts" if value == 0 else "no spread between persons"
        return Difference(measure, *pair, value, value, value, 1.0 if value == 0 else math.nan, reason=reason)
    low, high = max(value - found.reach, -1.0), min(value + found.reach, 1.0)
    return Difference(measure, *pair, value, low, high, student_p(value, found))


def _holm(differences: list[Difference]) -> tuple[Difference, ...]:
    """Holm's step-down correction over all differences that have a p-value."""
    p_values = np.array([difference.p for difference in differences])
    tested = np.argsort(p_values)[: np.isfinite(p_values).sum()]  # NaN comes last
    corrected = np.full(len(differences), math.nan)
    corrected[tested] = np.maximum.accumulate(np.minimum(p_values[tested] * np.arange(len(tested), 0, -1), 1.0))
    result = []
    for difference, p in zip(differences, corrected.tolist(), strict=True):
        real = p < 1 - CONFIDENCE
        second_is_better = (difference.value > 0) == (difference.measure == "auc")
        better = (difference.second if second_is_better else difference.first) if real else ""
        result.append(replace(difference, p_holm=p, real=real, better=better))
    return tuple(result)
