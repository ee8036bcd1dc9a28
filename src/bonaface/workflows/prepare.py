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

from bonaface.config import CropSettings
from bonaface.data.crop_store import CropStore, fill_store
from bonaface.data.datasets.registry import index as index_layout
from bonaface.data.frames import open_frames
from bonaface.data.identity import settle_names
from bonaface.data.manifest import SPLITS, Manifest, read_manifest, write_manifest
from bonaface.data.splits import split_manifest
from bonaface.errors import InputError, MediaError, SettingsError, did_you_mean, few
from bonaface.types import Progress

__all__ = ["Cropped", "Indexed", "counts_line", "crop", "index", "part_of", "split"]


@dataclass(frozen=True)
class Indexed:
    """A manifest that was made or changed; `unreadable` has `path` and `reason` where every file was opened."""

    manifest: Manifest
    path: Path | None = None
    unreadable: pd.DataFrame | None = None

    def summary(self) -> str:
        """What stands in the manifest, in a few lines."""
        lines = [counts_line(self.manifest), *_split_lines(self.manifest)]
        left_out = self.manifest.about.get("left_out")
        if isinstance(left_out, Mapping) and any(left_out.values()):
            lines.append("left out: " + ", ".join(f"{count} {what}" for what, count in left_out.items() if count))
        lines += [f"note: {note}" for note in self.manifest.notes]
        if self.unreadable is not None:
            lines.append(f"unreadable: {len(self.unreadable)} of {len(self.manifest)}")
            pairs = zip(self.unreadable["path"].tolist(), self.unreadable["reason"].tolist(), strict=True)
            lines += [f"  {path}: {reason}" for path, reason in pairs]
        if self.path:
            lines.append(f"written: {self.path}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Cropped:
    """A crop store and what it could not hold."""

    store: CropStore
    path: Path
    manifest: Manifest

    def summary(self) -> str:
        """How many frames are stored, and every presentation without one, with the reason."""
        table, unusable = self.store.table, self.store.unusable
        usable = int((table["status"] == "ok").sum())
        lines = [
            f"{usable} of {len(table)} frames of {len(self.manifest)} presentations have a face, stored in {self.path}"
        ]
        if len(unusable):
            lines.append(f"without a usable frame: {len(unusable)} of {len(self.manifest)} presentations")
            for path, status, reason in unusable[["path", "status", "reason"]].to_numpy(dtype=str).tolist():
                lines.append(f"  {path}: {status}" + (f" ({reason})" if reason else ""))
        lines += [f"note: {path}: {note}" for path, note in self.store.notes.items()]
        return "\n".join(lines)


def index(
    root: str | Path,
    *,
    layout: str = "folder",
    output: str | Path | None = None,
    protocol: str | None = None,
    fold: int | None = None,
    split: str | None = None,
    pattern: str | None = None,
    mapping: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    table: str | Path | None = None,
    boxes: bool | None = None,
    dataset: str | None = None,
    allow_missing: bool = False,
    same_person: bool = False,
    distinct: bool = False,
    check: bool = False,
    progress: Progress | None = None,
) -> Indexed:
    """Make a dataset's manifest from the names of its files, and write it where `output` is given.

    `table` is that of layout `csv`, where `root` is the folder of its footage; `boxes` reads the dataset's own face
    boxes, by default those of CelebA-Spoof. `check` opens every file as well. Raises ManifestError where the folder does
    not look like the layout.
    """
    manifest = index_layout(
        root,
        layout,
        protocol=protocol,
        fold=fold,
        split=split,
        pattern=pattern,
        mapping=mapping,
        columns=columns,
        table=table,
        boxes=boxes,
        dataset=dataset,
        allow_missing=allow_missing or None,
        progress=partial(progress, "names") if progress else None,
    )
    manifest = settle_names(manifest, same_person=same_person, distinct=distinct)
    unreadable = _check(manifest, progress) if check else None
    if output is not None:
        write_manifest(manifest, output)
    return Indexed(manifest, Path(output) if output else None, unreadable)


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
    """Assign persons to train, val and test, and write the manifest back, or to `output`.

    `val` and `test` are fractions of the persons (0.2 each by default) or the persons themselves; those named nowhere
    train. Where one is named and the other is a fraction, it is one of the persons who are left. Splits in `keep` stay
    as they are, such as a dataset's own `test`. Raises SettingsError for unknown persons.
    """
    read = manifest if isinstance(manifest, Manifest) else read_manifest(manifest, root=root)
    named = {
        name: share
        for name, share in (("val", val), ("test", test))
        if share is not None and not isinstance(share, float | int)
    }
    shares = {name: float(share) for name, share in (("val", val), ("test", test)) if isinstance(share, float | int)}
    done = split_manifest(
        settle_names(read, same_person=same_person, distinct=distinct),
        val=shares.get("val"),
        test=shares.get("test"),
        seed=seed,
        val_subjects=named.get("val"),
        test_subjects=named.get("test"),
        train_subjects=train,
        keep=keep,
    )
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
    root: str | Path | None = None,
    progress: Progress | None = None,
) -> Cropped:
    """Find the faces of every presentation once and store wide squares around them in the folder `output`.

    What the store already holds is kept; an interrupted call goes on where it was. `resize` brings the shorter side of whole
    frames to so many pixels first.
    """
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
        fault = error.errors()[0]
        reason = str(fault["msg"]).removeprefix("Value error, ")
        raise SettingsError(
            f"{fault['loc'][0]}: {reason} (got {fault['input']!r})" if fault["loc"] else reason
        ) from None
    read = manifest if isinstance(manifest, Manifest) else read_manifest(manifest, root=root)
    store = fill_store(read, Path(output), settings, workers=workers, progress=progress)
    return Cropped(store, Path(output), read)


