from __future__ import annotations

import copy
import json
import math
import pickle
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bonaface.choices import FusionRule
from bonaface.inference.verdict import Verdict
from bonaface.types import Box, FrameScore, Label, Status, fuse, logit, probability


@pytest.mark.parametrize(
    ("rule", "value"),
    [("mean", 0.5), ("median", 1.0), ("max_attack", -2.0), ("first", 2.5)],
    ids=str,
)
def test_fusion_rules_on_a_hand_computed_case(rule, value):
    assert fuse([2.5, -2.0, 1.0], rule=rule) == pytest.approx(value)


def test_every_rule_agrees_on_a_single_frame():
    assert {fuse([0.25], rule=rule) for rule in get_args(FusionRule)} == {0.25}


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


def test_unscored_presentation_is_not_accepted():
    outcomes = {outcome: Verdict("x", outcome, None, 0.5).accepted for outcome in (*Label, *Status)}
    assert [outcome for outcome, accepted in outcomes.items() if accepted] == [Label.BONA_FIDE]


def verdict(score_logit: float, threshold: float, **options) -> Verdict:
    outcome = Label.BONA_FIDE if score_logit >= threshold else Label.ATTACK
    score, at = float(probability(score_logit)), float(probability(threshold))
    return Verdict("a.jpg", outcome, score, at, logit=score_logit, logit_threshold=threshold, **options)


@pytest.mark.parametrize(
    ("logits", "shown"),
    [
        ((0.7, 0.2), ""),
        ((12.0, 13.0), "logit 12.0000, 1.0000 below the threshold"),
        ((-20.0, -21.5), "logit -20.0000, 1.5000 above the threshold"),
        ((0.5, 13.0), "logit 0.5000, 12.5000 below the threshold"),
        ((0.00002, 0.00001), "logit 2e-05, 1e-05 above the threshold"),
        ((14.0, 14.0), "logit 14.0000, at the threshold"),
        ((3e7, 14.0), "logit 3e+07, 3e+07 above the threshold"),
    ],
    ids=str,
)
def test_logits_are_shown_where_probabilities_say_too_little(logits: tuple[float, float], shown: str):
    assert verdict(*logits).margin_text() == shown


def test_figures_of_two_verdicts_differ():
    one, two = verdict(25.0, 25.00001), verdict(25.00002, 25.00001)
    assert one.describe() != two.describe()


def test_a_verdict_cannot_be_changed_but_copied():
    made = verdict(1.0, 0.0, seconds={"decode": 0.25})
    with pytest.raises(AttributeError):
        made.score = 0.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        made.seconds["total"] = 1.0  # type: ignore[index]
    for copied in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made), replace(made)):
        assert copied == made
        assert dict(copied.seconds) == {"decode": 0.25}


def test_a_verdict_as_json_says_all_of_it():
    frames = (FrameScore(3, Status.OK, 1.0, Box(1.234, 2, 3, 4), 0.5, 0.9, 2), FrameScore(7, Status.NO_FACE))
    written = verdict(1.0, 0.0, frames=frames, faces=2, kind="video", reason="why", bundle="b", seconds={"crop": 1e-9})
    values = json.loads(json.dumps(written.to_dict(), allow_nan=False))
    assert (values["verdict"], values["accepted"], values["kind"], values["faces"]) == ("bona_fide", True, "video", 2)
    assert (values["logit"], values["logit_threshold"], values["reason"]) == (1.0, 0.0, "why")
    assert values["frames"][0]["box"] == [1.23, 2, 3, 4]
    assert values["frames"][0]["faces"] == 2
    assert values["frames"][1] == {
        **dict.fromkeys(("time", "score", "logit", "box", "confidence")),
        "frame": 7,
        "status": "no_face",
        "faces": 0,
    }
