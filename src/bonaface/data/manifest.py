"""The manifest: a table with one row per presentation, validated when it is read or made."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.categories import category_of
from bonaface.data.identity import composed, names_nobody, on_disk
from bonaface.errors import ManifestError, did_you_mean, format_list, one_line
from bonaface.io import is_utf8, read_table, relative_paths, text_frame, write_json, write_table
from bonaface.io.storage import is_remote, local_copy, named_as, remove, shown
from bonaface.types import CATEGORIES, UNSPECIFIED, Label

COLUMNS = ("path", "label", "species", "category", "subject", "dataset", "split", "protocol", "fold")
BOX_COLUMNS = ("path", "frame", "x", "y", "w", "h")
SPLITS = ("train", "val", "test")
_READING = ("flip", "first_frames")

_Rows = NDArray[np.bool_]
_RowNamer = Callable[[Sequence[int]], list[str]]


@dataclass(frozen=True, eq=False)
class Manifest:
    """Presentations in a fixed order, with their label, subject and split.

    `table` has a RangeIndex, all of `COLUMNS` and any further column as `str` (`""` = absent), and the bool
    `subject_known`: where it is False the subject is unknown and `subject` is `dataset/path`. All text but the
    paths is in Unicode NFC. `root` is the absolute folder that the posix `path`s are relative to; a path is an
    image, a video, or a folder of numbered pictures that are the frames of one video. `source` is the file the
    manifest was read from. Two further columns say how a file is read: `flip` (`vertical`: it is stored upside
    down) and `first_frames` (a protocol uses no more of a video than these). `boxes` are face boxes that came
    with the data: `path`, `frame` (int), `x`, `y`, `w`, `h` in pixels, and `frame_size`: the side of the square
    frame they are measured in (`"224"`), `""` for the real frame. `notes` are printed in every report made from
    it. `about` is how it was made (layout, files left out, seed).
    """

    table: pd.DataFrame
    root: Path
    source: Path | None = None
    boxes: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()
    about: Mapping[str, object] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def persons_known(self) -> bool:
        """Whether every presentation has a known subject."""
        return bool(self.table["subject_known"].all())

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the table and the boxes, in row order; root, notes and file format do not enter.

        The order counts because a seeded training depends on it.
        """
        sha = hashlib.sha256()
        for frame in [self.table] if self.boxes is None else [self.table, self.boxes]:
            for name in sorted(frame.columns):
                # repr of a float is exact, so the digest is the same after a round trip through CSV
                values = [str(value) for value in frame[name].tolist()]
                sha.update(f"{name}:{len(values)};".encode())
                sha.update(np.fromiter(map(len, values), dtype="<i8", count=len(values)).tobytes())
                sha.update("".join(values).encode())
        return sha.hexdigest()

    def files(self) -> list[Path]:
        """Return where each presentation lies, in row order."""
        return [on_disk(self.root, path) for path in self.table["path"].tolist()]

    def readings(self) -> list[tuple[str, int | None]]:
        """Return how each file is read, in row order: its `flip` (`""`: none) and `first_frames` (None: all)."""
        nothing = [""] * len(self)
        flips, first = (self.table[name].tolist() if name in self.table else nothing for name in _READING)
        return [(flip, int(number) if number else None) for flip, number in zip(flips, first, strict=True)]

    def select(self, rows: pd.Series | _Rows) -> Manifest:
        """Return the presentations where `rows` (a mask in row order) is True, with their boxes."""
        table = self.table[np.asarray(rows, dtype=bool)].reset_index(drop=True)
        boxes = self.boxes
        if boxes is not None:
            boxes = boxes[boxes["path"].isin(table["path"])].reset_index(drop=True)
        return replace(self, table=table, boxes=boxes)

    def where(self, split: str) -> Manifest:
        """Return the presentations of one split, `train`, `val` or `test`; possibly none."""
        if split not in SPLITS:
            raise ManifestError(f"no split {split!r}: expected {', '.join(SPLITS)}{did_you_mean(split, SPLITS)}")
        return self.select(self.table["split"] == split)


