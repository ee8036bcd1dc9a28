"""What stands twice in a manifest, and how bad that is: across splits, across persons or labels, or only twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bonaface.data.audit.duplicates import Copy, find_copies
from bonaface.data.audit.file_stats import FileFacts
from bonaface.data.audit.hashing import Crop
from bonaface.data.manifest import Manifest

__all__ = ["Level", "Shared", "find_shared"]

Level = Literal["leak", "warning", "remark"]
_ORDER: tuple[Level, ...] = ("leak", "warning", "remark")


@dataclass(frozen=True)
class Shared:
    """Two presentations with one content: the same bytes (`same_file`), or the same pictures (`copy`).

    A `leak` stands in two splits; a `warning` under two persons or two labels; a `remark` only twice. `paths`, `splits`,
    `subjects` and `labels` are in manifest order, `frames` are the frames that agree. `crop` (left, top, right, bottom, as
    shares) is what the copy `whole` (0 or 1) has beyond the other.
    """

    kind: Literal["same_file", "copy"]
    level: Level
    paths: tuple[str, str]
    splits: tuple[str, str]
    subjects: tuple[str, str]
    labels: tuple[str, str]
    frames: tuple[int, int] = (0, 0)
    mirrored: bool = False
    whole: int = 0
    crop: Crop = (0.0, 0.0, 0.0, 0.0)
    moved: float = 0.0

    @property
    def how(self) -> str:
        """In words: the same file; a copy, mirrored, cropped by so much."""
        if self.kind == "same_file":
            return "the same file"
        cut = round(100 * max(self.crop))
        parts = ["mirrored"] if self.mirrored else []
        parts += [f"cropped by up to {cut} % a side"] if cut >= 2 else []
        return "the same picture" + (f", {' and '.join(parts)}" if parts else "")

    @property
    def why(self) -> str:
        """In words: what makes it a leak or a warning; empty for a remark."""
        parts = []
        if self.level == "leak":
            parts.append(f"{self.splits[0]} and {self.splits[1]}")
        if self.subjects[0] != self.subjects[1]:
            parts.append("two persons")
        if self.labels[0] != self.labels[1]:
            parts.append("two labels")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        told: dict[str, Any] = {name: getattr(self, name) for name in ("kind", "level", "how", "why")}
        told |= {name: list(getattr(self, name)) for name in ("paths", "splits", "subjects", "labels", "frames")}
        if self.kind == "copy":
            told |= {"mirrored": self.mirrored, "whole": self.whole, "crop": list(self.crop), "moved": self.moved}
        return told


def find_shared(
    manifest: Manifest,
    facts: Sequence[FileFacts],
    *,
    workers: int | None = None,
    notes: list[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Shared]:
    """Every pair of presentations with one content, leaks first; each file's content is compared once.

    `notes` gets what was not looked at.
    """
    groups: dict[str, list[int]] = {}
    for position, fact in enumerate(facts):
        if fact.sha256:
            groups.setdefault(fact.sha256, []).append(position)
    first = [members[0] for members in groups.values()]
    films = [facts[position].film for position in first]
    judge = _Judge(manifest)
    found = [judge.same_file(pair) for members in groups.values() for pair in judge.pairs(members)]
    for copy in find_copies(films, workers=workers, notes=notes, progress=progress):
        mine, other = (groups[facts[first[position]].sha256] for position in (copy.first, copy.second))
        pairs = itertools.product(judge.various(mine), judge.various(other))
        found += [judge.copy(pair, copy) for pair in pairs]
    return sorted(found, key=lambda shared: (_ORDER.index(shared.level), shared.kind, shared.paths))


class _Judge:
    """Knows of each presentation who it is and where it stands."""

    def __init__(self, manifest: Manifest) -> None:
        table = manifest.table
        self._columns = {name: table[name].tolist() for name in ("path", "split", "subject", "label")}
        self._known = table["subject_known"].tolist()

    def same_file(self, pair: tuple[int, int]) -> Shared:
        return Shared(kind="same_file", level=self._level(pair), **self._about(pair))

    def copy(self, pair: tuple[int, int], copy: Copy) -> Shared:
        frames, whole = copy.frames, int(copy.whole == copy.second)
        if pair[0] > pair[1]:
            pair, frames, whole = (pair[1], pair[0]), (frames[1], frames[0]), 1 - whole
        return Shared(
            kind="copy",
            level=self._level(pair),
            frames=frames,
            mirrored=copy.mirrored,
            whole=whole,
            crop=copy.crop,
            moved=copy.moved,
            **self._about(pair),
        )

    def pairs(self, members: list[int]) -> Iterator[tuple[int, int]]:
        """Of files with the same bytes: all pairs that differ in what they are called, and each with the one before it."""
        told = set(itertools.combinations(self.various(members), 2))
        yield from sorted(told | set(itertools.pairwise(members)))

    def various(self, members: list[int]) -> list[int]:
        """The first of each split, person and label among presentations with the same bytes."""
        first: dict[tuple[str, ...], int] = {}
        for position in members:
            first.setdefault(tuple(self._columns[name][position] for name in ("split", "subject", "label")), position)
        return list(first.values())

    def _about(self, pair: tuple[int, int]) -> dict[str, Any]:
        names = {"paths": "path", "splits": "split", "subjects": "subject", "labels": "label"}
        return {ours: tuple(self._columns[theirs][position] for position in pair) for ours, theirs in names.items()}

    def _level(self, pair: tuple[int, int]) -> Level:
        split, subject, label = (
            tuple(self._columns[name][position] for position in pair) for name in ("split", "subject", "label")
        )
        if split[0] != split[1] and all(split):
            return "leak"
        persons = subject[0] != subject[1] and all(self._known[position] for position in pair)
        return "warning" if persons or label[0] != label[1] else "remark"
