"""Walk a folder of footage, and tell pictures and videos from other files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import NamedTuple

from bonaface.data.frame_folder import are_numbered_frames
from bonaface.data.frames import VIDEO_SUFFIXES
from bonaface.data.hdf5 import HDF5_SUFFIXES
from bonaface.data.images import IMAGE_SUFFIXES
from bonaface.data.signatures import HEAD, media_type
from bonaface.io.storage import read_range

MEDIA_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES | HDF5_SUFFIXES
_CLUTTER = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})


class Problem(NamedTuple):
    """Something in a folder that cannot be read: its path relative to the folder, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Found:
    """The content of a folder: files as sorted posix paths relative to it.

    `problems` are folders that cannot be listed, broken links, and entries that are neither file nor folder. `left_out`
    counts, by kind, what is skipped on purpose: hidden files, links to folders listed already.
    """

    files: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def walk(root: Path, *, progress: Callable[[int, int], None] | None = None) -> Found:
    """List a folder and those below it without opening a file; each folder once, by its own name before that of a link.

    Hidden files and those that systems leave behind are only counted. Links to folders are followed, except to folders that
    hold the link. `progress` gets the files found so far and 0, since the total is not known.
    """
    found = Found()
    seen: set[tuple[int, int]] = set()
    links: list[tuple[str, str]] = []
    folders = [(str(root), "")]
    while folders or links:
        followed = not folders
        folder, prefix = links.pop(0) if followed else folders.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116 (a Path for each of a million folders takes longer than the listing)
            if (status.st_dev, status.st_ino) in seen or (followed and _holds(folder)):
                found.left_out["links to folders that are listed already"] += 1
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    _enter(entry, prefix, found, folders, links)
        except OSError as error:
            found.problems.append(
                Problem(prefix.rstrip("/"), f"the folder cannot be listed ({error.strerror or error})")
            )
        links.sort(key=lambda link: link[1])
        if progress is not None:
            progress(len(found.files), 0)
    found.files.sort()
    found.problems.sort()
    return found


def _enter(
    entry: os.DirEntry[str], prefix: str, found: Found, folders: list[tuple[str, str]], links: list[tuple[str, str]]
) -> None:
    name = prefix + entry.name
    hidden = entry.name[0] == "." or entry.name.lower() in _CLUTTER
    try:
        is_folder, is_file = entry.is_dir(), entry.is_file()
    except OSError as error:  # such as links in a circle
        is_folder = is_file = False
        reason = error.strerror or str(error)
    else:
        reason = "a broken link" if entry.is_symlink() else "neither a file nor a folder"
    if hidden:
        found.left_out["hidden folders" if is_folder else "hidden files"] += 1
    elif is_folder:
        (links if entry.is_symlink() else folders).append((entry.path, f"{name}/"))
    elif is_file:
        found.files.append(name)
    else:
        found.problems.append(Problem(name, reason))


def _holds(link: str) -> bool:
    """Whether a link leads to a folder in which the link itself lies."""
    target = os.path.realpath(link)
    return os.path.realpath(os.path.dirname(link)).startswith(target.rstrip(os.sep) + os.sep)  # noqa: PTH120 (millions)


def is_media(path: Path) -> bool:
    """Whether a file is a picture or a video: by its suffix, else by its first bytes. Raises OSError."""
    if path.suffix.lower() in MEDIA_SUFFIXES:
        return True
    return media_type(read_range(path, 0, HEAD)) is not None


def frame_folders(files: Iterable[str]) -> dict[str, list[str]]:
    """The pictures among `files` (posix paths), by the folder that holds them directly."""
    pictures: dict[str, list[str]] = {}
    for name in files:
        if PurePath(name).suffix.lower() in IMAGE_SUFFIXES:
            folder, _, _ = name.rpartition("/")
            pictures.setdefault(folder, []).append(name)
    return pictures


def numbered_folders(files: Iterable[str]) -> list[str]:
    """The folders whose pictures seem to be the numbered frames of one video (`--frames-as-video`)."""
    return [
        folder
        for folder, names in frame_folders(files).items()
        if are_numbered_frames(name.rpartition("/")[2] for name in names)
    ]
