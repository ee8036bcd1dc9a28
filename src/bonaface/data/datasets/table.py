"""Footage that a table lists: any CSV, TSV or Parquet file with a column of paths and one of classes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request
from bonaface.data.datasets.label_names import IGNORE, UNDERSTOOD, Kind, Words, normal, split_of_word
from bonaface.data.identity import on_disk
from bonaface.data.manifest import RowProblems
from bonaface.errors import ManifestError, SettingsError, did_you_mean, format_list
from bonaface.io import TABLE_SUFFIXES, TextTable, read_table, relative_paths


def table_rows(request: Request) -> tuple[pd.DataFrame, list[str], Path]:
    """Return rows from a table, how to name each row to its author (`line 7`), and the table's path.

    `columns` maps a manifest's column to the table's, as `{"subject": "person_id"}`; columns of the same name
    need no mapping, `""` leaves one out, and columns without a mapping are kept under their own name. Class and
    split words are understood as folder names are. Sets `request.root` to the folder of the footage.
    """
    path, request.root = _find_table(request.root, request.table)
    table = read_table(path, error=ManifestError)
    if len(table.frame) == 0:
        raise ManifestError(f"{path} has no rows: expected one a presentation")
    rows = _renamed(table, request.columns)
    paths = relative_paths(rows["path"].str.replace("\\", "/", regex=False), request.root)
    rows["path"] = [_as_on_disk(path, request.root) for path in paths]
    rows, ignored = _with_kinds(table, rows, request.mapping)
    request.left_out["left out by the mapping"] += int(ignored.sum())
    if "split" in rows:
        rows = rows.assign(split=_split_words(table, rows["split"]))
    if "subject" not in rows:
        request.hints.append("persons are unknown: name the column of the subjects with --column subject=NAME")
    kept = np.flatnonzero(~ignored & _present(table, rows["path"], request))
    return rows.iloc[kept].reset_index(drop=True), table.places(kept.tolist()), path


def _find_table(root: Path, table: Path | None) -> tuple[Path, Path]:
    """Return (table, footage root): the table given, the root itself if it is one, or the only one in the root."""
    if table is not None:
        return table, root
    if root.is_file() or root.suffix.lower() in TABLE_SUFFIXES:
        return root, root.parent
    if not root.is_dir():
        raise ManifestError(f"no file at {root}: expected a table ({', '.join(TABLE_SUFFIXES)}), or its folder")
    tables = sorted(each for each in root.iterdir() if each.suffix.lower() in TABLE_SUFFIXES and each.name[0] != ".")
    tables = [each for each in tables if not each.name.endswith(".boxes.csv")]
    if len(tables) != 1:
        found = format_list([each.name for each in tables]) if tables else "none"
        raise ManifestError(
            f"{root}: expected one table ({', '.join(TABLE_SUFFIXES)}), found {found}: name it (--table)"
        )
    return tables[0], root


def _renamed(table: TextTable, columns: Mapping[str, str]) -> pd.DataFrame:
    found = [str(name) for name in table.frame.columns]
    for ours, theirs in columns.items():
        if theirs and theirs not in found:
            hint = did_you_mean(theirs, found)
            raise SettingsError(
                f"{table.name} has no column {theirs!r} to take as {ours}{hint}; found: {format_list(found, limit=20)}"
            )
    taken = {theirs: ours for ours, theirs in columns.items() if theirs}
    dropped = [name for name in found if name in columns and name not in taken]
    rows = table.frame.drop(columns=dropped).rename(columns=taken)
    missing = [name for name in ("path", "label") if name not in rows.columns]
    if missing:
        hint = did_you_mean(missing[0], found)
        raise ManifestError(
            f"{table.name} has no column {' and no column '.join(map(repr, missing))}{hint}; found: "
            f"{format_list(found, limit=20)}; say which one it is (--column {missing[0]}=NAME)"
        )
    return rows


def _with_kinds(table: TextTable, rows: pd.DataFrame, mapping: Mapping[str, str]) -> tuple[pd.DataFrame, np.ndarray]:
    words = Words(mapping)
    kinds = {str(name): words.kind(str(name)) for name in rows["label"].unique()}
    unknown = rows["label"].map(lambda name: kinds[name] is None).to_numpy(dtype=bool)
    problems = RowProblems(table.places)
    problems.add("a label that is not recognised", unknown, values=rows["label"])
    if problems.found:
        example = rows["label"].iloc[unknown.argmax()] or "VALUE"
        raise ManifestError(
            f"{table.name}: {problems.found[0]}; recognised are {UNDERSTOOD}; or map it (--map {example}=bona_fide or "
            f"--map {example}=attack:NAME)"
        )
    words.refuse_unused(sorted(kinds))
    ignored = rows["label"].map(lambda name: kinds[name] == IGNORE).to_numpy(dtype=bool)
    of_kind = {name: kind for name, kind in kinds.items() if isinstance(kind, Kind)}
    species = rows["label"].map({name: kind.species for name, kind in of_kind.items()}).fillna("")
    if "species" in rows:
        own = rows["species"].map(normal)
        generic = rows["label"].map({name: kind.generic for name, kind in of_kind.items()}).fillna(False).astype(bool)
        species = species.mask(generic & (own != ""), own)
    label = rows["label"].map({name: str(kind.label) for name, kind in of_kind.items()}).fillna("")
    return rows.assign(label=label, species=species), ignored


def _split_words(table: TextTable, split: pd.Series) -> pd.Series:
    known = {str(word): "" if word == "" else split_of_word(str(word)) for word in split.unique()}
    problems = RowProblems(table.places)
    problems.add("a split that is not recognised", split.map(lambda word: known[word] is None), values=split)
    if problems.found:
        raise ManifestError(f"{table.name}: {problems.found[0]}; expected train, val (dev, devel) or test")
    return split.map(known)


def _as_on_disk(path: str, root: Path) -> str:
    """Return a relative path in the Unicode form that the disk has, without a slash at its end."""
    path = path.rstrip("/") or path
    return path if path.isascii() or path.startswith("/") else on_disk(root, path).relative_to(root).as_posix()


def _present(table: TextTable, paths: pd.Series, request: Request) -> np.ndarray:
    """Return which of the files are there; each folder is listed once, no file is opened."""
    listed: dict[str, frozenset[str]] = {}
    there = np.zeros(len(paths), dtype=bool)
    for position, path in enumerate(paths):
        folder, _, name = path.rpartition("/")
        if folder not in listed:
            listed[folder] = _names_in(request.root / folder)
        there[position] = name in listed[folder]
    absent = np.flatnonzero(~there)
    if len(absent) == 0:
        return there
    what = f"{len(absent)} of its {len(paths)} files are not in {request.root}"
    if not request.allow_missing or len(absent) == len(paths):
        where = zip(table.places(absent[:5].tolist()), paths.iloc[absent[:5]], strict=True)
        shown: Sequence[str] = [f"{path} ({line})" for line, path in where]
        more = f" and {len(absent) - len(shown)} more" if len(absent) > len(shown) else ""
        raise ManifestError(
            f"{table.name}: {what}: {', '.join(shown)}{more}; name the folder of the footage and the table "
            "(bonaface data index FOLDER --table TABLE), or leave them out with --allow-missing"
        )
    request.notes.append(f"incomplete copy: {what}")
    request.left_out["named in the table, but absent"] += len(absent)
    return there


def _names_in(folder: Path) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries)
    except (OSError, ValueError):
        return frozenset()


TABLE = Layout(
    name="csv",
    title="Any table of files",
    expects="a .csv, .tsv or .parquet file with the columns path and label (or others, named by --column)",
    options=frozenset({"columns", "mapping", "table"}),
)
