from __future__ import annotations

from pathlib import Path

import pytest

from bonaface.data import camera
from bonaface.errors import InputError


@pytest.mark.parametrize(
    ("source", "number"),
    [
        (0, 0),
        ("1", 1),
        ("/dev/video7", 7),
        (Path("/dev/video0"), 0),
        ("clip.mp4", None),
        ("/dev/videos", None),
        ("٣", None),
    ],
)
def test_camera_number(source: object, number: int | None):
    assert camera.camera_number(source) == number


def test_a_file_named_by_a_number_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "0").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert camera.camera_number("0") is None


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({}, "no camera 97 here: this machine has no camera"),
        ({0: "Integrated", 2: ""}, r"no camera 97 here; found 0 \(Integrated\), 2: name one of these"),
        ({97: "Busy"}, "no camera 97 here: "),
    ],
    ids=["none", "others", "busy"],
)
def test_the_cameras_that_are_there_are_named(there: dict[int, str], said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(camera, "cameras", lambda: there)
    with pytest.raises(InputError, match=said):
        camera.Camera(97, 4)
