"""The base of the dataset adapters: from file names to rows of a manifest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bonaface.errors import ManifestError, SettingsError, did_you_mean, format_list


@dataclass
class Request:
    """A request to index a dataset: options, files on disk, and what the layout found.

    The user gives the first block. `Layout.check` fills in the layout's defaults, so that an adapter finds `boxes`
    and `allow_missing` decided, and `protocol`, `fold` and `split` among those of the layout (or `""`, 0 and `""`).
    `files` are all names below `root`, lists among them. `hints` are printed for the user; `notes` go into the
    manifest and every report made from it.
    """

    root: Path
    protocol: str = ""
    fold: int = 0
    split: str = ""
    pattern: str = ""
    mapping: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    table: Path | None = None
    dataset: str = ""
    boxes: bool | None = None
    frames_as_video: bool = False
    allow_missing: bool | None = None
    allow_unmatched: bool = False
    progress: Callable[[int, int], None] | None = None

    files: Sequence[str] = ()
    frames: Mapping[str, str] = field(default_factory=dict)
    """The first picture of each folder that is indexed as a video."""
    notes: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    box_table: pd.DataFrame | None = None

    def find(self, ending: str) -> str | None:
        """Return the first file whose path ends so, in whole segments and any case; None if no path does."""
        wanted = ending.lower()
        for name in self.files:
            lower = name.lower()
            if lower == wanted or lower.endswith("/" + wanted):
                return name
        return None


Rows = Callable[[pd.DataFrame, Request], pd.DataFrame]

_OPTIONS = {
    "pattern": "--pattern",
    "mapping": "--map",
    "columns": "--column",
    "table": "--table",
    "frames_as_video": "--frames-as-video",
    "allow_unmatched": "--allow-unmatched",
}
"""The fields of a request that only some layouts have, and the option that sets each."""


@dataclass(frozen=True)
class Layout:
    """How one dataset lies on a disk, and how its file names become rows of a manifest.

    `names` are regular expressions for the end of a path, tried in order; their named groups become columns.
    `rows` turns the matched names (`path` and the groups, `""` where a name has none) into a manifest's rows.
    `folds` is the number of folds of a protocol. `aside` are names that belong to the dataset and are left out on
    purpose. `options` are the fields of a request that this layout has beyond the common ones.
    `licence` is the page that says on which terms a public dataset may be used.
    """

    name: str
    title: str
    expects: str
    names: tuple[str, ...] = ()
    rows: Rows | None = None
    protocols: tuple[str, ...] = ()
    folds: Mapping[str, int] = field(default_factory=dict)
    splits: tuple[str, ...] = ()
    aside: Mapping[str, str] = field(default_factory=dict)
    suffixes: frozenset[str] | None = None
    options: frozenset[str] = frozenset()
    has_boxes: bool = False
    reads_boxes: bool = False
    tolerates_missing: bool = False
    licence: str = ""

    def check(self, request: Request) -> None:
        """Fill in this layout's defaults. Raises SettingsError for a choice that it does not have."""
        for name, option in _OPTIONS.items():
            if getattr(request, name) and name not in self.options:
                raise SettingsError(f"layout {self.name} takes no {option}")
        self._check_choice("protocol", request.protocol, self.protocols)
        self._check_choice("split", request.split, self.splits)
        folds = self.folds.get(request.protocol, 0)
        if not folds and request.fold:
            of = f"protocol {request.protocol} of {self.name}" if request.protocol else f"layout {self.name}"
            raise SettingsError(f"--fold {request.fold}: {of} has no folds; leave it out")
        if folds and not 1 <= request.fold <= folds:
            given = f", not {request.fold}" if request.fold else ""
            raise SettingsError(
                f"protocol {request.protocol} of {self.name} has folds 1 to {folds}{given}: choose one with --fold"
            )
        if request.boxes and not self.has_boxes:
            raise SettingsError(f"layout {self.name} has no face boxes: leave out --boxes")
        request.boxes = self.reads_boxes if request.boxes is None else request.boxes
        request.allow_missing = self.tolerates_missing if request.allow_missing is None else request.allow_missing

    def _check_choice(self, what: str, given: str, known: Sequence[str]) -> None:
        if given and given not in known:
            has = f"known are {', '.join(known)}" if known else "it has none"
            raise SettingsError(f"layout {self.name} has no {what} {given!r}{did_you_mean(given, known)}; {has}")


