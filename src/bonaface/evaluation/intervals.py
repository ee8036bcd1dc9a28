"""95 % intervals that take a person's presentations as one piece of evidence, not as many.

Presentations of one person go together, so what is drawn again is persons. A plain percentile bootstrap over
persons is too narrow where they are few (it covers 85-90 % with ten), and collapses to a point where no
error was seen. Here the bootstrap gives the variance alone, and the interval is built from it as survey
statistics does it for small samples (Korn and Graubard 1998; the choice among seven methods was made by
coverage, see benchmarks/intervals.py):

- The variance is scaled by G/(G-1), G being the persons, and t quantiles take the place of normal ones, with
Satterthwaite degrees of freedom from the persons' influences: an error rate that three persons out of fifty
make up has the certainty of a handful of observations, not of fifty.
- A rate: the variance says how many independent presentations the sample is worth (at most as many as there
are, at least as many as persons); its bounds are those of a share of that number, by a uniform prior. Jeffreys' would do
for a known number, but this one is found from the same errors, too large where few happened to be seen: with the uniform
prior the truth is above the bounds about as often as below. Where every person has one presentation, the exact bounds
(Clopper-Pearson) take their place.
- No error seen (or nothing but errors): the sample is taken to be worth the number of its persons (Kish's,
where they have unequally many presentations), which is safe whatever the correlation.
- A mean of two rates (HTER, ACER): the bounds of the two, combined with the correlation of the rates (MOVER, Zou and
Donner 2008), so that a rate without errors still counts with what is not known of it.
- An area: t on the logit scale. A loss: t on the log scale.
- A rate by itself and an area give up some degrees of freedom: a few persons make most errors, and most draws of persons
have not met them. So many that 95 % intervals hold the truth 95 times in 100.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bonaface.evaluation.distributions import beta_quantile, normal_quantile, student_quantile

__all__ = [
    "DEFAULT_INTERVALS",
    "Estimate",
    "Interval",
    "IntervalSettings",
    "Resampling",
    "clopper_pearson",
    "freedom",
    "jeffreys",
    "mean_interval",
    "scale_interval",
]

Floats = NDArray[np.float64]

ONE_PERSON = "one person alone says nothing about others"

RATE_UNSEEN, AREA_UNSEEN = 1.0, 3.0
"""Degrees of freedom that the interval of a rate and that of an area give up, as long as two are left."""

JEFFREYS, UNIFORM = 0.5, 1.0
"""What a prior adds to the errors, and to the rest."""


@dataclass(frozen=True)
class IntervalSettings:
    """How intervals are computed.

    More persons than `groups` are put into that many random groups, which are drawn instead: the variance
    stays the same and the memory small. `resamples=0` takes the first-order value of the bootstrap variance:
    no drawing at all.
    """

    resamples: int = 1000
    seed: int = 0
    confidence: float = 0.95
    groups: int = 2000


DEFAULT_INTERVALS = IntervalSettings()


class Interval(NamedTuple):
    """Lower and upper bound and the method that gave them; NaN with a reason where there is none."""

    low: float
    high: float
    method: str
    reason: str = ""


class Estimate(NamedTuple):
    """A statistic with its variance over persons and the degrees of freedom of that variance.

    `influence` is each unit's share in the deviation (its squares add up to the variance), `replicates` the
    statistic in each resample (empty without resampling), `worth` the persons that stand behind it (Kish),
    `total` the presentations, `independent` whether every person has but one of them.
    """

    value: float
    variance: float
    freedom: float
    influence: Floats
    replicates: Floats
    worth: float
    total: float
    independent: bool

    @property
    def persons(self) -> bool:
        """Whether there is more than one person to learn a spread from."""
        return self.freedom > 0

    def rate_interval(self, confidence: float, *, chosen: bool = False, part: bool = False) -> Interval:
        """Bounds of a rate.

        `chosen` where its threshold was chosen on the same scores, which adds variance; `part` for bounds that
        go into those of a mean of rates: Jeffreys' where exact ones are at hand, and no degree of freedom given up, since
        caution in each of the two would make it wide twice over.
        """
        if self.independent and (not chosen or self.value in (0.0, 1.0)):
            bounds = jeffreys if part else clopper_pearson
            return Interval(*bounds(self.value * self.total, self.total, confidence), _NAMES[bounds])
        if not self.persons:
            return Interval(math.nan, math.nan, "", ONE_PERSON)
        if self.value in (0.0, 1.0):
            low, high = clopper_pearson(self.value * self.worth, self.worth, confidence)
            return Interval(low, high, "clopper-pearson over persons")
        tail = (1 + confidence) / 2
        freedom = self.freedom if part else _less(self.freedom, RATE_UNSEEN)
        shrink = (normal_quantile(tail) / student_quantile(freedom, tail)) ** 2
        # Never worth more than the presentations counted (a design effect below one is chance), nor less than the persons.
        worth = min(self.value * (1 - self.value) / max(self.variance, 1e-300) * shrink, self.total)
        worth = max(worth, min(self.worth, self.total))
        low, high = _posterior(self.value * worth, worth, confidence, UNIFORM)
        # Of few persons a prior can outweigh what was seen; the rate itself is never left out.
        return Interval(min(low, self.value), max(high, self.value), "person bootstrap")


class Resampling:
    """Persons, and the resamples of them that every interval of one set of presentations shares."""

    def __init__(self, person: NDArray[np.intp], persons: int, settings: IntervalSettings) -> None:
        self.persons = persons
        self.confidence = settings.confidence
        self._person = person
        generator = np.random.default_rng(settings.seed)
        self.units = min(persons, settings.groups)
        self.unit = person
        if persons > self.units:
            self.unit = generator.permutation(persons)[person] % self.units
        self.weights: Floats | None = None
        if settings.resamples and self.units > 1:
            shares = np.full(self.units, 1 / self.units)
            draws = generator.multinomial(self.units, shares, size=settings.resamples)
            self.weights = draws.astype(np.float64)

    @classmethod
    def none(cls, person: NDArray[np.intp], persons: int) -> Resampling:
        """No resamples, for who wants the statistics alone."""
        return cls(person, persons, IntervalSettings(resamples=0))

    def per_unit(self, which: NDArray[np.bool_], amounts: Floats | None = None) -> Floats:
        """Presentations where `which` holds (or the sum of `amounts` over them), by unit."""
        weights = None if amounts is None else amounts[which]
        return np.bincount(self.unit[which], weights, minlength=self.units).astype(np.float64)

    def ratio(self, hit: NDArray[np.bool_], of: NDArray[np.bool_]) -> Estimate:
        """The share of `of` where `hit` holds as well."""
        return self.mean(hit.astype(np.float64), of)

    def mean(self, amounts: Floats, of: NDArray[np.bool_]) -> Estimate:
        """The mean of `amounts` over the presentations `of`."""
        counts = self.per_unit(of)
        sums = self.per_unit(of, amounts)
        total = counts.sum()
        value = float(sums.sum() / total)
        influence = (sums - value * counts) / total
        replicates = np.empty(0)
        if self.weights is not None:
            drawn = self.weights @ counts
            replicates = np.divide(self.weights @ sums, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0)
        return self.estimate(value, influence, replicates, of)

    def estimate(self, value: float, influence: Floats, replicates: Floats, *of: NDArray[np.bool_]) -> Estimate:
        """A statistic over the presentations `of` (of each class, where it needs both) from its
        replicates."""
        units = int(min(np.count_nonzero(self.per_unit(which)) for which in of))
        squares = influence**2
        first_order = float(squares.sum())
        variance = _variance(replicates) if len(replicates) else first_order
        if first_order <= 1e-24:
            variance = 0.0
        by_person = [np.bincount(self._person[which]) for which in of]
        worth = [float(count.sum()) ** 2 / float((count.astype(np.float64) ** 2).sum()) for count in by_person]
        return Estimate(
            value=value,
            variance=variance * units / max(units - 1, 1),
            freedom=freedom(squares, units),
            influence=influence,
            replicates=replicates,
            worth=min(worth),
            total=float(min(count.sum() for count in by_person)),
            independent=all(int(count.max()) <= 1 for count in by_person),
        )


def clopper_pearson(errors: float, total: float, confidence: float = 0.95) -> tuple[float, float]:
    """Exact bounds of a binomial share; fractions are allowed, for a sample of an effective size.

    >>> low, high = clopper_pearson(0, 449)
    >>> low, round(high, 4)
    (0.0, 0.0082)
    """
    tail = (1 - confidence) / 2
    right = total - errors
    low = beta_quantile(errors, right + 1, tail) if errors > 1e-12 else 0.0
    high = beta_quantile(errors + 1, right, 1 - tail) if right > 1e-12 else 1.0
    return low, high


def jeffreys(errors: float, total: float, confidence: float = 0.95) -> tuple[float, float]:
    """Equal-tailed bounds of a binomial share by Jeffreys' prior, 0 and 1 where nothing but successes or errors were seen.

    They hold the truth as often as they say on average, where exact bounds hold it at least as often (Brown, Cai and
    DasGupta 2001).

    >>> low, high = jeffreys(5, 100)
    >>> round(low, 4), round(high, 4)
    (0.0193, 0.1061)
    """
    return _posterior(errors, total, confidence, JEFFREYS)


def _posterior(errors: float, total: float, confidence: float, prior: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    right = total - errors
    low = beta_quantile(errors + prior, right + prior, tail) if errors > 1e-12 else 0.0
    high = beta_quantile(errors + prior, right + prior, 1 - tail) if right > 1e-12 else 1.0
    return low, high


_NAMES = {clopper_pearson: "clopper-pearson", jeffreys: "jeffreys"}


def mean_interval(first: Estimate, second: Estimate, bounds: tuple[Interval, Interval]) -> Interval:
    """Bounds of the mean of two rates from the bounds of each and the correlation that their persons give
    them."""
    (low1, high1, *_), (low2, high2, *_) = bounds
    for interval in bounds:
        if interval.reason:
            return Interval(math.nan, math.nan, "", interval.reason)
    size = math.sqrt(float((first.influence**2).sum()) * float((second.influence**2).sum()))
    correlation = float(first.influence @ second.influence) / size if size > 1e-24 else 0.0

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(a * a + b * b + 2 * correlation * a * b, 0.0)) / 2

    value = (first.value + second.value) / 2
    low = value - reach(first.value - low1, second.value - low2)
    high = value + reach(high1 - first.value, high2 - second.value)
    methods = dict.fromkeys(interval.method for interval in bounds)
    return Interval(max(low, 0.0), min(high, 1.0), " + ".join(methods))


def scale_interval(estimate: Estimate, confidence: float, *, scale: str) -> Interval:
    """Bounds by Student's t on the `logit` scale (a share) or the `log` scale (a loss)."""
    value = estimate.value
    if not estimate.persons:
        return Interval(math.nan, math.nan, "", ONE_PERSON)
    if scale == "logit" and value in (0.0, 1.0):
        # Persons paired off, one's bona fide with another's attack, are independent trials.
        low, high = clopper_pearson(value * estimate.worth, estimate.worth, confidence)
        return Interval(low, high, "clopper-pearson over persons")
    freedom = _less(estimate.freedom, AREA_UNSEEN) if scale == "logit" else estimate.freedom
    reach = student_quantile(freedom, (1 + confidence) / 2) * math.sqrt(estimate.variance)
    if scale == "logit":
        centre, reach = math.log(value / (1 - value)), reach / (value * (1 - value))
        low, high = (_logistic(centre - reach), _logistic(centre + reach))
    else:
        factor = math.exp(min(reach / value, 700.0)) if value > 0 else 1.0
        low, high = value / factor, value * factor
    return Interval(low, high, "person bootstrap")


def _less(freedom: float, unseen: float) -> float:
    return max(freedom - unseen, min(freedom, 2.0))


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(max(x, -700.0)) / (1 + math.exp(max(x, -700.0)))


def _variance(replicates: Floats) -> float:
    kept = replicates[~np.isnan(replicates)]
    return float(kept.var()) if len(kept) > 1 else math.nan


def freedom(squares: Floats, units: int) -> float:
    """Satterthwaite's degrees of freedom of a sum of squared influences: between 2 and one less than the
    persons."""
    if units < 2:
        return 0.0
    mean = squares.sum() / units
    # Persons outside the class have no influence: their squares are zero, and are left out here.
    spread = float((squares**2).sum() - units * mean**2)
    found = 2 * float(squares.sum()) ** 2 / spread if spread > 1e-300 else math.inf
    return float(min(max(found, 2.0), units - 1))
