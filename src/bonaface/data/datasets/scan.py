"""What lies below a folder, by name alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bonaface.errors import ManifestError, few

__all__ = ["Listing", "list_files"]

_CLUTTER = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})


@dataclass(frozen=True)
class Listing:
    """The files below `root` as sorted posix paths relative to it, and how many were left out, by kind."""

    root: Path
    files: list[str]
    left_out: Counter[str] = field(default_factory=Counter)


def list_files(root: Path, *, progress: Callable[[int, int], None] | None = None) -> Listing:
    """Walk a folder without opening a file; hidden ones and what systems leave lying about are only counted.

    A link is followed where it leads out of the folder, once. Raises ManifestError where `root` is no folder
    or cannot be listed. `progress` gets the files found so far and 0, since the total is not known.
    """
    if not root.exists():
        raise ManifestError(f"no folder at {root}: expected the folder that holds the dataset{_nearby(root)}")
    if not root.is_dir():
        raise ManifestError(f"{root} is a file: expected the folder that holds the dataset")
    files: list[str] = []
    left_out: Counter[str] = Counter()
    linked: set[str] = set()
    real_root = os.path.realpath(root)
    folders = [(str(root), "")]
    while folders:
        folder, prefix = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    is_folder = entry.is_dir()
                    if name[0] == "." or name.lower() in _CLUTTER:
                        left_out["hidden folders" if is_folder else "hidden files"] += 1
                    elif not name.isascii() and not _is_utf8(name):
                        left_out["names that are not UTF-8"] += 1
                    elif not is_folder:
                        files.append(prefix + name)
                    elif not entry.is_symlink() or _leads_out(entry.path, real_root, linked):
                        folders.append((entry.path, f"{prefix}{name}/"))
                    else:
                        left_out["links to folders that are listed already"] += 1
        except OSError as error:
            raise ManifestError(f"{folder} cannot be listed: {error.strerror or error}") from None
        if progress is not None:
            progress(len(files), 0)
    files.sort()
    return Listing(root, files, left_out)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _leads_out(link: str, real_root: str, linked: set[str]) -> bool:
    """Whether a link is worth following: not into the folder itself, not to one above it, and not twice."""
    target = os.path.realpath(link)
    inside = target == real_root or target.startswith(real_root + os.sep)
    above = real_root.startswith(target.rstrip(os.sep) + os.sep)
    if inside or above or target in linked:
        return False
    linked.add(target)
    return True


def _nearby(root: Path) -> str:
    parent = next((each for each in root.absolute().parents if each.is_dir()), None)
    if parent is None or parent == Path(parent.anchor):
        return ""
    names = sorted(each.name for each in parent.iterdir() if each.is_dir() and not each.name.startswith("."))
    return f"; {parent} holds {few(names)}" if names else ""
