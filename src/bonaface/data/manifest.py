"""The manifest, a row per presentation: the one way into training and scoring; validated at the door."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.errors import ManifestError, did_you_mean, few
from bonaface.io import read_table, relative_paths, remove_file, text_frame, write_json, write_table
from bonaface.types import CATEGORIES, Label

__all__ = [
    "BOX_COLUMNS",
    "COLUMNS",
    "SPLITS",
    "UNSPECIFIED",
    "Manifest",
    "category_of",
    "make_manifest",
    "read_manifest",
    "write_manifest",
]

COLUMNS = ("path", "label", "species", "category", "subject", "dataset", "split", "protocol", "fold")
BOX_COLUMNS = ("path", "frame", "x", "y", "w", "h")
SPLITS = ("train", "val", "test")
_READING = ("flip", "first_frames")
UNSPECIFIED = "unspecified"
"""The species of an attack whose source does not name one."""

Rows = NDArray[np.bool_]
Places = Callable[[Sequence[int]], list[str]]


@dataclass(frozen=True, eq=False)
class Manifest:
    """Presentations, in an order that is kept, with who stands in them and what they are for.

    `table` has a RangeIndex, all of `COLUMNS` and any further column as `str` (`""` = absent), and the bool
    `subject_known`: where it is False the presentation stands for its unknown person and `subject` is
    `dataset/path`. `root` is the absolute folder that the posix `path`s are relative to, `source` the file
    the manifest was read from. Two further columns say how a file is read: `flip` (`vertical`: it is stored
    upside down) and `first_frames` (a protocol uses no more of a video than these). `boxes` are face
    boxes that came with the data: `path`, `frame` (int), `x`, `y`, `w`, `h` in pixels, and `frame_size`: the
    side of the square frame they are measured in (`"224"`), `""` for the real frame. `notes` are what every
    report made from it must say. `about` is how it came to be (layout, files left out, seed).
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
        """Whether every presentation has a person, or a group of persons, that a split can keep together."""
        return bool(self.table["subject_known"].all())

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the table and the boxes, in row order; root, notes and file format do not enter.

        In row order, since the order is part of what a seeded training repeats.
        """
        sha = hashlib.sha256()
        for frame in (self.table, self.boxes):
            if frame is not None:
                _hash_frame(sha.update, frame)
        return sha.hexdigest()

    def files(self) -> list[Path]:
        """Where each presentation lies, in row order."""
        root = self.root
        return [root / path for path in self.table["path"].tolist()]

    def readings(self) -> list[tuple[str, int | None]]:
        """How each file is to be read, in row order: its `flip` (`""`: none) and `first_frames` (None: all)."""
        nothing = [""] * len(self)
        flips, first = (self.table[name].tolist() if name in self.table else nothing for name in _READING)
        return [(flip, int(number) if number else None) for flip, number in zip(flips, first, strict=True)]

    def select(self, rows: pd.Series | Rows) -> Manifest:
        """The presentations where `rows` (a mask in row order) is True, with their boxes."""
        table = self.table[np.asarray(rows, dtype=bool)].reset_index(drop=True)
        boxes = self.boxes
        if boxes is not None:
            boxes = boxes[boxes["path"].isin(table["path"])].reset_index(drop=True)
        return replace(self, table=table, boxes=boxes)

    def where(self, split: str) -> Manifest:
        """The presentations of one split: `train`, `val` or `test`; may be none."""
        if split not in SPLITS:
            raise ManifestError(f"no split {split!r}: expected {', '.join(SPLITS)}{did_you_mean(split, SPLITS)}")
        return self.select(self.table["split"] == split)


def read_manifest(path: str | Path, *, root: str | Path | None = None) -> Manifest:
    """A manifest from CSV or Parquet, with the sidecars that `write_manifest` leaves beside it.

    Only `path` and `label` are required. `root` says where the footage lies if it moved; by default it is
    what the sidecar says, else the manifest's folder. Raises ManifestError with every fault and its rows.
    """
    path = Path(path)
    table = read_table(path, error=ManifestError)
    about = _read_about(_beside(path, "meta.json"))
    folder = path.absolute().parent
    if root is None:
        relative = str(about.pop("root", "."))
        found = _folder(folder / relative)
    else:
        about.pop("root", None)
        found = _folder(root)
    if not found.is_dir():
        raise ManifestError(f"{path}: its footage should lie in {found}, which is not a folder: say where it is (root)")
    notes = about.pop("notes", [])
    manifest = _make(table.frame, found, table.places, f"{path}: ")
    return replace(
        manifest,
        source=path.absolute(),
        boxes=_read_boxes(_beside(path, "boxes.csv"), manifest.table["path"]),
        notes=tuple(str(note) for note in notes) if isinstance(notes, list) else (),
        about=about,
    )


def write_manifest(manifest: Manifest, path: str | Path) -> None:
    """Write the table (CSV or Parquet by suffix) with its sidecars.

    They are `<stem>.meta.json` and, with boxes, `<stem>.boxes.csv`. Each is whole or not there; the table is
    written last. Raises OutputError.
    """
    path = Path(path)
    about = {**manifest.about, "root": _relative_root(manifest.root, path), "notes": list(manifest.notes)}
    write_json(_beside(path, "meta.json"), about)
    if manifest.boxes is not None:
        write_table(manifest.boxes, _beside(path, "boxes.csv"))
    else:
        remove_file(_beside(path, "boxes.csv"))
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
    """A manifest from rows in memory, validated as `read_manifest` does.

    `row_names` are how errors name the rows, by default from 1. A `subject` without `/` gets its dataset
    before it. An attack's missing `category` is read from the words of its species (`category_of`).
    """
    places = _row_numbers if row_names is None else lambda rows: [row_names[row] for row in rows]
    manifest = _make(text_frame(table), _folder(root), places, "")
    if boxes is not None:
        boxes = _checked_boxes(boxes, "the boxes: ", _row_numbers, manifest.table["path"])
    return replace(manifest, boxes=boxes, notes=tuple(notes), about=dict(about or {}))


_WORDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("paper_mask", re.compile(r"paper_?mask|mask_?paper|(?=.*(?:paper|print|photo|cardboard))(?=.*mask)")),
    ("partial", re.compile(r"\bpartial|\bfunny_?eye|\bpaper_?glass")),
    ("mask_3d", re.compile(r"mask|silicone|latex|resin|mannequin")),
    ("print", re.compile(r"\bprint|\bpaper|\bposter|\ba4\b|hard_?copy")),
    (
        "replay",
        re.compile(r"replay|video|screen|display|monitor|laptop|phone|tablet|ipad|\b(?:mobile|pc|lcd|tv)\b"),
    ),
    ("print", re.compile(r"photo|picture|\bpic\b")),
)


def category_of(species: str) -> str:
    """The coarse kind that a species' name plainly says, else `other`; a bare `mask` counts as solid.

    >>> [category_of(name) for name in ("print_a4", "replay_ipad", "mobile_photo", "paper_mask", "makeup")]
    ['print', 'replay', 'replay', 'paper_mask', 'other']
    """
    words = re.sub(r"[^a-z0-9]+", " ", re.sub(r"(?<=[a-z]{2})(?=[A-Z])", "_", species).lower()).strip()
    glued = words.replace(" ", "_")
    # `\b` sees words in the first spelling, `_?` bridges them in the second
    for category, pattern in _WORDS:
        if pattern.search(words) or pattern.search(glued):
            return category
    return "other"


def _make(table: pd.DataFrame, root: Path, places: Places, prefix: str) -> Manifest:
    """Check and complete a table of strings; the one door."""
    found = [str(name) for name in table.columns]
    missing = [name for name in ("path", "label") if name not in found]
    if missing:
        lacking = " and ".join(
            f"no column {name!r}{_other_case(name, found) or did_you_mean(name, found)}" for name in missing
        )
        raise ManifestError(f"{prefix}{lacking}; found: {few(found, limit=20)}")
    if len(table) == 0:
        raise ManifestError(f"{prefix}the table has no rows: expected one a presentation")
    table = table.reset_index(drop=True).copy()
    for name in COLUMNS:
        if name not in found:
            table[name] = ""
    faults = _Faults(places)
    table["path"] = _normal_paths(pd.Series(relative_paths(table["path"], root), dtype="str"))
    _check_paths(table["path"], faults)
    _check_words(table, faults)
    known = _known_subjects(table, faults)
    if faults.found:
        raise ManifestError(prefix + "; ".join(faults.found))
    return Manifest(table=_completed(table, known), root=root)


class _Faults:
    """Collects what is wrong, each kind with the rows that have it."""

    def __init__(self, places: Places) -> None:
        self.found: list[str] = []
        self._places = places

    def add(self, what: str, rows: pd.Series | Rows, *, values: pd.Series | None = None) -> None:
        positions = np.flatnonzero(np.asarray(rows, dtype=bool))
        if len(positions) == 0:
            return
        named = self._places(positions.tolist())
        if values is not None:
            bad = values.iloc[positions].tolist()
            named = [f"{place} ({value!r})" for place, value in zip(named, bad, strict=True)]
        self.found.append(f"{what} in {few(named, limit=10)}")


def _check_paths(paths: pd.Series, faults: _Faults) -> None:
    def refuse(what: str, rows: pd.Series | Rows) -> None:
        faults.add(what, rows, values=paths)

    faults.add("no path", paths == "")
    refuse("an absolute path, not one relative to the root,", paths.str.match(r"/|[A-Za-z]:[\\/]|\\\\"))
    refuse("a path that goes through '..'", paths.str.contains(r"(?:^|[/\\])\.\.(?:[/\\]|$)"))
    refuse("a path with a backslash, where '/' is expected,", paths.str.contains("\\", regex=False))
    refuse("a path with a NUL or a character that UTF-8 has not", _unwritable(paths))
    refuse("a path that stands there more than once", paths.duplicated(keep=False) & (paths != ""))


def _check_words(table: pd.DataFrame, faults: _Faults) -> None:
    label, species, category, split = (table[name] for name in ("label", "species", "category", "split"))
    labels = [str(each) for each in Label]
    faults.add(f"a label other than {' or '.join(labels)}", ~label.isin(labels), values=label)
    kind = species.where(species != "", category)
    faults.add("a species or category on bona fide", (label == Label.BONA_FIDE) & (kind != ""), values=kind)
    unknown = ~category.isin([*CATEGORIES, ""])
    faults.add(f"a category other than {', '.join(CATEGORIES)}", unknown, values=category)
    faults.add(f"a split other than {', '.join(SPLITS)} (or none)", ~split.isin([*SPLITS, ""]), values=split)
    for name, rule in zip(_READING, (r"vertical|", r"[1-9]\d{0,8}|"), strict=True):
        if name in table:
            expected = "vertical" if name == "flip" else "a number of frames"
            faults.add(
                f"a {name} other than {expected} (or none)", ~table[name].str.fullmatch(rule), values=table[name]
            )


def _known_subjects(table: pd.DataFrame, faults: _Faults) -> pd.Series:
    """Which persons are known; from `subject_known` where the table has it, else from the subject itself."""
    own = table["path"].where(table["dataset"] == "", table["dataset"] + "/" + table["path"])
    known = (table["subject"] != "") & (table["subject"] != own)
    if "subject_known" in table.columns:
        said = table["subject_known"].str.lower()
        bad = ~said.isin(["true", "false", "1", "0", ""])
        faults.add("a subject_known other than true or false", bad, values=said)
        faults.add("a subject_known without a subject", said.isin(["true", "1"]) & (table["subject"] == ""))
        known &= ~said.isin(["false", "0"])
    return known


def _completed(table: pd.DataFrame, known: pd.Series) -> pd.DataFrame:
    attack = table["label"] == Label.ATTACK
    table["species"] = table["species"].mask(attack & (table["species"] == ""), UNSPECIFIED)
    nameless = attack & (table["category"] == "")
    kinds = {name: category_of(name) for name in table["species"][nameless].unique()}
    table["category"] = table["category"].mask(nameless, table["species"].map(kinds))
    in_dataset = table["dataset"] != ""
    bare = known & in_dataset & ~table["subject"].str.contains("/", regex=False)
    table["subject"] = table["subject"].where(~bare, table["dataset"] + "/" + table["subject"])
    own = table["path"].where(~in_dataset, table["dataset"] + "/" + table["path"])
    table["subject"] = table["subject"].where(known, own)
    further = [name for name in table.columns if name not in {*COLUMNS, "subject_known"}]
    completed = table[[*COLUMNS, *further]].astype("str")
    completed.insert(len(COLUMNS), "subject_known", known.to_numpy(dtype=bool))
    return completed


def _normal_paths(paths: pd.Series) -> pd.Series:
    odd = paths.str.contains(r"(?:^|/)\.(?:/|$)|//|/$") & ~paths.str.startswith("/")
    return paths.mask(odd, paths[odd].map(posixpath.normpath)) if odd.any() else paths


def _unwritable(paths: pd.Series) -> Rows:
    text = "\n".join(paths)
    try:
        clean = "\0" not in text and bool(text.encode())
    except UnicodeEncodeError:
        clean = False
    if clean or not text:
        return np.zeros(len(paths), dtype=bool)
    bad = ("\0" in path or path != path.encode(errors="ignore").decode() for path in paths)
    return np.fromiter(bad, dtype=bool, count=len(paths))


def _checked_boxes(boxes: pd.DataFrame, prefix: str, places: Places, paths: pd.Series) -> pd.DataFrame:
    """The boxes of the manifest's presentations, as numbers."""
    missing = [name for name in BOX_COLUMNS if name not in boxes.columns]
    if missing:
        raise ManifestError(f"{prefix}no column {', '.join(missing)}; expected {', '.join(BOX_COLUMNS)}")
    boxes = boxes.reset_index(drop=True)
    checked = text_frame(boxes[["path"]])
    faults = _Faults(places)
    for name in BOX_COLUMNS[1:]:
        numbers = pd.to_numeric(boxes[name], errors="coerce").astype("float64")
        faults.add(f"no number as {name}", ~np.isfinite(numbers), values=boxes[name])
        checked[name] = numbers
    faults.add("a frame that is no whole number", checked["frame"] % 1 != 0, values=boxes["frame"])
    faults.add("a box without width or height", (checked["w"] <= 0) | (checked["h"] <= 0))
    faults.add("a second box for one frame", checked.duplicated(["path", "frame"]), values=checked["path"])
    size = pd.Series("", index=boxes.index, dtype="str")
    if "frame_size" in boxes.columns:
        size = text_frame(boxes[["frame_size"]])["frame_size"]
    faults.add("a frame_size that is no whole number", ~size.str.fullmatch(r"[1-9]\d*|"), values=size)
    if faults.found:
        raise ManifestError(prefix + "; ".join(faults.found))
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
        raise ManifestError(f"{path} cannot be read as JSON: {' '.join(str(error).split())}") from None
    if not isinstance(about, dict):
        raise ManifestError(
            f"{path} holds a {type(about).__name__}: expected what `write_manifest` writes beside a manifest"
        )
    return about


def _relative_root(root: Path, path: Path) -> str:
    try:
        return Path(os.path.relpath(root, path.absolute().parent)).as_posix()
    except ValueError:  # another drive
        return root.as_posix()


def _folder(path: str | Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (`resolve` would follow links, `absolute` keeps `..`)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.stem}.{ending}")


def _row_numbers(rows: Sequence[int]) -> list[str]:
    return [f"row {row + 1}" for row in rows]


def _other_case(name: str, found: Sequence[str]) -> str:
    return next((f" (did you mean {other!r}?)" for other in found if other.lower() == name), "")


def _hash_frame(update: Callable[[bytes], None], frame: pd.DataFrame) -> None:
    for name in sorted(frame.columns):
        # repr of a float is exact, so the digest is the same after a round trip through CSV
        values = [str(value) for value in frame[name].tolist()]
        update(f"{name}:{len(values)};".encode())
        update(np.fromiter(map(len, values), dtype="<i8", count=len(values)).tobytes())
        update("".join(values).encode())
