from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from bonaface.config import CropSettings
from bonaface.data.crop_store import fill_store
from bonaface.data.frames import spread
from bonaface.data.images import encode_jpeg
from bonaface.data.sources import Source
from bonaface.data.splits import check_no_copies
from bonaface.errors import LeakError, ManifestError, SettingsError
from bonaface.workflows.prepare import crop, index
from tests.corpus_folder import write_files

CLIPS = [
    f"{label}/{person}/{clip}"
    for label, person, clip in product(("live", "print"), ("anna", "bert"), ("clip1", "clip2"))
]


def clips(root: Path, name: str = "{:04}.jpg", frames: int = 4) -> Path:
    return write_files(root, [f"{clip}/{name.format(number)}" for clip in CLIPS for number in range(1, frames + 1)])


@pytest.mark.parametrize("name", ["{:04}.jpg", "{}.png", "frame_{:02}.jpg", "clip7-{}.JPG"])
def test_folder_of_numbered_pictures_is_one_presentation(tmp_path: Path, name: str) -> None:
    root = clips(tmp_path / "f", name, frames=12)
    plain = index(root)
    assert len(plain.manifest) == 96
    assert "8 folders hold numbered pictures" in plain.hints[0]
    assert "--frames-as-video" in plain.hints[0]
    made = index(root, frames_as_video=True)
    assert made.manifest.table["path"].tolist() == CLIPS
    assert made.manifest.table["subject"].unique().tolist() == ["f/anna", "f/bert"]
    assert made.hints == ()
    assert {Source(file.name, file).kind for file in made.manifest.files()} == {"video"}


@pytest.mark.parametrize(
    "pattern", ["{label}/{subject}/*", "{label}/{subject}/{clip}/*.jpg", "**/{label}/{subject}/**"]
)
def test_frame_folders_fit_a_pattern_of_folders_or_files(tmp_path: Path, pattern: str) -> None:
    made = index(clips(tmp_path / "f"), frames_as_video=True, pattern=pattern).manifest
    assert made.table["path"].tolist() == CLIPS
    assert made.table["subject"].unique().tolist() == ["f/anna", "f/bert"]


@pytest.mark.parametrize(
    "names",
    [
        [f"{label}/img_{number:03}.jpg" for label, number in product(("live", "print"), range(9))],
        [f"{label}/anna/{name}.jpg" for label, name in product(("live", "print"), ("front", "left", "right"))],
        [f"{label}/anna/{number}.jpg" for label, number in product(("live", "print"), range(2))],
        [f"{label}/anna/{number}.mp4" for label, number in product(("live", "print"), range(9))],
        [f"{label}/s{a}_{b}.jpg" for label, a, b in product(("live", "print"), range(3), range(3))],
    ],
)
def test_pictures_of_several_presentations_are_not_merged(tmp_path: Path, names: list[str]) -> None:
    root = write_files(tmp_path / "f", names)
    made = index(root)
    assert len(made.manifest) == len(names)
    assert not any("--frames-as-video" in hint for hint in made.hints)
    with pytest.raises(ManifestError, match="--frames-as-video finds no folder"):
        index(root, frames_as_video=True)


def test_pictures_next_to_frame_folders_stay_single(tmp_path: Path) -> None:
    root = write_files(clips(tmp_path / "f"), ["live/carl/face.jpg", "print/carl/video.mp4"])
    made = index(root, frames_as_video=True)
    assert len(made.manifest) == len(CLIPS) + 2
    assert "1 folders stay single images (live/carl)" in made.hints[0]


def test_only_layout_folder_takes_frames_as_video(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="layout nuaa takes no --frames-as-video"):
        index(tmp_path, layout="nuaa", frames_as_video=True)


def test_table_may_list_frame_folders(tmp_path: Path) -> None:
    root = clips(tmp_path / "f")
    (tmp_path / "t.csv").write_text("path,label\nlive/anna/clip1,live\nprint/anna/clip1/,print\n")
    made = index(root, layout="csv", table=tmp_path / "t.csv").manifest
    assert made.table["path"].tolist() == ["live/anna/clip1", "print/anna/clip1"]


def pictures(root: Path) -> Path:
    clips(root)
    for number, file in enumerate(sorted(root.rglob("*.jpg"))):
        file.write_bytes(encode_jpeg(np.full((48, 64, 3), 2 * number, np.uint8), quality=95))
    return root


def test_frame_folders_are_cropped_once(tmp_path: Path) -> None:
    root = pictures(tmp_path / "f")
    manifest = index(root, frames_as_video=True, output=tmp_path / "m.csv", check=True)
    assert manifest.unreadable is not None
    assert len(manifest.unreadable) == 0
    done = crop(tmp_path / "m.csv", output=tmp_path / "crops", detector="whole_frame", frames=2, workers=1)
    table = done.store.table
    assert table.groupby("path").size().tolist() == [2] * len(CLIPS)
    assert table["frame"].unique().tolist() == spread(4, 2)
    assert set(table["status"]) == {"ok"}
    assert len(set(done.store.hashes)) == len(CLIPS)

    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "crops" / "entries").rglob("*.jpg")}
    (root / CLIPS[0] / "0001.jpg").write_bytes(encode_jpeg(np.full((48, 64, 3), 250, np.uint8), quality=95))
    again = crop(tmp_path / "m.csv", output=tmp_path / "crops", detector="whole_frame", frames=2, workers=1)
    fresh = [file for file in (tmp_path / "crops" / "entries").rglob("*.jpg") if file not in files]
    assert len(fresh) == 2
    assert [old != new for old, new in zip(done.store.hashes, again.store.hashes, strict=True)] == [True] + [False] * 7


def test_copied_frame_folders_are_found(tmp_path: Path) -> None:
    root = pictures(tmp_path / "f")
    for file in (root / CLIPS[0]).iterdir():
        (root / CLIPS[-1] / file.name).write_bytes(file.read_bytes())
    manifest = index(root, frames_as_video=True).manifest
    split = ["train", *["val"] * (len(CLIPS) - 2), "test"]
    manifest.table["split"] = split
    store = fill_store(manifest, tmp_path / "crops", CropSettings(detector="whole_frame", frames=2), workers=1)
    with pytest.raises(LeakError, match=f"{CLIPS[0]} = {CLIPS[-1]}"):
        check_no_copies(manifest, store.hashes)


def test_empty_frame_folder_is_unreadable(tmp_path: Path) -> None:
    root = pictures(tmp_path / "f")
    manifest = index(root, frames_as_video=True).manifest
    for file in (root / CLIPS[0]).iterdir():
        file.unlink()
    store = fill_store(manifest, tmp_path / "crops", CropSettings(detector="whole_frame", frames=2), workers=1)
    assert store.unusable[["path", "status"]].to_numpy().tolist() == [[CLIPS[0], "unreadable"]]
