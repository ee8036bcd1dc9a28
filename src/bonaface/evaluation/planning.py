"""Plan an evaluation: the subjects and presentations that show an error rate, by the intervals of the reports."""

from __future__ import annotations

import bisect
import math
import operator
from dataclasses import dataclass

import numpy as np

from bonaface.errors import SettingsError
from bonaface.evaluation.intervals import CONFIDENCE, rate_interval

ERRORS = (0, 1, 2)
"""The numbers of errors that a plan covers."""
_MOST = 10**15


@dataclass(frozen=True)
class PlannedSet:
    """Presentations of one attack species, or of bona fide, with a number of errors among them.

    `low` and `high` are the bounds that a report on such a set shows, with the errors on the subjects where `high` is
    highest.
    """

    errors: int
    subjects: int
    presentations: int
    low: float
    high: float


@dataclass(frozen=True)
class Plan:
    """What shows an error rate, and what a planned set shows.

    `needed` maps `apcer` and `bpcer` to the smallest sets whose upper bound is at most the rate that `wanted` names.
    `planned` is the given set. APCER needs its set for each attack species; the species may share their subjects.
    """

    confidence: float
    per_subject: int
    species: int
    wanted: dict[str, float]
    needed: dict[str, tuple[PlannedSet, ...]]
    planned: tuple[PlannedSet, ...]


def plan(
    *,
    apcer: float | None = None,
    bpcer: float | None = None,
    subjects: int | None = None,
    per_subject: int = 1,
    species: int = 1,
    confidence: float = CONFIDENCE,
) -> Plan:
    """Return the subjects and presentations that show an error rate, and what a planned set shows at best.

    A rate is shown where the upper bound of its interval is at most that rate. Presentations of one subject count as one
    piece of evidence, so more of them hardly lower the bound. The bounds are those of every report of Bonaface at the
    confidence 0.95. Presentations without a score do not count: plan for some more.

    Args:
        apcer: the rate to show for each attack species, as a share.
        bpcer: the rate to show for bona fide presentations, as a share.
        subjects: the subjects of a planned set, whose bounds are wanted.
        per_subject: presentations of each subject, of each species.
        species: the number of attack species.
        confidence: the share of intervals that contain the true rate, 2.5 % of errors on either side at 0.95.

    Returns:
        The plan, for zero, one and two errors.

    Raises:
        SettingsError: nothing to plan was given, or a value is out of its range.

    Examples:
        >>> import bonaface
        >>> found = bonaface.plan(apcer=0.05, per_subject=10)
        >>> found.needed["apcer"][0].subjects, found.needed["apcer"][0].presentations
        (72, 720)
        >>> round(bonaface.plan(subjects=40, per_subject=10).planned[0].high, 3)
        0.088
    """
    wanted = {name: _share(name, rate) for name, rate in (("apcer", apcer), ("bpcer", bpcer)) if rate is not None}
    if not wanted and subjects is None:
        raise SettingsError(
            "nothing to plan: give the rate to show (apcer or bpcer, such as 0.05) or the subjects of a planned set"
        )
    confidence = _share("confidence", confidence)
    per_subject = _whole("per_subject", per_subject, least=1)
    return Plan(
        confidence=confidence,
        per_subject=per_subject,
        species=_whole("species", species, least=1),
        wanted=wanted,
        needed={
            name: tuple(_smallest(rate, errors, per_subject, confidence) for errors in ERRORS)
            for name, rate in wanted.items()
        },
        planned=()
        if subjects is None
        else tuple(
            _bounded(errors, _whole("subjects", subjects, least=2), per_subject, confidence) for errors in ERRORS
        ),
    )


def _smallest(rate: float, errors: int, per_subject: int, confidence: float) -> PlannedSet:
    """Return the smallest set whose upper bound is at most the rate."""
    subjects = range(2, _MOST)
    place = bisect.bisect_left(subjects, True, key=lambda n: _bounded(errors, n, per_subject, confidence).high <= rate)
    if place == len(subjects):
        raise SettingsError(f"a rate of {rate:g} needs more than {_MOST:.0e} subjects; expected a higher rate")
    return _bounded(errors, subjects[place], per_subject, confidence)


def _bounded(errors: int, subjects: int, per_subject: int, confidence: float) -> PlannedSet:
    """Return the set with the bounds of the worse placement: all errors on few subjects, or each on its own."""
    placements = [[1] * errors] if errors <= subjects else []
    if errors <= per_subject:
        placements.append([errors])
    found = []
    for placed in placements:
        wrong = np.array([0.0, *placed])
        alike = np.array([subjects - len(placed), *[1] * len(placed)], dtype=np.float64)
        of = np.full(len(wrong), float(per_subject))
        found.append(rate_interval(wrong, of, alike=alike, confidence=confidence))
    worst = max(found, key=lambda each: each.high)
    return PlannedSet(errors, subjects, subjects * per_subject, worst.low, worst.high)


def _share(name: str, value: float) -> float:
    if not isinstance(value, int | float | np.number) or not 0 < float(value) < 1:
        such_as = CONFIDENCE if name == "confidence" else 0.05
        is_percent = isinstance(value, int | float) and math.isfinite(value) and 1 <= value < 100
        hint = f"; for {value:g} % write {value / 100:g}" if is_percent else ""
        raise SettingsError(f"{name} is {value}; expected a share between 0 and 1, such as {such_as}{hint}")
    return float(value)


def _whole(name: str, value: int, *, least: int) -> int:
    try:
        whole = operator.index(value)
    except TypeError:
        raise SettingsError(f"{name} is {value!r}; expected a whole number") from None
    if whole < least:
        why = ": one person alone says nothing about others" if least > 1 else ""
        raise SettingsError(f"{name} is {whole}; expected {least} or more{why}")
    return whole
