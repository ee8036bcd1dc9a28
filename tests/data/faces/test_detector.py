from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bonaface.data.faces.detector import GivenBox, load_detector
from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import Take, bona_fide_frames
from bonaface.errors import InputError, SettingsError, WeightsError
from bonaface.types import Box


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return [bona_fide_frames(Take(Person.random(seed), seed), 1, 10)[0] for seed in range(6)]


def test_haar_finds_drawn_heads_where_they_are(frames):
    detector = load_detector("haar")
    found = [detector.detect(frame) for frame in frames]
    assert sum(bool(faces) for faces in found) >= 5
    for faces in found:
        for face in faces[:1]:
            assert 100 < face.box.x + face.box.w / 2 < 540
            assert face.box.h > 60


def test_a_face_in_the_dark_is_not_found(frames):
    detector = load_detector("haar")
    seen = [frame for frame in frames if detector.detect(frame)]
    assert seen
    for frame in seen:
        assert detector.detect(frame // 4)
        assert not detector.detect(frame // 40)


def test_boxes_of_a_large_picture_are_in_its_own_pixels(frames):
    detector = load_detector("haar")
    small = next(frame for frame in frames if detector.detect(frame))
    large = cv2.resize(small, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    (one, *_), (other, *_) = detector.detect(small), detector.detect(large)
    for before, after in zip(one.box, other.box, strict=True):
        assert after / 3 == pytest.approx(before, abs=12)


def test_an_empty_picture_has_no_face():
    assert load_detector("haar").detect(np.full((480, 640, 3), 90, np.uint8)) == []


def test_the_whole_frame_is_its_largest_centred_square():
    (face,) = load_detector("whole_frame").detect(np.zeros((480, 640, 3), np.uint8))
    assert face.box == Box(80, 0, 480, 480)


def test_boxes_of_a_dataset_are_looked_up_clipped_and_rescaled():
    image = np.zeros((480, 640, 3), np.uint8)
    boxes = {
        ("a.jpg", 0): GivenBox(Box(10, 20, 30, 40)),
        ("b.jpg", 0): GivenBox(Box(56, 56, 112, 112), frame_size=224),
        ("c.mp4", -1): GivenBox(Box(600, 0, 100, 50)),
        ("d.jpg", 0): GivenBox(Box(700, 0, 10, 10)),
    }
    detector = load_detector("boxes", boxes=boxes)
    assert [face.box for face in detector.detect(image, path="a.jpg")] == [Box(10, 20, 30, 40)]
    assert [face.box for face in detector.detect(image, path="b.jpg")] == [Box(160, 120, 320, 240)]
    assert [face.box for face in detector.detect(image, path="c.mp4", frame=7)] == [Box(600, 0, 40, 50)]
    assert detector.detect(image, path="d.jpg") == []
    assert detector.detect(image, path="unknown.jpg") == []


def test_a_detector_that_is_none_gets_the_nearest_name():
    with pytest.raises(SettingsError, match="did you mean 'yunet'"):
        load_detector("yunett")
    with pytest.raises(InputError, match="brings no boxes"):
        load_detector("boxes")


def test_weights_that_are_not_yunets_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"none\.onnx"):
        load_detector("yunet", weights=tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(WeightsError, match=r"bad\.onnx") as caught:
        load_detector("yunet", weights=tmp_path / "bad.onnx")
    assert "\n" not in str(caught.value)
