from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bonaface
from bonaface.cli.summaries import run_lines
from bonaface.data.frames import Frames
from bonaface.data.images import encode_jpeg, read_image
from bonaface.data.manifest import make_manifest
from bonaface.data.sources import Source
from bonaface.errors import BundleError, InputError, ManifestError, OutputError, ScoreTableError, WeightsError
from bonaface.inference.pipeline import Pipeline
from tests.conftest import SMALL, ranked_as_labelled

pytestmark = pytest.mark.slow


def test_a_run_folder_holds_everything(run):
    for name in ("recipe.yaml", "run.json", "manifest.csv", "scores/val.csv", "scores/test.csv", "report/report.html"):
        assert (run.path / name).is_file(), name
    written = json.loads((run.path / "run.json").read_text())
    assert written["status"] == "complete"
    assert written["versions"]["bonaface"] == bonaface.__version__


def test_no_subject_is_in_two_splits(run):
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
    lines = list(run_lines(run))
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


def test_a_network_without_a_map_of_features_is_reported_without_pictures_of_it(run, tmp_path: Path, monkeypatch):
    def without(*_):
        raise InputError("transformer has no map of features")

    monkeypatch.setattr("bonaface.models.grad_cam._channel_axis", without)
    found = bonaface.evaluate(run.bundle, run.path / "manifest.csv", output=tmp_path / "out")
    assert "No Grad-CAM: transformer has no map of features" in found.report.read_text()
    with pytest.raises(InputError, match="no map of features"):
        bonaface.explain(run.bundle, run.path / "manifest.csv", output=tmp_path / "why")
    assert not (tmp_path / "why").exists()


def test_one_class_alone_cannot_train(footage: Path, tmp_path: Path):
    table = bonaface.index(footage, layout="folder").manifest
    table.table["split"] = "train"
    only = table.select(table.table["label"] == "attack")
    with pytest.raises(InputError, match="attack presentations only"):
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


def test_verdicts_are_those_of_the_evaluation(run, footage: Path):
    scores = bonaface.read_scores(run.path / "scores" / "test.csv")
    fused = scores[scores["frame"].isna()].set_index("presentation")["logit"].astype(float)
    test = bonaface.read_manifest(run.path / "manifest.csv").where("test")
    verdicts = list(bonaface.predict(run.bundle, *test.files()))
    assert [verdict.source for verdict in verdicts] == [str(file) for file in test.files()]
    logits = [float("nan") if verdict.logit is None else verdict.logit for verdict in verdicts]
    np.testing.assert_allclose(logits, fused[test.table["path"]], atol=1e-5)


def test_predicting_takes_whatever_holds_a_face(run, footage: Path, tmp_path: Path):
    video = next(footage.glob("live/*/*.mp4"))
    (frame,) = [frame.image for frame in Frames(video, count=1)]
    jpeg = encode_jpeg(frame)
    (tmp_path / "a.jpg").write_bytes(jpeg)
    array, encoded, image, folder, pattern, film = (
        next(bonaface.predict(run.bundle, source, colour="RGB"))
        for source in (frame, jpeg, tmp_path / "a.jpg", tmp_path, str(tmp_path / "*.jpg"), video.read_bytes())
    )
    assert encoded.logit == image.logit == folder.logit == pattern.logit
    assert array.threshold == image.threshold
    assert len(film.frames) == 2
    assert image.seconds.keys() >= {"decode", "detect", "crop", "network"}
    table = list(bonaface.predict(run.bundle, run.path / "manifest.csv"))
    assert len(table) == len(bonaface.read_manifest(run.path / "manifest.csv"))


def test_several_faces_follow_the_policy(run, footage: Path):
    (frame,) = [frame.image for frame in Frames(next(footage.glob("live/*/*.mp4")), count=1)]
    pair = np.concatenate([frame[:, 90:550], frame[::1, 90:550]], axis=1)
    single = next(bonaface.predict(run.bundle, frame, colour="RGB"))
    if single.outcome == "no_face":
        pytest.skip("the detector missed this head")
    refused = next(bonaface.predict(run.bundle, pair, colour="RGB", faces="refuse"))
    every = next(bonaface.predict(run.bundle, pair, colour="RGB", faces="all"))
    largest = next(bonaface.predict(run.bundle, pair, colour="RGB"))
    assert refused.outcome == "several_faces"
    assert refused.score is None
    assert not refused.accepted
    assert every.logit is not None
    assert largest.logit is not None
    assert every.logit <= largest.logit


def test_annotated_copies_are_pictures_and_videos(run, footage: Path, tmp_path: Path):
    video = next(footage.glob("replay_phone/*/*.mp4"))
    (frame,) = [frame.image for frame in Frames(video, count=1)]
    (tmp_path / "still.jpg").write_bytes(encode_jpeg(frame))
    list(bonaface.predict(run.bundle, tmp_path / "still.jpg", video, save=tmp_path / "out"))
    assert read_image(tmp_path / "out" / "still.jpg").shape == frame.shape
    with Frames(tmp_path / "out" / f"{video.stem}.mp4", count="all") as drawn:
        assert len(list(drawn)) == len(list(Frames(video, count="all")))


