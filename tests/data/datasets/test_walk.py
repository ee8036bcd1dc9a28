from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bonaface.errors import ManifestError
from tests.corpus_folder import index, write_files

JPEG = b"\xff\xd8\xff\xe0" + bytes(30)


def test_unsuffixed_media_are_indexed(tmp_path: Path) -> None:
    write_files(tmp_path, ["live/a/1.jpg", "live/a/notes.txt", "print/a/2.jfif"])
    for name in ("live/a/02", "live/a/3.jpg.download"):
        (tmp_path / name).write_bytes(JPEG)
    made = index(tmp_path, "folder")
    assert made.table["path"].tolist() == ["live/a/02", "live/a/1.jpg", "live/a/3.jpg.download", "print/a/2.jfif"]
    assert made.about["left_out"] == {"neither image nor video": 1}


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("layout", ["folder", "hkbu_mars_v1"])
def test_unreadable_entries_are_noted_by_name(tmp_path: Path, layout: str) -> None:
    names = ["live/a/1.jpg", "print/a/1.jpg"] if layout == "folder" else ["s1/01_01_01.mp4", "s3/01_03_01.mp4"]
    write_files(tmp_path, names)
    (tmp_path / names[0]).with_name("dead.jpg").symlink_to(tmp_path / "gone.jpg")
    made = index(tmp_path, layout)
    assert len(made) == 2
    assert any("1 files or folders could not be read" in note and "dead.jpg" in note for note in made.notes)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may list everything")
def test_unlistable_folder_is_noted_by_name(tmp_path: Path) -> None:
    write_files(tmp_path, ["live/a/1.jpg", "live/b/1.jpg", "print/a/1.jpg"])
    (tmp_path / "live/b").chmod(0)
    try:
        made = index(tmp_path, "folder")
    finally:
        (tmp_path / "live/b").chmod(0o755)
    assert any("live/b: the folder cannot be listed" in note for note in made.notes)


@pytest.mark.skipif(sys.platform != "linux", reason="only there can a name be any bytes")
def test_names_that_no_table_can_hold_are_noted(tmp_path: Path) -> None:
    write_files(tmp_path, ["live/a/ä.mp4", "print/a/1.mp4"])
    (tmp_path / "live/a" / os.fsdecode(b"\xff.mp4")).write_text("")
    made = index(tmp_path, "folder")
    assert len(made) == 2
    assert made.about["left_out"] == {"names that are not UTF-8": 1}
    assert r"live/a/\udcff.mp4" in made.notes[0]


def test_root_that_is_not_a_folder_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, ["there/1.mp4", "file"])
    with pytest.raises(ManifestError, match=r"no folder at .*; .* holds there"):
        index(tmp_path / "their", "folder")
    with pytest.raises(ManifestError, match="is a file"):
        index(tmp_path / "file", "folder")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_root_with_nothing_readable_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone")
    with pytest.raises(ManifestError, match=r"holds no files.*a\.jpg: a broken link"):
        index(tmp_path, "folder")
