"""Index, split and crop: from a folder of footage to a manifest and a crop store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import ValidationError

from bonaface.choices import Engine
from bonaface.config import CropSettings, ModelSettings
from bonaface.data.crop_store import CropStore, fill_store
from bonaface.data.cropping import default_min_face
from bonaface.data.datasets.adapter import Request
from bonaface.data.datasets.registry import index_layout
from bonaface.data.frames import Frames
from bonaface.data.identity import settle_names
from bonaface.data.manifest import SPLITS, Manifest, read_manifest, write_manifest
from bonaface.data.shards import write_shards
from bonaface.data.splits import split_manifest
from bonaface.errors import (
    InputError,
    ManifestError,
    MediaError,
    SettingsError,
    describe_validation_error,
    did_you_mean,
    format_list,
)
from bonaface.io.storage import is_remote, shown
from bonaface.types import Progress, Status, counted
from bonaface.workflows.distribute import check_engine, crop_on_ray


@dataclass(frozen=True)
class Indexed:
    """A manifest that was made or changed, and where it was written.

    `unreadable` has `path` and `reason` where every file was opened; `hints` say what could be indexed better.
    """

    manifest: Manifest
    path: Path | None = None
    unreadable: pd.DataFrame | None = None
    hints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cropped:
    """A crop store, and the manifest that it was filled for."""

    store: CropStore
    path: Path
    manifest: Manifest


def index(
    root: str | Path,
    *,
    layout: str = "folder",
    output: str | Path | None = None,
    protocol: str | int | None = None,
    fold: int | None = None,
    split: str | None = None,
    pattern: str | None = None,
    mapping: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    table: str | Path | None = None,
    boxes: bool | None = None,
    dataset: str | None = None,
    frames_as_video: bool = False,
    allow_missing: bool = False,
    allow_unmatched: bool = False,
    same_person: bool = False,
    distinct: bool = False,
    check: bool = False,
    progress: Progress | None = None,
) -> Indexed:
    """Make a dataset's manifest from the names of its files, and write it to `output` if given.

    Args:
        root: the dataset's folder, or the table of layout `csv`.
        layout: how the dataset lies on disk; `bonaface.layouts()` lists them.
        output: the manifest to write, `.csv` or `.parquet`.
        protocol: one of the layout's protocols; by default every presentation is in.
        fold: the fold of the protocol.
        split: which of the layout's public splits.
        pattern: how the names of layout `folder` are built, such as `{subject}/{label}/*`.
        mapping: what a class folder or label means: name -> `bona_fide`, `attack`, `attack:NAME`, a species, `ignore` or
            `nothing`.
        columns: ours -> theirs, for layout `csv`.
        table: the table of layout `csv`, where `root` is the folder of the footage.
        boxes: whether the dataset's own face boxes are read, by default those of CelebA-Spoof.
        dataset: put before each subject; by default the layout's name, or the folder's for `folder` and `csv`.
        frames_as_video: whether a folder of numbered pictures is one video.
        allow_missing: whether files that a list names and the disk lacks are left out.
        allow_unmatched: whether files that do not fit `pattern` are left out.
        same_person: names that differ only in case, blanks or the writing of a number are one subject.
        distinct: such names are different subjects.
        check: whether every file is opened as well.
        progress: called with stage, done and total.

    Returns:
        The manifest, where it was written, and hints.

    Raises:
        ManifestError: the folder does not look like the layout.
        SettingsError: the layout or an option is not known.

    Examples:
        ```python
        indexed = bonaface.index("footage", output="footage.csv")
        print(indexed.manifest.table[["path", "label", "species", "subject"]])
        ```
    """
    if is_remote(root):
        raise ManifestError(
            f"{shown(root)} is in storage, and a layout is read from a local folder: index a local copy, and name the storage "
            "as root in the manifest's .meta.json or with --root"
        )
    request = Request(
        root=Path(root),
        protocol="" if protocol is None else str(protocol),
        fold=fold or 0,
        split=split or "",
        pattern=pattern or "",
        mapping=mapping or {},
        columns=columns or {},
        table=None if table is None else Path(table),
        boxes=boxes,
        dataset=dataset or "",
        frames_as_video=frames_as_video,
        allow_missing=allow_missing or None,
        allow_unmatched=allow_unmatched,
        progress=partial(progress, "names") if progress else None,
    )
    manifest = settle_names(index_layout(layout, request), same_person=same_person, distinct=distinct)
    unreadable = _check(manifest, progress) if check else None
    if output is not None:
        write_manifest(manifest, output)
    return Indexed(manifest, Path(output) if output else None, unreadable, tuple(request.hints))


def split(
    manifest: str | Path | Manifest,
    *,
    output: str | Path | None = None,
    val: float | Sequence[str] | None = None,
    test: float | Sequence[str] | None = None,
    train: Sequence[str] | None = None,
    keep: Sequence[str] = (),
    seed: int = 0,
    same_person: bool = False,
    distinct: bool = False,
    root: str | Path | None = None,
) -> Indexed:
    """Assign subjects to train, val and test, and write the manifest back, or to `output`; no subject is in two of them.

    Args:
        manifest: the manifest, or its path.
        output: the manifest to write, by default the one that was read.
        val: the fraction of the subjects (0.2 by default), or the subjects themselves.
        test: the same for test; where one of both is named, a fraction is one of the remaining subjects.
        train: subjects by name; by default all others.
        keep: splits that stay as they are, such as a dataset's own `test`.
        seed: the seed of the draw.
        same_person: names that differ only in case, blanks or the writing of a number are one subject.
        distinct: such names are different subjects.
        root: the folder that the manifest's paths are relative to, if it moved.

    Returns:
        The manifest with its splits, and where it was written.

    Raises:
        SettingsError: a subject or a split is not known.
        ManifestError: alike names are not decided.

    Examples:
        ```python
        done = bonaface.split("manifest.csv", val=0.25, test=0.25, output="split.csv")
        print(done.manifest.table.groupby("split")["subject"].nunique())
        ```
    """
    read = manifest if isinstance(manifest, Manifest) else read_manifest(manifest, root=root)
    settled = settle_names(read, same_person=same_person, distinct=distinct)
    done = split_manifest(settled, val=val, test=test, train=train, keep=keep, seed=seed)
    target = Path(output) if output is not None else read.source
    if target is not None:
        write_manifest(done, target)
    return Indexed(done, target)


def crop(
    manifest: str | Path | Manifest,
    *,
    output: str | Path,
    detector: str = "yunet",
    weights: str | Path | None = None,
    frames: int | Literal["all"] = 10,
    scale: float = 2.7,
    side: int = 384,
    quality: int = 95,
    resize: int | None = None,
    workers: int | None = None,
    engine: Engine | None = None,
    address: str | None = None,
    shards: str | Path | None = None,
    root: str | Path | None = None,
    progress: Progress | None = None,
) -> Cropped:
    """Find the faces of every presentation once, and store a wide square around each.

    Entries that the store already has are kept, so that an interrupted call resumes.

    Args:
        manifest: the manifest, or its path.
        output: the folder of the crop store.
        detector: `yunet`, `haar`, `boxes` (the dataset's own) or `whole_frame`.
        weights: the file of the detector's weights, by default the cached download.
        frames: frames of a presentation, spread over it, or `all`.
        scale: the side of the square over the longer side of the face box.
        side: the maximum side of a stored square, in pixels.
        quality: the JPEG quality, 50 to 100.
        resize: for `whole_frame`, the frame's shorter side in pixels, scaled first.
        workers: processes, by default one per core.
        engine: `ray` to crop on a cluster, whose nodes must share the store's folder and the footage.
        address: the cluster, such as `auto`; by default RAY_ADDRESS, else one is started on this machine.
        shards: a folder, also one in storage, in which the crops are written again as few large files, which training reads.
        root: the folder that the manifest's paths are relative to, if it moved.
        progress: called with stage, done and total.

    Returns:
        The store, with the presentations that have no usable frame and why.

    Raises:
        ManifestError: the manifest cannot be read.
        SettingsError: a setting is out of range.

    Examples:
        ```python
        cropped = bonaface.crop("manifest.csv", output="crops", frames=4, detector="haar")
        print(len(cropped.store.unusable), "without a usable frame")
        ```
    """
    check_engine(engine, address=address)
    try:
        settings = CropSettings.model_validate(
            {
                "detector": detector,
                "weights": weights,
                "frames": frames,
                "scale": scale,
                "side": side,
                "quality": quality,
                "resize": resize,
            }
        )
    except ValidationError as error:
        raise SettingsError(describe_validation_error(error, CropSettings)) from None
    read = manifest if isinstance(manifest, Manifest) else read_manifest(manifest, root=root)
    over = partial(crop_on_ray, address=address, workers=workers) if engine == "ray" else None
    store = fill_store(read, Path(output), settings, workers=workers, over=over, progress=progress)
    if shards is not None:
        write_shards(store, read, settings, Path(shards))
    return Cropped(store, Path(output), read)


def small_faces_note(store: CropStore, crop: CropSettings, model: ModelSettings) -> str:
    """Return a note on presentations with stored faces that a bundle of this network calls `too_small`; empty without any.

    They are trained on all the same.
    """
    usable = store.table[store.table["status"] == Status.OK.value]
    count = usable.loc[too_small(usable, crop, model), "path"].nunique()
    if not count:
        return ""
    return (
        f"{count} presentations have faces of less than {_min_face(model):g} pixels: they are trained on, but such a face is "
        "`too_small` in use, evaluation and thresholds (model.input_size, model.min_face)"
    )


def too_small(crops: pd.DataFrame, crop: CropSettings, model: ModelSettings) -> pd.Series:
    """Return which stored faces a bundle of this network calls `too_small`; squares that were shrunk are of large faces."""
    longer = crops[["w", "h"]].max(axis=1)
    return (longer < _min_face(model)) & (longer * crop.scale < crop.side)


def _min_face(model: ModelSettings) -> float:
    return default_min_face(scale=model.crop_scale, size=model.input_size) if model.min_face is None else model.min_face


def counts_line(manifest: Manifest) -> str:
    """Return the presentations, classes, species and subjects of a manifest in one line."""
    table = manifest.table
    labels = table["label"].value_counts()
    attacks = table.loc[table["label"] == "attack", "species"].value_counts()
    named = [f"{count} {name}" for name, count in zip(attacks.index.tolist(), attacks.tolist(), strict=True)]
    species = f" ({format_list(named, limit=12)})" if named else ""
    return (
        f"{len(table)} presentations: {labels.get('bona_fide', 0)} bona fide, "
        f"{labels.get('attack', 0)} attacks{species}; {count_persons(table)}"
    )


def count_persons(table: pd.DataFrame) -> str:
    """Return how many persons are in a manifest's table, and how many presentations are of unknown ones.

    >>> count_persons(pd.DataFrame({"subject": ["a", "a", "1.mp4"], "subject_known": [True, True, False]}))
    '1 person, 1 presentation of unknown persons'
    """
    known = int(table.loc[table["subject_known"], "subject"].nunique())
    unknown = int((~table["subject_known"]).sum())
    parts = [f"{known} person{'s' * (known != 1)}"] if known or not unknown else []
    parts += [f"{unknown} presentation{'s' * (unknown != 1)} of unknown persons"] if unknown else []
    return ", ".join(parts)


def rows_of_split(manifest: Manifest, split: str | None) -> tuple[Manifest, str]:
    """Return the presentations of a split and its name, by default of `test` if there is one, else all.

    Raises InputError where there are none.
    """
    if split not in (None, "all", *SPLITS):
        raise SettingsError(
            f"no split {split!r}: expected train, val, test or all{did_you_mean(split, [*SPLITS, 'all'])}"
        )
    held = set(manifest.table["split"]) - {""}
    name = split or ("test" if "test" in held else "all")
    part = manifest if name == "all" else manifest.where(name)
    if not len(part):
        has = f"it has {', '.join(sorted(held))}" if held else "it has no splits; `bonaface data split` assigns them"
        raise InputError(f"the manifest has no presentation in split {name!r}: {has}")
    return part, name


def _check(manifest: Manifest, progress: Progress | None) -> pd.DataFrame:
    """Decode the first frame of every file; return `path` and `reason` of those without one."""

    def fault(path: Path) -> str:
        try:
            with Frames(path, count=1) as frames:
                return "" if any(True for _ in frames) else "no frame could be decoded"
        except MediaError as error:
            return str(error)

    report = partial(progress, "check") if progress else None
    with ThreadPoolExecutor() as pool:
        reasons = list(counted(pool.map(fault, manifest.files()), report, len(manifest)))
    found = pd.DataFrame({"path": manifest.table["path"], "reason": reasons})
    return found[found["reason"] != ""].reset_index(drop=True)
