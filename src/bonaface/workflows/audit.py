"""Audit a manifest before training: leaks, copies, unreadable files, missing faces, balance, shortcuts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bonaface.data.audit.file_stats import PROPERTIES, FileFacts, properties_table, read_files
from bonaface.data.audit.findings import GLARING, Area, Audit, Shortcut
from bonaface.data.audit.leaks import find_shared
from bonaface.data.audit.shortcuts import Trait, dataset_biases, left_out, one_class_values, traits
from bonaface.data.manifest import SPLITS, Manifest, read_manifest
from bonaface.data.splits import SPLIT_NOTE, find_leaks
from bonaface.errors import format_list
from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.auc import auc
from bonaface.evaluation.results import Figure
from bonaface.io import fresh_folder, now, write_json, write_text
from bonaface.report.audit_page import render_page
from bonaface.types import Progress, Status, counted

_CLASSES = {"bona_fide": "bona fide", "attack": "attack"}


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
    """Audit a manifest: leaks, copies, unreadable files and shortcuts, found by opening every file.

    Args:
        manifest: the manifest, or its path.
        output: the folder for `audit.html` and `audit.json`; an earlier audit in it is replaced.
        root: the folder that the manifest's paths are relative to, if it moved.
        detector: `yunet`, `haar`, `boxes`, or `whole_frame` to look for no faces.
        weights: the file of the detector's weights, by default the cached download.
        workers: processes, by default one per core.
        faces: whether the page shows pictures.
        progress: called with stage, done and total.

    Returns:
        What was found; `leaks` counts subjects and pairs of presentations in two splits.

    Raises:
        ManifestError: the manifest cannot be read.
        OutputError: anything but an audit is in `output`.

    Examples:
        ```python
        found = bonaface.audit("manifest.csv", output="audit")
        print(found.verdict, found.leaks)
        ```
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
    shared, crowded = find_shared(
        read, found, workers=workers, progress=partial(progress, "copies") if progress else None
    )
    properties = properties_table(found)
    done = Audit(
        manifest=read,
        files=found,
        persons=find_leaks(read),
        shared=shared,
        balance=_balance(read.table),
        shortcuts=_shortcuts(read.table, properties, progress),
        one_class=one_class_values(read.table),
        datasets=dataset_biases(read.table, properties, least=GLARING),
        left_out=left_out(read.table),
        detector=detector,
        made=now(),
        notes=_notes(read, found, crowded),
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
    """Return every column and property that takes two values, the one that separates the classes best first."""
    found = []
    asked = list(traits(table, properties))
    for trait in counted(asked, partial(progress, "shortcuts") if progress else None, len(asked)):
        there = np.isfinite(trait.score)
        arrays = ScoreArrays.from_table(_scored(table, trait))
        area = auc(arrays)
        if len(np.unique(trait.score[there])) < 2:
            area = Figure(area.value, area.persons, reason=trait.direction)
        found.append(_shortcut(trait, arrays, area))
    return sorted(found, key=lambda each: (-np.nan_to_num(each.auc.value), -np.nan_to_num(each.worst.value), each.name))


def _shortcut(trait: Trait, arrays: ScoreArrays, area: Figure) -> Shortcut:
    """Return the trait with its AUC over all attacks, and over those of the species that it separates best."""
    species = {
        name: auc(arrays.take(arrays.bona_fide | (arrays.species == number)))
        for number, name in enumerate(arrays.species_names)
    }
    named = {name: figure for name, figure in species.items() if figure.defined}
    worst, figure = "", area
    if len(named) > 1:
        worst = max(named, key=lambda name: (named[name].value, name))
        figure = named[worst]
    title = PROPERTIES[trait.name] if trait.source == "file" else trait.name
    return Shortcut(trait.name, title, trait.source, trait.how, trait.direction, _area(area), worst, _area(figure))


def _area(figure: Figure) -> Area:
    return Area(figure.value, figure.low, figure.high, figure.reason)


def _scored(table: pd.DataFrame, trait: Trait) -> pd.DataFrame:
    there = np.isfinite(trait.score)
    scored = table[["label", "species", "dataset", "subject", "subject_known"]].copy()
    scored["presentation"] = table["path"]
    scored["score"], scored["logit"] = trait.score, np.nan
    scored["status"] = np.where(there, Status.OK.value, Status.UNREADABLE.value)
    return scored


def _balance(table: pd.DataFrame) -> pd.DataFrame:
    """Count presentations and subjects by class, category and species, in total and by split."""
    splits = [split for split in SPLITS if (table["split"] == split).any()]
    if splits and (table["split"] == "").any():
        splits.append("")
    rows = []
    for kind, column in (("class", "label"), ("category", "category"), ("species", "species")):
        for value, part in table[table[column] != ""].groupby(column, sort=True):
            row: dict[str, Any] = {"kind": kind, "value": str(value)}
            for name, some in (("all", part), *((split, part[part["split"] == split]) for split in splits)):
                row[f"{name or 'no split'}"] = len(some)
                row[f"{name or 'no split'}_subjects"] = int(some.loc[some["subject_known"], "subject"].nunique())
            rows.append(row)
    return pd.DataFrame(rows)


def _notes(manifest: Manifest, files: Sequence[FileFacts], crowded: int) -> list[str]:
    table = manifest.table
    notes = [note for note in manifest.notes if not note.startswith(SPLIT_NOTE)]
    splits = [split for split in SPLITS if (table["split"] == split).any()]
    if not splits:
        notes.append("the manifest has no splits: split it (bonaface data split) and audit it again")
    for split in splits:
        part = table[table["split"] == split]
        missing = [word for label, word in _CLASSES.items() if not (part["label"] == label).any()]
        notes += [f"{split} has no {word} presentation" for word in missing]
    for label, word in _CLASSES.items():
        if not (table["label"] == label).any():
            notes.append(f"the manifest has no {word} presentation, so no shortcut was looked for")
    notes += _one_class_subjects(table)
    if crowded:
        notes.append(
            f"{crowded:,} presentations look like more others than were compared (one background in all of them, for "
            "example): a copy of them that was also cropped may be missed"
        )
    if files and all(fact.reason for fact in files):
        notes.append("no file could be read: copies, faces and the files' properties were not examined")
    looked, without = sum(fact.faces is not None for fact in files), sum(fact.faces == 0 for fact in files)
    if without > looked / 2:
        notes.append(
            f"no face was found in {without:,} of {looked:,} presentations: for crops that a face fills, use "
            "--detector yunet, or --detector whole_frame to look for none"
        )
    return notes


def _one_class_subjects(table: pd.DataFrame) -> list[str]:
    """Yield a note for each class that is the only one of some subjects, if others have both: their face predicts the class."""
    classes = table[table["subject_known"]].groupby("subject")["label"].agg(["nunique", "first"])
    notes = []
    for label, word in _CLASSES.items():
        alone = classes.index[(classes["nunique"] == 1) & (classes["first"] == label)].tolist()
        if alone and len(classes) > 1:
            notes.append(
                f"{len(alone)} of {len(classes)} subjects have {word} presentations only, so their faces predict the "
                f"class: {format_list(alone)}"
            )
    return notes
