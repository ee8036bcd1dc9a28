from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bonaface.config import CropSettings
from bonaface.data import crop_store as module
from bonaface.data.crop_store import fill_store, load_crop
from bonaface.data.cropping import resize_frame
from bonaface.data.frames import Frames, spread
from bonaface.data.manifest import Manifest, make_manifest
from bonaface.data.shards import write_shards
from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import Take, bona_fide_frames
from bonaface.data.video_writer import write_video
from bonaface.errors import InputError, OutputError

SETTINGS = CropSettings(detector="haar", frames=2)


@pytest.fixture
def manifest(tmp_path: Path):
    footage = tmp_path / "footage"
    footage.mkdir()
    write_video(footage / "face.mp4", bona_fide_frames(Take(Person.random(1), 5), 4, 10), fps=10)
    write_video(footage / "wall.mp4", [np.full((240, 320, 3), 90, np.uint8)] * 3, fps=10)
    (footage / "broken.mp4").write_bytes(b"broken")
    table = pd.DataFrame({"path": ["face.mp4", "wall.mp4", "broken.mp4", "absent.mp4"], "label": "bona_fide"})
    return make_manifest(table, footage)


def test_every_presentation_is_there_and_the_reason_with_it(manifest, tmp_path: Path):
    store = fill_store(manifest, tmp_path / "store", SETTINGS, workers=1)
    table = store.table
    assert table["path"].drop_duplicates().tolist() == manifest.table["path"].tolist()
    assert table.groupby("path")["status"].first().to_dict() == {
        "face.mp4": "ok",
        "wall.mp4": "no_face",
        "broken.mp4": "unreadable",
        "absent.mp4": "unreadable",
    }
    assert table[table["path"] == "face.mp4"]["frame"].tolist() == spread(4, 2)
    assert store.unusable["path"].tolist() == ["wall.mp4", "broken.mp4", "absent.mp4"]
    assert all(store.unusable["reason"].iloc[1:])


def test_the_box_lies_in_the_stored_square(manifest, tmp_path: Path):
    table = fill_store(manifest, tmp_path / "store", SETTINGS, workers=1).table
    row = table.iloc[0]
    side = load_crop(row["file"]).shape[0]
    assert side <= SETTINGS.side
    assert 0 <= row["x"] < row["x"] + row["w"] <= side + 1
    assert 0 <= row["y"] < row["y"] + row["h"] <= side + 1


def test_second_call_reuses_entries_unless_settings_change(manifest, tmp_path: Path):
    first = fill_store(manifest, tmp_path / "store", SETTINGS, workers=1)
    entries = sorted((tmp_path / "store" / "entries").glob("*/*"))
    times = [entry.stat().st_mtime_ns for entry in entries]
    again = fill_store(manifest, tmp_path / "store", SETTINGS, workers=1)
    assert [entry.stat().st_mtime_ns for entry in entries] == times
    pd.testing.assert_frame_equal(first.table, again.table)
    fill_store(manifest, tmp_path / "store", SETTINGS.model_copy(update={"scale": 2.0}), workers=1)
    assert len(sorted((tmp_path / "store" / "entries").glob("*/*"))) > len(entries)


def test_whole_frames_are_stored_resized(manifest, tmp_path: Path):
    settings = CropSettings(detector="whole_frame", frames=1, scale=1.0)
    plain = fill_store(manifest, tmp_path / "store", settings, workers=1).table
    resized = fill_store(
        manifest, tmp_path / "store", settings.model_copy(update={"resize": 256, "quality": 100}), workers=1
    ).table
    assert load_crop(plain["file"][0]).shape != (256, 256, 3)
    stored = load_crop(resized["file"][0])
    (frame,) = [frame.image for frame in Frames(manifest.root / "face.mp4", count=1)]
    whole = resize_frame(frame, 256).astype(int)
    left = round((whole.shape[1] - 256) / 2)
    assert np.abs(whole[:, left : left + 256] - stored).mean() < 1


def test_leftovers_of_killed_calls_are_removed(manifest, tmp_path: Path):
    old, fresh = (tmp_path / "store" / "entries" / "ab" / f".part-{name}" for name in ("old", "fresh"))
    for leftover in (old, fresh):
        leftover.mkdir(parents=True)
    os.utime(old, (0, 0))
    fill_store(manifest, tmp_path / "store", SETTINGS, workers=1)
    assert not old.exists()
    assert fresh.exists()


WHOLE = CropSettings(detector="whole_frame", frames=2)


def test_hashes_found_before_a_call_was_stopped_are_kept(manifest, monkeypatch, tmp_path: Path):
    def stop(stage: str, done: int, total: int) -> None:
        assert (stage, total) == ("hashes", 3)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_store(manifest, tmp_path / "store", WHOLE, workers=1, progress=stop)
    read: list[str] = []

    def noted(file: Path) -> str:
        read.append(file.name)
        return "0" * 64

    monkeypatch.setattr(module, "sha256_of", noted)
    fill_store(manifest, tmp_path / "store", WHOLE, workers=1)
    assert read == ["broken.mp4"]


def test_the_hash_of_a_changed_file_is_remembered_too(manifest, monkeypatch, tmp_path: Path):
    fill_store(manifest, tmp_path / "store", WHOLE, workers=1)
    (manifest.root / "broken.mp4").write_bytes(b"broken in another way")
    fill_store(manifest, tmp_path / "store", WHOLE, workers=1)
    monkeypatch.setattr(module, "sha256_of", lambda file: pytest.fail(f"{file} was read again"))
    fill_store(manifest, tmp_path / "store", WHOLE, workers=1)


