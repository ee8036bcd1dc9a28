"""What the crop store's JPEG and size cost: logits from stored squares against logits from the frames themselves.

python benchmarks/storing.py [--bundle RUN/bundle --manifest manifest.csv] [--weights YUNET.onnx]

Without a bundle a network of random weights scores generated videos; with one, its own crops of your footage.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import bonaface
from bonaface.config import CropSettings, ModelSettings
from bonaface.data.crop_store import fill_store, load_crop
from bonaface.data.cropping import crop_face
from bonaface.data.manifest import Manifest
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.inference.bundle import Bundle
from bonaface.inference.pipeline import Pipeline
from bonaface.inference.scoring import score_manifest
from bonaface.types import Box, probability


def main() -> None:
    """Print a row for each size of store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("--manifest", type=Path, default=None)
    parser.add_argument("--weights", type=Path, default=None, help="YuNet's file, where the bundle wants it")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.bundle is None:
            write_demo_dataset(Path(folder) / "footage", persons=6, takes=1, seconds=0.3)
            manifest = bonaface.index(Path(folder) / "footage", layout="folder").manifest
            bundle = random_bundle(manifest, Path(folder))
        else:
            bundle = bonaface.load_bundle(asked.bundle)
            manifest = bonaface.read_manifest(asked.manifest)
        scores = score_manifest(bundle, manifest, frames=1, detector_weights=asked.weights).table
        raw = scores[scores["frame"] == 0].set_index("presentation")["logit"].astype(float)
        print(f"first frames of {len(manifest)} presentations, crop {bundle.card.crop_scale:g} x the face box\n")
        print(
            f"{'store':<26}{'frames':>8}{'max |Δ logit|':>15}{'of range':>10}{'max |Δ p|':>11}{'verdicts changed':>18}"
        )
        for side, quality in ((384, 95), (512, 95), (384, 80), (256, 95)):
            stored = from_store(bundle, manifest, Path(folder) / f"{side}-{quality}", side, quality, asked.weights)
            both = pd.DataFrame({"raw": raw, "stored": stored}).dropna()
            apart = (both["raw"] - both["stored"]).abs()
            chances = np.abs(probability(both["raw"].to_numpy()) - probability(both["stored"].to_numpy()))
            threshold = bundle.operating_point("image").logit_threshold
            changed = int(((both["raw"] >= threshold) != (both["stored"] >= threshold)).sum())
            span = float(np.ptp(both["raw"].to_numpy())) or 1.0
            print(
                f"{f'side {side}, quality {quality}':<26}{len(both):>8}{apart.max():>15.3f}{apart.max() / span:>10.3f}"
                f"{chances.max():>11.4f}{changed:>18}"
            )


def from_store(
    bundle: Bundle, manifest: Manifest, folder: Path, side: int, quality: int, weights: Path | None
) -> pd.Series[float]:
    """The logits of the first frames, cropped out of a store of this size; a Series by presentation."""
    card = bundle.card
    settings = CropSettings.model_validate(
        {"detector": card.detector.name, "weights": weights, "frames": 1, "side": side, "quality": quality}
    )
    table = fill_store(manifest, folder, settings).table
    table = table[(table["status"] == "ok") & (table["frame"] == 0)]
    pipeline = Pipeline(bundle, detector_weights=weights)
    crops: list[NDArray[np.uint8]] = [
        crop_face(load_crop(row.file), Box(row.x, row.y, row.w, row.h), scale=card.crop_scale, size=card.input.size)  # type: ignore[arg-type]
        for row in table.itertuples()
    ]
    logits, _ = pipeline.run_network(np.stack(crops))
    return table.assign(stored=logits).set_index("path")["stored"]


def random_bundle(manifest: Manifest, folder: Path) -> Bundle:
    """A bundle of random weights, trained for no time at all."""
    run = bonaface.train(
        "demo",
        "training.epochs=1",
        "training.workers=0",
        "crop.frames=1",
        "scoring.frames=1",
        f"model.name={ModelSettings().name}",
        manifest=bonaface.split(manifest).manifest,
        output=folder / "run",
        faces=False,
    )
    assert run.bundle is not None
    return bonaface.load_bundle(run.bundle)


if __name__ == "__main__":
    main()
