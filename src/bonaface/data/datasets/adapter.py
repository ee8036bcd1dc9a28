"""What an adapter is made of: the names it reads, and what it makes of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bonaface.errors import ManifestError, few

__all__ = [
    "Layout",
    "Request",
    "labelled",
    "match_names",
    "only_named",
    "person_ranges",
    "read_lines",
    "split_by_person",
    "tail",
    "take",
]


@dataclass
class Request:
    """What was asked of an adapter, what lies on the disk, and what the adapter has to say about it.

    `files` are all names below `root`, lists among them. `split` and `protocol` are among those of the
    layout, or `""`.
    """

    root: Path
    files: Sequence[str]
    protocol: str = ""
    fold: int = 0
    split: str = ""
    allow_missing: bool = False
    want_boxes: bool = False
    options: Mapping[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    boxes: pd.DataFrame | None = None
    progress: Callable[[int, int], None] | None = None

    def find(self, ending: str) -> str | None:
        """The first file below the root whose path ends so, in whole segments and any case; else None."""
        wanted = ending.lower()
        for name in self.files:
            lower = name.lower()
            if lower == wanted or lower.endswith("/" + wanted):
                return name
        return None


Rows = Callable[[pd.DataFrame, Request], pd.DataFrame]


@dataclass(frozen=True)
class Layout:
    """One way in which a dataset lies on a disk.

    `names` are regular expressions for a path's end, tried in order; their named groups become columns.
    `rows` turns the matched names (`path` and the groups, `""` where a name has none) into a manifest's rows.
    `folds` says how many a protocol has. `aside` are names that belong to the dataset and are left out on
    purpose.
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


def match_names(files: Iterable[str], names: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The files that fit one of the expressions, as columns, and those that fit none."""
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
    """The names with `label`, `species` and `category` from a code; the kind `("", "")` is bona fide."""
    species = code.map({key: kind[0] for key, kind in kinds.items()})
    if species.isna().any():
        unknown = sorted(set(code[species.isna()]))
        raise ManifestError(f"unknown code {few(map(repr, unknown))}: expected {few(kinds, limit=20)}")
    category = code.map({key: kind[1] for key, kind in kinds.items()})
    label = pd.Series("attack", index=names.index, dtype="str").where(species != "", "bona_fide")
    return names.assign(label=label, species=species, category=category)


def person_ranges(text: str) -> frozenset[int]:
    """The numbers that a list such as `1-3, 7` names.

    >>> sorted(person_ranges("1-3, 7"))
    [1, 2, 3, 7]
    """
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def split_by_person(persons: pd.Series, of_split: Mapping[str, str]) -> pd.Series:
    """The split of each person's number, `""` for one that no split lists (as in `person_ranges`)."""
    split_of = {number: split for split, text in of_split.items() for number in person_ranges(text)}
    return persons.astype("int64").map(split_of).fillna("").astype("str")


def tail(paths: pd.Series, levels: int) -> pd.Series:
    """The last segments of each path, by which a list names a file wherever its copy lies."""
    # ten times as fast as by `.str` on half a million paths
    ends = ["/".join(path.rsplit("/", levels)[-levels:]) for path in paths]
    return pd.Series(ends, index=paths.index, dtype="str")


def take(names: pd.DataFrame, rows: pd.Series, request: Request, why: str = "not part of the protocol") -> pd.DataFrame:
    """The names where `rows` is True; the others are counted as left out."""
    request.left_out[why] += int((~rows).sum())
    return names[rows].reset_index(drop=True)


def read_lines(request: Request, name: str) -> list[str]:
    """The lines of a list that comes with a dataset, stripped, without empty ones, with `/` for a backslash."""
    path = request.root / name
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as a list of names: {error}") from None
    return [line.strip().replace("\\", "/") for line in text.splitlines() if line.strip()]


def only_named(names: pd.DataFrame, key: pd.Series, split_of: Mapping[str, str], request: Request) -> pd.DataFrame:
    """The names whose key a list gives a split to, in that split.

    Raises ManifestError for keys of the list that no file has, unless the request goes on without them: then
    a note says how many there were.
    """
    absent = sorted(set(split_of) - set(key))
    if absent:
        what = f"{len(absent)} of the {len(split_of)} names in its lists have no file"
        if not request.allow_missing or len(absent) == len(split_of):
            hint = "" if len(absent) == len(split_of) else "; complete the copy, or go on without them (allow_missing)"
            raise ManifestError(f"{request.root}: {what} ({few(absent)}){hint}")
        request.notes.append(f"incomplete copy: {what}")
        request.left_out["named in a list, but absent"] += len(absent)
    split = key.map(dict(split_of))
    return take(names.assign(split=split.fillna("")), split.notna(), request)
