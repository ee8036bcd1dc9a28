"""A crop store in miniature: bona fide squares are smooth, attacks are striped, so that anything can learn them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bonaface.config import Recipe, load_recipe
from bonaface.data.manifest import Manifest, make_manifest

SMALL = (
    "model.name=test_efficientnet",
    "model.weights=none",
    "model.input_size=64",
    "model.crop_scale=1.5",
    "training.batch_size=4",
    "training.workers=0",
    "training.accelerator=cpu",
    "training.learning_rate=0.002",
)


class Stored(NamedTuple):
    manifest: Manifest
    crops: pd.DataFrame


def square(rng: np.random.Generator, *, attack: bool, side: int = 96) -> np.ndarray:
    ramp = np.linspace(60, 190, side)[None, :, None] + rng.uniform(-40, 40, (1, 1, 3))
    stripes = 30 * np.sign(np.sin(np.arange(side) * 1.4))[:, None, None] if attack else 0
    noise = rng.normal(0, 3, (side, side, 3))
    return np.clip(ramp + stripes + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """12 presentations to train on and 8 to validate on, three stored frames each."""
    folder = Path(tmp_path_factory.mktemp("store"))
    rng = np.random.default_rng(0)
    rows, frames = [], []
    for number in range(20):
        attack = number % 2 == 1
        split = "train" if number < 12 else "val"
        name = f"{number:02d}.mp4"
        rows.append(
            {
                "path": name,
                "label": "attack" if attack else "bona_fide",
                "species": "print" if attack else "",
                "subject": f"p{number // 2}",
                "dataset": "tiny",
                "split": split,
            }
        )
        for frame in range(3):
            file = folder / f"{number:02d}-{frame}.png"
            Image.fromarray(square(rng, attack=attack)).save(file)
            frames.append(
                {
                    "path": name,
                    "frame": frame,
                    "status": "ok",
                    "file": str(file),
                    "x": 30.0,
                    "y": 28.0,
                    "w": 36.0,
                    "h": 40.0,
                }
            )
    return Stored(make_manifest(pd.DataFrame(rows), folder), pd.DataFrame(frames))


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("demo", (*SMALL, "training.epochs=2"))
