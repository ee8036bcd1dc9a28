"""Subjects: words for an unknown one, and spellings that may name the same one."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bonaface.errors import ManifestError, SettingsError, format_list
from bonaface.io.storage import is_remote

if TYPE_CHECKING:
    from bonaface.data.manifest import Manifest

NOBODY = frozenset(
    {"nan", "NaN", "NAN", "-nan", "-NaN", "NaT", "NA", "N/A", "n/a", "n.a.", "<NA>", "#N/A", "#NA"}
    | {"None", "none", "NONE", "null", "Null", "NULL", "nil", "-", "--", "\N{EN DASH}", "\N{EM DASH}", "?"}
    | {"unknown", "Unknown", "UNKNOWN", "undefined"}
)
"""Words that programs write for an absent value: pandas' own list, and those of other languages.

`Nan` and `Na` are given names and stay persons.
"""

DISTINCT = "distinct_persons"
"""Key of a manifest's `about`: groups of subjects that are different persons although their names are alike."""

_NUMBER = re.compile(r"(?<!\d)(?<!\d[.,])0*(\d+)(?:[.,]0+)?(?![.,]?\d)")


def composed(text: pd.Series) -> pd.Series:
    """Return a column of strings in Unicode NFC, so that é is always one character."""
    values = text.tolist()
    if all(map(str.isascii, values)):
        return text
    return pd.Series([unicodedata.normalize("NFC", value) for value in values], index=text.index, dtype="str")


def on_disk(root: Path, path: str) -> Path:
    """Return `root/path`, in the other Unicode form of its name where the disk has only that one."""
    file = root / path
    if path.isascii() or is_remote(root) or file.exists():
        return file
    forms = (root / unicodedata.normalize(form, path) for form in ("NFC", "NFD"))
    return next((other for other in forms if other.exists()), file)


def names_nobody(subjects: pd.Series, datasets: pd.Series) -> pd.Series:
    """Return which subjects are a word for an absent value, with or without their dataset before it."""
    pairs = zip(subjects.tolist(), datasets.tolist(), strict=True)
    return pd.Series(
        [subject.removeprefix(f"{dataset}/").strip() in NOBODY for subject, dataset in pairs],
        subjects.index,
        dtype=bool,
    )


def name_key(name: str) -> str:
    """Return a name without what may differ between two spellings: case, blanks, number format.

    >>> name_key("Zoë  Ek") == name_key("zoe\u0308 ek"), name_key("P 007") == name_key("p7.0")
    (True, True)
    >>> name_key("v1.05") == name_key("v1.5")
    False
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    visible = "".join(char for char in folded if not char.isspace() and unicodedata.category(char) != "Cf")
    return _NUMBER.sub(lambda found: found[1], visible)


def declared_distinct(about: Mapping[str, object]) -> list[list[str]]:
    """Return the groups of subjects that a manifest's `about` declares different persons."""
    declared = about.get(DISTINCT)
    return [group for group in declared if isinstance(group, list)] if isinstance(declared, list) else []


def alike(subjects: Iterable[str], about: Mapping[str, object]) -> list[tuple[str, ...]]:
    """Return the groups of subjects whose names are alike, except those that `about` declares distinct; sorted."""
    groups: dict[str, set[str]] = {}
    for subject in subjects:
        groups.setdefault(name_key(subject), set()).add(subject)
    distinct = [set(group) for group in declared_distinct(about)]
    return sorted(
        tuple(sorted(group))
        for group in groups.values()
        if len(group) > 1 and not any(group <= known for known in distinct)
    )


def settle_names(manifest: Manifest, *, same_person: bool = False, distinct: bool = False) -> Manifest:
    """Return the manifest with every group of alike names decided.

    `same_person` gives each group the spelling that most of its presentations have; `distinct` records in
    `about` that they are different persons. Raises ManifestError naming the groups where neither is given.
    """
    if same_person and distinct:
        raise SettingsError("--same-person and --distinct exclude each other: give one of them")
    table = manifest.table
    known = table["subject_known"]
    count = Counter(table.loc[known, "subject"].tolist())
    groups = alike(count, manifest.about)
    if not groups:
        return manifest
    if distinct:
        declared = [*declared_distinct(manifest.about), *map(list, groups)]
        return replace(manifest, about={**manifest.about, DISTINCT: declared})
    if not same_person:
        raise ManifestError(
            f"names that differ only in case, blanks or number format: {format_list(_shown(groups, count))}; "
            "add --same-person if each of these is one person, or --distinct if they are different persons"
        )
    chosen = {name: max(group, key=lambda each: (count[each], each)) for group in groups for name in group}
    subject = table["subject"].where(~known, table["subject"].map(lambda name: chosen.get(name, name)))
    notes = (*manifest.notes, f"counted as one person each: {format_list(_shown(groups, count))}")
    return replace(manifest, table=table.assign(subject=subject.astype("str")), notes=notes)


def _shown(groups: Sequence[tuple[str, ...]], count: Mapping[str, int]) -> list[str]:
    def quoted(name: str) -> str:  # every second blank in a row is escaped: a terminal line shows them as one
        return re.sub(r"(?<= ) ", r"\\x20", repr(name))

    return [" = ".join(f"{quoted(name)} ({count[name]} presentations)" for name in group) for group in groups]
