"""The model object: what it takes, what a verdict offers, and what it refuses."""

from __future__ import annotations

import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import bonaface
from bonaface.data.images import read_image
from bonaface.errors import BundleError, InputError, MediaError, OutputError, SettingsError
from bonaface.inference.model_zoo import OPEN_MODELS
from bonaface.types import Box, Status
from tests.conftest import ranked_as_labelled
from tests.workflows.test_predict import GREEN, RED, RGB, encoded, picture, reddish, video

__all__ = ["reddish"]


@pytest.fixture(scope="module")
def model(reddish: Path) -> bonaface.Model:
    return bonaface.load(reddish, threads=2)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    picture(tmp_path / "photo.png")
    picture(tmp_path / "attack.png", GREEN)
    video(tmp_path / "clip.mp4")
    for number in range(4):
        picture(tmp_path / "frames" / f"{number}.png", GREEN)
    (tmp_path / "table.csv").write_text("path\nphoto.png\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "outcome", "kind"),
    [
        ("photo.png", "bona_fide", "image"),
        ("attack.png", "attack", "image"),
        ("clip.mp4", "bona_fide", "video"),
        ("frames", "attack", "video"),
    ],
)
@pytest.mark.parametrize("of", [str, Path], ids=["str", "Path"])
def test_a_path_is_one_presentation(model: bonaface.Model, files: Path, name: str, outcome: str, kind: str, of: Any):
    verdict = model(of(files / name))
    assert (verdict.outcome, verdict.kind, verdict.status) == (outcome, kind, Status.OK)
    assert verdict == next(model.predict(files / name, frames_as_video=True))


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (RGB, {"colour": "RGB"}),
        (RGB[..., ::-1], {"colour": "BGR"}),
        (Image.fromarray(RGB), {}),
        (Image.new("RGBA", (40, 40), (*RED, 255)), {}),
        (encoded("PNG"), {}),
        (io.BytesIO(encoded("PNG")), {}),
        ([RGB, RGB], {"colour": "RGB"}),
        ((encoded("PNG"), Image.fromarray(RGB)), {}),
    ],
    ids=["RGB", "BGR", "Pillow", "RGBA", "bytes", "file", "list", "tuple"],
)
def test_a_value_in_memory_is_one_presentation(model: bonaface.Model, given: Any, options: dict[str, Any]):
    verdict = model(given, **options)
    assert verdict.accepted
    assert verdict.kind == ("video" if isinstance(given, list | tuple) else "image")


def test_files_may_be_open_and_lists_may_hold_paths(model: bonaface.Model, files: Path):
    with (files / "photo.png").open("rb") as file:
        assert model(file).accepted
    verdict = model([files / "photo.png", str(files / "photo.png")])
    assert (verdict.kind, len(verdict.frames), verdict.accepted) == ("video", 2, True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (RGB, "order of its channels"),
        (RGB.astype(np.float32) / 255, "float32 is not a picture"),
        (RGB[..., 0], "expected uint8 of shape"),
        (np.zeros((40, 40, 4), np.uint8), "expected uint8 of shape"),
        ([], "an empty list"),
        (0, "is a camera; watch it with model.predict"),
        ("nowhere.jpg", "no file or folder at nowhere.jpg"),
        (["nowhere.jpg"], "the frame nowhere.jpg cannot be read"),
        (None, "NoneType cannot be scored"),
    ],
    ids=["no order", "float", "grey", "RGBA", "empty", "camera", "missing", "missing frame", "None"],
)
def test_what_is_no_presentation_is_refused(model: bonaface.Model, given: Any, said: str):
    with pytest.raises(InputError, match=said) as caught:
        model(given)
    assert "\n" not in str(caught.value)


def test_several_presentations_are_refused_by_a_call(model: bonaface.Model, files: Path):
    with pytest.raises(InputError, match=r"2 presentations; score them with model\.predict"):
        model(str(files / "*.png"))
    for frames in (0, "8", 2.5):
        with pytest.raises(InputError, match="expected a whole number, 1 or more"):
            model(files / "photo.png", frames=frames)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="different sizes: 48 x 48, 60 x 40"):
        model([files / "photo.png", RGB], colour="RGB")


def test_unknown_face_policy_is_refused(reddish: Path):
    with pytest.raises(SettingsError, match="expected largest, all, refuse"):
        bonaface.load(reddish, faces="refused")  # type: ignore[arg-type]


