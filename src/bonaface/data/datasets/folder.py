"""Footage arranged in class folders, or in any way that a pattern describes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import cast

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request
from bonaface.data.datasets.label_names import IGNORE, NOTHING, UNDERSTOOD, Kind, Words, normal, split_of_word
from bonaface.data.datasets.pattern import pattern_rows, subject_pattern
from bonaface.data.frame_folder import natural_order
from bonaface.data.walk import frame_folders, numbered_folders
from bonaface.errors import ManifestError, format_list

_CONTAINERS = frozenset({"videos", "photos", "images", "pictures", "screens"})


def folder_rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    """Return rows from class folders, or from `--pattern`.

    A class folder may be at any level. A folder of a split's name above it, or right below it, gives `split`; the
    first folder below it is the subject (deeper ones go into the column `folder`), and a file directly in it has an
    unknown subject. Another folder above it is a collection: where no subject folder is below, it is the subject,
    because people of one collection must not be in two splits. The same subject name in two collections or splits is
    one subject.
    """
    words = Words(request.mapping)
    if request.frames_as_video:
        names = _with_frame_folders(names, words, request)
    elif folders := _clip_folders(names["path"].tolist(), words):
        request.hints.append(
            f"{len(folders)} folders hold numbered pictures ({format_list(folders, limit=2)}): if each is one video, index "
            "with --frames-as-video"
        )
    if request.pattern:
        return pattern_rows(names, words, request)
    rows = _by_class_folder(names, words, request)
    if (rows["subject"] == "").all() and (found := subject_pattern(rows)):
        pattern, subjects = found
        request.hints.append(
            f"persons are unknown; if the names hold the subject, index with --pattern '{pattern}', which finds "
            f"{len(subjects)} persons ({format_list(subjects, limit=3)})"
        )
    return rows


def _clip_folders(files: Sequence[str], words: Words) -> list[str]:
    """Return the folders whose pictures seem to be the numbered frames of one video; class folders excluded."""
    return [
        folder
        for folder in numbered_folders(files)
        if folder and words.kind(last := folder.rpartition("/")[2]) is None and split_of_word(last) is None
    ]


def _with_frame_folders(names: pd.DataFrame, words: Words, request: Request) -> pd.DataFrame:
    """Return the names with each folder of numbered pictures in place of its pictures."""
    paths = names["path"].tolist()
    pictures = frame_folders(paths)
    merged = _clip_folders(paths, words)
    single = [folder or "." for folder in pictures if folder not in set(merged)]
    if not merged:
        raise ManifestError(
            f"{request.root}: --frames-as-video finds no folder of at least three numbered pictures below the class "
            f"folders; found pictures in {format_list(single, limit=3) or 'no folder'}"
        )
    if single:
        request.hints.append(
            f"the pictures of {len(single)} folders stay single images ({format_list(single, limit=3)})"
        )
    request.frames = {folder: min(pictures[folder], key=natural_order) for folder in merged}
    inside = {name for folder in merged for name in pictures[folder]}
    kept = [*merged, *(path for path in paths if path not in inside)]
    return pd.DataFrame({"path": sorted(kept)}, dtype="str")


def _by_class_folder(names: pd.DataFrame, words: Words, request: Request) -> pd.DataFrame:
    # a folder of frames counts as a level, as it does for the pictures in it
    folders = names["path"].where(names["path"].isin(list(request.frames)), names["path"].str.rpartition("/")[0])
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
        names_above = format_list(sorted(rows["collection"][nobody].unique()))
        request.notes.append(
            f"the folder above the class folders ({names_above}) is taken for the person: "
            "if it holds several, they count as one"
        )
    rows = rows.assign(subject=rows["subject"].mask(nobody, rows["collection"]))
    empty = [name for name in ("collection", "folder") if (rows[name] == "").all()]
    return rows.drop(columns=["ignored", "strange", *empty])


def _refuse_strange(places: pd.DataFrame, folders: pd.Series, words: Words, request: Request) -> None:
    """Raise ManifestError for files below no folder whose name says what they are."""
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
    hint = f"say what a folder means (--map {example}=bona_fide, {example}=attack:NAME or {example}={IGNORE}) or "
    raise ManifestError(
        f"{request.root}: no folder name is a class in {format_list(shown)}; recognised are  "
        f"{UNDERSTOOD}; {hint if example else ''}describe the names with --pattern ( "
        "'{subject}/{label}/*')"
    )


def _class_levels(folder: str, words: Words) -> list[int]:
    return [level for level, part in enumerate(folder.split("/")) if isinstance(words.kind(part), Kind)]


def _folders_above(folders: list[str], words: Words) -> int:
    """Return how many folders lie above the dataset: shared by all files, and not right above the class folders."""
    parts = [folder.split("/") for folder in folders if IGNORE not in map(words.kind, folder.split("/"))]
    shared = 0
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1 or words.kind(level[0]) is not None or split_of_word(level[0]):
            break
        shared += 1
    right_above = shared and all(words.kind(each[shared]) is not None for each in parts if len(each) > shared)
    return shared - 1 if right_above else shared


def _place(folder: str, words: Words, shared: int) -> dict[str, str]:
    """Return what a folder says of the files in it, as columns; `strange` where it says nothing."""
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
            f"{folder}: above the class folder {parts[first]} are {' and '.join(above)}; which one is the person or "
            "the split is ambiguous: describe the names with --pattern"
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
    """Return the kind of a class folder within a class folder: `spoof/print` is print, `replay/photo` replay_photo."""
    if outer.label is not inner.label:
        raise ManifestError(
            f"{folder}: one folder says {outer.label}, another {inner.label}: rename one, say that it "
            f"means nothing (--map NAME={NOTHING}), or how the names are built (--pattern)"
        )
    if outer.generic or outer == inner:
        return inner
    if inner.generic or not inner.species:
        return outer
    return Kind(outer.label, f"{outer.species}_{inner.species}", outer.category)


FOLDER = Layout(
    name="folder",
    title="Class folders, with person folders below",
    expects="[train|val|test/]live/PERSON/…, print/PERSON/…, replay/PERSON/…; or what --pattern says",
    names=(".+",),
    rows=folder_rows,
    options=frozenset({"pattern", "mapping", "frames_as_video", "allow_unmatched"}),
)
