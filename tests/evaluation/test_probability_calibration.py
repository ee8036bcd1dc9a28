"""Scores as probabilities: reliability, and the line through the logits."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from bonaface.errors import ScoreTableError
from bonaface.evaluation.probability_calibration import class_weights, fit_scale_and_offset, reliability
from bonaface.types import probability

RNG = np.random.default_rng(0)


def sample(count: int, *, apart: float) -> tuple[np.ndarray, np.ndarray]:
    labels = RNG.random(count) < 0.3
    return RNG.normal(np.where(labels, apart, -apart), 1.0), labels


def test_true_probabilities_are_reliable():
    logits, labels = sample(40_000, apart=1.0)
    found = reliability(probability(2 * logits), labels)  # the log-likelihood ratio of two unit normals at 1 and -1
    assert found.ece < 0.015
    assert found.brier == pytest.approx(0.105, abs=0.01)


def test_scores_too_sure_have_a_greater_error():
    logits, labels = sample(5_000, apart=1.0)
    assert reliability(probability(8 * logits), labels).ece > 0.05


def test_bins_hold_mean_score_and_share():
    found = reliability(np.array([0.02, 0.04, 0.9, 1.0]), np.array([False, True, True, True]), bins=10)
    assert found.count.tolist() == [2, 2]
    assert found.share[1] == 1.0
    # The attack weighs 1/2, the bona fide presentation next to it 1/6.
    assert found.share[0] == pytest.approx(0.25)
    assert found.score[0] == pytest.approx(0.75 * 0.02 + 0.25 * 0.04)


@pytest.mark.parametrize("shift", [0.0, -40.0, 300.0])
def test_the_fit_undoes_scale_and_offset(shift: float):
    logits, labels = sample(20_000, apart=1.0)
    scale, offset = fit_scale_and_offset(10 * logits + shift, labels)
    assert scale == pytest.approx(0.2, rel=0.05)
    assert scale * shift + offset == pytest.approx(0.0, abs=0.06)


def test_the_fit_is_that_of_weighted_logistic_regression():
    logits, labels = sample(4_000, apart=0.7)
    reference = LogisticRegression(C=np.inf, tol=1e-8).fit(
        logits[:, None], labels, sample_weight=len(labels) * class_weights(labels)
    )
    scale, offset = fit_scale_and_offset(logits, labels)
    assert scale == pytest.approx(float(reference.coef_[0, 0]), rel=0.01)
    assert offset == pytest.approx(float(reference.intercept_[0]), abs=0.01)


def test_separated_classes_get_bounded_logits():
    labels = np.arange(100) < 50
    scale, offset = fit_scale_and_offset(np.where(labels, 40.0, -140.0) + RNG.normal(0, 0.1, 100), labels)
    assert 0 < scale * 40 + offset < 8
    assert -8 < scale * -140 + offset < 0


def test_a_few_errors_do_not_make_the_others_certain():
    labels = np.arange(400) < 200
    logits = np.where(labels, 1.0, -1.0) * RNG.uniform(5, 300, 400)
    logits[:3] = -2.0
    scale, offset = fit_scale_and_offset(logits, labels)
    assert np.quantile(np.abs(scale * logits + offset), 0.99) <= np.log(401) + 1e-9


def test_sources_weigh_alike():
    labels = np.array([True] * 12 + [False] * 12)
    sources = np.array(["a"] * 10 + ["b"] * 2 + ["a"] * 12)
    weights = class_weights(labels, sources)
    assert weights[:10].sum() == pytest.approx(0.25)
    assert weights[10:12].sum() == pytest.approx(0.25)
    assert weights[12:].sum() == pytest.approx(0.5)


def test_one_class_alone_is_refused():
    with pytest.raises(ScoreTableError, match="one class is missing"):
        fit_scale_and_offset(np.array([1.0, 2.0]), np.array([True, True]))


def test_inverted_logits_are_standardised():
    logits, labels = sample(1_000, apart=1.0)
    scale, offset = fit_scale_and_offset(500 - 100 * logits, labels)
    assert np.std(scale * (500 - 100 * logits) + offset) == pytest.approx(1.0)
