from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bonaface
from bonaface.data.drawing.dataset import write_demo_dataset
from bonaface.errors import BundleError, InputError, OutputError
from bonaface.runtime.pipeline import Pipeline, Source

SMALL = (
    "model.name=mobilenetv3_small_050",
    "model.input_size=64",
    "crop.frames=2",
    "training.epochs=1",
    "training.workers=0",
    "training.batch_size=8",
    "scoring.frames=2",
)


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    folder = Path(tmp_path_factory.mktemp("whole")) / "footage"
    write_demo_dataset(folder, persons=4, takes=1, seconds=0.3, seed=3)
    return folder


@pytest.fixture(scope="module")
def run(footage: Path):
    manifest = footage.parent / "manifest.csv"
    bonaface.index(footage, layout="folder", output=manifest)
    bonaface.split(manifest, val=0.25, test=0.25)
    return bonaface.train("demo", *SMALL, manifest=manifest, output=footage.parent / "run")


def test_a_run_folder_holds_everything(run):
    for name in ("recipe.yaml", "run.json", "manifest.csv", "scores/val.csv", "scores/test.csv", "report/report.html"):
        assert (run.path / name).is_file(), name
    told = json.loads((run.path / "run.json").read_text())
    assert told["status"] == "complete"
    assert told["versions"]["bonaface"] == bonaface.__version__


def test_nobody_stands_in_two_splits(run):
    table = bonaface.read_manifest(run.path / "manifest.csv").table
    assert (table.groupby("subject")["split"].nunique() == 1).all()
    assert set(table["split"]) == {"train", "val", "test"}


def test_the_bundle_keeps_both_operating_points_chosen_on_validation(run):
    card = bonaface.load_bundle(run.bundle).card
    assert set(card.operating_points) == {"image", "video"}
    for point in card.operating_points.values():
        assert point.criterion == "eer"
        assert point.chosen_on["split"] == "val"


def test_every_presentation_has_a_row_and_every_score_its_logit(run):
    scores = bonaface.read_scores(run.path / "scores" / "test.csv")
    expected = bonaface.read_manifest(run.path / "manifest.csv").where("test").table["path"]
    fused = scores[scores["frame"].isna()]
    assert fused["presentation"].tolist() == expected.tolist()
    scored = scores[scores["status"] == "ok"]
    np.testing.assert_allclose(scored["score"], 1 / (1 + np.exp(-scored["logit"])), rtol=1e-12)


def test_the_summary_prints_as_the_published_system_does(run):
    lines = run.summary().splitlines()
    for name in ("Test Loss", "Test Acc", "FAR", "FRR", "HTER"):
        assert any(line.startswith(name) and ":" in line for line in lines), name


def test_evaluating_again_gives_the_same_scores(run, footage: Path, tmp_path: Path):
    again = bonaface.evaluate(run.path, run.path / "manifest.csv", output=tmp_path / "again", faces=False)
    before = bonaface.read_scores(run.path / "scores" / "test.csv")
    pd.testing.assert_frame_equal(again.scores[["presentation"]], before[["presentation"]], check_dtype=False)
    np.testing.assert_allclose(again.scores["logit"].astype(float), before["logit"].astype(float), atol=1e-5)


def test_a_file_that_is_no_video_is_counted_and_not_dropped(run, footage: Path, tmp_path: Path):
    good = next(footage.glob("live/*/*.mp4"))
    (tmp_path / "good.mp4").write_bytes(good.read_bytes())
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    (tmp_path / "m.csv").write_text("path,label\ngood.mp4,bona_fide\nbad.mp4,bona_fide\n")
    result = bonaface.evaluate(run.bundle, tmp_path / "m.csv", output=tmp_path / "out")
    measures = result.assessment.measures("video")
    assert measures.counts.failures == {"unreadable": 1}
    assert measures.frr.total == 2
    assert measures.far.total == 0
    assert "undefined" in str(measures.far)


def test_pictures_and_map(run, footage: Path, tmp_path: Path):
    shown = bonaface.explain(run.bundle, next(footage.glob("print_flat/*/*.mp4")), output=tmp_path / "why", frames=2)
    assert all(picture.stat().st_size > 1000 for picture in shown.pictures)
    assert len(shown.verdicts) == 1
    mapped = bonaface.embed(run.bundle, run.path / "manifest.csv", output=tmp_path / "map", split="all")
    assert mapped.plot.is_file()
    assert {"x", "y", "species", "subject"} <= set(mapped.coordinates)


def test_no_faces_leaves_no_picture_in_the_page(run, tmp_path: Path):
    with_faces = (run.path / "report" / "report.html").read_text()
    bonaface.evaluate(run.bundle, run.path / "manifest.csv", output=tmp_path / "plain", faces=False)
    plain = (tmp_path / "plain" / "report.html").read_text()
    assert "data:image/jpeg" in with_faces
    assert "data:image/jpeg" not in plain
    assert not list((tmp_path / "plain" / "figures").glob("gallery*"))


def test_the_page_needs_nothing_from_outside(run):
    page = (run.path / "report" / "report.html").read_text()
    assert "<script" not in page
    assert 'src="http' not in page
    assert "@import" not in page


def test_a_second_run_in_the_same_folder_is_refused(run):
    with pytest.raises(OutputError, match="holds another run"):
        bonaface.train("demo", *SMALL, manifest=run.path / "manifest.csv", output=run.path)
    with pytest.raises(OutputError, match="complete"):
        bonaface.train("demo", *SMALL, manifest=run.path / "manifest.csv", output=run.path, resume=True)


def test_one_class_alone_cannot_train(footage: Path, tmp_path: Path):
    table = bonaface.index(footage, layout="folder").manifest
    table.table["split"] = "train"
    only = table.select(table.table["label"] == "attack")
    with pytest.raises(InputError, match="attack presentations alone"):
        bonaface.train("demo", *SMALL, manifest=only, output=tmp_path / "run")


def test_another_detector_than_the_bundle_s_is_refused(run, tmp_path: Path):
    bundle = bonaface.load_bundle(run.bundle)
    other = bundle.card.detector.model_copy(update={"name": "whole_frame"})
    card = bundle.card.model_copy(update={"detector": other})
    with pytest.raises(BundleError, match="face detector"):
        Pipeline(type(bundle)(bundle.path, card, bundle.contents))


def test_a_changed_file_in_a_bundle_is_found(run, tmp_path: Path):
    copy = tmp_path / "bundle"
    copy.mkdir()
    for item in Path(run.bundle).iterdir():
        (copy / item.name).write_bytes(item.read_bytes())
    data = bytearray((copy / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx").write_bytes(bytes(data))
    with pytest.raises(BundleError, match="sha256"):
        bonaface.load_bundle(copy)


def test_the_number_of_threads_changes_no_score(run, footage: Path):
    bundle = bonaface.load_bundle(run.bundle)
    source = Source("x", next(footage.glob("live/*/*.mp4")))
    (one,) = Pipeline(bundle, threads=1).score([source], frames=2)
    (two,) = Pipeline(bundle, threads=2).score([source], frames=2)
    assert [frame.logit for frame in one.frames] == pytest.approx([frame.logit for frame in two.frames], abs=1e-5)
