"""95 % intervals that count a subject's presentations as one piece of evidence, not as many.

Presentations of one subject go together, so what varies is the subject. Nothing is drawn at random: every bound is
computed, and the same table gives the same interval.

**A rate** (APCER, BPCER, FAR, FRR, accuracy; HTER and ACER as the rate of presentations of which each class weighs
half): the mean of a Dirichlet distribution over subjects, as in the Bayesian bootstrap (Rubin 1981), with one subject
more at the bad end (Learned-Miller and Thomas 2019, arXiv:1905.06208):

- Subject i with n_i presentations counts as n_i / n* subjects, n* being the mean size of the subject of a presentation,
  sum(n_i^2) / sum(n_i). All together count as K subjects, Kish's effective number.
- The upper bound is the 97.5 % point of sum(D_i z_i) + D_0 max(z), z_i being the subject's share of errors: one more
  subject is as wrong as the worst that was seen. It is never below the bound of no error among K subjects.
- The lower bound is the same for the share of right decisions, taken from 1.

With one presentation a subject, and where every subject is all right or all wrong, these are the bounds of Clopper and
Pearson (1934) for subjects. The distribution of D depends on how many presentations each subject has and not on the
errors, and what is averaged never falls when an error is added. So neither bound ever falls when an error is added,
whichever subject makes it. The price: with few errors the upper bound stays at that of no error (3.7 / K for many
subjects), because a subject who is always wrong may not have been met.

**A mean or an area** (loss, AUC, differences between systems): Student's t with the linearised variance over subjects
and Satterthwaite's degrees of freedom, on the log, the logit or the plain scale.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2

ONE_PERSON = "one person alone says nothing about others"
EXACT = "clopper-pearson over subjects"
STUDENT = "student t over subjects"


class Interval(NamedTuple):
    """Lower and upper bound and the method that gave them; NaN with a reason if undefined."""

    low: float
    high: float
    method: str
    reason: str = ""


NONE_OF_ONE = Interval(math.nan, math.nan, "", ONE_PERSON)


def rate_interval(
    wrong: Floats, of: Floats, *, alike: Floats | None = None, confidence: float = CONFIDENCE
) -> Interval:
    """Return the bounds of the rate `sum(wrong) / sum(of)` from each subject's errors and presentations.

    Both may be weights instead of counts. Subjects without presentations are left out. `alike` says how many subjects
    each element describes, by default one.
    """
    alike = np.ones_like(of) if alike is None else alike
    wrong, of, alike = (each[(of > 0) & (alike > 0)] for each in (wrong, of, alike))
    if alike.sum() < 2:
        return NONE_OF_ONE
    tail = (1 - confidence) / 2
    share = np.clip(wrong / of, 0.0, 1.0)
    total = float((of * alike).sum())
    worth = of * alike * (total / float((of**2 * alike).sum()))
    rate = float((wrong * alike).sum() / total)
    low, high = 1 - _upper(1 - share, worth, tail), _upper(share, worth, tail)
    return Interval(min(low, rate), max(high, rate), EXACT)


def bound_without_error(subjects: float, *, tail: float = TAIL) -> float:
    """Return the upper bound of a rate where none of so many subjects showed an error.

    >>> round(bound_without_error(100), 4)
    0.0362
    """
    return float(1 - tail ** (1 / subjects))


def effective_subjects(of: Floats) -> float:
    """Return Kish's effective number of subjects from the presentations of each.

    >>> effective_subjects(np.array([20.0, 20, 0])), round(effective_subjects(np.array([100.0, 1])), 2)
    (2.0, 1.02)
    """
    return float(of.sum() ** 2 / (of**2).sum())


class Spread(NamedTuple):
    """The standard error of a statistic over subjects, and its degrees of freedom (0 where no spread can be known)."""

    error: float
    freedom: float

    @property
    def reach(self) -> float:
        """Half the width of the interval on the plain scale."""
        return float(special.stdtrit(self.freedom, 1 - TAIL)) * self.error


def spread(influence: Floats, subjects: int) -> Spread:
    """Return the linearised standard error of a statistic from each subject's influence on it.

    The squares add up to the variance, which G / (G - 1) corrects for G subjects. The degrees of freedom are those of
    Satterthwaite (1946) for that sum of squares: where three subjects of fifty make all errors, the variance is known
    as well as from a handful. They lie between 2 and G - 1.
    """
    if subjects < 2:
        return Spread(math.nan, 0.0)
    with np.errstate(over="ignore"):  # logits may be as large as floats are; the interval is then without an end
        squares = influence**2
        variance, fourth = float(squares.sum()), float((squares**2).sum())
    if variance <= 1e-24:
        return Spread(0.0, subjects - 1.0)
    apart = fourth - variance * variance / subjects
    freedom = 2 * variance * variance / apart if apart > 1e-12 * variance * variance else math.inf
    return Spread(math.sqrt(variance * subjects / (subjects - 1)), min(freedom, subjects - 1.0))


def mean_influence(amount: Floats, of: Floats) -> Floats:
    """Return each subject's influence on `sum(amount) / sum(of)`, given both by subject."""
    total = of.sum()
    return np.asarray((amount - amount.sum() / total * of) / total)


