from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import bonaface
from bonaface import io
from bonaface.cli.summaries import report_lines
from bonaface.errors import InputError, OutputError, ScoreTableError, SettingsError
from bonaface.evaluation.scores import write_scores
from bonaface.report import page
from tests.evaluation.tables import drawn


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name, seed, split in (("val", 1, "val"), ("test", 2, "test")):
        found[name] = tmp_path / f"{name}.csv"
        write_scores(drawn(seed).assign(split=split), found[name])
    return found


def test_the_threshold_comes_from_validation_and_the_figures_from_test(tables, tmp_path: Path):
    result = bonaface.report_scores(tables["test"], validation=tables["val"], by=["device"], output=tmp_path / "r")
    at = result.evaluation.at[0]
    assert at.point.criterion == "eer"
    assert at.point.chosen_on["split"] == "val"
    written = json.loads((tmp_path / "r" / "report.json").read_text())
    assert set(written["groups"]["device"]) == {"phone0", "phone1", "phone2"}
    assert written["evaluations"]["presentations"]["at"][0]["far"]["total"] == at.far.total
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
    together = bonaface.report_scores(tmp_path / "both.csv", output=tmp_path / "a")
    apart = bonaface.report_scores(tables["test"], validation=tables["val"], output=tmp_path / "b")
    assert together.evaluation.at[0].point.threshold == apart.evaluation.at[0].point.threshold
    assert together.evaluation.counts.presentations == 300


def test_without_validation_only_the_fixed_threshold_and_a_note(tables, tmp_path: Path):
    result = bonaface.report_scores(tables["test"], output=tmp_path / "r")
    assert [at.point.criterion for at in result.evaluation.at] == ["fixed=0.5"]
    assert "no validation scores" in "; ".join(result.notes)


def test_a_foreign_table_needs_two_columns_and_a_manifest(tmp_path: Path):
    (tmp_path / "m.csv").write_text(
        "path,label,species,split\na.mp4,bona_fide,,test\nb.mp4,attack,print,test\nc.mp4,attack,print,test\n"
    )
    (tmp_path / "s.csv").write_text("presentation,score\na.mp4,7.5\nb.mp4,-3\n")
    with pytest.raises(ScoreTableError, match="no column label"):
        bonaface.report_scores(tmp_path / "s.csv", output=tmp_path / "r")
    with pytest.raises(ScoreTableError, match=r"have no score, such as c\.mp4"):
        bonaface.report_scores(tmp_path / "s.csv", manifest=tmp_path / "m.csv", output=tmp_path / "r")
    assert not (tmp_path / "r").exists()
    result = bonaface.report_scores(
        tmp_path / "s.csv", manifest=tmp_path / "m.csv", allow_missing=True, threshold=0, output=tmp_path / "r"
    )
    at = result.evaluation.at[0]
    assert (at.far.errors, at.far.total) == (0, 2)
    assert at.counts.failures == {"unreadable": 1}
    assert not at.loss.defined


def test_an_unknown_column_gets_the_known_ones(tables, tmp_path: Path):
    with pytest.raises(SettingsError, match="device"):
        bonaface.report_scores(tables["test"], by=["devise"], output=tmp_path / "r")


def test_scores_of_no_scale_have_ranks_alone(tmp_path: Path):
    table = drawn(3).drop(columns=["logit"])
    table["score"] = table["score"] * 300 - 100
    (tmp_path / "s.csv").write_text(table.to_csv(index=False))
    result = bonaface.report_scores(tmp_path / "s.csv", output=tmp_path / "r")
    assert result.evaluation.at == ()
    assert result.evaluation.ranking.auc.defined
    assert "no threshold" in "; ".join(result.notes)


