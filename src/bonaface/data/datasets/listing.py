"""What lies below a folder, by name alone."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bonaface.errors import ManifestError, few

__all__ = ["Listing", "list_files", "tree_words"]

_HIDDEN_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})


@dataclass(frozen=True)
class Listing:
    """The files below `root` as sorted posix paths relative to it, and how many were left out, by kind."""

    root: Path
    files: list[str]
    left_out: Counter[str] = field(default_factory=Counter)


def list_files(root: Path) -> Listing:
    """Walk a folder without opening a file; hidden ones and what systems leave lying about are counted only.

    Links are followed, each folder once. Raises ManifestError where `root` is no folder or cannot be listed.
    """
    if not root.exists():
        raise ManifestError(f"no folder at {root}: expected the folder that holds the dataset{_nearby(root)}")
    if not root.is_dir():
        raise ManifestError(f"{root} is a file: expected the folder that holds the dataset")
    files: list[str] = []
    left_out: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    folders = [(str(root), "")]
    while folders:
        folder, prefix = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    is_folder = entry.is_dir()
                    if name[0] == "." or name.lower() in _HIDDEN_NAMES:
                        left_out["hidden folders" if is_folder else "hidden files"] += 1
                    elif not is_folder:
                        files.append(prefix + name)
                    elif not entry.is_symlink() or _first_visit(entry.path, seen):
                        folders.append((entry.path, f"{prefix}{name}/"))
        except OSError as error:
            raise ManifestError(f"{folder} cannot be listed: {error.strerror or error}") from None
    files.sort()
    return Listing(root, files, left_out)


def tree_words(files: list[str], *, limit: int = 5) -> str:
    """A few of the names, for a message."""
    return few(files, limit=limit) if files else "nothing"


def _first_visit(path: str, seen: set[tuple[int, int]]) -> bool:
    status = os.stat(path)  # noqa: PTH116
    key = (status.st_dev, status.st_ino)
    if key in seen or os.path.realpath(path) in {os.path.realpath(os.path.dirname(path))}:  # noqa: PTH120
        return False
    seen.add(key)
    return True


def _nearby(root: Path) -> str:
    parent = next((each for each in root.parents if each.is_dir()), None)
    if parent is None or parent == Path(parent.anchor):
        return ""
    names = sorted(each.name for each in parent.iterdir() if each.is_dir() and not each.name.startswith("."))
    return f"; {parent} holds {few(names)}" if names else ""
