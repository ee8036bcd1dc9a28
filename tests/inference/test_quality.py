"""Quality of a face: its measures, the limits of a bundle, and the smallest face."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from bonaface.data.cropping import Square, crop_face, face_square
from bonaface.data.faces.detector import Face, given_faces
from bonaface.data.sources import Source
from bonaface.errors import BundleError, InputError, SettingsError
from bonaface.inference.bundle import Bundle, change_bundle, load_bundle, write_bundle
from bonaface.inference.bundle_schema import DetectorCard
from bonaface.inference.pipeline import Pipeline
from bonaface.inference.quality import FaceRules, gathered, head_pose, measure, summary
from bonaface.inference.quality_limits import MEASURES, Limit, parse_limits
from bonaface.types import Box, Finding, FrameScore, Quality, Status
from tests.networks import pictures

HEAD = np.array([[-32, -40, -28], [32, -40, -28], [0, 0, 0], [-26, 30, -22], [26, 30, -22]], float)


def turned(yaw: float, pitch: float, roll: float) -> tuple[tuple[float, float], ...]:
    """The landmarks of an average head, turned by degrees and seen from afar, somewhere in a picture."""
    a, b, c = np.radians([yaw, pitch, roll])
    sideways = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    down = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    tilted = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    seen = HEAD @ (tilted @ down @ sideways).T
    return tuple((200 + 1.5 * x, 150 + 1.5 * y) for x, y, _ in seen)


@pytest.mark.parametrize("angle", [-50, -20, 0, 15, 60])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_head_pose_is_that_of_the_projected_head(axis: int, angle: float):
    given = [0.0, 0.0, 0.0]
    given[axis] = angle
    assert head_pose(turned(*given)) == pytest.approx([abs(value) for value in given], abs=1e-6)


def test_head_pose_where_all_landmarks_are_one_point():
    assert all(math.isfinite(angle) for angle in head_pose([(3.0, 4.0)] * 5))


def pixels_of(image: np.ndarray) -> np.ndarray:
    """What is measured on the pixels of a face."""
    box = Box(40, 40, 80, 80)
    square = face_square(box, scale=1.2, width=image.shape[1], height=image.shape[0])
    found = measure(crop_face(image, box, scale=1.2, size=96), square, box, Face(box, 0.9))
    return np.array(found[:4], float)


def test_blur_lowers_sharpness_and_nothing_around_the_face_counts():
    image = pictures(1, size=160, seed=3)[0]
    blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), 3), np.uint8)
    assert pixels_of(blurred)[0] < 0.3 * pixels_of(image)[0]
    around = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    around[36:124, 36:124] = image[36:124, 36:124]
    assert pixels_of(around) == pytest.approx(pixels_of(image), rel=0.02, abs=0.02)


@pytest.mark.parametrize(
    "box", [Box(99, 0, 1, 100), Box(0, 99, 100, 1), Box(0, 0, 1, 1), Box(0, 30, 300, 2), Box(-50, -50, 200, 200)]
)
@pytest.mark.parametrize(("size", "scale"), [(16, 1.0), (224, 0.3), (32, 8.0)])
def test_degenerate_box_is_measured(box: Box, size: int, scale: float):
    image = np.full((100, 300, 3), 51, np.uint8)
    square = face_square(box, scale=scale, width=300, height=100)
    found = measure(crop_face(image, box, scale=scale, size=size), square, box, Face(box, 1.0))
    assert found.luminance_mean == pytest.approx(0.2)
    assert found.under_exposure == 0


@pytest.mark.parametrize(("dark", "bright"), [(0.0, 0.0), (0.25, 0.0), (0.5, 0.5), (0.0, 1.0)])
def test_exposure_is_the_share_of_black_and_white(dark: float, bright: float):
    image = np.full((100, 100, 3), 128, np.uint8)
    image[: round(100 * dark)] = 10
    image[round(100 * (1 - bright)) :] = 250
    found = measure(image, Square(0, 0, 100), Box(0, 0, 100, 100), Face(Box(0, 0, 100, 100), 1.0))
    assert found.under_exposure == pytest.approx(dark)
    assert found.over_exposure == pytest.approx(bright)
    assert found.luminance_mean == pytest.approx((10 * dark + 250 * bright + 128 * (1 - dark - bright)) / 255)
    assert (found.head_pose_yaw, found.identical_frames) == (None, None)


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        (Box(10, 10, 40, 40), 0.0),
        (Box(-20, 10, 40, 40), 0.5),
        (Box(-20, -20, 80, 80), 1 - 60 * 60 / 6400),
        (Box(90, 90, 19, 19), 1 - 100 / 361),
    ],
)
def test_face_cut_is_the_share_outside_the_frame(box: Box, cut: float):
    (face,) = given_faces([box], np.zeros((100, 100, 3), np.uint8))
    assert face.cut == pytest.approx(cut)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["sharpnes>=1"], "no quality measure 'sharpnes' .did you mean 'sharpness'"),
        (["sharpness"], "expected a measure and a number"),
        (["sharpness=1"], "expected a measure and a number"),
        (["sharpness>=high"], "expected a measure and a number"),
        (["sharpness>=nan"], "finite number"),
        (["face_size<=inf"], "finite number"),
        (["face_size>=9", "face_size<=3"], "min 9 is above max 3"),
        (["face_size>=9", "face_size>=3"], "two limits face_size>="),
        (["over_exposure>=0.1"], "of the form over_exposure<=X"),
        ([""], "expected a measure and a number"),
    ],
)
def test_limits_that_mean_nothing_are_refused(texts: list[str], said: str):
    with pytest.raises(SettingsError, match=said):
        parse_limits(texts)


def test_each_measure_has_advice_for_a_side():
    assert list(MEASURES) == list(Quality._fields)
    assert all(measure.low or measure.high for measure in MEASURES.values())


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        ({"sharpnes": {"min": 1}}, "no quality measure 'sharpnes'"),
        ({"face_size": {"min": 9, "max": 3}}, "min 9 is above max 3"),
        ({"face_size": {}}, "expected a finite number"),
        ({"face_size": {"least": 3}}, "least"),
        ({"head_pose_yaw": {"max": 30}}, "needs landmarks, which the detector whole_frame does not find"),
    ],
)
def test_bundle_with_impossible_limits_is_refused(tiny: Bundle, tmp_path: Path, quality: dict, said: str):
    write_bundle(replace(tiny, path=tmp_path / "bundle"))
    card = tmp_path / "bundle" / "bundle.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "quality": quality}))
    with pytest.raises(BundleError, match=said):
        load_bundle(tmp_path / "bundle")


def test_limits_survive_the_bundle_and_its_card_names_them(tiny: Bundle, tmp_path: Path):
    limits = parse_limits(["sharpness>=4", "face_size>=20", "face_size<=900"])
    write_bundle(change_bundle(tiny, path=tmp_path / "bundle", quality=limits, min_face=31.0))
    read = load_bundle(tmp_path / "bundle")
    assert read.card.quality == limits
    assert read.card.min_face == 31
    readme = read.contents["README.md"].decode()
    assert "limits on quality: sharpness >= 4, face_size >= 20 and <= 900" in readme
    assert "smallest face: 31 pixels" in readme


DARK, LIGHT = np.zeros((64, 64, 3), np.uint8), pictures(8, size=64, seed=5)
LIMITS = {"luminance_mean": Limit(min=0.05)}


def verdict(bundle: Bundle, *shown: np.ndarray, frames: int = 4, **options):
    with Pipeline(bundle, threads=1, **options) as pipeline:
        (found,) = pipeline.verdicts([Source("clip", shown)], frames=frames)
    return found


def test_frame_outside_a_limit_is_replaced_like_one_without_a_face(tiny: Bundle):
    strict = change_bundle(tiny, quality=LIMITS)
    found = verdict(strict, *[DARK, *LIGHT[:2]] * 4)
    assert found.score is not None
    assert found.findings == ()
    assert {frame.status for frame in found.frames} == {Status.OK, Status.LOW_QUALITY}
    assert found.reason.endswith(f"4 of {len(found.frames)} frames could be scored")
    assert (found.quality.luminance_mean or 0) > 0.2


def test_presentation_outside_a_limit_is_low_quality(tiny: Bundle):
    strict = change_bundle(tiny, quality=LIMITS)
    for shown in ([DARK], [DARK] * 8):
        found = verdict(strict, *shown)
        assert (found.outcome, found.status, found.score, found.accepted) == ("low_quality", "low_quality", None, False)
        assert found.findings == (Finding("luminance_mean", 0.0, 0.05, None, MEASURES["luminance_mean"].low),)
        assert found.reason.endswith("luminance_mean 0, at least 0.05 is needed: Turn to the light: the face is dark")
        written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert written["findings"] == [found.findings[0]._asdict()]
        assert written["quality"]["luminance_mean"] == 0
        assert pickle.loads(pickle.dumps(found)) == found
    assert verdict(strict, DARK, quality=False).score == verdict(tiny, DARK).score


def test_half_the_frames_within_limits_are_scored_and_fewer_are_not(tiny: Bundle):
    strict = change_bundle(tiny, quality=LIMITS)
    assert verdict(strict, *LIGHT[:2], DARK, DARK).score is not None
    few = verdict(strict, LIGHT[0], DARK, DARK, DARK)
    assert (few.outcome, few.score) == ("low_quality", None)
    assert "at least 2 are needed" in few.reason


@pytest.mark.parametrize(
    ("shown", "share"),
    [(LIGHT[[0, 1, 2, 3]], 0.0), (LIGHT[[0, 0, 1, 2]], 1 / 3), (LIGHT[[0] * 4], 1.0), (LIGHT[:1], None)],
)
def test_identical_frames_are_counted_and_limited(tiny: Bundle, shown: np.ndarray, share: float | None):
    found = verdict(tiny, *shown)
    assert found.quality.identical_frames == (None if share is None else pytest.approx(share))
    strict = verdict(change_bundle(tiny, quality={"identical_frames": Limit(max=0.5)}), *shown)
    assert (strict.outcome == "low_quality") == (share == 1.0)
    assert [finding.name for finding in strict.findings] == ["identical_frames"] * (share == 1.0)


@pytest.mark.parametrize(
    ("size", "scale", "frame", "side", "min_face"),
    [
        (224, 1.5, 480, 74, 75),
        (224, 1.5, 480, 75, None),
        (128, 1.5, 480, 42, 43),
        (128, 2.7, 480, 23, 24),
        (64, 2.7, 480, 19, 20),  # the detector's own bound
        (64, 2.7, 480, 20, None),
        (224, 1.5, 111, 90, 91),  # the frame itself is enlarged more than twice
        (224, 1.5, 112, 90, None),
    ],
)
def test_crop_enlarged_more_than_twice_is_too_small(
    tiny: Bundle, size: int, scale: float, frame: int, side: int, min_face: int | None
):
    card = tiny.card.model_copy(
        update={"crop_scale": scale, "input": tiny.card.input.model_copy(update={"size": size})}
    )
    found = FaceRules(card).too_small(Box(5, 5, side, side - 3), np.zeros((frame, 640, 3), np.uint8))
    assert (found and (found.value, found.min)) == (min_face and (side, min_face))


@pytest.mark.parametrize(("own", "given", "min_face"), [(None, 60, 60), (60, None, 60), (60, 30, 30), (60, 0, 0)])
def test_smallest_face_is_an_option_and_a_setting(
    tiny: Bundle, own: float | None, given: float | None, min_face: float
):
    bundle = change_bundle(tiny, min_face=own)
    for side in (59, 60, 29, 30, 8):
        found = verdict(bundle, np.zeros((side, side, 3), np.uint8), min_face=given)
        assert (found.outcome == "too_small") == (side < min_face)
        assert (found.score is None) == (side < min_face)
        if side < min_face:
            assert found.reason == f"face_size {side}, at least {min_face} is needed: Come closer to the camera"


@pytest.mark.parametrize("min_face", [-1, float("nan"), float("inf")])
def test_smallest_face_that_is_no_size_is_refused(tiny: Bundle, min_face: float):
    with pytest.raises(SettingsError, match="expected its longer side in pixels"):
        Pipeline(tiny, threads=1, min_face=min_face)


def test_limit_on_the_pose_without_landmarks_is_one_line(tiny: Bundle, monkeypatch: pytest.MonkeyPatch):
    yunet = DetectorCard(name="yunet", identity="whole_frame")
    strict = change_bundle(tiny, quality={"head_pose_yaw": Limit(max=30)}, detector=yunet)
    with pytest.raises(
        SettingsError, match="head_pose_yaw, which needs landmarks that the detector haar does not find"
    ):
        Pipeline(strict, threads=1, detector="haar")
    monkeypatch.setattr(Pipeline, "_detector", lambda self: None)
    with Pipeline(strict, threads=1) as pipeline, pytest.raises(InputError, match="boxes of your own do not have"):
        pipeline.verdict(Source("photo", (LIGHT[0],), boxes=((Box(0, 0, 64, 64),),)))


def test_summary_is_the_median_of_what_was_scored():
    def frame(value: float, logit: float | None) -> FrameScore:
        finding = () if logit is not None else (Finding("sharpness", value, 5.0, None, ""),)
        return FrameScore(0, Status.OK, logit=logit, quality=Quality(sharpness=value), findings=finding)

    frames = [frame(8.0, 1.0), frame(9.0, 1.0), frame(10.0, 1.0), frame(1.0, None), frame(2.0, None)]
    assert summary(frames, identical=0.2) == Quality(sharpness=9.0, identical_frames=0.2)
    assert summary(frames[3:]).sharpness == 1.5
    assert gathered(frames) == (Finding("sharpness", 1.5, 5.0, None, ""),)