def counts_line(manifest: Manifest) -> str:
    """Presentations, classes, species and persons of a manifest, in one line."""
    table = manifest.table
    labels = table["label"].value_counts()
    attacks = table.loc[table["label"] == "attack", "species"].value_counts()
    named = [f"{count} {name}" for name, count in zip(attacks.index.tolist(), attacks.tolist(), strict=True)]
    species = f" ({few(named, limit=12)})" if named else ""
    persons = table.loc[table["subject_known"], "subject"].nunique()
    unknown = int((~table["subject_known"]).sum())
    who = f"{persons} persons" + (f", {unknown} presentations of unknown persons" if unknown else "")
    return (
        f"{len(table)} presentations: {labels.get('bona_fide', 0)} bona fide, "
        f"{labels.get('attack', 0)} attacks{species}; {who}"
    )


def part_of(manifest: Manifest, split: str | None) -> tuple[Manifest, str]:
    """The presentations of the split that was asked for, and its name; an empty one is an InputError."""
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


def _split_lines(manifest: Manifest) -> list[str]:
    table = manifest.table
    lines = []
    for name in ("train", "val", "test"):
        part = table[table["split"] == name]
        if len(part):
            labels = part["label"].value_counts()
            lines.append(
                f"  {name:<5} {len(part)} presentations of {part['subject'].nunique()} persons: "
                f"{labels.get('bona_fide', 0)} bona fide, {labels.get('attack', 0)} attacks"
            )
    return lines


def _check(manifest: Manifest, progress: Progress | None) -> pd.DataFrame:
    """Open every file to its first frame, and name those that give none."""

    def fault(path: Path) -> str:
        try:
            with open_frames(path, count=1) as frames:
                return "" if any(True for _ in frames) else "no frame could be decoded"
        except MediaError as error:
            return str(error)

    reasons = []
    with ThreadPoolExecutor() as pool:
        for done, reason in enumerate(pool.map(fault, manifest.files()), start=1):
            reasons.append(reason)
            if progress:
                progress("check", done, len(manifest))
    found = pd.DataFrame({"path": manifest.table["path"], "reason": reasons})
    return found[found["reason"] != ""].reset_index(drop=True)