def test_no_presentation_chooses_the_threshold_that_it_is_measured_at(tables, tmp_path: Path):
    for name in ("a", "b"):
        drawn(4).drop(columns=["split"]).to_csv(tmp_path / f"{name}.csv", index=False)
    with pytest.raises(ScoreTableError, match="300 presentations would choose the threshold"):
        bonaface.report_scores(tmp_path / "a.csv", validation=tmp_path / "b.csv", output=tmp_path / "r")
    with pytest.raises(ScoreTableError, match="would choose the threshold"):
        bonaface.compare({"a": tmp_path / "a.csv", "b": tables["test"]}, validation={"a": tmp_path / "b.csv"})
    # The same names for different footage, and the same persons: measured, with a note.
    result = bonaface.report_scores(tables["test"], validation=tables["val"], output=tmp_path / "r")
    assert "12 persons are in validation and in what is measured, such as d/0" in "; ".join(result.notes)


def test_what_was_trained_on_is_not_measured_beside_a_test_split(tables, tmp_path: Path):
    parts = [drawn(7).assign(split="train"), drawn(1), drawn(2).assign(split="test")]
    for part in parts:
        part["presentation"] = part["split"] + "/" + part["presentation"]
    result = bonaface.report_scores(pd.concat(parts), output=tmp_path / "r")
    assert result.evaluation.counts.presentations == 300
    assert result.evaluation.at[0].point.chosen_on["split"] == "val"
    assert "300 presentations of split train are not measured" in "; ".join(result.notes)
    alone = bonaface.report_scores(parts[0], output=tmp_path / "s")
    assert "these figures include presentations of the train split" in "; ".join(alone.notes)


def test_a_fixed_threshold_reads_foreign_scores_as_probabilities_where_they_may_be(tmp_path: Path):
    table = drawn(3).drop(columns=["logit"])
    at = bonaface.report_scores(table, criterion="fixed=0.5", output=tmp_path / "r").evaluation.at[0]
    by_hand = ((table["score"] >= 0.5) & (table["label"] == "attack")).sum()
    assert at.far.errors == by_hand > 0
    assert not at.loss.defined
    stretched = table.assign(score=table["score"] * 300 - 100)
    at = bonaface.report_scores(stretched, criterion="fixed=0.5", output=tmp_path / "s").evaluation.at[0]
    assert not at.far.defined
    assert "not known to be probabilities" in (tmp_path / "s" / "report.html").read_text()


def test_the_page_says_how_presentations_without_a_score_were_counted(tables, tmp_path: Path):
    pages = {}
    for policy in ("reject", "exclude"):
        bonaface.report_scores(tables["test"], policy=policy, output=tmp_path / policy)
        pages[policy] = (tmp_path / policy / "report.html").read_text()
    assert "without a score, counted as not accepted" in pages["reject"]
    assert "The headline leaves out" in pages["exclude"]
    assert "counted as not accepted" not in pages["exclude"]
    assert "without a score, left out" in pages["exclude"]


def test_groups_without_a_threshold_are_not_dropped_in_silence(tmp_path: Path):
    table = drawn(3).drop(columns=["logit"])
    table["score"] = table["score"] * 300 - 100
    result = bonaface.report_scores(table, by=["device"], output=tmp_path / "r")
    assert "no table by device" in "; ".join(result.notes)


