from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bonaface.data.datasets.scan import list_files
from bonaface.errors import ManifestError
from tests.corpora import write_files


def test_files_are_listed_by_name_and_clutter_is_counted(tmp_path: Path) -> None:
    write_files(tmp_path, ["b/2.mp4", "b/1.mp4", "a.txt", ".DS_Store", "b/._1.mp4", "b/Thumbs.db", "desktop.ini"])
    write_files(tmp_path, [".git/config", "__MACOSX/b/._1.mp4", "b/.cache/x/y"])
    listing = list_files(tmp_path)
    assert listing.files == ["a.txt", "b/1.mp4", "b/2.mp4"]
    assert listing.left_out == {"hidden files": 4, "hidden folders": 3}


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_that_lead_out_are_followed_once(tmp_path: Path) -> None:
    root, disk = tmp_path / "root", tmp_path / "disk"
    write_files(root, ["live/1.mp4"])
    write_files(disk, ["2.mp4"])
    for link, target in (("live/p", disk), ("print", disk), ("again", root / "live"), ("loop", root), ("up", tmp_path)):
        (root / link).symlink_to(target)
    (root / "3.mp4").symlink_to(disk / "2.mp4")
    listing = list_files(root)
    assert [name.rpartition("/")[2] for name in listing.files].count("2.mp4") == 1
    assert {"live/1.mp4", "3.mp4"} < set(listing.files)
    assert listing.left_out == {"links to folders that are listed already": 4}


@pytest.mark.skipif(sys.platform != "linux", reason="only there can a name be any bytes")
def test_names_that_no_table_can_hold_are_counted(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.mp4")).write_text("")
    (tmp_path / "ä.mp4").write_text("")
    listing = list_files(tmp_path)
    assert listing.files == ["ä.mp4"]
    assert listing.left_out == {"names that are not UTF-8": 1}


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, ["there/1.mp4", "file"])
    with pytest.raises(ManifestError, match=r"no folder at .*; .* holds there"):
        list_files(tmp_path / "their")
    with pytest.raises(ManifestError, match="is a file"):
        list_files(tmp_path / "file")


def test_progress_counts_what_was_found(tmp_path: Path) -> None:
    write_files(tmp_path, ["a/1.mp4", "b/2.mp4"])
    seen: list[tuple[int, int]] = []
    list_files(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 0), (1, 0), (2, 0)]
