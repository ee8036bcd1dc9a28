from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import bonaface
from bonaface.config import CropSettings
from bonaface.data.crop_store import fill_store, load_crop
from bonaface.data.frames import Frames, kind_of
from bonaface.errors import MediaError, MissingExtraError
from tests.corpus_folder import index


def recording(path: Path, *, channels_first: bool = True, frames: int = 10) -> Path:
    """Frames of 96 x 128: red is 10 times the frame's number, green 200 in the upper half, blue 100 on the left."""
    pictures = np.zeros((frames, 96, 128, 3), np.uint8)
    pictures[..., 0] = 10 * np.arange(frames)[:, None, None]
    pictures[:, :48, :, 1] = 200
    pictures[:, :, :64, 2] = 100
    with h5py.File(path, "w") as file:
        file["Color_Data"] = pictures.transpose(0, 3, 1, 2) if channels_first else pictures
        file["Depth_Data"] = np.zeros((frames, 1, 96, 128), np.uint16)
        file["Eye_Pos"] = np.zeros((frames, 4))
    return path


@pytest.mark.parametrize("channels_first", [True, False])
def test_the_colour_stream_is_read_as_a_video_is(tmp_path: Path, channels_first: bool) -> None:
    path = recording(tmp_path / "01_01_01.hdf5", channels_first=channels_first)
    with Frames(path, count=3) as frames:
        found = [(frame.index, frame.time, *frame.image[0, 0].tolist(), *frame.image[95, 127]) for frame in frames]
    assert found == [
        (0, None, 0, 200, 100, 0, 0, 0),
        (4, None, 40, 200, 100, 40, 0, 0),
        (6, None, 60, 200, 100, 60, 0, 0),
    ]
    assert (frames.decoded, frames.note) == (7, "")
    with Frames(path, count="all", flip="vertical") as frames:
        assert [frame.image[0, 0].tolist() for frame in frames] == [[10 * number, 0, 100] for number in range(10)]
    assert kind_of(path) == "video"


def test_three_dmad_goes_from_its_names_to_crops(tmp_path: Path) -> None:
    (tmp_path / "Data").mkdir()
    for name in ("01_01_01.hdf5", "13_03_05.HDF5"):
        recording(tmp_path / "Data" / name)
    manifest = index(tmp_path, "three_dmad")
    assert manifest.table[["label", "split"]].to_numpy().tolist() == [["bona_fide", "train"], ["attack", "test"]]
    store = fill_store(manifest, tmp_path / "crops", CropSettings(detector="whole_frame", frames=2), workers=1)
    assert store.table[["frame", "status"]].to_numpy().tolist() == [[0, "ok"], [8, "ok"]] * 2
    assert load_crop(store.table["file"][1])[10, 20].tolist() == pytest.approx([80, 200, 100], abs=3)
    found = bonaface.audit(manifest, detector="whole_frame", workers=1)
    assert [shared.how for shared in found.shared] == ["the same file"]
    assert [view.frame for view in found.files[0].views] == [0, 3, 6]


def _text(path: Path) -> None:
    path.write_text("no HDF5 at all")


def _without_colour(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["Depth_Data"] = np.zeros((2, 1, 4, 4), np.uint16)


def _of_another_kind(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["Color_Data"] = np.zeros((2, 1, 4, 4), np.float32)


def _empty(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["Color_Data"] = np.zeros((0, 3, 4, 4), np.uint8)


def _bomb(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("Color_Data", (2, 3, 20_000, 20_000), np.uint8, chunks=(1, 1, 100, 100))


def _cut_short(path: Path) -> None:
    path.write_bytes(recording(path).read_bytes()[:50_000])


def _a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (_text, r"01\.hdf5: not an HDF5 file that can be read"),
        (_cut_short, r"01\.hdf5: not an HDF5 file that can be read .*truncated"),
        (_without_colour, r"holds no dataset Color_Data; found: Depth_Data"),
        (_of_another_kind, r"float32 of shape \(2, 1, 4, 4\); expected uint8, \(frames, 3, height, width\)"),
        (_empty, r"uint8 of shape \(0, 3, 4, 4\); expected"),
        (_bomb, r"\(2, 3, 20000, 20000\) has more pixels than are decoded"),
        (_a_folder, "is a folder; expected an HDF5 file"),
        (lambda path: None, "no such file"),
    ],
)
def test_what_holds_no_colour_stream_is_said_to_hold_none(
    tmp_path: Path, write: Callable[[Path], None], said: str
) -> None:
    write(tmp_path / "01.hdf5")
    with pytest.raises(MediaError, match=said):
        Frames(tmp_path / "01.hdf5")


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recording(tmp_path / "01_01_01.hdf5")
    real = builtins.__import__

    def refuse(name: str, *args: object, **options: object) -> object:
        if name == "h5py":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r'reading 01_01_01\.hdf5 needs .*pip install "\.\[hdf5\]"'):
        Frames(path)


def test_damaged_frame_ends_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recording(tmp_path / "01.hdf5")
    with Frames(path, count="all") as frames:
        read: list[int] = []

        def damaged(index: int) -> np.ndarray:
            read.append(index)
            if index >= 3:
                raise MediaError(f"frame {index} (lost)")
            return np.zeros((4, 4, 3), np.uint8)

        monkeypatch.setattr(frames._reader, "picture", damaged)
        assert len(list(frames)) == 3
    assert read == [0, 1, 2, 3]
    assert "frame 3 (lost)" in frames.note