def foreign(
    folder: Path,
    name: str,
    *,
    sign: float = 1,
    seed: int = 1,
    split: str = "test",
    words: Mapping[str, str] | None = None,
) -> Path:
    """A foreign system's probabilities for 20 persons; `sign=-1` makes high ones mean attack; `words` rename labels."""
    draw = np.random.default_rng(seed)
    rows = ["presentation,score,label,species,subject,split"]
    for person in range(20):
        for take in range(10):
            live = take % 2 == 0
            logit = sign * ((2.2 if live else -2.2) + draw.normal(0, 1.4))
            label = "bona_fide" if live else "attack"
            cells = [
                f"{split}/{person}/{take}.mp4",
                repr(float(1 / (1 + np.exp(-logit)))),
                (words or {}).get(label, label),
            ]
            rows.append(",".join([*cells, "" if live else "print", f"{split}{person}", split]))
    path = folder / f"{name}.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_inverted_scores_are_reported_and_turned_round(tmp_path: Path):
    validation = foreign(tmp_path, "val", sign=-1, seed=2, split="val")
    scores = foreign(tmp_path, "test", sign=-1)
    result = bonaface.report_scores(scores, validation=validation, output=tmp_path / "a")
    notes = [note for note in result.notes if "look inverted" in note]
    assert len(notes) == 2
    assert all("--higher-is attack" in note for note in notes)
    assert notes[0] in json.loads((tmp_path / "a" / "report.json").read_text())["notes"]
    turned = bonaface.report_scores(scores, output=tmp_path / "b", higher_is="attack", validation=validation)
    upright = bonaface.report_scores(
        foreign(tmp_path, "up"), validation=foreign(tmp_path, "upv", seed=2, split="val"), output=tmp_path / "c"
    )
    assert not any("inverted" in note for note in (*turned.notes, *upright.notes))
    assert turned.evaluation.ranking.auc.value > 0.9
    assert turned.evaluation.at[0].far.value < 0.2


@pytest.mark.parametrize(("scale", "threshold"), [(1.0, 0.25), (300.0, 75.0)])
def test_a_threshold_is_on_the_scale_that_was_given(tmp_path: Path, scale: float, threshold: float):
    table = pd.read_csv(foreign(tmp_path, "test", sign=-1))
    table["score"] *= scale
    at = bonaface.report_scores(table, threshold=threshold, higher_is="attack", output=tmp_path / "r").evaluation.at[0]
    accepted = (table["score"] <= threshold) & (table["label"] == "attack")
    assert at.far.errors == accepted.sum() > 0


def test_chance_is_not_taken_for_inverted(tmp_path: Path):
    table = pd.read_csv(foreign(tmp_path, "test"))
    for seed in range(5):
        table["score"] = np.random.default_rng(seed).random(len(table))
        result = bonaface.report_scores(table, output=tmp_path / str(seed))
        if result.evaluation.ranking.auc.value > 0.45:
            assert not any("inverted" in note for note in result.notes)


@pytest.mark.parametrize(
    ("words", "mapping"),
    [
        ({"bona_fide": "live", "attack": "spoof"}, None),
        ({"bona_fide": "0", "attack": "1"}, {"0": "bona_fide", "1": "attack"}),
        ({"bona_fide": "echt"}, {"echt": "bona_fide"}),
    ],
)
def test_labels_of_other_systems_are_understood(tmp_path: Path, words: dict[str, str], mapping: dict[str, str] | None):
    scores = foreign(tmp_path, "test", words=words)
    counts = bonaface.report_scores(scores, mapping=mapping, output=tmp_path / "r").evaluation.counts
    assert (counts.bona_fide, counts.attacks) == (100, 100)
    assert set(counts.species) == {"print"}
    assert bonaface.compare({"a": scores, "b": scores}, mapping=mapping).comparison.presentations == 200


def test_labels_in_a_manifest_are_understood(tmp_path: Path):
    (tmp_path / "m.csv").write_text("path;label;subject\na.mp4;0;x\nb.mp4;1;y\nc.mp4;?;z\n")
    (tmp_path / "s.csv").write_text(f"presentation,score\na.mp4,7.5\n{tmp_path}/b.mp4,-3\n")
    result = bonaface.report_scores(
        tmp_path / "s.csv",
        manifest=tmp_path / "m.csv",
        mapping={"0": "bona_fide", "1": "attack", "?": "ignore"},
        threshold=0,
        output=tmp_path / "r",
    )
    at = result.evaluation.at[0]
    assert (at.far.errors, at.far.total, at.frr.errors, at.frr.total) == (0, 1, 0, 1)


