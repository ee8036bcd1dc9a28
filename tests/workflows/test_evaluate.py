"""Evaluating a bundle on a manifest: which kinds it has, what the notes say, and what stays after a failure."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import bonaface
from bonaface.cli.app import app
from bonaface.errors import OutputError, ScoreTableError, SettingsError
from bonaface.workflows import evaluate as module
from tests.workflows.test_bundle_commands import network
from tests.workflows.test_predict import video

LIVE, ATTACK = (200, 60, 30), (60, 200, 30)


@pytest.fixture(scope="module")
def reddish(tmp_path_factory) -> Path:
    """A bundle to which red is bona fide and green an attack, on whole frames."""
    folder = Path(tmp_path_factory.mktemp("reddish"))
    network(folder / "peer.onnx")
    made = bonaface.bundle_from_onnx(
        folder / "peer.onnx",
        output=folder / "peer.bonaface",
        output_type="logits[0]",
        crop_scale=1.0,
        pixels="0..1",
        detector="whole_frame",
    )
    return made.path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A manifest of pictures of six persons, two of them in split val."""
    folder = Path(tmp_path_factory.mktemp("pictures"))
    rows = ["path,label,species,subject,split"]
    for person in range(6):
        for label, colour in (("bona_fide", LIVE), ("attack", ATTACK)):
            name = f"{label}{person}.png"
            Image.new("RGB", (48, 48), tuple(np.add(colour, person))).save(folder / name)
            rows.append(
                f"{name},{label},{'' if label == 'bona_fide' else 'print'},p{person},{'val' if person < 2 else 'test'}"
            )
    (folder / "m.csv").write_text("\n".join(rows) + "\n")
    return folder / "m.csv"


def test_pictures_alone_have_no_section_on_videos(reddish: Path, pictures: Path, tmp_path: Path):
    result = bonaface.evaluate(reddish, pictures, output=tmp_path / "r")
    assert list(result.assessment.titles.values()) == ["one image"]
    read = json.loads((tmp_path / "r" / "report.json").read_text())
    assert list(read["evaluations"]) == ["one image"]
    assert not re.search(r"a video \(", (tmp_path / "r" / "report.html").read_text())


def test_profile_of_an_evaluation_is_the_standards_table(reddish: Path, pictures: Path, tmp_path: Path):
    done = CliRunner().invoke(
        app, ["evaluate", str(reddish), str(pictures), "-o", str(tmp_path / "r"), "--profile", "iso30107-3", "-q"]
    )
    assert done.exit_code == 0, done.output
    read = json.loads((tmp_path / "r" / "report.json").read_text())["profile"]
    assert [(line["name"], line["presentations"]) for line in read["species"]] == [("print", 4)]
    assert "APNRR" in done.stdout
    with pytest.raises(SettingsError, match="iso30107-3"):
        bonaface.evaluate(reddish, pictures, output=tmp_path / "s", profile="iso")  # type: ignore[arg-type]


def test_a_video_among_pictures_gives_both_sections(reddish: Path, pictures: Path, tmp_path: Path):
    Image.new("RGB", (48, 48), ATTACK).save(tmp_path / "a.png")
    video(tmp_path / "b.mp4", colour=LIVE)
    (tmp_path / "m.csv").write_text("path,label,subject\na.png,attack,x\nb.mp4,bona_fide,y\n")
    result = bonaface.evaluate(reddish, tmp_path / "m.csv", output=tmp_path / "r", faces=False)
    assert list(result.assessment.evaluations) == ["image", "video"]


def test_only_thresholds_chosen_on_these_presentations_are_called_too_good(
    reddish: Path, pictures: Path, tmp_path: Path
):
    said = "the val split, which chose the thresholds"
    foreign = bonaface.evaluate(reddish, pictures, split="val", output=tmp_path / "foreign", faces=False)
    assert not any(said in note for note in foreign.assessment.notes)
    bonaface.calibrate_bundle(reddish, foreign.scores, output=tmp_path / "own")
    for split, expected in (("val", True), ("all", True), ("test", False)):
        found = bonaface.evaluate(tmp_path / "own", pictures, split=split, output=tmp_path / split, faces=False)
        assert any(said in note for note in found.assessment.notes) == expected
    other = foreign.scores[foreign.scores["subject"] == "p0"]
    bonaface.calibrate_bundle(reddish, other, output=tmp_path / "other")
    found = bonaface.evaluate(tmp_path / "other", pictures, split="val", output=tmp_path / "elsewhere", faces=False)
    assert not any(said in note for note in found.assessment.notes)


def test_inverted_validation_is_refused_by_calibrate(reddish: Path, pictures: Path, tmp_path: Path):
    scores = bonaface.evaluate(reddish, pictures, split="val", output=tmp_path / "r", faces=False).scores
    swapped = scores.assign(label=scores["label"].map({"bona_fide": "attack", "attack": "bona_fide"}), species="")
    with pytest.raises(ScoreTableError, match=r"AUC 0\.0000.*look inverted.*--higher-is attack"):
        bonaface.calibrate_bundle(reddish, swapped, output=tmp_path / "b")
    assert not (tmp_path / "b").exists()
    logit = -scores["logit"]
    turned = scores.assign(logit=logit, score=1 / (1 + np.exp(-logit)))
    with pytest.raises(ScoreTableError, match="look inverted"):
        bonaface.calibrate_bundle(reddish, turned, output=tmp_path / "b")
    for table, name, meaning in ((scores, "upright", "bona_fide"), (turned, "turned", "attack")):
        bonaface.calibrate_bundle(reddish, table, output=tmp_path / name, higher_is=meaning)  # type: ignore[arg-type]
    upright, again = (bonaface.load_bundle(tmp_path / name) for name in ("upright", "turned"))
    assert upright.operating_point("image").logit_threshold == again.operating_point("image").logit_threshold


def test_scores_outlive_a_report_that_fails(
    reddish: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise OutputError("cannot write report.html: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_page", full)
        with pytest.raises(OutputError, match="the scores are kept in") as caught:
            bonaface.evaluate(reddish, pictures, output=tmp_path / "r", faces=False)
    (kept,) = tmp_path.iterdir()
    assert str(kept) in str(caught.value)
    assert len(bonaface.read_scores(kept)) == 16
    assert bonaface.evaluate(reddish, pictures, output=tmp_path / "r", faces=False).report.is_file()


def test_a_taken_folder_is_refused_before_scoring(
    reddish: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "mine.txt").write_text("mine")
    monkeypatch.setattr(module, "score_manifest", lambda *_, **__: pytest.fail("scored"))
    with pytest.raises(OutputError, match="is not empty"):
        bonaface.evaluate(reddish, pictures, output=tmp_path)