def read_manifest(path: str | Path, *, root: str | Path | None = None) -> Manifest:
    """Read a manifest from CSV or Parquet, with the files that `write_manifest` writes next to it.

    Only `path` and `label` are required.

    Args:
        path: the manifest.
        root: the folder of the footage, if it moved; by default the one that the meta file names, else the manifest's.

    Returns:
        The manifest.

    Raises:
        ManifestError: rows break a rule, each named; or the meta file was written for other files or labels, so that its
            root may be wrong.

    Examples:
        ```python
        manifest = bonaface.read_manifest("manifest.csv")
        print(len(manifest), "presentations below", manifest.root)
        ```
    """
    given = Path(path)
    path = local_copy(
        given, *(_beside(given, ending).name for ending in ("meta.json", "boxes.csv")), error=ManifestError
    )
    with named_as(given, path):
        return _read(given, path, root)


def _read(given: Path, path: Path, root: str | Path | None) -> Manifest:
    """Read the manifest `given` from `path`, which is its copy where it is in storage."""
    table = read_table(path, error=ManifestError)
    meta = _beside(path, "meta.json")
    about = _read_about(meta)
    root_text, written_for = str(about.pop("root", ".")), about.pop("files_sha256", None)
    found = _folder(root or (root_text if is_remote(root_text) else given.parent / root_text))
    if not is_remote(found) and not found.is_dir():
        raise ManifestError(f"{path}: its footage should lie in {found}, which is not a folder: name it with --root")
    notes = about.pop("notes", [])
    manifest = _make(table.frame, found, table.places, f"{path}: ")
    if root is None and written_for not in (None, _files_digest(manifest)):
        raise ManifestError(
            f"{meta} was written for other files or labels than {path} lists: a write was interrupted, or the table "
            f"was edited; index again, or, if the table is right, name its footage (--root {found})"
        )
    return replace(
        manifest,
        source=_folder(given),
        boxes=_read_boxes(_beside(path, "boxes.csv"), manifest.table["path"]),
        notes=(*map(str, notes if isinstance(notes, list) else ()), *manifest.notes),
        about=about,
    )


def write_manifest(manifest: Manifest, path: str | Path) -> None:
    """Write a manifest's table, `<stem>.meta.json` and, with boxes, `<stem>.boxes.csv`.

    Each file is replaced as a whole, the table last. The meta file names the files and labels it was written for by their
    SHA-256, so that it cannot be read with an older table.

    Args:
        manifest: the manifest.
        path: the table to write, `.csv` or `.parquet`.

    Raises:
        OutputError: a file cannot be written.

    Examples:
        ```python
        manifest = bonaface.read_manifest("manifest.csv")
        bonaface.write_manifest(manifest.where("test"), "test.parquet")
        ```
    """
    path = Path(path)
    about = {
        **manifest.about,
        "root": _relative_root(manifest.root, path),
        "files_sha256": _files_digest(manifest),
        "notes": list(manifest.notes),
    }
    write_json(_beside(path, "meta.json"), about)
    if manifest.boxes is not None:
        write_table(manifest.boxes, _beside(path, "boxes.csv"))
    else:
        remove(_beside(path, "boxes.csv"))
    known = np.where(manifest.table["subject_known"].to_numpy(dtype=bool), "true", "false")
    write_table(manifest.table.assign(subject_known=known), path)


def make_manifest(
    table: pd.DataFrame,
    root: str | Path,
    *,
    boxes: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
    about: Mapping[str, object] | None = None,
    row_names: Sequence[str] | None = None,
) -> Manifest:
    """Make a manifest from rows in memory, validated as `read_manifest` does.

    `row_names` are how errors name the rows, by default from 1. A `subject` without `/` gets its dataset
    before it. An attack's missing `category` is read from the words of its species (`category_of`).
    """
    name_rows = _row_numbers if row_names is None else lambda rows: [row_names[row] for row in rows]
    manifest = _make(text_frame(table), _folder(root), name_rows, "")
    if boxes is not None:
        boxes = _checked_boxes(boxes, "the boxes: ", _row_numbers, manifest.table["path"])
    return replace(manifest, boxes=boxes, notes=(*notes, *manifest.notes), about=dict(about or {}))


class RowProblems:
    """Collect what is wrong with the rows of a table, each kind of fault once, with the rows that have it."""

    def __init__(self, name_rows: _RowNamer) -> None:
        self.found: list[str] = []
        self._name_rows = name_rows

    def add(self, what: str, rows: pd.Series | _Rows, *, values: pd.Series | None = None) -> None:
        positions = np.flatnonzero(np.asarray(rows, dtype=bool))
        if len(positions) == 0:
            return
        named = self._name_rows(positions.tolist())
        if values is not None:
            bad = values.iloc[positions].tolist()
            named = [f"{name} ({value!r})" for name, value in zip(named, bad, strict=True)]
        self.found.append(f"{what} in {format_list(named, limit=10)}")


