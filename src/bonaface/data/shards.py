"""Crops in shards: few large files instead of many small ones, on a local disk or in object storage.

    SHARDS/00000.tar        JPEGs, in the order of the manifest
    SHARDS/index.parquet    a row a frame: the crop store's columns, the shard, and the place of the JPEG in it
    SHARDS/about.json       settings, detector, and the hashes and notes of the presentations

A frame is read by its place, so training draws them in the same order as from a folder. Other tools read the tar files as
WebDataset does.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bonaface.config import CropSettings
from bonaface.errors import InputError, MediaError, SettingsError, format_list, needs_extra
from bonaface.io import new_folder, storage, write_json

if TYPE_CHECKING:
    from bonaface.data.crop_store import CropStore
    from bonaface.data.manifest import Manifest

FORMAT = 1
SHARD_BYTES = 256_000_000
_MEMBER = re.compile(r"(.+\.tar)#(\d+)\+(\d+)", re.DOTALL)
_ABOUT = ("shards", "index_sha256", "detector", "settings", "hashes", "notes")
_BLOCK = tarfile.BLOCKSIZE


def write_shards(
    store: CropStore, manifest: Manifest, settings: CropSettings, output: Path, *, most: int = SHARD_BYTES
) -> int:
    """Write the crops of a store in shards of at most `most` bytes, and return how many shards there are.

    Raises OutputError where `output` is not free or cannot be written, MediaError for a crop that is missing.
    """
    table = store.table
    places: list[tuple[int, int, int]] = []
    with new_folder(output, what="shards") as folder:
        shard, number = None, -1
        try:
            for row, (file, frame) in enumerate(zip(table["file"], table["frame"], strict=True)):
                if not file:
                    places.append((-1, 0, 0))
                    continue
                content = read_crop(file)
                if shard is None or shard.offset + len(content) + 2 * _BLOCK > most:
                    number += 1
                    if shard is not None:
                        shard.close()
                    shard = tarfile.open(folder / f"{number:05d}.tar", "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
                info = tarfile.TarInfo(f"{row:09d}.{frame:06d}.jpg")
                info.size = len(content)
                places.append((number, shard.offset + _BLOCK, len(content)))
                shard.addfile(info, io.BytesIO(content))
        finally:
            if shard is not None:
                shard.close()
        index = table.drop(columns="file").assign(
            shard=[place[0] for place in places],
            offset=[place[1] for place in places],
            size=[place[2] for place in places],
        )
        with needs_extra("writing shards"):
            index.to_parquet(folder / "index.parquet", engine="pyarrow", index=False)
        about = {
            "format": FORMAT,
            "shards": number + 1,
            "index_sha256": hashlib.sha256((folder / "index.parquet").read_bytes()).hexdigest(),
            "detector": store.detector_identity,
            "settings": settings.model_dump(mode="json", exclude={"weights"}),
            "hashes": dict(zip(manifest.table["path"].tolist(), store.hashes, strict=True)),
            "notes": store.notes,
        }
        write_json(folder / "about.json", about)
    return number + 1


def is_shards(path: Path) -> bool:
    """Return whether a folder, also one in storage, holds crops in shards."""
    return storage.exists(path / "about.json")


def read_shards(path: Path, manifest: Manifest, settings: CropSettings, detector: str) -> CropStore:
    """Return the crops of a manifest's presentations. The footage itself need not be there.

    Raises InputError where shards are damaged or lack a presentation, SettingsError where they were made with others.
    """
    from bonaface.data.crop_store import CropStore

    index, about = _open(path)
    _check_settings(path, about, settings, detector)
    names = manifest.table["path"]
    lacking = names[~names.isin(index["path"])].tolist()
    if lacking:
        raise InputError(
            f"{storage.shown(path)} has no crops of {len(lacking)} of {len(manifest)} presentations ({format_list(lacking)}); "
            "make shards of this manifest"
        )
    table = names.to_frame().merge(index, on="path", how="left", sort=False)
    places = zip(table["shard"], table["offset"], table["size"], strict=True)
    shards = [f"{storage.shown(path)}/{number:05d}.tar" for number in range(about["shards"])]
    files = [f"{shards[shard]}#{offset}+{size}" if shard >= 0 else "" for shard, offset, size in places]
    table.insert(5, "file", files)
    hashes, notes = about["hashes"], about["notes"]
    return CropStore(
        path,
        table.drop(columns=["shard", "offset", "size"]),
        {name: notes[name] for name in names if name in notes},
        [hashes[name] for name in names],
        about["detector"],
    )


def read_crop(file: str) -> bytes:
    """Return the content of a JPEG: a file, or a place in a shard. Raises MediaError, InputError."""
    found = _MEMBER.fullmatch(file)
    try:
        if found is None:
            return Path(file).read_bytes()
        offset, size = int(found[2]), int(found[3])
        content = storage.read_range(Path(found[1]), offset, size)
    except OSError as error:
        raise MediaError(f"{file} of the crop store cannot be read ({error.strerror or error}); crop again") from None
    if len(content) != size:
        raise MediaError(f"{found[1]} is cut short: no {size} bytes at {offset}; make the shards again")
    return content


def _open(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    with storage.temporary_copy(path / "about.json") as file:
        try:
            about: dict[str, Any] = json.loads(file.read_bytes())
            made = about["format"]
            _ = [about[name] for name in _ABOUT if made == FORMAT]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{storage.shown(path / 'about.json')} is not that of shards; make them again") from None
    if made != FORMAT:
        raise InputError(f"{storage.shown(path)} has shards of format {made}; expected {FORMAT}: make them again")
    with storage.temporary_copy(path / "index.parquet") as file:
        content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != about["index_sha256"]:
        raise InputError(
            f"{storage.shown(path / 'index.parquet')} was changed after it was written; make the shards again"
        )
    with needs_extra("reading shards"):
        return pd.read_parquet(io.BytesIO(content), engine="pyarrow"), about


def _check_settings(path: Path, about: dict[str, Any], settings: CropSettings, detector: str) -> None:
    asked = {**settings.model_dump(mode="json", exclude={"weights"}), "the detector's files": detector}
    made = {**about["settings"], "the detector's files": about["detector"]}
    other = [f"{name} {made.get(name)}, asked for {value}" for name, value in asked.items() if made.get(name) != value]
    if other:
        raise SettingsError(f"{storage.shown(path)} was made with other settings: {'; '.join(other)}")
