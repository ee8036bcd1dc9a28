"""Intervals: equal to closed forms where there are some, never falling when an error is added, and holding the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bonaface.evaluation.intervals import (
    EXACT,
    ONE_PERSON,
    Spread,
    _mean_above,
    bound_without_error,
    effective_subjects,
    log_interval,
    logit_interval,
    mean_influence,
    rate_interval,
    spread,
    student_p,
)
from bonaface.evaluation.iso30107 import evaluate
from bonaface.evaluation.results import Figure, Rate
from bonaface.evaluation.thresholds import fixed_point
from tests.evaluation.tables import table

HALF = fixed_point(0.5)


def interval(errors, of):
    """The bounds of subjects with so many errors in so many presentations."""
    return rate_interval(np.array(errors, dtype=float), np.array(of, dtype=float))


def exact(errors, total):
    found = stats.binomtest(errors, total).proportion_ci(method="exact")
    return found.low, found.high


@pytest.mark.parametrize(
    ("total", "high"),
    # Two-sided upper bounds without an error as the literature prints them.
    [(100, 0.0362), (150, 0.0243), (449, 0.0082)],
)
def test_bound_without_error_is_published(total, high):
    assert bound_without_error(total) == pytest.approx(high, abs=5e-5)
    assert interval([0] * total, [1] * total)[:2] == pytest.approx((0, high), abs=5e-5)


@pytest.mark.parametrize("errors", [0, 1, 7, 29, 30])
@pytest.mark.parametrize("each", [1, 9])
def test_subjects_right_or_wrong_are_clopper_pearson(errors, each):
    """One presentation a subject, or several that always go together."""
    found = interval([each] * errors + [0] * (30 - errors), [each] * 30)
    assert found[:2] == pytest.approx(exact(errors, 30), abs=1e-12)
    assert (found.method, found.reason) == (EXACT, "")


def test_unequal_subjects_count_by_kish():
    of = [20] + [1] * 10
    assert effective_subjects(np.array(of, dtype=float)) == pytest.approx(900 / 410)
    assert interval([0] * 11, of).high == pytest.approx(1 - 0.025 ** (410 / 900))


def test_one_subject_has_no_interval():
    found = interval([3, 0], [10, 0])
    assert math.isnan(found.low)
    assert found.reason == ONE_PERSON
    assert log_interval(0.3, spread(np.array([0.0]), 1)).reason == ONE_PERSON
    assert logit_interval(0.3, spread(np.array([0.0]), 1)).reason == ONE_PERSON


@pytest.mark.parametrize(("above", "below"), [(1, 10), (2.5, 37.25), (0.2, 3), (60, 1940)])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.4, 0.8])
def test_dirichlet_means_of_two_values_are_beta(above, below, share):
    if share > above / (above + below):
        found = _mean_above(share, np.array([0.0, 1.0]), np.array([below, above]))
        assert found == pytest.approx(stats.beta(above, below).sf(share), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("subjects", [7, 20, 60])
def test_upper_bound_is_the_dirichlet_quantile(subjects):
    generator = np.random.default_rng(subjects)
    of = generator.integers(5, 15, subjects).astype(float)
    wrong = np.maximum(generator.binomial(of.astype(int), 0.6), 1).astype(float)
    worth = of * of.sum() / (of**2).sum()
    share = wrong / of
    draws = generator.dirichlet(np.append(worth, 1.0), 200_000) @ np.append(share, share.max())
    high = rate_interval(wrong, of).high
    assert (draws > high).mean() == pytest.approx(0.025, abs=0.0015)


@st.composite
def layouts(draw):
    """Presentations of each subject, which of them are wrong, and a subject with one that is not."""
    of = draw(st.lists(st.integers(1, 12), min_size=2, max_size=9))
    wrong = [draw(st.integers(0, total)) for total in of]
    free = [subject for subject, total in enumerate(of) if wrong[subject] < total]
    if not free:
        wrong[0], free = 0, [0]
    return of, wrong, draw(st.sampled_from(free))


@settings(max_examples=150, deadline=None)
@given(layouts())
def test_bounds_never_fall_when_an_error_is_added(layout):
    of, wrong, subject = layout
    before = interval(wrong, of)
    after = interval([errors + (i == subject) for i, errors in enumerate(wrong)], of)
    assert after.high >= before.high - 1e-9
    assert after.low >= before.low - 1e-9


@settings(max_examples=60, deadline=None)
@given(layouts())
def test_bounds_hold_the_rate_and_mirror(layout):
    of, wrong, _ = layout
    found = interval(wrong, of)
    assert 0 <= found.low <= sum(wrong) / sum(of) <= found.high <= 1
    right = interval([total - errors for total, errors in zip(of, wrong, strict=True)], of)
    assert right[:2] == pytest.approx((1 - found.high, 1 - found.low), abs=1e-9)


@pytest.mark.parametrize("way", ["one person", "spread"])
@pytest.mark.parametrize(("persons", "each"), [(10, 50), (40, 5)])
def test_rates_of_a_table_never_fall(way, persons, each):
    """Every rate and mean of rates, and accuracy the other way round."""
    last = None
    for errors in (0, 1, 2, 3, 5):
        wrong = {(0, n) if way == "one person" else (n, 0) for n in range(errors)}
        rows = [
            (kind, (1 if kind == "bona_fide" else -1) * (-1.0 if (person, take) in wrong else 1.0), f"p{person}")
            for kind in ("bona_fide", "print")
            for person in range(persons)
            for take in range(each)
        ]
        at = evaluate(table(rows), [HALF]).at[0]
        assert at.apcer_max.high >= bound_without_error(persons)
        rates: list[Rate | Figure] = [
            at.apcer["print"],
            at.apcer_max,
            at.bpcer,
            at.far,
            at.frr,
            at.hter,
            at.acer_max,
            at.acer_pooled,
        ]
        bounds = np.array([(rate.low, rate.high) for rate in rates] + [(-at.accuracy.high, -at.accuracy.low)])
        if last is not None:
            assert (bounds >= last - 1e-9).all()
        last = bounds


def test_few_wrong_subjects_widen_the_interval():
    """The same number of errors, by many subjects or by few."""
    alone = interval([1] * 80 + [0] * 320, [10] * 400)
    together = interval([10] * 8 + [0] * 392, [10] * 400)
    independent = exact(80, 4000)
    assert alone.high - alone.low == pytest.approx(independent[1] - independent[0], rel=0.15)
    assert together.high - together.low > 2 * (independent[1] - independent[0])


def test_spread_is_the_textbook_s():
    errors, totals = np.array([3, 0, 1, 7, 2, 0, 0, 4.0]), np.array([10, 10, 12, 9, 10, 30, 10, 8.0])
    share = errors.sum() / totals.sum()
    linear = ((errors - share * totals) ** 2).sum() / totals.sum() ** 2 * 8 / 7
    assert spread(mean_influence(errors, totals), 8).error ** 2 == pytest.approx(linear, rel=1e-12)
    # Subjects drawn one by one, again and again.
    draws = np.random.default_rng(1).integers(0, 8, (20000, 8))
    drawn = (errors[draws].sum(axis=1) / totals[draws].sum(axis=1)).var() * 8 / 7
    assert linear == pytest.approx(drawn, rel=0.1)


def test_degrees_of_freedom_count_the_subjects_that_matter():
    def freedom(influence):
        return spread(np.asarray(influence, dtype=float), len(influence)).freedom

    assert freedom([1, -1] * 5) == 9
    # 2 (sum s)^2 / sum (s - mean)^2 = 18 / 2.82
    assert freedom([1] * 3 + [0] * 47) == pytest.approx(18 / 2.82)
    assert freedom([1, 0]) == 1


def test_log_and_logit_intervals_are_student_s():
    found = Spread(0.05, 7.0)
    reach = stats.t.ppf(0.975, 7) * 0.05
    low, high, *_ = log_interval(0.2, found)
    assert (low, high) == pytest.approx((0.2 * math.exp(-reach / 0.2), 0.2 * math.exp(reach / 0.2)))
    low, high, *_ = logit_interval(0.9, found)
    odds = [math.log(0.9 / 0.1) + sign * reach / 0.09 for sign in (-1, 1)]
    assert (low, high) == pytest.approx([1 / (1 + math.exp(-x)) for x in odds])
    assert student_p(stats.t.ppf(0.975, 7) * 0.05, found) == pytest.approx(0.05)


def simulated(persons, datasets, seed):
    """How often a rate's interval holds the truth: beta-binomial errors, subjects of unequal size."""
    generator = np.random.default_rng(seed)
    held = []
    for _ in range(datasets):
        totals = 1 + generator.negative_binomial(2, 0.2, persons)
        errors = generator.binomial(totals, generator.beta(0.1 * 4, 0.9 * 4, persons))
        found = rate_interval(errors.astype(float), totals.astype(float))
        held.append(found.low <= 0.1 <= found.high)
    return float(np.mean(held))


@pytest.mark.parametrize("persons", [10, 50, 200])
def test_coverage_holds_in_a_small_simulation(persons):
    """A guard against a broken method; benchmarks/intervals.py measures coverage properly."""
    assert simulated(persons, 300, seed=4) >= 0.93
