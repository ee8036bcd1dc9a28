"""A bundle as one file: what is packed, and what is refused."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bonaface.errors import BundleError
from bonaface.inference.bundle import Bundle, load_bundle, write_bundle


def test_one_flipped_bit_in_a_zip_is_found(tiny: Bundle, tmp_path: Path):
    file = tmp_path / "model.bonaface"
    write_bundle(replace(tiny, path=file))
    whole = file.read_bytes()
    for place in np.linspace(100, len(whole) - 100, 12).astype(int):
        content = bytearray(whole)
        content[place] ^= 1
        file.write_bytes(bytes(content))
        # What no check covers is a byte that says nothing, such as a file's time.
        with contextlib.suppress(BundleError):
            assert dict(load_bundle(file).contents) == dict(tiny.contents)
    content = bytearray(whole)
    content[len(whole) // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(BundleError, match="damaged"):
        load_bundle(file)


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("place", ["../../{}", "/tmp/{}", "a/../{}", "{0}/{0}", "bundle/{}"])
def test_zip_files_are_at_the_top(tiny: Bundle, tmp_path: Path, place: str):
    files = {place.format(name): content for name, content in tiny.contents.items()}
    with pytest.raises(BundleError, match=r"expected the files of one bundle at the top of the zip"):
        load_bundle(zipped(tmp_path / "slip.zip", files))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_of_other_methods_is_refused(tiny: Bundle, tmp_path: Path, method: int):
    with zipfile.ZipFile(tmp_path / "b.zip", "w", method) as archive:
        for name, content in tiny.contents.items():
            archive.writestr(name, content)
    with pytest.raises(BundleError, match="packed by a method other than stored or deflate"):
        load_bundle(tmp_path / "b.zip")


def lying_zip(path: Path, files: dict[str, bytes], name: str, declared: int) -> Path:
    """A deflated zip whose headers declare another length for one file."""
    zipped(path, files)
    content = bytearray(path.read_bytes())
    actual = len(files[name]).to_bytes(4, "little")
    for signature, length, title in ((b"PK\x03\x04", 22, 30), (b"PK\x01\x02", 24, 46)):
        start = 0
        while (start := content.find(signature, start)) >= 0:
            if content[start + title : start + title + len(name)] == name.encode():
                assert content[start + length : start + length + 4] == actual
                content[start + length : start + length + 4] = declared.to_bytes(4, "little")
            start += 4
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("name", ["model.onnx", "bundle.json", "extra.bin"])
@pytest.mark.parametrize("declared", [10, 3_000_000_000])
def test_zip_with_wrong_lengths_is_refused_in_little_memory(tiny: Bundle, tmp_path: Path, name: str, declared: int):
    bomb = bytes(200 << 20) if name == "extra.bin" else tiny.contents[name] + bytes(200 << 20)
    files = {**tiny.contents, name: bomb}
    if name != "bundle.json":
        card = json.loads(tiny.contents["bundle.json"])
        card["files"][name] = hashlib.sha256(b"").hexdigest()
        files["bundle.json"] = json.dumps(card).encode()
    file = lying_zip(tmp_path / "bomb.zip", files, name, declared)
    del files, bomb
    tracemalloc.start()
    with pytest.raises(BundleError):
        load_bundle(file)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 64 << 20


def test_what_is_not_listed_is_refused_unread_however_much_it_is(tiny: Bundle, tmp_path: Path):
    files = {**tiny.contents, **{f"{number}.txt": b"" for number in range(20_000)}}
    file = zipped(tmp_path / "many.zip", files)
    start = time.perf_counter()
    with pytest.raises(BundleError, match=r"0.txt, 1.txt, .* and 19995 more, which bundle.json does not list"):
        load_bundle(file)
    assert time.perf_counter() - start < 20
