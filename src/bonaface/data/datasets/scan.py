"""What lies below a folder, by name alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bonaface.data.sources import walk
from bonaface.errors import ManifestError, few


@dataclass(frozen=True)
class Listing:
    """The files below `root` as sorted posix paths relative to it, and how many were left out, by kind."""

    root: Path
    files: list[str]
    left_out: Counter[str] = field(default_factory=Counter)


def list_files(root: Path, *, progress: Callable[[int, int], None] | None = None) -> Listing:
    """Return the files below `root`, by `sources.walk`.

    Hidden files, links to folders listed already and names that are not UTF-8 are counted; links that lead nowhere are
    listed, so that they become presentations that cannot be read. Raises ManifestError where `root` is not a folder, or
    where a folder cannot be listed. `progress` gets the files found so far and 0, since the total is not known.
    """
    if not root.exists():
        raise ManifestError(f"no folder at {root}: expected the folder that holds the dataset{_nearby(root)}")
    if not root.is_dir():
        raise ManifestError(f"{root} is a file: expected the folder that holds the dataset")
    found = walk(root, progress=progress)
    for problem in found.problems:
        if not problem.reason.startswith("a link"):
            raise ManifestError(f"{root / problem.path}: {problem.reason}")
    names = [*found.files, *(problem.path for problem in found.problems)]
    files = sorted(name for name in names if name.isascii() or _is_utf8(name))
    if strange := len(names) - len(files):
        found.left_out["names that are not UTF-8"] += strange
    return Listing(root, files, found.left_out)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _nearby(root: Path) -> str:
    parent = next((each for each in root.absolute().parents if each.is_dir()), None)
    if parent is None or parent == Path(parent.anchor):
        return ""
    names = sorted(each.name for each in parent.iterdir() if each.is_dir() and not each.name.startswith("."))
    return f"; {parent} holds {few(names)}" if names else ""
