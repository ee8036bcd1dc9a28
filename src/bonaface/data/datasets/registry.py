"""A folder on a disk to a manifest, by names alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, match_names
from bonaface.data.datasets.casia_fasd import CASIA_FASD
from bonaface.data.datasets.casia_surf import CASIA_SURF, CEFA, LCC_FASD
from bonaface.data.datasets.celeba_spoof import CELEBA_SPOOF
from bonaface.data.datasets.folder import FOLDER, folder_rows
from bonaface.data.datasets.label_names import kind_of_word
from bonaface.data.datasets.masks_3d import HKBU_MARS_V1, THREE_DMAD
from bonaface.data.datasets.msu_mfsd import MSU_MFSD
from bonaface.data.datasets.nuaa import NUAA
from bonaface.data.datasets.oulu_npu import OULU_NPU
from bonaface.data.datasets.replay_attack import REPLAY_ATTACK, REPLAY_MOBILE
from bonaface.data.datasets.rose_youtu import ROSE_YOUTU, ROSE_YOUTU_CLIENTS
from bonaface.data.datasets.scan import Listing, list_files
from bonaface.data.datasets.siw import SIW
from bonaface.data.datasets.table import TABLE, find_table, table_rows
from bonaface.data.manifest import Manifest, make_manifest
from bonaface.data.sources import MEDIA_SUFFIXES
from bonaface.data.splits import PERSONS_UNKNOWN
from bonaface.errors import ManifestError, SettingsError, did_you_mean, few

__all__ = ["Layout", "index", "layouts"]

_LAYOUTS = (
    FOLDER,
    TABLE,
    ROSE_YOUTU,
    ROSE_YOUTU_CLIENTS,
    REPLAY_ATTACK,
    CASIA_FASD,
    MSU_MFSD,
    OULU_NPU,
    SIW,
    CELEBA_SPOOF,
    NUAA,
    REPLAY_MOBILE,
    THREE_DMAD,
    HKBU_MARS_V1,
    CASIA_SURF,
    CEFA,
    LCC_FASD,
)


def layouts() -> list[Layout]:
    """Every layout that `index` knows, with what it expects on disk."""
    return list(_LAYOUTS)


def index(
    root: str | Path,
    layout: str,
    *,
    protocol: str | int | None = None,
    fold: int | None = None,
    split: str | None = None,
    pattern: str | None = None,
    mapping: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    table: str | Path | None = None,
    dataset: str | None = None,
    numbered_within: Sequence[str] = (),
    boxes: bool | None = None,
    allow_missing: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """The manifest of a dataset that lies in `root` as `layout` says, from the names of its files.

    `protocol`, `fold` and `split` choose among those of the layout; without a protocol every presentation is
    in, in the dataset's own split if it has one. `pattern` (`{subject}/{label}/*`) and `mapping` (name ->
    `bona_fide`, `attack`, `ignore` or a species) are for `folder`; `columns` (ours -> theirs), `mapping` and
    `table` for `csv`, where `root` is the table or the folder of the footage. `dataset` is the name before
    each person's, by default the layout's, or the folder's for `folder` and `csv`. `numbered_within` are
    columns in which persons are numbered anew. `boxes` reads the dataset's own face boxes, a small file each,
    by default where they are part of it (CelebA-Spoof). `allow_missing` goes on without files that a list
    names but the disk has not. Images and videos whose names do not fit are left out and counted in `about`.

    Raises SettingsError for an unknown layout or option, ManifestError for a folder that holds something
    else.
    """
    chosen = _chosen(layout)
    options = {"pattern": pattern, "mapping": mapping, "columns": columns, "table": table}
    _refuse_foreign_options(chosen, options)
    root = Path(root)
    request = Request(
        root=root,
        files=(),
        protocol=_protocol(chosen, protocol),
        split=_split(chosen, split),
        allow_missing=chosen.tolerates_missing if allow_missing is None else allow_missing,
        want_boxes=_want_boxes(chosen, boxes),
        options=options,
        progress=progress,
    )
    request.fold = _fold(chosen, request.protocol, fold)
    if chosen is TABLE:
        path, request.root = find_table(root, None if table is None else Path(table))
        rows, places = table_rows(path, request)
        name = path.absolute().parent.name
    else:
        rows = _rows(chosen, request)
        name = root.resolve().name if chosen is FOLDER else chosen.name
        places = rows["path"].tolist()
    name = _dataset_name(dataset if dataset is not None else name or chosen.name)
    rows = _finished(rows, name, request, numbered_within)
    manifest = make_manifest(rows, request.root, boxes=request.boxes, row_names=places)
    notes = request.notes
    if not manifest.persons_known and (manifest.table["split"] != "").any():
        notes.append(PERSONS_UNKNOWN)
    about = {
        "layout": chosen.name,
        "protocol": request.protocol,
        "fold": str(request.fold or ""),
        "left_out": {what: count for what, count in sorted(request.left_out.items()) if count},
    }
    return replace(manifest, notes=(*notes, *manifest.notes), about=about)


def _rows(chosen: Layout, request: Request) -> pd.DataFrame:
    listing = list_files(request.root, progress=request.progress)
    request.files, request.left_out = listing.files, Counter(listing.left_out)
    media = _media(listing, chosen, request)
    if strange := listing.left_out["names that are not UTF-8"]:
        request.notes.append(f"{strange} files or folders whose names are not UTF-8 are left out")
    if chosen is FOLDER:
        names = pd.DataFrame({"path": media}, dtype="str")
        try:
            return folder_rows(names, request)
        except ManifestError as error:
            raise ManifestError(f"{error}{_looks_like(listing.files, chosen)}") from None
    aside = {what: re.compile(rf"(?:.*?/)??(?:{name})") for what, name in chosen.aside.items()}
    for what, pattern in aside.items():
        kept = [name for name in media if pattern.fullmatch(name) is None]
        request.left_out[what] += len(media) - len(kept)
        media = kept
    names, rest = match_names(media, chosen.names)
    if len(names) == 0:
        raise ManifestError(
            f"{request.root}: none of its {len(media)} images and videos has a name as in {chosen.title}: expected "
            f"{chosen.expects}; found: {few(media, limit=3)}{_looks_like(listing.files, chosen)}"
        )
    request.left_out["names that do not fit"] += len(rest)
    if rest:
        request.notes.append(
            f"{len(rest)} files with names that do not fit {chosen.title} are left out ({few(rest, limit=3)})"
        )
    _refuse_second_copies(names, request)
    assert chosen.rows is not None
    return chosen.rows(names, request)


def _media(listing: Listing, chosen: Layout, request: Request) -> list[str]:
    """The files that a layout reads, by suffix; the others are counted."""
    if not listing.files:
        hidden = sum(listing.left_out.values())
        and_hidden = f" but {hidden} hidden ones" if hidden else ""
        raise ManifestError(f"{listing.root} holds no files{and_hidden}: expected {chosen.expects}")
    suffixes = chosen.suffixes or MEDIA_SUFFIXES
    media = [name for name in listing.files if name[name.rfind(".") :].lower() in suffixes]
    if not media:
        what = "an image or a video" if chosen.suffixes is None else " or ".join(sorted(chosen.suffixes))
        raise ManifestError(
            f"{listing.root} holds {len(listing.files)} files, none of them {what}: expected "
            f"{chosen.expects}; found: {few(listing.files, limit=3)}{_looks_like(listing.files, chosen)}"
        )
    request.left_out["neither image nor video"] += len(listing.files) - len(media)
    return media


def _refuse_second_copies(names: pd.DataFrame, request: Request) -> None:
    """Raise ManifestError where two files are the same presentation by their names."""
    identity = [name for name in names.columns if name not in ("path", "side")]
    again = names.duplicated(identity)
    if again.any():
        second = names[again].iloc[0]
        first = names.loc[(names[identity] == second[identity]).all(axis=1), "path"].iloc[0]
        raise ManifestError(
            f"{request.root}: {int(again.sum())} presentations stand there twice, such as {first} and "
            f"{second['path']}: "
            "index one copy alone"
        )


def _finished(rows: pd.DataFrame, dataset: str, request: Request, numbered_within: Sequence[str]) -> pd.DataFrame:
    """The rows with dataset, protocol and fold, and each person under the dataset's name."""
    of_row = rows["dataset"].mask(rows["dataset"] == "", dataset) if "dataset" in rows else dataset
    rows = rows.assign(dataset=pd.Series(of_row, index=rows.index, dtype="str"))
    rows = rows.assign(protocol=request.protocol, fold=str(request.fold or "")) if request.protocol else rows
    if "subject" not in rows:
        return rows
    subject = rows["subject"]
    for name in numbered_within:
        if name not in rows:
            hint = did_you_mean(name, rows.columns)
            raise SettingsError(
                f"no column {name!r} to number persons within{hint}; found: {few(rows.columns, limit=20)}"
            )
        subject = rows[name].str.replace("/", "_") + "-" + subject
    named = rows["dataset"] + "/" + subject
    prefixed = subject.where(pd.Series(map(str.startswith, subject, rows["dataset"] + "/"), index=rows.index), named)
    return rows.assign(subject=prefixed.where(rows["subject"] != "", ""))