def test_a_calibrated_model_keeps_its_options(run, tmp_path: Path):
    ranked_as_labelled(run.path / "scores" / "val.csv", tmp_path / "val.csv")
    strict = bonaface.load(run.path, faces="refuse").calibrate(tmp_path / "val.csv", output=tmp_path / "strict")
    assert strict.pipeline._policy == "refuse"
    for options in ({"detector": "whole_frame"}, {"min_face": 30}, {"quality": False}):
        with pytest.raises(SettingsError, match="load the model without a different one"):
            bonaface.load(run.path, **options).calibrate(tmp_path / "val.csv", output=tmp_path / "b")


def test_video_is_found_after_the_folder_changed(model: bonaface.Model, files: Path, monkeypatch: pytest.MonkeyPatch):
    assert model(files / "clip.mp4").accepted
    monkeypatch.chdir(files)
    (files / "json.py").write_text("raise SystemExit")  # must not be imported
    assert model("clip.mp4").accepted
    video(files / "other.mp4", colour=GREEN)
    assert model("other.mp4").source == "other.mp4"


@pytest.mark.parametrize("name", ["not-there", "minifas-129", "yunet", "run"])
def test_unknown_model_is_refused(name: str):
    with pytest.raises(BundleError, match=f"no bundle at {name} and no open model of that name.*minifas-128"):
        bonaface.load(name)


def test_open_model_is_made_once(reddish: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BONAFACE_CACHE", str(tmp_path))
    made: list[Path] = []

    def pull(name: str, *, output: Path, **_: object) -> bonaface.Bundle:
        made.append(output)
        output.write_bytes(reddish.read_bytes())
        return bonaface.load_bundle(output)

    monkeypatch.setattr("bonaface.workflows.bundle.pull_bundle", pull)
    assert "minifas-128" in OPEN_MODELS
    first, second = bonaface.load("minifas-128"), bonaface.load("minifas-128")
    assert len(made) == 1
    assert first.bundle.id == second.bundle.id
    made[0].write_bytes(b"damaged")
    assert bonaface.load("minifas-128").bundle.id == first.bundle.id
    assert len(made) == 2


@pytest.fixture(scope="module")
def faces(run) -> bonaface.Model:
    """The trained model of the shared run, which crops faces."""
    return bonaface.load(run.path)


def test_boxes_of_the_caller_replace_the_search(faces: bonaface.Model, footage: Path):
    frame = cv2.VideoCapture(str(next((footage / "live").rglob("*.mp4")))).read()[1]
    found = faces(frame, colour="BGR")
    (box,) = found.boxes
    given = faces(frame, colour="BGR", boxes=[box])
    assert given.logit == found.logit
    assert given.boxes == (box,)
    both = faces([frame, frame], colour="BGR", boxes=[[box], [box]])
    assert both.logit == pytest.approx(found.logit, abs=1e-5)
    assert faces(frame, colour="BGR", boxes=[]).status == "no_face"
    elsewhere = faces(frame, colour="BGR", boxes=np.array([[0, 0, 60, 60]]))
    assert elsewhere.boxes == (Box(0, 0, 60, 60),)
    assert elsewhere.logit != found.logit


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ([(900, 10, 50, 50)], "outside the picture of 60 x 40"),
        ([(-80, 10, 50, 50)], "outside the picture"),
        ([(10, 10, 0, 20)], "outside the picture"),
        ([(float("nan"), 10, 20, 20)], "outside the picture"),
        ([(10, 10, 20)], "expected a list of"),
        ((10, 10, 20, 20), "expected a list of"),
        ("box", "expected a list of"),
    ],
    ids=["right", "left", "no width", "NaN", "three numbers", "one box", "text"],
)
def test_box_that_does_not_fit_is_refused(model: bonaface.Model, boxes: Any, said: str):
    with pytest.raises(InputError, match=said):
        model(RGB, colour="RGB", boxes=boxes)


def test_boxes_must_belong_to_pictures(model: bonaface.Model, files: Path):
    with pytest.raises(InputError, match="not to a video"):
        model(files / "clip.mp4", boxes=[(0, 0, 40, 40)])
    with pytest.raises(InputError, match="boxes for 1 pictures, but there are 2"):
        model([RGB, RGB], colour="RGB", boxes=[[(0, 0, 40, 40)]])
    assert model(files / "photo.png", boxes=[(0, 0, 40, 40)]).accepted