@pytest.mark.parametrize(
    ("words", "mapping", "said"),
    [
        ({"attack": "1"}, None, r"line 3 \('1'\), line 5 .*--map 1=bona_fide, --map 1=attack"),
        ({}, {"2": "attack"}, "--map 2="),
    ],
)
def test_unknown_labels_get_a_hint(tmp_path: Path, words: dict[str, str], mapping: dict[str, str] | None, said: str):
    with pytest.raises(InputError, match=said):
        bonaface.report_scores(foreign(tmp_path, "test", words=words), mapping=mapping, output=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_what_is_asked_for_is_checked_before_the_work(tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for module in ("report", "compare"):
        monkeypatch.setattr(f"bonaface.workflows.{module}.ScoreArrays.from_table", lambda *_: pytest.fail("measured"))
    for call in (
        lambda **more: bonaface.report_scores(tables["test"], **more),
        lambda **more: bonaface.compare({"a": tables["test"], "b": tables["test"]}, **more),
    ):
        with pytest.raises(OutputError, match="full is not empty"):
            call(output=tmp_path / "full")
        with pytest.raises(SettingsError, match="--policy"):
            call(output=tmp_path / "r", policy="keep")
        with pytest.raises(SettingsError, match="--fusion"):
            call(output=tmp_path / "r", fusion="max")
        with pytest.raises(SettingsError, match="unknown criterion"):
            call(output=tmp_path / "r", criterion="err")
    with pytest.raises(SettingsError, match=r"--by devise: no such column \(did you mean 'device'\?\)"):
        bonaface.report_scores(tables["test"], by=["devise"], output=tmp_path / "r")


def test_a_report_that_fails_half_way_can_be_made_again(tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = io.write_bytes

    def full(path: Path, content: bytes) -> None:
        if path.name.startswith("errors"):
            raise OutputError(f"cannot write {path}: No space left on device")
        real(path, content)

    for output in (tmp_path / "out", tmp_path / "there"):
        (tmp_path / "there").mkdir(exist_ok=True)
        with monkeypatch.context() as patch:
            patch.setattr(page, "write_bytes", full)
            with pytest.raises(OutputError, match="No space left"):
                bonaface.report_scores(tables["test"], validation=tables["val"], output=output)
        result = bonaface.report_scores(tables["test"], validation=tables["val"], output=output)
        assert result.path == output / "report.html"
        assert result.path.is_file()
    assert not list(tmp_path.rglob(".*"))


def test_a_test_with_one_person_says_that_it_has_no_interval(tmp_path: Path):
    table = pd.read_csv(foreign(tmp_path, "test")).assign(subject="anna")
    result = bonaface.report_scores(table, output=tmp_path / "r")
    assert "note: all presentations are of one person: no rate has an interval" in "\n".join(report_lines(result))


def test_saturated_thresholds_are_distinguished(tmp_path: Path):
    table = drawn(5, failed=0, digits=6)
    logit = 14 + table["logit"]
    table = table.assign(logit=logit, score=1 / (1 + np.exp(-logit)))
    validation = table.assign(split="val", presentation="v" + table["presentation"])
    result = bonaface.report_scores(table, validation=validation, output=tmp_path / "r")
    at = result.evaluation.at[0].point
    assert f"threshold 1 − {1 - at.threshold:.2g}".replace("e-", "e−") in "\n".join(report_lines(result))
    assert f"logit {at.logit_threshold:.3f}" in "\n".join(report_lines(result))
    assert "threshold 1.0000" not in (tmp_path / "r" / "report.html").read_text()


def test_perfect_validation_says_what_to_do(tmp_path: Path):
    validation = foreign(tmp_path, "val", split="val")
    table = pd.read_csv(validation)
    table["score"] = np.where(table["label"] == "attack", 0.1, 0.9)
    result = bonaface.report_scores(foreign(tmp_path, "test"), validation=table, output=tmp_path / "r")
    (note,) = [note for note in result.notes if "separates perfectly" in note]
    assert "choose again" in note
