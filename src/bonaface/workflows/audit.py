"""Audit a manifest before anybody trains: leaks, copies, unreadable files, missing faces, balance, shortcuts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bonaface.data.audit.file_stats import PROPERTIES, FileFacts, properties_table, read_files
from bonaface.data.audit.leaks import Shared, find_shared
from bonaface.data.audit.shortcuts import Telling, Trait, left_out, telling_values, traits
from bonaface.data.manifest import SPLITS, Manifest, read_manifest
from bonaface.data.splits import Leak, find_leaks
from bonaface.errors import few
from bonaface.evaluation.arrays import Sample
from bonaface.evaluation.intervals import IntervalSettings, Resampling
from bonaface.evaluation.rates import Figure
from bonaface.evaluation.threshold_free import auc
from bonaface.io import fresh_folder, now, write_json, write_text
from bonaface.report.audit_page import render_page
from bonaface.types import Progress, Status
from bonaface.workflows.prepare import counts_line

__all__ = ["Audit", "Shortcut", "audit"]

MARKED, GLARING = 0.6, 0.7
"""An AUC from which on a column or a property counts as a shortcut: if chance is excluded, and anyway."""

_SHOWN = 10


@dataclass(frozen=True)
class Shortcut:
    """How well one column, or one property of the files, alone tells attacks from bona fide.

    `auc` is over all attacks; `worst` over those of `worst_species` alone, the species that it tells best. `how` and
    `direction` say what was made of it.
    """

    name: str
    title: str
    source: str
    how: str
    direction: str
    auc: Figure
    worst_species: str
    worst: Figure

    @property
    def marked(self) -> bool:
        """Whether it is worth a look: an AUC of 0.6 or more with chance excluded, or of 0.7 or more."""
        return _telling(self.auc) or _telling(self.worst)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        told = {name: getattr(self, name) for name in ("name", "title", "source", "how", "direction", "worst_species")}
        return {**told, "marked": self.marked, "auc": self.auc.to_dict(), "worst": self.worst.to_dict()}


@dataclass(frozen=True)
class Audit:
    """What an audit found; `folder` holds `audit.json` and `audit.html` where an output was asked for.

    `persons` stand in two splits; `shared` are pairs of presentations with one content, leaks first. `balance` counts
    presentations and persons by kind (class, species, category) and split.
    """

    manifest: Manifest
    files: Sequence[FileFacts] = field(repr=False)
    persons: Sequence[Leak]
    shared: Sequence[Shared] = field(repr=False)
    balance: pd.DataFrame
    shortcuts: Sequence[Shortcut] = field(repr=False)
    telling: Sequence[Telling]
    left_out: Mapping[str, str]
    detector: str
    notes: Sequence[str] = ()
    folder: Path | None = None

    @property
    def leaks(self) -> int:
        """How many persons and pairs of presentations stand in two splits: what has to be mended before training."""
        return len(self.persons) + len(self.of_level("leak"))

    def of_level(self, level: str) -> list[Shared]:
        """The pairs that are a `leak`, a `warning` or a `remark`."""
        return [shared for shared in self.shared if shared.level == level]

    @property
    def unreadable(self) -> list[FileFacts]:
        """The files that gave no picture."""
        return [fact for fact in self.files if fact.reason]

    @property
    def damaged(self) -> list[FileFacts]:
        """The files that could be read, but not whole."""
        return [fact for fact in self.files if fact.note and not fact.reason]

    @property
    def faceless(self) -> list[FileFacts]:
        """The presentations in no view of which the detector found a face."""
        return [fact for fact in self.files if fact.faces == 0]

    @property
    def marked(self) -> list[Shortcut]:
        """The shortcuts worth a look."""
        return [shortcut for shortcut in self.shortcuts if shortcut.marked]

    @property
    def verdict(self) -> str:
        """One sentence: whether anything leaks."""
        if self.leaks:
            parts = [_number(len(self.persons), "person")] if self.persons else []
            pairs = len(self.of_level("leak"))
            parts += [_number(pairs, "pair") + " of presentations with the same content"] if pairs else []
            return (
                f"{' and '.join(parts)} {'stands' if self.leaks == 1 else 'stand'} in two splits: do not train on this"
            )
        if not self.has_splits:
            return "no leak was looked for, since nothing is split yet"
        return "no person, file or picture stands in two splits"

    @property
    def has_splits(self) -> bool:
        """Whether any presentation is in a split."""
        return bool((self.manifest.table["split"] != "").any())

    def summary(self) -> str:
        """Everything that was found, as text for a terminal; of long lists the beginning."""
        return "\n".join(_lines(self))

    def to_dict(self) -> dict[str, Any]:
        """Everything that was found, safe for JSON."""
        return {
            "manifest": {
                "source": self.manifest.source.name if self.manifest.source else "",
                "digest": self.manifest.digest,
                "presentations": len(self.manifest),
                "notes": list(self.manifest.notes),
            },
            "made": now(),
            "detector": self.detector,
            "verdict": self.verdict,
            "leaks": self.leaks,
            "notes": list(self.notes),
            "persons": [{"subject": leak.subject, "splits": list(leak.splits)} for leak in self.persons],
            "shared": [shared.to_dict() for shared in self.shared],
            "unreadable": [{"path": fact.path, "reason": fact.reason} for fact in self.unreadable],
            "damaged": [{"path": fact.path, "note": fact.note} for fact in self.damaged],
            "without_a_face": [fact.path for fact in self.faceless],
            "balance": self.balance.to_dict(orient="records"),
            "shortcuts": [shortcut.to_dict() for shortcut in self.shortcuts],
            "telling_values": [vars(telling) for telling in self.telling],
            "not_asked": dict(self.left_out),
        }


def audit(
    manifest: str | Path | Manifest,
    *,
    output: str | Path | None = None,
    root: str | Path | None = None,
    detector: str = "haar",
    weights: str | Path | None = None,
    workers: int | None = None,
    faces: bool = True,
    progress: Progress | None = None,
) -> Audit:
    """Say what is wrong with a manifest, and write `audit.json` and `audit.html` into the folder `output` where given.

    Every file is opened. `detector` is yunet, haar, boxes or whole_frame (no faces are looked for). With `faces=False` no
    picture of a person is in the page. An earlier audit in `output` is replaced; anything else there is an OutputError.
    """
    read = manifest if isinstance(manifest, Manifest) else read_manifest(manifest, root=root)
    folder = None if output is None else _folder(output)
    found = read_files(
        read,
        detector=detector,
        weights=Path(weights) if weights is not None else None,
        workers=workers,
        progress=partial(progress, "files") if progress else None,
    )
    notes = _notes(read, found)
    shared = find_shared(
        read, found, workers=workers, notes=notes, progress=partial(progress, "copies") if progress else None
    )
    done = Audit(
        manifest=read,
        files=found,
        persons=find_leaks(read),
        shared=shared,
        balance=_balance(read.table),
        shortcuts=_shortcuts(read.table, properties_table(found), progress),
        telling=telling_values(read.table),
        left_out=left_out(read.table),
        detector=detector,
        notes=notes,
        folder=folder,
    )
    if folder is not None:
        page = render_page(done, faces=faces)
        write_json(folder / "audit.json", done.to_dict())
        write_text(folder / "audit.html", page)
    return done


def _folder(output: str | Path) -> Path:
    path = Path(output)
    return path if (path / "audit.json").is_file() else fresh_folder(path, what="audit")


def _shortcuts(table: pd.DataFrame, properties: pd.DataFrame, progress: Progress | None) -> list[Shortcut]:
    """Every column and property that takes two values, the one that tells most first."""
    found, resamplings = [], {}
    asked = list(traits(table, properties))
    for done, trait in enumerate(asked, start=1):
        there = np.isfinite(trait.score)
        sample = Sample.of(_scored(table, trait))
        key = there.tobytes()
        if key not in resamplings:
            resamplings[key] = Resampling(sample.person, sample.persons, IntervalSettings(resamples=500))
        area = auc(sample, resamplings[key])
        if len(np.unique(trait.score[there])) < 2:
            area = Figure(area.value, area.persons, reason=trait.direction)
        found.append(_shortcut(trait, sample, area))
        if progress:
            progress("shortcuts", done, len(asked))
    return sorted(found, key=lambda each: (-_or_zero(each.auc.value), -_or_zero(each.worst.value), each.name))


def _shortcut(trait: Trait, sample: Sample, area: Figure) -> Shortcut:
    """The trait with its AUC, and that of the species which it tells best from bona fide, in the same direction."""
    species: dict[str, float] = {}
    for number, name in enumerate(sample.species_names):
        part = sample.take(sample.bona_fide | (sample.species == number))
        species[name] = auc(part, None).value
    named = {name: value for name, value in species.items() if not math.isnan(value)}
    worst, figure = "", area
    if len(named) > 1:
        worst = max(named, key=lambda name: (named[name], name))
        part = sample.take(sample.bona_fide | (sample.species == sample.species_names.index(worst)))
        figure = auc(part, Resampling(part.person, part.persons, IntervalSettings(resamples=500)))
    title = PROPERTIES[trait.name] if trait.source == "file" else trait.name
    return Shortcut(trait.name, title, trait.source, trait.how, trait.direction, area, worst, figure)


def _scored(table: pd.DataFrame, trait: Trait) -> pd.DataFrame:
    there = np.isfinite(trait.score)
    scored = table[["label", "species", "dataset", "subject", "subject_known"]].copy()
    scored["presentation"] = table["path"]
    scored["score"], scored["logit"] = trait.score, np.nan
    scored["status"] = np.where(there, Status.OK.value, Status.UNREADABLE.value)
    return scored


def _balance(table: pd.DataFrame) -> pd.DataFrame:
    """Presentations and persons by class, category and species, in all and by split."""
    splits = [split for split in SPLITS if (table["split"] == split).any()]
    if splits and (table["split"] == "").any():
        splits.append("")
    rows = []
    for kind, column in (("class", "label"), ("category", "category"), ("species", "species")):
        for value, part in table[table[column] != ""].groupby(column, sort=True):
            row: dict[str, Any] = {"kind": kind, "value": str(value)}
            for name, some in (("all", part), *((split, part[part["split"] == split]) for split in splits)):
                row[f"{name or 'no split'}"] = len(some)
                row[f"{name or 'no split'}_persons"] = int(some.loc[some["subject_known"], "subject"].nunique())
            rows.append(row)
    return pd.DataFrame(rows)


def _notes(manifest: Manifest, files: Sequence[FileFacts]) -> list[str]:
    """What a reader must know, and what is out of balance."""
    table = manifest.table
    notes = [note for note in manifest.notes if not note.startswith("split: ")]
    splits = [split for split in SPLITS if (table["split"] == split).any()]
    if not splits:
        notes.append(
            "the manifest has no splits: only what stands twice within the set is reported; split it "
            "(bonaface data split) and audit it again"
        )
    if not manifest.persons_known and not any("persons are unknown" in note for note in notes):
        unknown = int((~table["subject_known"]).sum())
        notes.append(f"the person of {unknown} of {len(table)} presentations is unknown: copies show, persons do not")
    for split in splits:
        part = table[table["split"] == split]
        missing = [word for label, word in _CLASSES.items() if not (part["label"] == label).any()]
        notes += [f"{split} has no {word} presentation" for word in missing]
    for label, word in _CLASSES.items():
        if not (table["label"] == label).any():
            notes.append(
                f"there is no {word} presentation: nothing tells the classes apart, so no shortcut was looked for"
            )
    classes = table[table["subject_known"]].groupby("subject")["label"].agg(["nunique", "first"])
    if len(classes) > 1:
        for label, word in _CLASSES.items():
            alone = classes.index[(classes["nunique"] == 1) & (classes["first"] == label)].tolist()
            if alone:
                who = f"{len(alone)} of {_number(len(classes), 'person')}"
                notes.append(
                    f"{who} have {word} presentations alone, so that a face may stand for a class: {few(alone)}"
                )
    if files and all(fact.reason for fact in files):
        notes.append("not one file could be read: copies, faces and the files' properties were not looked at")
    looked, without = sum(fact.faces is not None for fact in files), sum(fact.faces == 0 for fact in files)
    if without > looked / 2:
        notes.append(
            f"no face was found in {without} of {looked} presentations: pictures that a face fills, as in a set of crops, "
            "need another detector than this one, or none (whole_frame)"
        )
    return notes


_CLASSES = {"bona_fide": "bona fide", "attack": "attack"}


def _lines(found: Audit) -> Iterator[str]:
    yield counts_line(found.manifest)
    yield f"verdict: {found.verdict}"
    yield from (f"note: {note}" for note in found.notes)
    persons = [f"{leak.subject} in {' and '.join(leak.splits)}" for leak in found.persons]
    yield from _listed("persons in more than one split", persons)
    pairs = {level: found.of_level(level) for level in ("leak", "warning", "remark")}
    for level, title in (("leak", "the same content in two splits"), ("warning", "the same content under two names")):
        yield from _listed(title, [f"{s.paths[0]} = {s.paths[1]}: {s.how} ({s.why})" for s in pairs[level]])
    if pairs["remark"]:
        yield f"the same content twice, same person, class and split: {_number(len(pairs['remark']), 'pair')}"
    yield from _listed("unreadable", [f"{fact.path}: {fact.reason}" for fact in found.unreadable])
    yield from _listed("not whole", [f"{fact.path}: {fact.note}" for fact in found.damaged])
    yield from _listed(f"without a face ({found.detector})", [fact.path for fact in found.faceless])
    yield ""
    yield from _balance_lines(found.balance)
    yield ""
    yield from _shortcut_lines(found)
    if found.folder is not None:
        yield f"written: {found.folder / 'audit.html'}, {found.folder / 'audit.json'}"


def _listed(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield f"{title}: {len(items)}"
        yield from (f"  {item}" for item in items[:_SHOWN])
        if len(items) > _SHOWN:
            yield f"  and {len(items) - _SHOWN} more"


def _balance_lines(balance: pd.DataFrame) -> Iterator[str]:
    """Presentations, and persons behind a slash."""
    splits = [name for name in balance.columns[2:] if not name.endswith("_persons")]
    width = max((len(str(value)) for value in balance["value"]), default=0) + 12
    yield f"{'presentations/persons':<{width}}" + "".join(f"{split:>12}" for split in splits)
    for row in balance.to_dict(orient="records"):
        cells = "".join(f"{row[split]}/{row[f'{split}_persons']}".rjust(12) for split in splits)
        yield f"{row['kind']:<10}{row['value']}".ljust(width) + cells


def _shortcut_lines(found: Audit) -> Iterator[str]:
    if not found.shortcuts:
        return
    width = max(len(shortcut.title) for shortcut in found.shortcuts) + 2
    yield f"{'what tells the classes apart':<{width + 10}}{'AUC':>6}  95 % interval   best on one species"
    for shortcut in found.shortcuts:
        best = f"{shortcut.worst_species} {shortcut.worst.value:.3f}" if shortcut.worst_species else ""
        mark = "!" if shortcut.marked else " "
        bounds = f"{shortcut.auc.low:.3f} to {shortcut.auc.high:.3f}" if not math.isnan(shortcut.auc.low) else "-"
        line = f"{mark} {shortcut.source:<8}{shortcut.title:<{width}}{shortcut.auc.value:>6.3f}  {bounds:<16}"
        yield f"{line}{best:<28}{shortcut.direction}".rstrip()
    for telling in found.telling[:_SHOWN]:
        word = _CLASSES.get(telling.label, telling.label)
        value = telling.value or "(none)"
        yield f"  {telling.column} = {value} is always {word}: {telling.count} of {telling.total}, {telling.persons} persons"


def _telling(figure: Figure) -> bool:
    return figure.value >= GLARING or (figure.value >= MARKED and figure.low > 0.5)


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
