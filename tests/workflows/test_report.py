from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

import bonaface
from bonaface.errors import ScoreTableError, SettingsError
from bonaface.evaluation.scores import write_scores
from tests.evaluation.tables import drawn


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name, seed, split in (("val", 1, "val"), ("test", 2, "test")):
        found[name] = tmp_path / f"{name}.csv"
        write_scores(drawn(seed).assign(split=split), found[name])
    return found


def test_the_threshold_comes_from_validation_and_the_figures_from_test(tables, tmp_path: Path):
    result = bonaface.evaluate_scores(tables["test"], validation=tables["val"], by=["device"], output=tmp_path / "r")
    at = result.evaluation.at[0]
    assert at.point.criterion == "eer"
    assert at.point.chosen_on["split"] == "val"
    told = json.loads((tmp_path / "r" / "report.json").read_text())
    assert set(told["groups"]["device"]) == {"phone0", "phone1", "phone2"}
    assert told["evaluations"]["presentations"]["at"][0]["far"]["total"] == at.far.total
    assert list((tmp_path / "r" / "figures").glob("det*.png"))
    assert "data:image/jpeg" not in (tmp_path / "r" / "report.html").read_text()


def test_package_report_hides_no_function():
    """The package that draws pages, once imported, must not replace the function of its name."""
    import_module("bonaface.report.page")
    for name in bonaface.__all__:
        assert not isinstance(getattr(bonaface, name), ModuleType), name


def test_a_table_with_both_splits_chooses_on_one_and_measures_the_other(tables, tmp_path: Path):
    both = pd.concat([bonaface.read_scores(tables["val"]), bonaface.read_scores(tables["test"])])
    both["presentation"] = both["split"].astype(str) + "/" + both["presentation"].astype(str)
    write_scores(both, tmp_path / "both.csv")
    together = bonaface.evaluate_scores(tmp_path / "both.csv", output=tmp_path / "a")
    apart = bonaface.evaluate_scores(tables["test"], validation=tables["val"], output=tmp_path / "b")
    assert together.evaluation.at[0].point.threshold == apart.evaluation.at[0].point.threshold
    assert together.evaluation.counts.presentations == 300


def test_without_validation_only_the_fixed_threshold_and_a_note(tables, tmp_path: Path):
    result = bonaface.evaluate_scores(tables["test"], output=tmp_path / "r")
    assert [at.point.criterion for at in result.evaluation.at] == ["fixed=0.5"]
    assert "no validation scores" in result.summary()


def test_a_foreign_table_needs_two_columns_and_a_manifest(tmp_path: Path):
    (tmp_path / "m.csv").write_text(
        "path,label,species,split\na.mp4,bona_fide,,test\nb.mp4,attack,print,test\nc.mp4,attack,print,test\n"
    )
    (tmp_path / "s.csv").write_text("presentation,score\na.mp4,7.5\nb.mp4,-3\n")
    with pytest.raises(ScoreTableError, match="no column label"):
        bonaface.evaluate_scores(tmp_path / "s.csv", output=tmp_path / "r")
    with pytest.raises(ScoreTableError, match=r"have no score, such as c\.mp4"):
        bonaface.evaluate_scores(tmp_path / "s.csv", manifest=tmp_path / "m.csv", output=tmp_path / "r")
    assert not (tmp_path / "r").exists()
    result = bonaface.evaluate_scores(
        tmp_path / "s.csv", manifest=tmp_path / "m.csv", allow_missing=True, threshold=0, output=tmp_path / "r"
    )
    at = result.evaluation.at[0]
    assert (at.far.errors, at.far.total) == (0, 2)
    assert at.counts.failures == {"unreadable": 1}
    assert not at.loss.defined


def test_an_unknown_column_gets_the_known_ones(tables, tmp_path: Path):
    with pytest.raises(SettingsError, match="device"):
        bonaface.evaluate_scores(tables["test"], by=["devise"], output=tmp_path / "r")


def test_scores_of_no_scale_have_ranks_alone(tmp_path: Path):
    table = drawn(3).drop(columns=["logit"])
    table["score"] = table["score"] * 300 - 100
    (tmp_path / "s.csv").write_text(table.to_csv(index=False))
    result = bonaface.evaluate_scores(tmp_path / "s.csv", output=tmp_path / "r")
    assert result.evaluation.at == ()
    assert result.evaluation.ranking.auc.defined
    assert "no threshold" in result.summary()


def test_no_presentation_chooses_the_threshold_that_it_is_measured_at(tables, tmp_path: Path):
    for name in ("a", "b"):
        drawn(4).drop(columns=["split"]).to_csv(tmp_path / f"{name}.csv", index=False)
    with pytest.raises(ScoreTableError, match="300 presentations would choose the threshold"):
        bonaface.evaluate_scores(tmp_path / "a.csv", validation=tmp_path / "b.csv", output=tmp_path / "r")
    with pytest.raises(ScoreTableError, match="would choose the threshold"):
        bonaface.compare({"a": tmp_path / "a.csv", "b": tables["test"]}, validation={"a": tmp_path / "b.csv"})
    # The same names for other footage, and the same persons: measured, and told.
    result = bonaface.evaluate_scores(tables["test"], validation=tables["val"], output=tmp_path / "r")
    assert "12 persons are in validation and in what is measured, such as d/0" in result.summary()


def test_what_was_trained_on_is_not_measured_beside_a_test_split(tables, tmp_path: Path):
    parts = [drawn(7).assign(split="train"), drawn(1), drawn(2).assign(split="test")]
    for part in parts:
        part["presentation"] = part["split"] + "/" + part["presentation"]
    result = bonaface.evaluate_scores(pd.concat(parts), output=tmp_path / "r")
    assert result.evaluation.counts.presentations == 300
    assert result.evaluation.at[0].point.chosen_on["split"] == "val"
    assert "300 presentations of split train are not measured" in result.summary()
    alone = bonaface.evaluate_scores(parts[0], output=tmp_path / "s")
    assert "these figures include presentations of the train split" in alone.summary()


def test_a_fixed_threshold_reads_foreign_scores_as_probabilities_where_they_may_be(tmp_path: Path):
    table = drawn(3).drop(columns=["logit"])
    at = bonaface.evaluate_scores(table, criterion="fixed=0.5", output=tmp_path / "r").evaluation.at[0]
    by_hand = ((table["score"] >= 0.5) & (table["label"] == "attack")).sum()
    assert at.far.errors == by_hand > 0
    assert not at.loss.defined
    stretched = table.assign(score=table["score"] * 300 - 100)
    at = bonaface.evaluate_scores(stretched, criterion="fixed=0.5", output=tmp_path / "s").evaluation.at[0]
    assert not at.far.defined
    assert "not known to be probabilities" in (tmp_path / "s" / "report.html").read_text()


def test_the_page_says_how_presentations_without_a_score_were_counted(tables, tmp_path: Path):
    pages = {}
    for policy in ("reject", "exclude"):
        bonaface.evaluate_scores(tables["test"], policy=policy, output=tmp_path / policy)
        pages[policy] = (tmp_path / policy / "report.html").read_text()
    assert "without a score, counted as not accepted" in pages["reject"]
    assert "The headline leaves out" in pages["exclude"]
    assert "counted as not accepted" not in pages["exclude"]
    assert "without a score, left out" in pages["exclude"]


def test_groups_without_a_threshold_are_not_dropped_in_silence(tmp_path: Path):
    table = drawn(3).drop(columns=["logit"])
    table["score"] = table["score"] * 300 - 100
    result = bonaface.evaluate_scores(table, by=["device"], output=tmp_path / "r")
    assert "no table by device" in result.summary()
