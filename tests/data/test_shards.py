"""Crops in shards are those of the folder they were made from."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bonaface
from bonaface.config import CropSettings
from bonaface.data.crop_store import CropStore, fill_store, load_crop
from bonaface.data.manifest import Manifest, read_manifest
from bonaface.data.shards import write_shards
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.errors import BonafaceError, InputError, MediaError, OutputError, SettingsError
from bonaface.training.loader import frames_for_training

SETTINGS = CropSettings(detector="whole_frame", frames=2, scale=1.0, side=96)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


@pytest.fixture(scope="module")
def manifest(folder: Path) -> Manifest:
    write_demo_dataset(folder / "clips", persons=2, takes=1, seconds=0.3)
    (folder / "clips" / "live" / "person01" / "damaged.mp4").write_bytes(b"no video")
    bonaface.index(folder / "clips", output=folder / "manifest.csv")
    return read_manifest(folder / "manifest.csv")


@pytest.fixture(scope="module")
def store(folder: Path, manifest: Manifest) -> CropStore:
    return fill_store(manifest, folder / "store", SETTINGS, workers=1)


@pytest.fixture(scope="module")
def shards(folder: Path, manifest: Manifest, store: CropStore) -> Path:
    count = write_shards(store, manifest, SETTINGS, folder / "shards", most=20_000)
    assert count == len(list((folder / "shards").glob("*.tar"))) > 2
    assert all(file.stat().st_size <= 20_000 + tarfile.RECORDSIZE for file in (folder / "shards").glob("*.tar"))
    return folder / "shards"


def test_shards_hold_the_crops_of_the_folder(shards: Path, manifest: Manifest, store: CropStore):
    found = fill_store(manifest, shards, SETTINGS)
    pd.testing.assert_frame_equal(found.table.drop(columns="file"), store.table.drop(columns="file"))
    assert (found.notes, found.hashes, found.detector_identity) == (store.notes, store.hashes, store.detector_identity)
    pd.testing.assert_frame_equal(found.unusable, store.unusable)
    for mine, theirs in zip(found.table["file"], store.table["file"], strict=True):
        assert bool(mine) == bool(theirs)
        assert not mine or np.array_equal(load_crop(mine), load_crop(theirs))


def test_training_draws_the_same_frames(shards: Path, manifest: Manifest, store: CropStore):
    mine = frames_for_training(manifest, fill_store(manifest, shards, SETTINGS).table)
    theirs = frames_for_training(manifest, store.table)
    assert mine.names == theirs.names
    assert mine.start.tolist() == theirs.start.tolist()
    for frame in range(int(mine.start[-1])):
        (picture, box), (other, expected) = mine.load(frame), theirs.load(frame)
        assert np.array_equal(picture, other)
        assert box == expected


def test_part_of_a_manifest_and_without_footage(shards: Path, manifest: Manifest):
    part = replace(manifest.select(manifest.table["label"] == "bona_fide"), root=Path("/nowhere"))
    found = fill_store(part, shards, SETTINGS)
    assert found.table["path"].drop_duplicates().tolist() == part.table["path"].tolist()
    assert load_crop(found.table["file"].iloc[-1]).shape == (96, 96, 3)


def test_other_tools_read_the_tar(shards: Path, store: CropStore):
    names = []
    for file in sorted(shards.glob("*.tar")):
        with tarfile.open(file) as shard:
            names += shard.getnames()
    rows = [row for row, file in enumerate(store.table["file"]) if file]
    assert names == [f"{row:09d}.{store.table['frame'][row]:06d}.jpg" for row in rows]


@pytest.mark.parametrize("change", [{"scale": 2.0}, {"frames": 3}, {"detector": "haar"}])
def test_other_settings_are_refused(shards: Path, manifest: Manifest, change: dict[str, object]):
    with pytest.raises(SettingsError, match=rf"other settings: .*{next(iter(change))}"):
        fill_store(manifest, shards, SETTINGS.model_copy(update=change))


def test_presentation_that_is_not_in_them_is_named(shards: Path, manifest: Manifest):
    table = manifest.table.assign(path=manifest.table["path"].replace("live/person01/01.mp4", "live/person01/new.mp4"))
    with pytest.raises(InputError, match=r"has no crops of 1 of \d+ presentations \(live/person01/new.mp4\)"):
        fill_store(replace(manifest, table=table), shards, SETTINGS)


@pytest.fixture
def copy(folder: Path, manifest: Manifest, store: CropStore, tmp_path: Path) -> Path:
    write_shards(store, manifest, SETTINGS, tmp_path / "copy")
    return tmp_path / "copy"


def test_shard_that_is_cut_short_is_named(copy: Path, manifest: Manifest):
    (tar,) = copy.glob("*.tar")
    tar.write_bytes(tar.read_bytes()[:3000])
    with pytest.raises(MediaError, match=r"00000\.tar is cut short"):
        load_crop(fill_store(manifest, copy, SETTINGS).table["file"].iloc[-1])


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("index.parquet", b"PAR1", "was changed after it was written"),
        ("about.json", b"{}", "is not that of shards"),
        ("about.json", b'{"format": 99}', "format 99; expected 1"),
        ("about.json", b'{"format": 1, "shards": 1}', "is not that of shards"),
    ],
)
def test_damaged_shards_are_one_line(copy: Path, manifest: Manifest, file: str, content: bytes, text: str):
    (copy / file).write_bytes(content)
    with pytest.raises(BonafaceError, match=text):
        fill_store(manifest, copy, SETTINGS)


def test_folder_in_use_is_not_written_to(copy: Path, manifest: Manifest, store: CropStore):
    with pytest.raises(OutputError, match="is not empty"):
        write_shards(store, manifest, SETTINGS, copy)