@pytest.mark.parametrize("damage", [b"", b'{"frames": [', b"\xff\0"], ids=["empty", "cut", "noise"])
def test_damaged_entry_is_made_again(manifest, damage: bytes, tmp_path: Path):
    first = fill_store(manifest, tmp_path / "store", WHOLE, workers=1).table
    for entry in (tmp_path / "store" / "entries").glob("*/*/entry.json"):
        entry.write_bytes(damage)
    (tmp_path / "store" / "files.jsonl").write_bytes(damage)
    pd.testing.assert_frame_equal(fill_store(manifest, tmp_path / "store", WHOLE, workers=1).table, first)


def test_two_calls_fill_one_store_at_once(manifest, monkeypatch, tmp_path: Path):
    fill = module._fill
    nested: list[str] = []

    def other_first(job, folder, settings, detector):
        entry = fill(job, folder, settings, detector)
        if not nested:
            nested.append(job.path)
            fill_store(manifest, tmp_path / "store", WHOLE, workers=1)
        return entry

    monkeypatch.setattr(module, "_fill", other_first)
    table = fill_store(manifest, tmp_path / "store", WHOLE, workers=1).table
    assert all(load_crop(file).size for file in table["file"] if file)
    assert not list((tmp_path / "store").glob("entries/*/.part-*"))


def test_a_folder_that_holds_something_else_is_left_alone(manifest, tmp_path: Path):
    with pytest.raises(OutputError, match="other content"):
        fill_store(manifest, manifest.root, WHOLE, workers=1)
    with pytest.raises(OutputError, match="is a file"):
        fill_store(manifest, manifest.root / "face.mp4", WHOLE, workers=1)
    assert {item.name for item in manifest.root.iterdir()} == {"face.mp4", "wall.mp4", "broken.mp4"}


def test_reasons_name_no_place_where_the_same_content_lay(manifest, tmp_path: Path):
    reasons = fill_store(manifest, tmp_path / "store", WHOLE, workers=1).unusable["reason"].tolist()
    assert reasons[0].startswith("not a video that can be read")
    assert reasons[1] == "no such file"


@pytest.fixture
def faces(tmp_path: Path) -> Manifest:
    """Pictures of 1, 9, 10, 19, 20 and 200 pixels; with the detector `whole_frame` each is a face."""
    footage = tmp_path / "faces"
    footage.mkdir()
    for side in (1, 9, 10, 19, 20, 200):
        Image.fromarray(np.full((side, side, 3), side, np.uint8)).save(footage / f"{side:03d}.png")
    names = sorted(file.name for file in footage.iterdir())
    return make_manifest(pd.DataFrame({"path": names, "label": "bona_fide"}), footage)


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize(("min_face", "small"), [(None, 4), (30, 4), (20, 4), (19, 3), (10, 2), (9.5, 2), (0, 0)])
def test_small_faces_are_stored_for_min_face(
    faces: Manifest, tmp_path: Path, min_face: float | None, small: int, shards: bool
):
    store = tmp_path / "store"
    if shards:
        write_shards(fill_store(faces, store, WHOLE, workers=1), faces, WHOLE, tmp_path / "shards")
        store = tmp_path / "shards"
    table = fill_store(faces, store, WHOLE, min_face=min_face, workers=1).table
    assert table["status"].tolist() == ["too_small"] * small + ["ok"] * (6 - small)
    assert [load_crop(file).shape[0] for file in table["file"]] == [1, 9, 10, 19, 20, 200]


def without_small_faces(store: Path) -> None:
    """Make the store one that was filled before every face was kept."""
    for file in store.glob("entries/*/*/entry.json"):
        entry = json.loads(file.read_bytes())
        for frame in entry["frames"]:
            if frame["status"] == "too_small":
                (file.parent / frame["file"]).unlink()
                frame |= {"file": "", "box": None}
        file.write_text(json.dumps(entry))


def test_entry_without_its_small_faces_is_completed_where_they_are_wanted(faces: Manifest, tmp_path: Path):
    now = fill_store(faces, tmp_path / "store", WHOLE, workers=1).table
    without_small_faces(tmp_path / "store")
    assert fill_store(faces, tmp_path / "store", WHOLE, workers=1).table["file"].tolist().count("") == 4
    found = fill_store(faces, tmp_path / "store", WHOLE, min_face=10, workers=1).table
    assert found["file"].tolist() == now["file"].tolist()
    assert [load_crop(file).shape[0] for file in found["file"]] == [1, 9, 10, 19, 20, 200]


def test_entry_that_cannot_be_completed_is_an_error(faces: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fill_store(faces, tmp_path / "store", WHOLE, workers=1)
    without_small_faces(tmp_path / "store")

    def refuse(*_: object, **__: object) -> str:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("bonaface.data.crop_store.tempfile.mkdtemp", refuse)
    with pytest.raises(OutputError, match="Read-only file system"):
        fill_store(faces, tmp_path / "store", WHOLE, min_face=10, workers=1)


def test_shards_without_small_faces_are_refused_where_they_are_wanted(faces: Manifest, tmp_path: Path):
    fill_store(faces, tmp_path / "store", WHOLE, workers=1)
    without_small_faces(tmp_path / "store")
    write_shards(fill_store(faces, tmp_path / "store", WHOLE, workers=1), faces, WHOLE, tmp_path / "shards")
    assert len(fill_store(faces, tmp_path / "shards", WHOLE).table) == 6
    with pytest.raises(InputError, match="lacks faces of fewer than 20 pixels; make the shards again"):
        fill_store(faces, tmp_path / "shards", WHOLE, min_face=10)
