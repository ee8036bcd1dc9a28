"""Validation widened by simulated cameras and attacks, for thresholds and logits that hold where validation is too easy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd
import torch

from bonaface.config import Recipe
from bonaface.data.attack_simulation.attacks import simulate, simulate_camera
from bonaface.data.cropping import crop_face
from bonaface.data.manifest import Manifest
from bonaface.models.network import LivenessNet
from bonaface.training.augment import Picture
from bonaface.training.loader import frames_for_training
from bonaface.types import Label, Status, counted, fuse_frames, probability

_WIDENED = 4
"""A stream of random numbers; the loader and the trainer use the others."""
PLAIN, CAMERA, ATTACK = "", "another camera", "simulated attack"


def score_widened_validation(
    network: LivenessNet,
    manifest: Manifest,
    crops: pd.DataFrame,
    recipe: Recipe,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Return a score table of a manifest's stored frames: as they are, by another camera, and as simulated attacks.

    Each presentation occurs as it is and through one simulated camera, each bona fide one as a simulated attack too, with
    the same draw for all its frames; the column `widened` says which. The network is left ready to score.
    """
    network.eval()
    stored = frames_for_training(manifest, crops)
    described = manifest.table.set_index("path")
    rows: list[dict[str, object]] = []
    for index, name in enumerate(counted(stored.names, progress, len(stored))):
        about: dict[str, object] = {
            column: described.at[name, column] for column in ("label", "species", "subject", "dataset", "split")
        }
        first, last = int(stored.start[index]), int(stored.start[index + 1])
        chosen = np.unique(np.linspace(first, last - 1, min(recipe.scoring.frames, last - first)).round().astype(int))
        pictures = []
        for frame in chosen.tolist():
            square, box = stored.load(frame)
            pictures.append(crop_face(square, box, scale=recipe.model.crop_scale, size=recipe.model.input_size))
        seed = (_WIDENED, recipe.seed, index)
        rows += _rows(network, name, PLAIN, pictures, about, recipe)
        through = [simulate_camera(picture, np.random.default_rng((*seed, 0))) for picture in pictures]
        rows += _rows(network, name, CAMERA, through, about, recipe)
        if about["label"] == Label.BONA_FIDE.value:
            attacks = [simulate(picture, np.random.default_rng((*seed, 1))) for picture in pictures]
            attack = {**about, "label": Label.ATTACK.value, "species": attacks[0][1]}
            rows += _rows(network, name, ATTACK, [picture for picture, _ in attacks], attack, recipe)
    table = pd.DataFrame(rows)
    table["frame"] = table["frame"].astype("Int64")
    return table


def _rows(
    network: LivenessNet, name: str, change: str, pictures: list[Picture], about: Mapping[str, object], recipe: Recipe
) -> Iterator[dict[str, object]]:
    with torch.inference_mode():
        logits, _ = network(torch.from_numpy(np.stack(pictures)))
    values = logits.double().numpy()
    fused = float(fuse_frames(values[None], recipe.scoring.fusion)[0])
    title = f"{name} ({change})" if change else name
    common = {"presentation": title, "widened": change, "status": Status.OK.value, **about}
    for place, value in [(pd.NA, fused), *enumerate(values.tolist())]:
        yield {**common, "frame": place, "logit": value, "score": float(probability(value))}
