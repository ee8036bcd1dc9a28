"""From trained weights to a bundle: exported, and held against torch on real crops before it is written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.crops.square import crop_face
from bonaface.data.crops.store import CropStore, load_crop
from bonaface.data.manifest import Manifest
from bonaface.errors import writing
from bonaface.runtime.bundle import Bundle, BundleCard, DetectorCard, InputCard, OutputCard, make_bundle
from bonaface.settings import Recipe
from bonaface.verdicts import Box
from bonaface.workflows.folders import now, versions

__all__ = ["export_bundle"]

PARITY_CROPS = 64
"""Crops, spread over the stored ones, on which the exported network must agree with torch."""


def export_bundle(
    run: Path, settings: Recipe, manifest: Manifest, store: CropStore, weights: Path, *, training: Mapping[str, Any]
) -> Bundle:
    """A bundle from trained weights, in memory and without thresholds: validation has still to be scored through it.

    Raises BundleError where the exported network does not give torch's logits.
    """
    from bonaface.model.export import check_parity, export_onnx
    from bonaface.model.network import load_network

    network = load_network(weights, settings.model)
    crops = _some_crops(store.table, settings)
    work = run / ".export"
    with writing(work):
        work.mkdir(exist_ok=True)
    try:
        with writing(work):
            onnx = export_onnx(network, work / "model.onnx", input_size=settings.model.input_size)
        parity = check_parity(network, onnx, crops)
        files = {"model.onnx": onnx.read_bytes(), "model.safetensors": weights.read_bytes()}
    finally:
        shutil.rmtree(work, ignore_errors=True)
    card = BundleCard(
        name=f"{settings.model.name}-{run.resolve().name}",
        created=now(),
        files={},
        architecture=settings.model.name,
        network=settings.model.model_dump(mode="json"),
        input=InputCard(size=settings.model.input_size),
        output=OutputCard(),
        crop_scale=settings.model.crop_scale,
        detector=DetectorCard(name=settings.crop.detector, identity=store.detector_identity),
        training={
            **training,
            "manifest": manifest.digest,
            "datasets": sorted(set(manifest.table["dataset"])),
            "presentations": {split: len(manifest.where(split)) for split in ("train", "val", "test")},
            "versions": versions(),
            "parity": {"crops": len(crops), **parity.to_dict()},
        },
        notes=manifest.notes,
    )
    return make_bundle(run / "bundle", card, files)


def _some_crops(table: pd.DataFrame, settings: Recipe) -> NDArray[np.uint8]:
    """Crops `(n, size, size, 3)` as the network sees them, evenly spaced over the usable stored frames."""
    usable = table[table["file"] != ""]
    chosen = usable.iloc[np.unique(np.linspace(0, len(usable) - 1, PARITY_CROPS).astype(int))]
    model = settings.model
    boxes = [Box(*map(float, row)) for row in chosen[["x", "y", "w", "h"]].to_numpy()]
    return np.stack(
        [
            crop_face(load_crop(file), box, scale=model.crop_scale, size=model.input_size)
            for file, box in zip(chosen["file"].tolist(), boxes, strict=True)
        ]
    )