def match_names(files: Iterable[str], names: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the files that fit one of the expressions, with its groups as columns, and the files that fit none."""
    patterns = [re.compile(rf"(?:.*?/)??(?:{name})", re.DOTALL) for name in names]
    fields = dict.fromkeys(name for pattern in patterns for name in pattern.groupindex)
    rows: list[dict[str, str]] = []
    paths: list[str] = []
    rest: list[str] = []
    for path in files:
        for pattern in patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                rows.append(match.groupdict(""))
                paths.append(path)
                break
        else:
            rest.append(path)
    columns = {name: [row.get(name, "") for row in rows] for name in fields}
    return pd.DataFrame({"path": paths, **columns}, dtype="str"), rest


def labelled(names: pd.DataFrame, code: pd.Series, kinds: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Return the names with `label`, `species` and `category` from a code; the kind `("", "")` is bona fide."""
    species = code.map({key: kind[0] for key, kind in kinds.items()})
    if species.isna().any():
        unknown = sorted(set(code[species.isna()]))
        raise ManifestError(f"unknown code {format_list(map(repr, unknown))}: expected {format_list(kinds, limit=20)}")
    category = code.map({key: kind[1] for key, kind in kinds.items()})
    label = pd.Series("attack", index=names.index, dtype="str").where(species != "", "bona_fide")
    return names.assign(label=label, species=species, category=category)


def person_ranges(text: str) -> frozenset[int]:
    """Return the numbers in a list such as `1-3, 7`.

    >>> sorted(person_ranges("1-3, 7"))
    [1, 2, 3, 7]
    """
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def split_by_person(persons: pd.Series, of_split: Mapping[str, str]) -> pd.Series:
    """Return the split of each subject's number, `""` for one that no split lists (as in `person_ranges`)."""
    split_of = {number: split for split, text in of_split.items() for number in person_ranges(text)}
    return persons.astype("int64").map(split_of).fillna("").astype("str")


def tail(paths: pd.Series, levels: int) -> pd.Series:
    """Return the last segments of each path, by which a list names a file wherever its copy lies."""
    # ten times as fast as by `.str` on half a million paths
    ends = ["/".join(path.rsplit("/", levels)[-levels:]) for path in paths]
    return pd.Series(ends, index=paths.index, dtype="str")


def take(names: pd.DataFrame, rows: pd.Series, request: Request, why: str = "not part of the protocol") -> pd.DataFrame:
    """Return the names where `rows` is True, and count the others as left out."""
    request.left_out[why] += int((~rows).sum())
    return names[rows].reset_index(drop=True)


def read_lines(request: Request, name: str) -> list[str]:
    """Return the lines of a list that comes with a dataset: stripped, without empty ones, with `/` for a backslash."""
    path = request.root / name
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as a list of names: {error}") from None
    return [line.strip().replace("\\", "/") for line in text.splitlines() if line.strip()]


def only_named(names: pd.DataFrame, key: pd.Series, split_of: Mapping[str, str], request: Request) -> pd.DataFrame:
    """Return the names whose key a list gives a split to, in that split.

    Keys of the list without a file are noted if the request allows missing files, else they raise ManifestError.
    """
    absent = sorted(set(split_of) - set(key))
    if absent:
        what = f"{len(absent)} of the {len(split_of)} names in its lists have no file"
        if not request.allow_missing or len(absent) == len(split_of):
            hint = "" if len(absent) == len(split_of) else "; complete the copy, or add --allow-missing"
            raise ManifestError(f"{request.root}: {what} ({format_list(absent)}){hint}")
        request.notes.append(f"incomplete copy: {what}")
        request.left_out["named in a list, but absent"] += len(absent)
    split = key.map(dict(split_of))
    return take(names.assign(split=split.fillna("")), split.notna(), request)
