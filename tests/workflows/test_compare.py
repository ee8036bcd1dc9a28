from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import bonaface
from bonaface.cli.summaries import compare_lines
from bonaface.errors import ScoreTableError, SettingsError
from tests.evaluation.tables import drawn


def test_a_system_is_no_better_than_itself_and_noise_is_worse(tmp_path: Path):
    good = drawn(5, presentations=600, persons=40, failed=0, digits=6)
    noise = np.random.default_rng(0).normal(size=len(good))
    bad = good.assign(logit=noise, score=1 / (1 + np.exp(-noise)))
    same = bonaface.compare({"a": good, "b": good.copy()}, thresholds={"a": 0.5, "b": 0.5})
    assert not any(difference.real for difference in same.comparison.differences)
    found = bonaface.compare({"good": good, "bad": bad}, thresholds={"good": 0.5, "bad": 0.5}, output=tmp_path / "c")
    by_measure = {difference.measure: difference for difference in found.comparison.differences}
    assert by_measure["auc"].real
    assert by_measure["auc"].better == "good"
    assert by_measure["hter"].value > 0.2
    assert "real: good is better" in "\n".join(compare_lines(found))
    written = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert len(written["differences"]) == 3
    page = (tmp_path / "c" / "report.html").read_text()
    assert "Which differences are real" in page
    assert '<h3 class="name">good</h3>' in page
    assert "Good" not in page
    assert len(list((tmp_path / "c" / "figures").glob("det*.png"))) == 1


def test_other_presentations_are_refused_or_intersected():
    one = drawn(1)
    two = drawn(1).iloc[:200]
    limits = {"one": 0.5, "two": 0.5}
    with pytest.raises(ScoreTableError, match="same presentations"):
        bonaface.compare({"one": one, "two": two}, thresholds=limits)
    found = bonaface.compare({"one": one, "two": two}, thresholds=limits, mismatch="intersect")
    assert found.comparison.presentations == 200


def test_thresholds_belong_to_systems_that_are_there():
    with pytest.raises(SettingsError, match="--threshold names c"):
        bonaface.compare({"a": drawn(1), "b": drawn(1)}, thresholds={"c": 0.5})
    with pytest.raises(SettingsError, match="two systems"):
        bonaface.compare({"a": drawn(1)}, thresholds={"a": 0.5})


def test_scores_without_scale_need_a_threshold():
    raw = drawn(3).drop(columns=["logit"])
    raw["score"] = raw["score"] * 300 - 100
    with pytest.raises(SettingsError, match="--validation"):
        bonaface.compare({"a": raw, "b": raw})


def test_an_inverted_system_is_named_and_can_be_turned_round(tmp_path: Path):
    good = drawn(5, presentations=300, persons=20, failed=0)
    logit = -good["logit"]
    bad = good.assign(logit=logit, score=1 / (1 + np.exp(-logit)))
    found = bonaface.compare({"good": good, "bad": bad})
    (note,) = [note for note in found.notes if "look inverted" in note]
    assert note.startswith("bad: ")
    turned = bonaface.compare({"good": good, "bad": bad}, higher_is={"bad": "attack"})
    assert not any("inverted" in note for note in turned.notes)
    rates = [evaluation.at[0].hter.value for evaluation in turned.comparison.evaluations.values()]
    assert rates[0] == pytest.approx(rates[1], abs=0.02)
    with pytest.raises(SettingsError, match="--higher-is names c"):
        bonaface.compare({"good": good, "bad": bad}, higher_is={"c": "attack"})
