"""The area under the ROC curve: the share of (bona fide, attack) pairs in the right order, equal scores half.

The interval is DeLong's for subjects with several presentations (DeLong, DeLong and Clarke-Pearson 1988; Obuchowski
1997, "Nonparametric analysis of clustered ROC curve data", Biometrics 53): the variance comes from each subject's
placements, Student's t is taken on the logit scale.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bonaface.evaluation.arrays import Floats, ScoreArrays
from bonaface.evaluation.intervals import (
    EXACT,
    NONE_OF_ONE,
    Interval,
    Spread,
    bound_without_error,
    effective_subjects,
    logit_interval,
    spread,
)
from bonaface.evaluation.results import Figure


class Area(NamedTuple):
    """The area, and each subject's influence on it."""

    value: float
    influence: Floats


def auc(arrays: ScoreArrays) -> Figure:
    """Return the area under the ROC curve of scored presentations; undefined where a class is missing."""
    area = area_of(arrays)
    if area is None:
        return Figure(math.nan, reason="needs scores of both classes")
    classes = [arrays.per_subject(arrays.ok & (arrays.bona_fide == side)) for side in (True, False)]
    found = spread(area.influence, min(int(np.count_nonzero(of)) for of in classes))
    low, high, method, reason = _interval(area.value, found, min(effective_subjects(of) for of in classes))
    return Figure(area.value, arrays.subjects, low, high, method, reason)


def area_of(arrays: ScoreArrays) -> Area | None:
    """Return the area and its influences; None where a class has no score."""
    bona_fide, attack = arrays.ok & arrays.bona_fide, arrays.ok & ~arrays.bona_fide
    if not bona_fide.any() or not attack.any():
        return None
    placed = np.zeros(len(arrays))
    placed[bona_fide] = _below(arrays.value[bona_fide], arrays.value[attack])
    placed[attack] = int(bona_fide.sum()) - _below(arrays.value[attack], arrays.value[bona_fide])
    real, faked = arrays.per_subject(bona_fide), arrays.per_subject(attack)
    pairs = real.sum() * faked.sum()
    value = float(placed[bona_fide].sum() / pairs)
    both = arrays.per_subject(placed) / pairs
    return Area(value, both - value * (real / real.sum() + faked / faked.sum()))


def _below(values: Floats, others: Floats) -> Floats:
    """Return how many of the others lie below each value, equal ones half."""
    ordered = np.sort(others)
    return np.asarray((np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right")) / 2)


def _interval(value: float, found: Spread, subjects: float) -> Interval:
    """Return the bounds of an area, never narrower on either side than those of a perfect order of as many subjects."""
    if not found.freedom:
        return NONE_OF_ONE
    low, high = 1 - bound_without_error(subjects), bound_without_error(subjects)
    if value in (0.0, 1.0):
        return Interval(low if value else 0.0, 1.0 if value else high, EXACT)
    inner = logit_interval(value, found)
    return Interval(min(inner.low, low), max(inner.high, high), inner.method)