def _row_numbers(rows: Sequence[int]) -> list[str]:
    """Return how rows of a table in memory are named, from 1."""
    return [f"row {row + 1}" for row in rows]


def _make(table: pd.DataFrame, root: Path, name_rows: _RowNamer, prefix: str) -> Manifest:
    """Return a manifest from a table of strings, checked and completed."""
    found = [str(name) for name in table.columns]
    missing = [name for name in ("path", "label") if name not in found]
    if missing:
        lacking = " and ".join(
            f"no column {name!r}{_other_case(name, found) or did_you_mean(name, found)}" for name in missing
        )
        raise ManifestError(f"{prefix}{lacking}; found: {format_list(found, limit=20)}")
    if len(table) == 0:
        raise ManifestError(f"{prefix}the table has no rows: expected one a presentation")
    path = _normal_paths(pd.Series(relative_paths(table["path"], root), dtype="str"))
    table = table.reset_index(drop=True).apply(composed).assign(path=path)
    for name in COLUMNS:
        if name not in found:
            table[name] = ""
    problems = RowProblems(name_rows)
    _check_paths(table["path"], problems)
    _check_words(table, problems)
    own = table["path"].where(table["dataset"] == "", table["dataset"] + "/" + table["path"])
    known = _known_subjects(table, own, problems)
    if problems.found:
        raise ManifestError(prefix + "; ".join(problems.found))
    nobody = names_nobody(table["subject"], table["dataset"]) & (table["subject"] != "")
    notes = RowProblems(name_rows)
    notes.add("a word for an absent value as the subject, so the person is unknown,", nobody, values=table["subject"])
    return Manifest(table=_completed(table, known & ~nobody, own), root=root, notes=tuple(notes.found))


def _check_paths(paths: pd.Series, problems: RowProblems) -> None:
    def refuse(what: str, rows: pd.Series | _Rows) -> None:
        problems.add(what, rows, values=paths)

    problems.add("no path", paths == "")
    refuse("an absolute path, not one relative to the root,", paths.str.match(r"/|[A-Za-z][A-Za-z0-9+.-]*:[\\/]|\\\\"))
    refuse("a path that goes through '..'", paths.str.contains(r"(?:^|[/\\])\.\.(?:[/\\]|$)"))
    refuse("a path with a backslash, where '/' is expected,", paths.str.contains("\\", regex=False))
    refuse("a path with a NUL byte or invalid UTF-8", paths.map(lambda path: "\0" in path or not is_utf8(path)))
    refuse("a path that is listed more than once", paths.duplicated(keep=False) & (paths != ""))


def _check_words(table: pd.DataFrame, problems: RowProblems) -> None:
    label, species, category, split = (table[name] for name in ("label", "species", "category", "split"))
    labels = [str(each) for each in Label]
    problems.add(f"a label other than {' or '.join(labels)}", ~label.isin(labels), values=label)
    kind = species.where(species != "", category)
    problems.add("a species or category on bona fide", (label == Label.BONA_FIDE) & (kind != ""), values=kind)
    unknown = ~category.isin([*CATEGORIES, ""])
    problems.add(f"a category other than {', '.join(CATEGORIES)}", unknown, values=category)
    problems.add(f"a split other than {', '.join(SPLITS)} (or none)", ~split.isin([*SPLITS, ""]), values=split)
    for name, rule in zip(_READING, (r"vertical|", r"[1-9]\d{0,8}|"), strict=True):
        if name in table:
            expected = "vertical" if name == "flip" else "a number of frames"
            odd = ~table[name].str.fullmatch(rule)
            problems.add(f"a {name} other than {expected} (or none)", odd, values=table[name])


def _known_subjects(table: pd.DataFrame, own: pd.Series, problems: RowProblems) -> pd.Series:
    """Return which subjects are known: by `subject_known` where the table has it, else by the subject itself."""
    known = (table["subject"] != "") & (table["subject"] != composed(own))
    if "subject_known" in table.columns:
        said = table["subject_known"].str.lower()
        bad = ~said.isin(["true", "false", "1", "0", ""])
        problems.add("a subject_known other than true or false", bad, values=said)
        problems.add("a subject_known without a subject", said.isin(["true", "1"]) & (table["subject"] == ""))
        known &= ~said.isin(["false", "0"])
    return known


