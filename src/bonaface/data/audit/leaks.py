"""Find pairs of presentations with the same content, by file hash and by picture, and grade each pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.audit.duplicates import Copy, Crop, find_copies
from bonaface.data.audit.file_stats import FileFacts
from bonaface.data.manifest import Manifest

Level = Literal["leak", "warning", "remark"]
LEVELS: tuple[Level, ...] = ("leak", "warning", "remark")


@dataclass(frozen=True)
class SharedContent:
    """Two presentations with one content: the same bytes (`same_file`), or the same picture (`copy`).

    A `leak` crosses a split, a `warning` has two subjects or two labels, a `remark` is only there twice. Pairs are in manifest
    order. `crop` (left, top, right, bottom, as shares) is what the presentation `whole` (0 or 1) shows beyond the other,
    `likeness` the correlation of the aligned pictures' detail, 1 for the same bytes.
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
    likeness: float = 1.0

    @property
    def how(self) -> str:
        """Describe the likeness: the same file, or the same picture, mirrored or cropped."""
        if self.kind == "same_file":
            return "the same file"
        cut = round(100 * max(self.crop))
        parts = ["mirrored"] if self.mirrored else []
        parts += [f"cropped by up to {cut} % a side"] if cut >= 2 else []
        return "the same picture" + (f", {' and '.join(parts)}" if parts else "")

    @property
    def why(self) -> str:
        """Describe what makes the pair a leak or a warning; empty for a remark."""
        parts = []
        if self.level == "leak":
            parts.append(f"{self.splits[0]} and {self.splits[1]}")
        if all(self.subjects) and self.subjects[0] != self.subjects[1]:
            parts.append("two subjects")
        if self.labels[0] != self.labels[1]:
            parts.append("two labels")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, safe for JSON."""
        found: dict[str, Any] = {name: getattr(self, name) for name in ("kind", "level", "how", "why")}
        found |= {name: list(getattr(self, name)) for name in ("paths", "splits", "subjects", "labels", "frames")}
        if self.kind == "copy":
            found |= {"mirrored": self.mirrored, "whole": self.whole}
            found |= {"crop": list(self.crop), "likeness": self.likeness}
        return found


def find_shared(
    manifest: Manifest,
    facts: Sequence[FileFacts],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[SharedContent], int]:
    """Return the pairs of presentations with one content, leaks first, and how many presentations were crowded.

    Pictures are compared where a pair would matter: across splits, labels or known subjects, and without splits also where
    a split may still part them. Same bytes are reported once more for presentations that differ in nothing else. Crowded is
    a presentation that looks like more others than were compared (`find_copies`).
    """
    table = manifest.table[["path", "split", "subject", "label"]].copy()
    table["subject"] = table["subject"].where(manifest.table["subject_known"], "")
    table["sha256"] = [fact.sha256 for fact in facts]
    same = _same_files(table)
    copies, crowded = find_copies(
        [fact.views for fact in facts], compare=_matters(table), workers=workers, progress=progress
    )
    rows = [{str(name): value for name, value in row.items()} for row in table.to_dict(orient="records")]
    found = [_shared(rows, pair) for pair in same]
    found += [
        _shared(rows, (copy.first, copy.second), copy)
        for copy in copies
        if rows[copy.first]["sha256"] != rows[copy.second]["sha256"]
    ]
    return sorted(found, key=lambda each: (LEVELS.index(each.level), each.kind, each.paths)), crowded


def _same_files(table: pd.DataFrame) -> list[tuple[int, int]]:
    """Pairs of rows with the same bytes: all that differ in split, subject or label, and each repetition with its first."""
    named = table[table["sha256"] != ""].reset_index(names="row")
    alike = ["sha256", "split", "subject", "label"]
    first = named.drop_duplicates(alike)
    different = first.merge(first, on="sha256", suffixes=("", "_other")).query("row < row_other")
    again = named.merge(first, on=alike, suffixes=("_other", "")).query("row < row_other")
    pairs = pd.concat([different, again])[["row", "row_other"]].sort_values(["row", "row_other"])
    return [(int(one), int(other)) for one, other in pairs.itertuples(index=False)]


def _matters(table: pd.DataFrame) -> Callable[[int], NDArray[np.bool_]]:
    """Return with which presentations a copy of a row would matter: those of a different label, split or subject.

    Without a split, presentations of one known subject are kept together later; those of unknown subjects may be parted.
    """
    label, split, subject = (pd.factorize(table[name])[0] for name in ("label", "split", "subject"))
    known, unsplit = (table["subject"] != "").to_numpy(), (table["split"] == "").to_numpy()

    def compare(row: int) -> NDArray[np.bool_]:
        others = subject != subject[row]
        matters = (label != label[row]) | (split != split[row])
        if known[row]:
            matters |= known & others
        if unsplit[row]:
            matters |= ~known | others
        return np.asarray(matters, dtype=bool)

    return compare


def _shared(rows: list[dict[str, Any]], pair: tuple[int, int], copy: Copy | None = None) -> SharedContent:
    one, other = (rows[position] for position in pair)
    paths, splits, subjects, labels = ((one[name], other[name]) for name in ("path", "split", "subject", "label"))
    level: Level = "remark"
    if splits[0] != splits[1] and all(splits):
        level = "leak"
    elif labels[0] != labels[1] or (subjects[0] != subjects[1] and all(subjects)):
        level = "warning"
    if copy is None:
        return SharedContent("same_file", level, paths, splits, subjects, labels)
    whole = int(copy.whole == copy.second)
    about = (copy.frames, copy.mirrored, whole, copy.crop, copy.likeness)
    return SharedContent("copy", level, paths, splits, subjects, labels, *about)
