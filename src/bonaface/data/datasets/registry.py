"""All layouts, and the indexing of a folder into a manifest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, match_names
from bonaface.data.datasets.casia_fasd import CASIA_FASD
from bonaface.data.datasets.casia_surf import CASIA_SURF
from bonaface.data.datasets.cefa import CEFA
from bonaface.data.datasets.celeba_spoof import CELEBA_SPOOF
from bonaface.data.datasets.folder import FOLDER
from bonaface.data.datasets.hkbu_mars import HKBU_MARS_V1
from bonaface.data.datasets.label_names import kind_of_word
from bonaface.data.datasets.lcc_fasd import LCC_FASD
from bonaface.data.datasets.msu_mfsd import MSU_MFSD
from bonaface.data.datasets.nuaa import NUAA
from bonaface.data.datasets.oulu_npu import OULU_NPU
from bonaface.data.datasets.replay_attack import REPLAY_ATTACK
from bonaface.data.datasets.replay_mobile import REPLAY_MOBILE
from bonaface.data.datasets.rose_youtu import ROSE_YOUTU, ROSE_YOUTU_CLIENTS
from bonaface.data.datasets.siw import SIW
from bonaface.data.datasets.table import TABLE, table_rows
from bonaface.data.datasets.three_dmad import THREE_DMAD
from bonaface.data.manifest import Manifest, make_manifest
from bonaface.data.splits import PERSONS_UNKNOWN
from bonaface.data.walk import MEDIA_SUFFIXES, Problem, is_media, walk
from bonaface.errors import ManifestError, SettingsError, did_you_mean, format_list
from bonaface.io import is_utf8

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
    """Return every layout that `bonaface.index` reads, with what it expects on disk.

    Returns:
        The layouts, each with `name`, `title`, `expects`, `protocols` and `splits`.

    Examples:
        >>> import bonaface
        >>> [layout.name for layout in bonaface.layouts()][:3]
        ['folder', 'csv', 'rose_youtu']
    """
    return list(_LAYOUTS)


def find_layout(name: str) -> Layout:
    """Return a layout by its name. Raises SettingsError."""
    known = {layout.name: layout for layout in _LAYOUTS}
    if name not in known:
        raise SettingsError(f"no layout {name!r}{did_you_mean(name, known)}; known are {', '.join(known)}")
    return known[name]


def folds_of(layout: str, protocol: str = "") -> int:
    """Return how many folds a layout's protocol has; 0 where it has none."""
    chosen = find_layout(layout)
    chosen.check(Request(Path(), protocol=protocol, fold=1 if protocol in chosen.folds else 0))
    return chosen.folds.get(protocol, 0)


def index_layout(layout: str, request: Request) -> Manifest:
    """Return the manifest of the dataset in `request.root`, from the names of its files.

    Without a protocol every presentation is in, in the dataset's own split if it has one. Images and videos whose
    names do not fit the layout are left out, counted in `about` and noted; what cannot be read is noted by name.
    `request.hints` receives suggestions for the user. Raises SettingsError for an option that the layout does not
    have, ManifestError for a folder that holds something else.
    """
    chosen = find_layout(layout)
    chosen.check(request)
    if chosen is TABLE:
        rows, row_names, path = table_rows(request)
        name = path.absolute().parent.name
    else:
        rows = _rows(chosen, request)
        row_names = rows["path"].tolist()
        name = request.root.resolve().name if chosen is FOLDER else chosen.name
    rows = _with_dataset(rows, _dataset_name(request.dataset or name or chosen.name))
    if request.protocol:
        rows = rows.assign(protocol=request.protocol, fold=str(request.fold or ""))
    manifest = make_manifest(rows, request.root, boxes=request.box_table, row_names=row_names)
    notes = list(request.notes)
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
    media = _media(chosen, request)
    for what, expression in chosen.aside.items():
        pattern = re.compile(rf"(?:.*?/)??(?:{expression})")
        kept = [name for name in media if pattern.fullmatch(name) is None]
        request.left_out[what] += len(media) - len(kept)
        media = kept
    names, rest = match_names(media, chosen.names)
    if len(names) == 0:
        raise ManifestError(
            f"{request.root}: none of its {len(media)} images and videos has a name as in {chosen.title}: expected "
            f"{chosen.expects}; found: {format_list(media, limit=3)}{_looks_like(request.files, chosen)}"
        )
    request.left_out["names that do not fit"] += len(rest)
    if rest:
        request.notes.append(
            f"{len(rest)} files with names that do not fit {chosen.title} are left out ({format_list(rest, limit=3)})"
        )
    _refuse_second_copies(names, request)
    assert chosen.rows is not None
    try:
        return chosen.rows(names, request)
    except ManifestError as error:
        if chosen is not FOLDER:
            raise
        raise ManifestError(f"{error}{_looks_like(request.files, chosen)}") from None