def _chosen(name: str) -> Layout:
    for layout in _LAYOUTS:
        if layout.name == name:
            return layout
    known = [layout.name for layout in _LAYOUTS]
    raise SettingsError(f"no layout {name!r}{did_you_mean(name, known)}; known are {', '.join(known)}")


def _refuse_foreign_options(chosen: Layout, options: Mapping[str, object]) -> None:
    for name, value in options.items():
        if value is not None and name not in chosen.options:
            takes = [layout.name for layout in _LAYOUTS if name in layout.options]
            raise SettingsError(
                f"layout {chosen.name} takes no {name}; {' and '.join(takes)} {'do' if len(takes) > 1 else 'does'}"
            )


def _protocol(chosen: Layout, protocol: str | int | None) -> str:
    if protocol is None or str(protocol) == "":
        return ""
    name = str(protocol)
    if name not in chosen.protocols:
        known = f"known are {', '.join(chosen.protocols)}" if chosen.protocols else "it has none"
        raise SettingsError(
            f"layout {chosen.name} has no protocol {name!r}{did_you_mean(name, chosen.protocols)}; {known}"
        )
    return name


def folds_of(layout: str, protocol: str | int | None = None) -> int:
    """How many folds a layout's protocol has; 0 where it has none."""
    chosen = _chosen(layout)
    return chosen.folds.get(_protocol(chosen, protocol), 0)


