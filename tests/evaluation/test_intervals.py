"""Intervals: exact where they can be, wide where persons are few, and never a point where nothing was
seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bonaface.evaluation.intervals import (
    Interval,
    IntervalSettings,
    Resampling,
    clopper_pearson,
    freedom,
    jeffreys,
    mean_interval,
    scale_interval,
)


def resampling(person, **settings):
    person = np.asarray(person, dtype=np.intp)
    return Resampling(person, int(person.max()) + 1, IntervalSettings(**settings))


def rate(errors, persons, *, each, **settings):
    """Every person brings `each` presentations; `errors` says how many of them are wrong, person by
    person."""
    wrong = np.concatenate([np.arange(each) < count for count in errors])
    drawn = resampling(np.repeat(np.arange(persons), each), **settings)
    return drawn.ratio(wrong, np.ones(len(wrong), dtype=bool))


@pytest.mark.parametrize(
    ("errors", "total", "low", "high"),
    # Two-sided upper bounds without an error as the literature prints them, and Clopper and Pearson's own table.
    [(0, 100, 0, 0.0362), (0, 150, 0, 0.0243), (0, 449, 0, 0.0082), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1)],
)
def test_exact_bounds(errors, total, low, high):
    assert clopper_pearson(errors, total) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("errors", [0, 1, 7, 30])
def test_exact_bounds_are_scipy_s(errors):
    expected = stats.binomtest(errors, 30).proportion_ci(method="exact")
    assert clopper_pearson(errors, 30) == pytest.approx(tuple(expected), abs=1e-12)


@pytest.mark.parametrize("errors", [1, 7, 29])
def test_jeffreys_bounds_are_those_of_the_posterior(errors):
    posterior = stats.beta(errors + 0.5, 30 - errors + 0.5)
    assert jeffreys(errors, 30) == pytest.approx((posterior.ppf(0.025), posterior.ppf(0.975)), abs=1e-12)
    exact = clopper_pearson(errors, 30)
    assert exact[0] < jeffreys(errors, 30)[0] < jeffreys(errors, 30)[1] < exact[1]


def test_an_area_that_one_person_decides_keeps_two_degrees_of_freedom():
    estimate = rate([9] + [10] * 19, 20, each=10)
    assert 2 < estimate.freedom < 2 + 3
    low, *_ = scale_interval(estimate, 0.95, scale="logit")
    reach = stats.t.ppf(0.975, 2) * math.sqrt(estimate.variance) / (estimate.value * (1 - estimate.value))
    assert low == pytest.approx(1 / (1 + math.exp(reach - math.log(estimate.value / (1 - estimate.value)))))


def test_bounds_for_a_mean_are_inside_the_exact_ones():
    for estimate in (rate([1] * 3 + [0] * 37, 40, each=1), rate([3, 1, 0, 2, 5, 0, 0, 1], 8, each=10)):
        exact, part = estimate.rate_interval(0.95), estimate.rate_interval(0.95, part=True)
        assert exact.low < part.low < part.high < exact.high
    single = rate([1] * 3 + [0] * 37, 40, each=1).rate_interval(0.95, part=True)
    assert single == (*jeffreys(3, 40), "jeffreys", "")


@pytest.mark.parametrize(("part", "unseen"), [(False, 1), (True, 0)])
def test_a_rate_of_persons_with_several_presentations_has_bounds_for_what_they_are_worth(part, unseen):
    """A uniform prior for the number of independent presentations that would vary as much."""
    estimate = rate([3, 1, 0, 2, 5, 0, 0, 1], 8, each=10)
    assert estimate.freedom > 2 + unseen
    narrower = stats.norm.ppf(0.975) / stats.t.ppf(0.975, estimate.freedom - unseen)
    worth = 0.15 * 0.85 / estimate.variance * narrower**2
    expected = stats.beta(0.15 * worth + 1, 0.85 * worth + 1)
    interval = estimate.rate_interval(0.95, part=part)
    assert interval[:2] == pytest.approx((expected.ppf(0.025), expected.ppf(0.975)), abs=1e-12)
    assert interval.method == "person bootstrap"


def test_an_area_has_three_degrees_of_freedom_less():
    estimate = rate([8, 7, 9, 8, 6, 9, 9, 8], 8, each=10)
    low, high, *_ = scale_interval(estimate, 0.95, scale="logit")
    spread = estimate.value * (1 - estimate.value)
    reach = stats.t.ppf(0.975, estimate.freedom - 3) * math.sqrt(estimate.variance) / spread
    centre = math.log(estimate.value / (1 - estimate.value))
    assert (low, high) == pytest.approx((1 / (1 + math.exp(reach - centre)), 1 / (1 + math.exp(-centre - reach))))


def test_one_presentation_a_person_is_plain_clopper_pearson():
    estimate = rate([1] * 3 + [0] * 37, 40, each=1)
    interval = estimate.rate_interval(0.95)
    assert interval == (*clopper_pearson(3, 40), "clopper-pearson", "")


def test_a_threshold_chosen_on_the_same_scores_adds_variance():
    """Its own errors move the threshold, so the count is not binomial; without an error nothing has moved it."""
    chosen = rate([1] * 3 + [0] * 37, 40, each=1).rate_interval(0.95, chosen=True)
    assert chosen.method == "person bootstrap"
    assert chosen[:2] != pytest.approx(clopper_pearson(3, 40))
    assert rate([0] * 40, 40, each=1).rate_interval(0.95, chosen=True) == (
        *clopper_pearson(0, 40),
        "clopper-pearson",
        "",
    )


def test_persons_are_worth_at_least_their_number():
    """One person who is always wrong says much of the spread and little of its certainty: not less than one try each."""
    one, two, none = (rate([10] * wrong + [0] * (50 - wrong), 50, each=10).rate_interval(0.95) for wrong in (1, 2, 0))
    expected = stats.beta(1 + 1, 49 + 1)
    assert one[:2] == pytest.approx((expected.ppf(0.025), expected.ppf(0.975)))
    assert none.high < one.high < two.high


@pytest.mark.parametrize(
    ("errors", "of"), [([1, 0], [250, 250]), ([250, 249], [250, 250]), ([0, 6, 0], [396, 28, 262])]
)
def test_what_a_few_persons_show_is_inside_their_bounds(errors, of):
    drawn = resampling(np.repeat(np.arange(len(of)), of))
    wrong = np.concatenate([np.arange(count) < own for own, count in zip(errors, of, strict=True)])
    estimate = drawn.ratio(wrong, np.ones(len(wrong), dtype=bool))
    for part in (False, True):
        interval = estimate.rate_interval(0.95, part=part)
        assert interval.low <= estimate.value <= interval.high


def test_without_an_error_persons_count_not_presentations():
    interval = rate([0] * 10, 10, each=45).rate_interval(0.95)
    assert interval == (*clopper_pearson(0, 10), "clopper-pearson over persons", "")
    assert rate([45] * 10, 10, each=45).rate_interval(0.95).low == pytest.approx(1 - interval.high)
    # Unequal numbers: Kish's 30^2 / (20^2 + 10 x 1^2).
    drawn = resampling([0] * 20 + list(range(1, 11)))
    estimate = drawn.ratio(np.zeros(30, dtype=bool), np.ones(30, dtype=bool))
    assert estimate.worth == pytest.approx(900 / 410)


def test_the_bootstrap_variance_is_the_textbook_s():
    errors, totals = np.array([3, 0, 1, 7, 2, 0, 0, 4.0]), np.array([10, 10, 12, 9, 10, 30, 10, 8.0])
    person = np.repeat(np.arange(8), totals.astype(int))
    wrong = np.concatenate([np.arange(n) < e for e, n in zip(errors, totals, strict=True)])
    everyone = np.ones(len(wrong), dtype=bool)
    share = errors.sum() / totals.sum()
    linear = ((errors - share * totals) ** 2).sum() / totals.sum() ** 2 * 8 / 7
    first_order = resampling(person, resamples=0).ratio(wrong, everyone)
    assert first_order.variance == pytest.approx(linear, rel=1e-12)
    # Independent of our weights: persons drawn one by one.
    generator = np.random.default_rng(1)
    draws = generator.integers(0, 8, (20000, 8))
    plain = (errors[draws].sum(axis=1) / totals[draws].sum(axis=1)).var() * 8 / 7
    assert resampling(person, resamples=20000).ratio(wrong, everyone).variance == pytest.approx(plain, rel=0.05)


def test_persons_that_err_together_widen_the_interval():
    alone = rate([1] * 20 + [0] * 20, 40, each=10).rate_interval(0.95)
    together = rate([10] * 2 + [0] * 38, 40, each=10).rate_interval(0.95)
    exact = clopper_pearson(20, 400)
    assert alone.high - alone.low == pytest.approx(exact[1] - exact[0], rel=0.15)
    assert together.high - together.low > 2.5 * (exact[1] - exact[0])
    assert together.method == "person bootstrap"


def test_degrees_of_freedom_count_the_persons_that_matter():
    assert freedom(np.ones(10), 10) == 9
    few = np.r_[np.ones(3), np.zeros(47)]
    # 2 (sum s)^2 / sum (s - mean)^2 = 18 / 2.82
    assert freedom(few, 50) == pytest.approx(18 / 2.82)
    assert freedom(np.r_[1.0, np.zeros(49)], 50) == pytest.approx(2 / 0.98, abs=1e-9)
    assert freedom(np.r_[1.0, 0.0], 2) == 1
    assert freedom(np.ones(1), 1) == 0


def test_one_person_gives_no_interval_and_says_why():
    interval = rate([3], 1, each=10).rate_interval(0.95)
    assert math.isnan(interval.low)
    assert interval.reason == "one person alone says nothing about others"
    estimate = rate([3], 1, each=10)
    assert scale_interval(estimate, 0.95, scale="log").reason
    assert mean_interval(estimate, estimate, (interval, interval)).reason


def test_a_mean_without_errors_on_one_side_keeps_that_side_s_uncertainty():
    drawn = resampling(np.repeat(np.arange(20), 10))
    attack = np.tile(np.arange(10) < 5, 20)
    wrong = ~attack & np.tile(np.arange(10) == 9, 20)
    far, frr = drawn.ratio(wrong, attack), drawn.ratio(wrong, ~attack)
    bounds = far.rate_interval(0.95), frr.rate_interval(0.95)
    mean = mean_interval(far, frr, bounds)
    assert mean.high - 0.1 > (bounds[0].high - 0.0) / 2
    assert mean.low < 0.1 < mean.high
    assert mean.method == "clopper-pearson over persons + person bootstrap"


def test_a_mean_of_rates_follows_their_correlation():
    """Errors of both kinds by the same persons add up; errors that exclude each other cancel."""
    person = np.repeat(np.arange(40), 10)
    attack = np.tile(np.arange(10) < 5, 40)
    bad = np.repeat(np.arange(40) % 4 == 0, 10)
    drawn = resampling(person)

    def width(wrong):
        far, frr = drawn.ratio(wrong, attack), drawn.ratio(wrong, ~attack)
        low, high, *_ = mean_interval(far, frr, (far.rate_interval(0.95), frr.rate_interval(0.95)))
        return high - low

    other = np.repeat(np.arange(40) % 4 == 1, 10)
    assert width(bad) > 1.2 * width((bad & attack) | (other & ~attack))


def test_bounds_hold_the_value_and_stay_shares():
    generator = np.random.default_rng(0)
    for _ in range(50):
        persons = int(generator.integers(2, 15))
        estimate = rate(generator.integers(0, 9, persons), persons, each=8)
        low, high, *_ = estimate.rate_interval(0.95)
        assert 0 <= low <= estimate.value <= high <= 1
        wider = estimate.rate_interval(0.99)
        assert wider.low <= low
        assert wider.high >= high


def test_many_persons_in_groups_keep_the_variance():
    generator = np.random.default_rng(2)
    person = generator.integers(0, 3000, 20000)
    wrong = generator.random(20000) < np.where(person % 7 == 0, 0.4, 0.02)
    person = np.unique(person, return_inverse=True)[1]
    everyone = np.ones(20000, dtype=bool)
    exact = resampling(person, resamples=0, groups=10**6).ratio(wrong, everyone)
    grouped = resampling(person, groups=500).ratio(wrong, everyone)
    assert len(grouped.influence) == 500
    assert grouped.variance == pytest.approx(exact.variance, rel=0.2)
    assert grouped.worth == exact.worth


def test_the_same_seed_gives_the_same_interval_and_another_nearly():
    first = rate([3, 1, 0, 2, 5, 0, 0, 1], 8, each=10).rate_interval(0.95)
    assert rate([3, 1, 0, 2, 5, 0, 0, 1], 8, each=10).rate_interval(0.95) == first
    other = rate([3, 1, 0, 2, 5, 0, 0, 1], 8, each=10, seed=1).rate_interval(0.95)
    assert other != first
    assert other[:2] == pytest.approx(first[:2], abs=0.03)


def test_a_loss_is_bounded_on_the_log_scale_and_an_area_on_the_logit_scale():
    drawn = resampling(np.repeat(np.arange(5), 2))
    estimate = drawn.mean(np.array([0.1, 0.3, 0.2, 0.2, 0.0, 0.5, 0.4, 0.1, 0.2, 0.2]), np.ones(10, dtype=bool))
    low, high, *_ = scale_interval(estimate, 0.95, scale="log")
    assert low * high == pytest.approx(estimate.value**2)
    perfect = estimate._replace(value=1.0, variance=0.0, worth=5.0)
    assert scale_interval(perfect, 0.95, scale="logit")[:2] == clopper_pearson(5, 5)
    assert scale_interval(estimate, 0.95, scale="logit").low > 0


def simulated(persons, datasets, seed):
    """How often a rate's interval holds the truth: beta-binomial errors, unequal persons."""
    generator = np.random.default_rng(seed)
    held = []
    for dataset in range(datasets):
        totals = 1 + generator.negative_binomial(2, 0.2, persons)
        errors = generator.binomial(totals, generator.beta(0.1 * 4, 0.9 * 4, persons))
        wrong = np.concatenate([np.arange(n) < e for e, n in zip(errors, totals, strict=True)])
        drawn = resampling(np.repeat(np.arange(persons), totals), seed=dataset, resamples=300)
        interval: Interval = drawn.ratio(wrong, np.ones(len(wrong), dtype=bool)).rate_interval(0.95)
        held.append(interval.low <= 0.1 <= interval.high)
    return float(np.mean(held))


@pytest.mark.parametrize(("persons", "least"), [(10, 0.91), (50, 0.92)])
def test_coverage_holds_in_a_small_simulation(persons, least):
    """A guard against a broken method; benchmarks/intervals.py measures coverage properly."""
    assert simulated(persons, 300, seed=4) >= least
