from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bonaface.data.walk import Found, is_media, numbered_folders, walk

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def reasons(found: Found) -> dict[str, str]:
    return {problem.path: problem.reason for problem in found.problems}


def test_walk_follows_linked_folders_once(tmp_path: Path):
    root, disk = touch(tmp_path / "root", "a/1.jpg"), touch(tmp_path / "disk", "2.jpg", "deep/3.jpg")
    for link, target in {"b": disk, "c": disk, "a/loop": root, "a/up": tmp_path}.items():
        (root / link).symlink_to(target)
    (disk / "deep" / "back").symlink_to(disk)
    (disk / "more").symlink_to(root / "a")
    found = walk(root)
    assert found.files == ["a/1.jpg", "b/2.jpg", "b/deep/3.jpg"]
    assert not found.problems
    assert found.left_out == {"links to folders that are listed already": 5}


def test_walk_names_what_cannot_be_read(tmp_path: Path):
    touch(tmp_path, "a.jpg")
    for link, target in {"dead.jpg": "gone.jpg", "one": "two", "two": "one"}.items():
        (tmp_path / link).symlink_to(target)
    os.mkfifo(tmp_path / "pipe.mp4")
    found = walk(tmp_path)
    assert found.files == ["a.jpg"]
    assert list(reasons(found)) == ["dead.jpg", "one", "pipe.mp4", "two"]
    assert "broken link" in reasons(found)["dead.jpg"]
    assert "neither" in reasons(found)["pipe.mp4"]


def test_walk_names_a_folder_it_may_not_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, "a.jpg", "closed/b.jpg")
    real = os.scandir

    def scandir(path: str):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = walk(tmp_path)
    assert (found.files, reasons(found)) == (["a.jpg"], {"closed": "the folder cannot be listed (Permission denied)"})


@pytest.mark.parametrize(
    ("name", "content", "media"),
    [
        ("photo", b"\xff\xd8\xff\xe0", True),
        ("photo.JPG.download", b"\xff\xd8\xff\xe1", True),
        ("clip", b"\0\0\0\x18ftypisom", True),
        ("scan.bin", b"II*\0\x08\0\0\0", True),
        ("phone", b"\0\0\0\x18ftypheic", True),
        ("stream.x", b"".join(b"\x47" + bytes(187) for _ in range(4)), True),
        ("empty.jfif", b"", True),
        ("notes.txt", b"BM, said the note", False),
        ("table.csv", b"path,label\n", False),
        ("empty", b"", False),
    ],
)
def test_media_is_known_by_suffix_or_content(tmp_path: Path, name: str, content: bytes, media: bool):
    (tmp_path / name).write_bytes(content)
    assert is_media(tmp_path / name) is media


def test_numbered_folders():
    files = [
        *(f"live/clip1/{number:04}.jpg" for number in range(3)),
        *(f"live/clip2/take3_frame_{number}.png" for number in (8, 9, 10)),
        *(f"photos/{name}.jpg" for name in ("anna", "bert", "carl")),
        *(f"pair/{number}.jpg" for number in range(2)),
        *(f"mixed/{name}.jpg" for name in ("1_1", "2_2", "3_4")),
    ]
    assert numbered_folders(files) == ["live/clip1", "live/clip2"]