def _media(chosen: Layout, request: Request) -> list[str]:
    """Walk the root and return the images and videos that the layout reads; note or count everything else."""
    root = request.root
    if not root.is_dir():
        what = f"{root} is a file" if root.exists() else f"no folder at {root}"
        raise ManifestError(f"{what}: expected the folder that holds the dataset{_nearby(root)}")
    found = walk(root, progress=request.progress)
    problems = list(found.problems)
    strange = [name for name in found.files if not name.isascii() and not is_utf8(name)]
    request.files = [name for name in found.files if name not in set(strange)] if strange else found.files
    request.left_out = Counter(found.left_out)
    media = []
    for name in request.files:
        suffix = name[name.rfind(".") :].lower() if "." in name.rpartition("/")[2] else ""
        if suffix in (chosen.suffixes or MEDIA_SUFFIXES):
            media.append(name)
        elif chosen is FOLDER:
            try:
                if is_media(root / name):
                    media.append(name)
            except OSError as error:
                problems.append(Problem(name, error.strerror or str(error)))
    request.left_out["neither image nor video"] += len(request.files) - len(media)
    if strange:
        request.left_out["names that are not UTF-8"] += len(strange)
        request.notes.append(
            f"{len(strange)} files whose names are not UTF-8 are left out ({format_list(map(ascii, strange), limit=3)})"
        )
    if problems:
        shown = format_list([f"{name or '.'}: {reason}" for name, reason in problems], limit=5)
        request.notes.append(f"{len(problems)} files or folders could not be read and are left out ({shown})")
    if not media:
        raise ManifestError(_no_media(chosen, request))
    return media


def _no_media(chosen: Layout, request: Request) -> str:
    """Return the message for a folder without a single file that the layout reads."""
    files, hidden = request.files, request.left_out["hidden files"] + request.left_out["hidden folders"]
    what = "an image or a video" if chosen.suffixes is None else " or ".join(sorted(chosen.suffixes))
    held = "no files" + (f" but {hidden} hidden ones" if hidden else "")
    if files:
        held = f"{len(files)} files, none of them {what}"
    shown = f"; found: {format_list(files, limit=3)}{_looks_like(files, chosen)}" if files else ""
    notes = "".join(f"; {note}" for note in request.notes)
    return f"{request.root} holds {held}: expected {chosen.expects}{shown}{notes}"


def _nearby(root: Path) -> str:
    """Return a hint to the folders that lie where the root was looked for."""
    parent = next((each for each in root.absolute().parents if each.is_dir()), None)
    if parent is None or parent == Path(parent.anchor):
        return ""
    names = sorted(each.name for each in parent.iterdir() if each.is_dir() and not each.name.startswith("."))
    return f"; {parent} holds {format_list(names)}" if names else ""


def _refuse_second_copies(names: pd.DataFrame, request: Request) -> None:
    """Raise ManifestError where two files are the same presentation by their names."""
    identity = [name for name in names.columns if name not in ("path", "side")]
    again = names.duplicated(identity) if identity else pd.Series(False, index=names.index)
    if again.any():
        second = names[again].iloc[0]
        first = names.loc[(names[identity] == second[identity]).all(axis=1), "path"].iloc[0]
        raise ManifestError(
            f"{request.root}: {int(again.sum())} presentations occur twice, such as {first} and "
            f"{second['path']}: index one copy alone"
        )


def _with_dataset(rows: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return the rows with their dataset, and each subject with its dataset before it."""
    of_row = rows["dataset"].mask(rows["dataset"] == "", dataset) if "dataset" in rows else dataset
    rows = rows.assign(dataset=pd.Series(of_row, index=rows.index, dtype="str"))
    if "subject" not in rows:
        return rows
    pairs = zip(rows["subject"].tolist(), rows["dataset"].tolist(), strict=True)
    subjects = [name if not name or name.startswith(f"{of}/") else f"{of}/{name}" for name, of in pairs]
    return rows.assign(subject=pd.Series(subjects, index=rows.index, dtype="str"))


def _dataset_name(name: str) -> str:
    if not name.strip() or "/" in name or "\\" in name:
        raise SettingsError(f"--dataset {name!r}: expected a word without a slash")
    return name.strip()


def _looks_like(files: Sequence[str], chosen: Layout) -> str:
    """Return a hint to the layout that most of the names fit; empty where none does."""
    some = list(files)[:: max(1, len(files) // 1000)]
    share: dict[str, float] = {}
    for layout in _LAYOUTS:
        if layout is not chosen and layout.names and layout is not FOLDER:
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
