"""Merge manifests of several sources into one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from bonaface.data.identity import DISTINCT, declared_distinct
from bonaface.data.manifest import Manifest, make_manifest
from bonaface.errors import ManifestError, format_list
from bonaface.io.storage import is_remote, shown


def merge_manifests(manifests: Sequence[Manifest]) -> Manifest:
    """Return the presentations of all manifests, with paths below the folder that their roots share.

    One manifest is returned as it is. Raises ManifestError where two hold the same dataset, or one does not name its
    dataset: the source of each presentation would not be known.
    """
    if not manifests:
        raise ManifestError("no manifest given; name one or several")
    if len(manifests) == 1:
        return manifests[0]
    _check_datasets(manifests)
    roots = [manifest.root if is_remote(manifest.root) else manifest.root.resolve() for manifest in manifests]
    root = _shared(roots)
    tables, boxes = [], []
    for manifest, own in zip(manifests, roots, strict=True):
        prefix = own.relative_to(root)
        known = np.where(manifest.table["subject_known"].to_numpy(dtype=bool), "true", "false")
        tables.append(manifest.table.assign(path=_below(prefix, manifest.table["path"]), subject_known=known))
        if manifest.boxes is not None:
            boxes.append(manifest.boxes.assign(path=_below(prefix, manifest.boxes["path"])))
    merged = make_manifest(
        pd.concat(tables, ignore_index=True).fillna(""),
        root,
        boxes=pd.concat(boxes, ignore_index=True) if boxes else None,
        about={DISTINCT: [group for manifest in manifests for group in declared_distinct(manifest.about)]},
    )
    notes = [note for manifest in manifests for note in manifest.notes]
    return replace(merged, notes=tuple(dict.fromkeys([*notes, *merged.notes])))


def _shared(roots: Sequence[Path]) -> Path:
    try:
        root = Path(os.path.commonpath(roots))
    except ValueError:  # a folder and an address, or two drives
        root = None
    if root is None or (any(map(is_remote, roots)) and not is_remote(root)):
        raise ManifestError(
            f"the footage lies in {format_list(dict.fromkeys(map(shown, roots)))}, which share no folder or bucket; expected "
            "one for all manifests: copy the footage there and index it"
        )
    return root


def _check_datasets(manifests: Sequence[Manifest]) -> None:
    seen: set[str] = set()
    for manifest in manifests:
        names = set(manifest.table["dataset"])
        where = manifest.source or manifest.root
        if "" in names:
            raise ManifestError(f"{where} does not name its dataset; index it with --dataset NAME")
        if seen & names:
            raise ManifestError(
                f"dataset {format_list(sorted(seen & names))} is in two manifests; index them with different names (--dataset)"
            )
        seen |= names


def _below(prefix: Path, paths: pd.Series) -> list[str]:
    return [(prefix / path).as_posix() for path in paths]
