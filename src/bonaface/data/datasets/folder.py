"""Footage arranged in class folders, or in any way that a pattern describes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import cast

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request
from bonaface.data.datasets.label_names import IGNORE, NOTHING, UNDERSTOOD, Kind, Words, normal, split_of_word
from bonaface.errors import ManifestError, SettingsError, did_you_mean, few

__all__ = ["FOLDER", "compile_pattern", "folder_rows"]

FOLDER = Layout(
    name="folder",
    title="Class folders, with person folders below",
    expects="[train|val|test/]live/PERSON/…, print/PERSON/…, replay/PERSON/…; or what a pattern says",
    options=frozenset({"pattern", "mapping"}),
)

_CONTAINERS = frozenset({"videos", "photos", "images", "pictures", "screens"})
_OWN = ("path", "dataset", "subject_known", "protocol", "fold")


def folder_rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    """Rows from class folders, or from `pattern`.

    A class folder may stand at any level. A folder of a split's name above it, or right below it, gives
    `split`; the first folder below it is the person (what lies deeper goes into the column `folder`), and a
    file directly in it has no known person. Another folder above it is a collection: where no person folder
    is below, it stands for the person, since people of one collection must not be on two sides. The same
    person's name in two collections or splits is one person (`numbered_within` says otherwise).
    """
    words = Words(cast("Mapping[str, str]", request.options.get("mapping") or {}))
    pattern = str(request.options.get("pattern") or "")
    return _by_pattern(names, pattern, words, request) if pattern else _by_class_folder(names, words, request)


def _by_class_folder(names: pd.DataFrame, words: Words, request: Request) -> pd.DataFrame:
    folders = names["path"].str.rpartition("/")[0]
    distinct = folders.unique().tolist()
    above = _folders_above(distinct, words)
    places = pd.DataFrame([_place(folder, words, above) for folder in distinct], index=distinct, dtype="str")
    _refuse_strange(places, folders, words, request)
    words.refuse_unused(sorted({part for folder in distinct for part in folder.split("/")}))
    rows = pd.concat([names, places.loc[folders].set_index(names.index)], axis=1)
    ignored = rows["ignored"] != ""
    request.left_out["left out by the mapping"] += int(ignored.sum())
    rows = rows[~ignored]
    nobody = (rows["subject"] == "") & (rows["collection"] != "")
    if nobody.any():
        names_above = few(sorted(rows["collection"][nobody].unique()))
        request.notes.append(
            f"the folder above the class folders ({names_above}) stands for the person: "
            "if it holds several, they count as one"
        )
    rows = rows.assign(subject=rows["subject"].mask(nobody, rows["collection"]))
    empty = [name for name in ("collection", "folder") if (rows[name] == "").all()]
    return rows.drop(columns=["ignored", "strange", *empty])


def _refuse_strange(places: pd.DataFrame, folders: pd.Series, words: Words, request: Request) -> None:
    """Raise ManifestError for files that stand below no folder whose name says what they are."""
    strange = places.loc[places["strange"] != "", "strange"]
    if strange.empty:
        return
    levels = [level for folder in places.index[places["label"] != ""] for level in _class_levels(folder, words)[:1]]
    usual = Counter(levels).most_common(1)[0][0] if levels else None
    count: Counter[str] = Counter()
    files = folders.value_counts()
    for folder, first in zip(strange.index.astype(str), strange, strict=True):
        parts = folder.split("/") if folder else []
        count[parts[usual] if usual is not None and usual < len(parts) else str(first)] += int(files[folder])
    in_root = count.pop(".", 0)
    shown = [f"{name} ({number} files)" for name, number in count.most_common()]
    shown += [f"the root itself ({in_root} files)"] if in_root else []
    example = count.most_common(1)[0][0] if count else ""
    hint = f"say what a folder means (mapping: {example}=bona_fide, {example}=SPECIES or {example}={IGNORE}) or "
    raise ManifestError(
        f"{request.root}: no folder name says what is live and what is not in {few(shown)}; understood are "
        f"{UNDERSTOOD}; {hint if example else ''}say how the names are built (pattern, such as "
        "'{subject}/{label}/*')"
    )


def _class_levels(folder: str, words: Words) -> list[int]:
    return [level for level, part in enumerate(folder.split("/")) if isinstance(words.kind(part), Kind)]


def _folders_above(folders: list[str], words: Words) -> int:
    """How many folders lie above the dataset: shared by all files, and not right above the class folders."""
    parts = [folder.split("/") for folder in folders if IGNORE not in map(words.kind, folder.split("/"))]
    shared = 0
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1 or words.kind(level[0]) is not None or split_of_word(level[0]):
            break
        shared += 1
    right_above = shared and all(words.kind(each[shared]) is not None for each in parts if len(each) > shared)
    return shared - 1 if right_above else shared


def _place(folder: str, words: Words, shared: int) -> dict[str, str]:
    """What a folder says of the files in it, as columns; `strange` where it says nothing."""
    place = dict.fromkeys(
        ("label", "species", "category", "subject", "split", "collection", "folder", "ignored", "strange"), ""
    )
    parts = folder.split("/") if folder else []
    kinds = [words.kind(part) for part in parts]
    if IGNORE in kinds:
        return {**place, "ignored": "true"}
    found = _class_levels(folder, words)
    while len(found) > 1 and normal(parts[found[0]]) in _CONTAINERS:
        found = found[1:]
    if not found:
        first_strange = next((part for part in parts[shared:] if split_of_word(part) is None), "")
        return {**place, "strange": first_strange or folder or "."}
    first = last = found[0]
    kind = cast("Kind", kinds[first])
    while last + 1 in found:
        last += 1
        kind = _refined(kind, cast("Kind", kinds[last]), folder)
    above, below = parts[shared:first], parts[last + 1 :]
    splits = {split for part in above if (split := split_of_word(part))}
    if not splits and below and (split := split_of_word(below[0])):
        splits, below = {split}, below[1:]
    for level in (level for level in found if level > last):
        inner = cast("Kind", kinds[level])
        if kind.generic or inner.label is not kind.label:
            kind = _refined(kind, inner, folder)
            below = [part for part in below if part != parts[level]]
    collections = [part for part in above if not split_of_word(part)]
    if len(collections) > 1 or len(splits) > 1:
        raise ManifestError(
            f"{folder}: above the class folder {parts[first]} stand {' and '.join(above)}, so which one is "
            "the person or the split cannot be told: say how the names are built (pattern)"
        )
    return {
        **place,
        "label": str(kind.label),
        "species": kind.species,
        "category": kind.category,
        "split": next(iter(splits), ""),
        "subject": below[0] if below else "",
        "collection": collections[0] if collections else "",
        "folder": "/".join(below[1:]),
    }


def _refined(outer: Kind, inner: Kind, folder: str) -> Kind:
    """A class folder within a class folder: `spoof/print` is print, `replay/photo` is replay_photo."""
    if outer.label is not inner.label:
        raise ManifestError(
            f"{folder}: one folder says {outer.label}, another {inner.label}: rename one, say that it "
            f"means nothing (mapping: NAME={NOTHING}), or how the names are built (pattern)"
        )
    if outer.generic or outer == inner:
        return inner
    if inner.generic or not inner.species:
        return outer
    return Kind(outer.label, f"{outer.species}_{inner.species}", outer.category)


def _by_pattern(names: pd.DataFrame, pattern: str, words: Words, request: Request) -> pd.DataFrame:
    expression = compile_pattern(pattern)
    matches = [expression.fullmatch(path) for path in names["path"]]
    fits = pd.Series([match is not None for match in matches], index=names.index)
    if not fits.any():
        raise ManifestError(
            f"{request.root}: no name fits the pattern {pattern!r}; found: {few(names['path'].tolist(), limit=3)}"
        )
    request.left_out["names that do not fit the pattern"] += int((~fits).sum())
    fields = pd.DataFrame([match.groupdict() for match in matches if match is not None], index=names.index[fits])
    rows = pd.concat([names[fits], fields], axis=1)
    said = rows["label"] if "label" in rows else rows["species"]
    kinds = {name: words.kind(name) for name in said.unique()}
    unknown = [name for name, kind in kinds.items() if kind is None]
    if unknown:
        raise ManifestError(
            f"{request.root}: the pattern finds {few(map(repr, sorted(unknown)))} as the class; understood "
            f"are {UNDERSTOOD}; or say what it means (mapping, such as {sorted(unknown)[0]}=bona_fide)"
        )
    words.refuse_unused(sorted(kinds))
    wanted = said.map(lambda name: kinds[name] != IGNORE).astype(bool)
    request.left_out["left out by the mapping"] += int((~wanted).sum())
    rows, said = rows[wanted], said[wanted]
    rows = rows.assign(label=said.map(lambda name: str(cast("Kind", kinds[name]).label)))
    own_species = rows["species"].map(normal) if "species" in rows and "label" in fields else ""
    attack = rows["label"] == "attack"
    from_label = said.map(lambda name: cast("Kind", kinds[name]).species)
    species = pd.Series(own_species, index=rows.index, dtype="str").where(attack, "")
    rows = rows.assign(species=species.where(species != "", from_label))
    return _with_splits(rows, request)


def _with_splits(rows: pd.DataFrame, request: Request) -> pd.DataFrame:
    if "split" not in rows:
        return rows
    splits = {name: split_of_word(name) for name in rows["split"].unique()}
    unknown = sorted(name for name, split in splits.items() if split is None)
    if unknown:
        raise ManifestError(
            f"{request.root}: the pattern finds {few(map(repr, unknown))} as the split; understood are "
            "train, val, dev, "
            "devel, test and the like"
        )
    return rows.assign(split=rows["split"].map(splits))


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """`{subject}/{label}/*` as an expression: a field and `*` stay within one level, `**` may cross levels.

    Raises SettingsError for a pattern that cannot be read or has neither `{label}` nor `{species}`.

    >>> compile_pattern("{subject}/{label}/*").fullmatch("p1/live/a.mp4").groupdict()
    {'subject': 'p1', 'label': 'live'}
    """
    parts: list[str] = []
    fields: list[str] = []
    for piece in re.split(r"(\{[^{}/]*\}|\*\*/?|\*)", pattern.strip("/")):
        if piece.startswith("{") and piece.endswith("}"):
            name = piece[1:-1]
            if not name.isidentifier() or name in _OWN:
                reason = "is kept for Bonaface" if name in _OWN else "is no name"
                raise SettingsError(
                    f"pattern {pattern!r}: {{{name}}} {reason}; expected such as {{subject}} or {{label}}"
                )
            parts.append(f"(?P={name})" if name in fields else f"(?P<{name}>[^/]+?)")
            fields.append(name)
        elif piece == "**/":
            parts.append("(?:.*/)?")
        elif piece == "**":
            parts.append(".*")
        elif piece == "*":
            parts.append("[^/]*")
        elif "{" in piece or "}" in piece:
            raise SettingsError(
                f"pattern {pattern!r}: a brace is not closed; expected such as '{{subject}}/{{label}}/*'"
            )
        else:
            parts.append(re.escape(piece))
    if "label" not in fields and "species" not in fields:
        hint = "".join(did_you_mean(name, ["label", "species"]) for name in fields[:1])
        raise SettingsError(f"pattern {pattern!r} has neither {{label}} nor {{species}}: what is live?{hint}")
    return re.compile("".join(parts), re.DOTALL)
