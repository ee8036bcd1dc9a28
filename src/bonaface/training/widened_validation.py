"""Validation widened by simulated cameras and attacks, for thresholds and logits that hold where validation is too easy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from bonaface.config import Recipe
from bonaface.data.attack_simulation.attacks import simulate, simulate_camera
from bonaface.data.cropping import box_in_crop, cut, face_square, resize
from bonaface.data.manifest import Manifest
from bonaface.models.network import LivenessNet
from bonaface.training.augment import Picture
from bonaface.training.loader import frames_for_training
from bonaface.types import Box, Label, Status, counted, fuse_frames, probability

_WIDENED = 4
"""A stream of random numbers; the loader and the trainer use the others."""
SecondLogits = Callable[[Sequence[tuple[Picture, Box]]], NDArray[np.float64]]
"""The logits of an ensemble's second network, for pictures and the box of the face in each."""
PLAIN, CAMERA, ATTACK = "", "another camera", "simulated attack"


def score_widened_validation(
    network: LivenessNet,
    manifest: Manifest,
    crops: pd.DataFrame,
    recipe: Recipe,
    *,
    second: SecondLogits | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Return a score table of a manifest's stored frames: as they are, by another camera, and as simulated attacks.

    Each presentation occurs as it is and through one simulated camera, each bona fide one as a simulated attack too, with
    the same draw for all its frames; the column `widened` says which. Logits of `second` are added to the network's. The
    network is left ready to score.
    """
    network.eval()
    stored = frames_for_training(manifest, crops)
    rows_of = manifest.table.set_index("path")
    rows: list[dict[str, object]] = []
    for index, name in enumerate(counted(stored.names, progress, len(stored))):
        about: dict[str, object] = {
            column: rows_of.at[name, column] for column in ("label", "species", "subject", "dataset", "split")
        }
        first, last = int(stored.start[index]), int(stored.start[index + 1])
        chosen = np.unique(np.linspace(first, last - 1, min(recipe.scoring.frames, last - first)).round().astype(int))
        squares = [stored.load(frame) for frame in chosen.tolist()]
        cropped = [_crop(square, box, recipe) for square, box in squares]
        pictures = [picture for picture, _ in cropped]
        seed = (_WIDENED, recipe.seed, index)
        through = [simulate_camera(picture, np.random.default_rng((*seed, 0))) for picture in pictures]
        views = [(PLAIN, pictures, about), (CAMERA, through, about)]
        if about["label"] == Label.BONA_FIDE.value:
            attacks = [simulate(picture, np.random.default_rng((*seed, 1))) for picture in pictures]
            attack = {**about, "label": Label.ATTACK.value, "species": attacks[0][1]}
            views.append((ATTACK, [picture for picture, _ in attacks], attack))
        for change, seen, described in views:
            with torch.inference_mode():
                logits = network(torch.from_numpy(np.stack(seen)))[0].double().numpy()
            # The second network crops for itself: the stored square, or the simulated picture.
            simulated = [(picture, box) for picture, (_, box) in zip(seen, cropped, strict=True)]
            added = second(squares if change == PLAIN else simulated) if second else 0.0
            rows += _rows(name, change, logits + added, described, recipe)
    table = pd.DataFrame(rows)
    table["frame"] = table["frame"].astype("Int64")
    return table


def _crop(square: Picture, box: Box, recipe: Recipe) -> tuple[Picture, Box]:
    """Return the network's crop, and where the face is in it."""
    scale, size = recipe.model.crop_scale, recipe.model.input_size
    height, width = square.shape[:2]
    cropped = face_square(box, scale=scale, width=width, height=height)
    return resize(cut(square, cropped), size), box_in_crop(box, cropped, size=size)


def _rows(
    name: str, change: str, logits: NDArray[np.float64], about: Mapping[str, object], recipe: Recipe
) -> Iterator[dict[str, object]]:
    fused = float(fuse_frames(logits[None], recipe.scoring.fusion)[0])
    title = f"{name} ({change})" if change else name
    common = {"presentation": title, "widened": change, "status": Status.OK.value, **about}
    for place, value in [(pd.NA, fused), *enumerate(logits.tolist())]:
        yield {**common, "frame": place, "logit": value, "score": float(probability(value))}