def _fold(chosen: Layout, protocol: str, fold: int | None) -> int:
    folds = chosen.folds.get(protocol, 0)
    what = f"protocol {protocol} of {chosen.name}" if protocol else f"layout {chosen.name} without a protocol"
    if not folds and fold is not None:
        raise SettingsError(f"{what} has no folds, and fold {fold} was asked for")
    if folds and fold is None:
        raise SettingsError(f"{what} has folds 1 to {folds}: choose one (fold)")
    if folds and not 1 <= int(fold or 0) <= folds:
        raise SettingsError(f"{what} has folds 1 to {folds}, not {fold}")
    return int(fold or 0)


def _split(chosen: Layout, split: str | None) -> str:
    if split is None or split == "":
        return ""
    if split not in chosen.splits:
        known = f"known are {', '.join(chosen.splits)}" if chosen.splits else "it has no choice of them"
        raise SettingsError(f"layout {chosen.name} has no split {split!r}{did_you_mean(split, chosen.splits)}; {known}")
    return split


def _want_boxes(chosen: Layout, boxes: bool | None) -> bool:
    if boxes and not chosen.has_boxes:
        having = ", ".join(layout.name for layout in _LAYOUTS if layout.has_boxes)
        raise SettingsError(f"layout {chosen.name} reads no face boxes; {having} do")
    return chosen.reads_boxes if boxes is None else boxes


def _dataset_name(name: str) -> str:
    if not name.strip() or "/" in name or "\\" in name:
        raise SettingsError(f"{name!r} cannot name a dataset: expected a word without a slash")
    return name.strip()


def _looks_like(files: Sequence[str], chosen: Layout) -> str:
    """A hint, for a message, to the layout that most of the names fit; empty where none does."""
    some = list(files)[:: max(1, len(files) // 1000)]
    share: dict[str, float] = {}
    for layout in _LAYOUTS:
        if layout is not chosen and layout.names:
            suffixes = layout.suffixes or MEDIA_SUFFIXES
            media = [name for name in some if name[name.rfind(".") :].lower() in suffixes]
            share[layout.name] = len(match_names(media, layout.names)[0]) / max(1, len(media))
    best = max(share, key=lambda name: share[name])
    if share[best] >= 0.5:
        return f"; it looks like the layout {best}"
    if chosen is not FOLDER:
        classed = [name for name in some if any(kind_of_word(part) is not None for part in name.split("/")[:-1])]
        if len(classed) >= len(some) / 2:
            return f"; it looks like the layout {FOLDER.name}"
    return ""
