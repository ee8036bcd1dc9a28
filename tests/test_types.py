from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bonaface.types import FUSION_RULES, Label, Status, Verdict, fuse, logit, probability


@pytest.mark.parametrize(
    ("rule", "value"),
    [("mean", 0.5), ("median", 1.0), ("max_attack", -2.0), ("first", 2.5)],
    ids=str,
)
def test_fusion_rules_on_a_hand_computed_case(rule, value):
    assert fuse([2.5, -2.0, 1.0], rule=rule) == pytest.approx(value)


def test_every_rule_agrees_on_a_single_frame():
    assert {fuse([0.25], rule=rule) for rule in FUSION_RULES} == {0.25}


def test_fusing_nothing_is_an_error_and_not_zero():
    with pytest.raises(ValueError, match="nothing to fuse"):
        fuse([])


@given(st.floats(-700, 700))
def test_probability_is_the_logistic_function_and_never_overflows(x):
    with np.errstate(all="raise", under="ignore"):
        value = float(probability(x))
    expected = 1 / (1 + math.exp(-x)) if x > -700 else 0
    assert value == pytest.approx(expected, abs=1e-15)


@given(st.floats(1e-9, 1 - 1e-9))
def test_logit_undoes_probability(score):
    assert float(probability(logit(score))) == pytest.approx(score, rel=1e-9)


def test_what_could_not_be_judged_is_not_accepted():
    outcomes = {outcome: Verdict("x", outcome, None, 0.5).accepted for outcome in (*Label, *Status)}
    assert [outcome for outcome, accepted in outcomes.items() if accepted] == [Label.BONA_FIDE]
