"""The area under the ROC curve: its value and variance against scikit-learn and DeLong, its interval with few errors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.auc import area_of, auc
from bonaface.evaluation.intervals import ONE_PERSON, bound_without_error
from tests.evaluation.tables import drawn, table


def people(attacks_above):
    """20 persons with 5 bona fide and 5 attacks each; so many of the first person's attacks lie above everything."""
    rows = [("bona_fide", 1.0 + take / 10, f"p{p}") for p in range(20) for take in range(5)]
    rows += [
        ("print", 9.0 if p == 0 and take < attacks_above else -1.0 - take / 10, f"p{p}")
        for p in range(20)
        for take in range(5)
    ]
    return ScoreArrays.from_table(table(rows))


@pytest.mark.parametrize("digits", [0, 1, 6])
def test_area_is_scikit_learn_s(digits):
    rows = drawn(3, digits=digits)
    ok = rows["status"] == "ok"
    expected = roc_auc_score(rows.loc[ok, "label"] == "bona_fide", rows.loc[ok, "logit"])
    assert auc(ScoreArrays.from_table(rows)).value == pytest.approx(expected, abs=1e-12)


def test_variance_of_single_presentations_is_delong_s():
    generator = np.random.default_rng(0)
    rows = [("bona_fide" if i < 40 else "print", generator.normal() + (i < 40), f"p{i}") for i in range(90)]
    arrays = ScoreArrays.from_table(table(rows))
    real = arrays.bona_fide
    area = area_of(arrays)
    assert area is not None
    high, low = arrays.value[real], arrays.value[~real]
    above = (high[:, None] > low).mean(axis=1)
    below = (high[:, None] > low).mean(axis=0)
    assert (area.influence**2).sum() == pytest.approx(above.var() / 40 + below.var() / 50, rel=1e-12)
    assert area.influence.sum() == pytest.approx(0, abs=1e-12)


def test_influence_of_a_subject_is_its_share_in_the_change():
    """A subject whose presentations count a little more moves the area by its influence."""
    rows = drawn(4, persons=9, failed=0)
    arrays = ScoreArrays.from_table(rows)
    area = area_of(arrays)
    assert area is not None
    weight, real = 1e-6, arrays.bona_fide
    for subject in range(3):
        more = 1 + weight * (arrays.subject == subject)
        right = (arrays.value[real][:, None] > arrays.value[~real]) + 0.5 * (
            arrays.value[real][:, None] == arrays.value[~real]
        )
        moved = more[real] @ right @ more[~real] / (more[real].sum() * more[~real].sum())
        assert (moved - area.value) / weight == pytest.approx(area.influence[subject], rel=1e-3)


def test_area_with_errors_is_no_surer_than_perfect():
    perfect = auc(people(0))
    assert (perfect.value, perfect.low, perfect.high) == pytest.approx((1, 1 - bound_without_error(20), 1))
    for wrong in (1, 2, 5):
        found = auc(people(wrong))
        assert found.low <= perfect.low
        assert found.low < found.value < found.high < 1


def test_area_of_one_person_has_no_interval():
    one = auc(ScoreArrays.from_table(table([("bona_fide", 1.0, "p"), ("print", -1.0, "p")])))
    assert (one.value, one.reason) == (1.0, ONE_PERSON)
    missing = auc(ScoreArrays.from_table(table([("print", -1.0, "p")])))
    assert not missing.defined