@pytest.mark.parametrize(
    ("source", "said"),
    [("none.jpg", "no file or folder"), ("*.tiff", "no image or video"), (np.zeros((4, 4)), "not a picture")],
)
def test_unscorable_source_is_refused_at_once(run, source, said: str, tmp_path: Path):
    with pytest.raises(InputError, match=said):
        bonaface.predict(run.bundle, source if isinstance(source, np.ndarray) else tmp_path / source)


def test_a_file_that_is_no_picture_gets_a_verdict_that_says_so(run, tmp_path: Path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    verdict = next(bonaface.predict(run.bundle, tmp_path / "bad.jpg"))
    assert (verdict.outcome, verdict.score) == ("unreadable", None)
    assert "bad.jpg" in verdict.reason


def test_another_detector_is_said_in_the_report(run, tmp_path: Path):
    found = bonaface.evaluate(
        run.bundle, run.path / "manifest.csv", output=tmp_path / "w", faces=False, detector="whole_frame"
    )
    assert any("whole_frame in place of" in note for note in found.assessment.notes)


def test_a_run_that_failed_before_its_first_epoch_may_be_tried_again(run, tmp_path: Path):
    manifest = run.path / "manifest.csv"
    out = tmp_path / "again"
    crops = f"data.crops={run.path / 'crops'}"
    with pytest.raises(WeightsError):
        bonaface.train("demo", *SMALL, crops, "model.weights=none.safetensors", manifest=manifest, output=out)
    assert json.loads((out / "run.json").read_text())["status"] == "failed"
    with pytest.raises(WeightsError):  # not: the folder holds another run
        bonaface.train("demo", *SMALL, crops, "model.weights=other.safetensors", manifest=manifest, output=out)


def test_thresholds_can_be_calibrated_again(run, footage: Path, tmp_path: Path):
    ranked_as_labelled(run.path / "scores" / "val.csv", tmp_path / "val.csv")
    done = bonaface.calibrate_bundle(
        run.bundle, tmp_path / "val.csv", criterion="bpcer<=0.5", output=tmp_path / "other"
    )
    again = bonaface.load_bundle(tmp_path / "other")
    assert again.card.operating_points["video"].criterion == "bpcer<=0.5"
    assert again.id == done.id != bonaface.load_bundle(run.bundle).id
    (verdict,) = bonaface.predict(again, next(footage.glob("live/*/*.mp4")))
    assert verdict.threshold == again.card.operating_points["video"].threshold
    with pytest.raises(ScoreTableError, match="split test"):
        bonaface.calibrate_bundle(run.bundle, run.path / "scores" / "test.csv", output=tmp_path / "wrong")
    other = bonaface.read_scores(run.path / "scores" / "val.csv").assign(system="someone else")
    with pytest.raises(ScoreTableError, match="the bundle is"):
        bonaface.calibrate_bundle(run.bundle, other, output=tmp_path / "wrong")
    without = bonaface.read_scores(run.path / "scores" / "val.csv").drop(columns="logit")
    with pytest.raises(ScoreTableError, match="no logits"):
        bonaface.calibrate_bundle(run.bundle, without, output=tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_widened_validation_fits_the_logits_and_the_thresholds(run):
    card = bonaface.load_bundle(run.bundle).card
    widened = bonaface.read_scores(run.path / "scores" / "widened.csv")
    fused = widened[widened["frame"].isna()]
    assert {"another camera", "simulated attack"} == set(fused["widened"])
    assert card.training["calibration"]["scale"] > 0
    for point in card.operating_points.values():
        assert point.chosen_on["widened"]["presentations"] == len(fused)
    val = bonaface.read_scores(run.path / "scores" / "val.csv")
    assert val["logit"].abs().quantile(0.99) < 8


def test_several_manifests_train_one_network(run, footage: Path, tmp_path: Path):
    whole = bonaface.read_manifest(run.path / "manifest.csv")
    replayed = whole.table["path"].str.startswith("replay")
    for name, rows in (("one", ~replayed), ("two", replayed)):  # two holds attacks alone
        part = whole.select(rows)
        table = part.table.assign(dataset=name, subject=[subject.split("/")[-1] for subject in part.table["subject"]])
        bonaface.write_manifest(make_manifest(table, whole.root), tmp_path / f"{name}.csv")
    both = f"data.manifest=[{tmp_path / 'one.csv'}, {tmp_path / 'two.csv'}]"
    trained = bonaface.train("demo", *SMALL, both, "training.balance=sampler", output=tmp_path / "run", faces=False)
    card = bonaface.load_bundle(trained.path).card
    assert card.training["datasets"] == ["one", "two"]
    assert any("dataset two has attack presentations alone" in note for note in trained.notes)
    history = pd.read_csv(tmp_path / "run" / "logs" / "metrics.csv")
    assert {"val_loss/one", "val_loss/two"} <= set(history)


def test_a_dataset_in_two_manifests_is_refused(run, tmp_path: Path):
    manifest = run.path / "manifest.csv"
    with pytest.raises(ManifestError, match="two manifests"):
        bonaface.train("demo", *SMALL, f"data.manifest=[{manifest}, {manifest}]", output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