def _completed(table: pd.DataFrame, known: pd.Series, own: pd.Series) -> pd.DataFrame:
    """Return the table with species, category and subject filled in; an unknown subject is `own`."""
    attack = table["label"] == Label.ATTACK
    table["species"] = table["species"].mask(attack & (table["species"] == ""), UNSPECIFIED)
    nameless = attack & (table["category"] == "")
    kinds = {name: category_of(name) for name in table["species"][nameless].unique()}
    table["category"] = table["category"].mask(nameless, table["species"].map(kinds))
    bare = known & (table["dataset"] != "") & ~table["subject"].str.contains("/", regex=False)
    table["subject"] = table["subject"].where(~bare, table["dataset"] + "/" + table["subject"])
    table["subject"] = table["subject"].where(known, own)
    further = [name for name in table.columns if name not in {*COLUMNS, "subject_known"}]
    completed = table[[*COLUMNS, *further]].astype("str")
    completed.insert(len(COLUMNS), "subject_known", known.to_numpy(dtype=bool))
    return completed


def _normal_paths(paths: pd.Series) -> pd.Series:
    odd = paths.str.contains(r"(?:^|/)\.(?:/|$)|//|/$") & ~paths.str.startswith("/")
    return paths.mask(odd, paths[odd].map(posixpath.normpath)) if odd.any() else paths


def _checked_boxes(boxes: pd.DataFrame, prefix: str, name_rows: _RowNamer, paths: pd.Series) -> pd.DataFrame:
    """Return the boxes of the manifest's presentations, as numbers."""
    missing = [name for name in BOX_COLUMNS if name not in boxes.columns]
    if missing:
        raise ManifestError(f"{prefix}no column {', '.join(missing)}; expected {', '.join(BOX_COLUMNS)}")
    boxes = boxes.reset_index(drop=True)
    checked = text_frame(boxes[["path"]])
    problems = RowProblems(name_rows)
    for name in BOX_COLUMNS[1:]:
        numbers = pd.to_numeric(boxes[name], errors="coerce").astype("float64")
        problems.add(f"no number as {name}", ~np.isfinite(numbers), values=boxes[name])
        checked[name] = numbers
    problems.add("a frame that is not a whole number", checked["frame"] % 1 != 0, values=boxes["frame"])
    problems.add("a box without width or height", (checked["w"] <= 0) | (checked["h"] <= 0))
    problems.add("a second box for one frame", checked.duplicated(["path", "frame"]), values=checked["path"])
    size = pd.Series("", index=boxes.index, dtype="str")
    if "frame_size" in boxes.columns:
        size = text_frame(boxes[["frame_size"]])["frame_size"]
    problems.add("a frame_size that is not a whole number", ~size.str.fullmatch(r"[1-9]\d*|"), values=size)
    if problems.found:
        raise ManifestError(prefix + "; ".join(problems.found))
    checked["frame"] = checked["frame"].astype("int64")
    checked["frame_size"] = size
    return checked[checked["path"].isin(paths)].reset_index(drop=True)


def _read_boxes(path: Path, paths: pd.Series) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    table = read_table(path, error=ManifestError)
    return _checked_boxes(table.frame, f"{path}: ", table.places, paths)


def _read_about(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read as JSON: {one_line(error)}") from None
    if not isinstance(about, dict):
        raise ManifestError(f"{path} holds a {type(about).__name__}: expected the JSON object that `data index` writes")
    return about


def _files_digest(manifest: Manifest) -> str:
    """Return the SHA-256 over the pairs of path and label, in any order; other columns may be edited by hand."""
    pairs = sorted(zip(manifest.table["path"].tolist(), manifest.table["label"].tolist(), strict=True))
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def _relative_root(root: Path, path: Path) -> str:
    if is_remote(root) or is_remote(path):
        return shown(root)
    try:
        return Path(os.path.relpath(root, path.absolute().parent)).as_posix()
    except ValueError:  # another drive
        return root.as_posix()


def _folder(path: str | Path) -> Path:
    if is_remote(path):
        return Path(posixpath.normpath(Path(path).as_posix()))
    return Path(os.path.abspath(path))  # noqa: PTH100 (`resolve` would follow links, `absolute` keeps `..`)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.stem}.{ending}")


def _other_case(name: str, found: Sequence[str]) -> str:
    return next((f" (did you mean {other!r}?)" for other in found if other.lower() == name), "")
