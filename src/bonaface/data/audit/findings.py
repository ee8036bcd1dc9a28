"""The result of an audit, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bonaface.data.audit.file_stats import FileFacts
from bonaface.data.audit.leaks import Level, SharedContent
from bonaface.data.audit.shortcuts import DatasetBias, OneClassValue
from bonaface.data.manifest import Manifest
from bonaface.data.splits import Leak
from bonaface.io import json_safe

NOTABLE, GLARING = 0.6, 0.7
"""A shortcut is marked from the first AUC on if its interval excludes chance (0.5), from the second on in any case."""


@dataclass(frozen=True)
class Area:
    """An AUC with its 95 % interval over subjects; NaN if undefined, and then `reason` says why."""

    value: float
    low: float = math.nan
    high: float = math.nan
    reason: str = ""

    @property
    def marked(self) -> bool:
        """Whether this is marked: at least GLARING, or at least NOTABLE with chance excluded."""
        return self.value >= GLARING or (self.value >= NOTABLE and self.low > 0.5)


@dataclass(frozen=True)
class Shortcut:
    """How well one column, or one property of the files, alone separates attacks from bona fide presentations.

    `auc` is over all attacks; `worst` over those of `worst_species` alone, the species that it separates best. `how` and
    `direction` say how it was used.
    """

    name: str
    title: str
    source: str
    how: str
    direction: str
    auc: Area
    worst_species: str
    worst: Area

    @property
    def marked(self) -> bool:
        """Whether this is worth a look."""
        return self.auc.marked or self.worst.marked


@dataclass(frozen=True)
class Audit:
    """What an audit found; `folder` holds `audit.json` and `audit.html` if an output was asked for.

    `persons` are the subjects in two splits, `shared` the pairs of presentations with one content, leaks first. `balance`
    counts presentations and subjects by kind (class, species, category) and split.
    """

    manifest: Manifest
    files: Sequence[FileFacts] = field(repr=False)
    persons: Sequence[Leak]
    shared: Sequence[SharedContent] = field(repr=False)
    balance: pd.DataFrame
    shortcuts: Sequence[Shortcut] = field(repr=False)
    one_class: Sequence[OneClassValue]
    datasets: Sequence[DatasetBias]
    left_out: Mapping[str, str]
    detector: str
    made: str
    notes: Sequence[str] = ()
    folder: Path | None = None

    @property
    def leaks(self) -> int:
        """The number of subjects and of pairs of presentations in two splits, to be corrected before training."""
        return len(self.persons) + len(self.of_level("leak"))

    def of_level(self, level: Level) -> list[SharedContent]:
        """Return the pairs that are a `leak`, a `warning` or a `remark`."""
        return [shared for shared in self.shared if shared.level == level]

    @property
    def unreadable(self) -> list[FileFacts]:
        """The files that gave no picture."""
        return [fact for fact in self.files if fact.reason]

    @property
    def damaged(self) -> list[FileFacts]:
        """The files of which only a part could be read."""
        return [fact for fact in self.files if fact.note and not fact.reason]

    @property
    def faceless(self) -> list[FileFacts]:
        """The presentations without a face in any view."""
        return [fact for fact in self.files if fact.faces == 0]

    @property
    def marked(self) -> list[Shortcut]:
        """The shortcuts worth a look."""
        return [shortcut for shortcut in self.shortcuts if shortcut.marked]

    @property
    def has_splits(self) -> bool:
        """Whether any presentation is in a split."""
        return bool((self.manifest.table["split"] != "").any())

    @property
    def unknown(self) -> int:
        """How many presentations have no known subject."""
        return int((~self.manifest.table["subject_known"]).sum())

    @property
    def verdict(self) -> str:
        """Return in one or two sentences whether anything leaks."""
        pairs = len(self.of_level("leak"))
        if self.leaks:
            parts = [_count(len(self.persons), "subject")] if self.persons else []
            parts += [_count(pairs, "pair") + " of presentations with the same content"] if pairs else []
            occur = "occurs" if self.leaks == 1 else "occur"
            found = f"{' and '.join(parts)} {occur} in two splits: do not train on this"
        elif not self.has_splits:
            return "nothing is split yet, so leaks between splits were not looked for"
        elif self.unknown:
            found = "no file or picture was found in two splits"
        else:
            return "no subject, file or picture was found in two splits"
        if self.unknown:
            found += (
                "; whether a person occurs in two splits cannot be checked, because the subject of "
                f"{self.unknown:,} of {len(self.manifest):,} presentations is unknown"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything that was found, safe for JSON."""
        return {
            "manifest": {
                "source": self.manifest.source.name if self.manifest.source else "",
                "digest": self.manifest.digest,
                "presentations": len(self.manifest),
                "notes": list(self.manifest.notes),
            },
            "made": self.made,
            "detector": self.detector,
            "verdict": self.verdict,
            "leaks": self.leaks,
            "unknown_subjects": self.unknown,
            "notes": list(self.notes),
            "persons": json_safe(self.persons),
            "shared": [shared.to_dict() for shared in self.shared],
            "unreadable": [{"path": fact.path, "reason": fact.reason} for fact in self.unreadable],
            "damaged": [{"path": fact.path, "note": fact.note} for fact in self.damaged],
            "without_a_face": [fact.path for fact in self.faceless],
            "balance": self.balance.to_dict(orient="records"),
            "shortcuts": [{**json_safe(shortcut), "marked": shortcut.marked} for shortcut in self.shortcuts],
            "one_class_values": json_safe(self.one_class),
            "dataset_biases": json_safe(self.datasets),
            "left_out": dict(self.left_out),
        }


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