def log_interval(value: float, found: Spread) -> Interval:
    """Return the bounds of a positive mean by Student's t on the log scale."""
    if not found.freedom:
        return NONE_OF_ONE
    factor = math.exp(min(found.reach / value, 700.0)) if value > 0 else 1.0
    return Interval(value / factor, value * factor, STUDENT)


def logit_interval(value: float, found: Spread) -> Interval:
    """Return the bounds of a share strictly between 0 and 1 by Student's t on the logit scale."""
    if not found.freedom:
        return NONE_OF_ONE
    centre, reach = special.logit(value), found.reach / (value * (1 - value))
    return Interval(float(special.expit(centre - reach)), float(special.expit(centre + reach)), STUDENT)


def _upper(share: Floats, worth: Floats, tail: float) -> float:
    """Return the upper bound of a rate from each subject's share of errors and the subjects that it counts as."""
    floor = bound_without_error(float(worth.sum()), tail=tail)
    values, which = np.unique(share, return_inverse=True)
    if values[-1] <= floor:
        return floor
    weights = np.bincount(which, worth).astype(np.float64)
    weights[-1] += 1  # the subject that was not met, as wrong as the worst that was
    if len(values) == 1:
        return float(values[0])
    if len(values) == 2:
        part = float(special.betaincinv(weights[1], weights[0], 1 - tail))
        return max(floor, float(values[0] + (values[1] - values[0]) * part))

    def excess(bound: float) -> float:
        # As a normal deviate, in which the probability is nearly a straight line: few steps to the root.
        above = min(max(_mean_above(bound, values, weights), 1e-300), 1 - 1e-16)
        return float(special.ndtri(above) - special.ndtri(tail))

    least = max(floor, float(values @ weights / weights.sum()))
    if excess(least) <= 0:
        return least
    return float(optimize.brentq(excess, least, float(values[-1]), xtol=1e-12, rtol=1e-11))


_STEP, _BLOCK = 0.1, 16


def _mean_above(bound: float, values: Floats, weights: Floats) -> float:
    """Return the probability that `sum(D values)` exceeds a bound, D being Dirichlet with these weights.

    It is the probability that a weighted sum of independent gamma variables is positive: the inverse Laplace transform
    of its moment generating function, on the vertical line through the saddle point. After a change of variable to
    sinh, the trapezoidal rule with these steps is exact to twelve digits. Takes bounds from the mean upwards.
    """
    apart = values - bound
    if apart[-1] <= 0:
        return 0.0
    last = 1 / apart[-1]

    def slope(at: float) -> float:
        return float((weights * apart / (1 - at * apart)).sum())

    saddle = optimize.brentq(slope, 0.0, last * (1 - 1e-13), rtol=1e-3) if slope(0.0) < 0 else 0.0
    # Not too near the pole at 0, where the transform is divided by its argument.
    saddle = max(saddle, min(1 / math.sqrt(float((weights * apart**2).sum())), 0.5 * last))
    tilted = apart / (1 - saddle * apart)
    scale = 1 / math.sqrt(float((weights * tilted**2).sum()))
    total, block = 0.0, 0
    while True:
        angle = _STEP * np.arange(block * _BLOCK, (block + 1) * _BLOCK)
        height = scale * np.sinh(angle)
        part = np.exp(-weights @ np.log(1 - 1j * np.outer(tilted, height))) / (saddle + 1j * height)
        heights = part.real * scale * np.cosh(angle)
        if not block:
            heights[0] /= 2
        total += float(heights.sum())
        block += 1
        if abs(heights[-1]) <= 1e-14 * abs(total):
            break
    at_saddle = -float(weights @ np.log1p(-saddle * apart))
    return math.exp(at_saddle) * _STEP * total / math.pi


def student_p(value: float, found: Spread) -> float:
    """Return the two-sided p-value of a difference from 0."""
    return float(2 * stats.t.sf(abs(value) / found.error, found.freedom))