def test_predict_takes_one_source_or_many(model: bonaface.Model, files: Path):
    assert [v.outcome for v in model.predict(files / "photo.png")] == ["bona_fide"]
    assert [v.outcome for v in model.predict(encoded("PNG"))] == ["bona_fide"]
    assert [v.outcome for v in model.predict(bytearray(encoded("PNG")))] == ["bona_fide"]
    many = (files / name for name in ("photo.png", "attack.png"))
    assert [v.outcome for v in model.predict(many)] == ["bona_fide", "attack"]
    assert len(list(model.predict([str(files / "*.png"), files / "clip.mp4"]))) == 3


def test_threads_get_the_same_verdicts(faces: bonaface.Model, footage: Path):
    clips = sorted(footage.rglob("*.mp4"))[:6]
    one = [faces(clip) for clip in clips]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(faces, clips * 4)) == one * 4


def test_a_verdict_is_drawn_and_saved(model: bonaface.Model, files: Path, tmp_path: Path):
    for given in (files / "attack.png", files / "clip.mp4", RGB, [RGB, RGB]):
        verdict = model(given, colour="RGB")
        drawn = np.asarray(verdict.plot())
        height = 40 if isinstance(given, list | np.ndarray) else 48
        assert drawn.shape[0] == height
        assert (drawn != np.full_like(drawn, drawn[-1, -1])).any()
    assert np.asarray(model(files / "clip.mp4").plot(frame=0)).any()
    for name in ("out.jpg", "out.PNG", "out.webp"):
        written = model(files / "photo.png").save(tmp_path / name)
        assert read_image(written).shape == (48, 48, 3)


def test_what_cannot_be_drawn_says_why(model: bonaface.Model, files: Path, tmp_path: Path):
    verdict = model(files / "clip.mp4")
    with pytest.raises(InputError, match=r"frame 99 was not scored; expected one of \[0"):
        verdict.plot(frame=99)
    with pytest.raises(OutputError, match="expected a name that ends in"):
        verdict.save(tmp_path / "out.gif")
    with pytest.raises(OutputError):
        verdict.save(tmp_path / "none" / "out.jpg")
    with pytest.raises(InputError, match="does not hold its presentation"):
        bonaface.Verdict("x", Status.NO_FACE, None, 0.5).plot()
    (files / "clip.mp4").unlink()
    with pytest.raises(MediaError):
        verdict.plot()


def test_a_notebook_shows_the_verdict(model: bonaface.Model, files: Path):
    shown = model(files / "photo.png")._repr_html_()
    assert "data:image/jpeg;base64," in shown
    assert "<svg" in shown
    (tmp := files / "<b>.png").write_bytes(b"")
    failed = model(tmp)
    assert failed.status is Status.UNREADABLE
    assert "<img" not in failed._repr_html_()
    assert "&lt;b&gt;" in failed._repr_html_()


def test_a_verdict_is_short_and_travels(model: bonaface.Model, files: Path):
    verdict = model(files / "photo.png")
    assert repr(verdict) == f"<Verdict bona_fide, score {verdict.score:.4f}, threshold 0.5000, '{files / 'photo.png'}'>"
    again = pickle.loads(pickle.dumps(verdict))
    assert again == verdict
    assert np.array_equal(np.asarray(again.plot()), np.asarray(verdict.plot()))


def test_model_evaluates_explains_embeds_and_calibrates(run, footage: Path, tmp_path: Path):
    with bonaface.load(run.path, threads=2) as model:
        manifest = run.path.parent / "manifest.csv"
        done = model.evaluate(manifest, output=tmp_path / "results", split="val", faces=False)
        assert done.report.is_file()
        point = model.bundle.operating_point("video")
        scores = tmp_path / "val.csv"
        ranked_as_labelled(run.path / "scores" / "val.csv", scores)
        strict = model.calibrate(scores, output=tmp_path / "strict", criterion="bpcer<=0.5")
        clip = next(footage.rglob("*.mp4"))
        assert strict(clip).threshold == strict.bundle.operating_point("video").threshold
        assert strict(clip).logit == model(clip).logit
        assert strict.bundle.operating_point("video").criterion != point.criterion
        assert model.explain(clip, output=tmp_path / "why").pictures
        assert model.embed(manifest, output=tmp_path / "map").plot.exists()
