"""Which presentations to look at, their crops, and the regions that decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.config import ModelSettings
from bonaface.data.crop_store import boxes_of
from bonaface.data.manifest import Manifest
from bonaface.errors import BundleError, MissingExtraError
from bonaface.inference.bundle import Bundle, OperatingPoint
from bonaface.inference.pipeline import Pipeline
from bonaface.inference.scoring import sources_of
from bonaface.report.pictures import GalleryItem
from bonaface.types import Status

__all__ = ["Explainer", "gallery", "pick"]


class Explainer:
    """Grad-CAM through a bundle's weights.

    Raises MissingExtraError without torch, BundleError for a bundle without weights that carry gradients, InputError for
    a network that keeps no map of features over the picture.
    """

    def __init__(self, bundle: Bundle) -> None:
        if "model.safetensors" not in bundle.card.files or not bundle.card.network:
            raise BundleError(
                f"{bundle.path} holds no model.safetensors of a network that Bonaface can build; "
                "Grad-CAM needs gradients, which an ONNX file alone does not give"
            )
        try:
            from bonaface.models.grad_cam import grad_cam, refuse_without_map
            from bonaface.models.network import network_from_bytes
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("bonaface"):
                raise
            raise MissingExtraError("train", needed_for="explaining a verdict") from None
        settings = ModelSettings.model_validate(bundle.card.network)
        self._network = network_from_bytes(bundle.contents["model.safetensors"], settings)
        refuse_without_map(self._network)
        self._grad_cam = grad_cam

    def maps(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Heat maps `(n, size, size)` in 0..1 of what speaks for bona fide, and of what speaks for attack."""
        return (
            self._grad_cam(self._network, crops, outcome="bona_fide"),
            self._grad_cam(self._network, crops, outcome="attack"),
        )


def pick(rows: pd.DataFrame, *, logit_threshold: float, count: int) -> dict[str, list[int]]:
    """Positions of the presentations to look at, by group of the gallery, each presentation once.

    `rows` has one row a presentation. `wrong` are farthest from the threshold first, then the most certain of each class,
    then those without a score.
    """
    scored = (rows["status"] == Status.OK.value).to_numpy()
    margin = rows["logit"].to_numpy(dtype=float) - logit_threshold
    bona_fide = (rows["label"] == "bona_fide").to_numpy()
    wrong = scored & ((margin >= 0) != bona_fide)
    groups = {
        "wrong": (wrong, -np.abs(margin)),
        "certain_bona_fide": (scored & ~wrong & bona_fide, -margin),
        "certain_attack": (scored & ~wrong & ~bona_fide, margin),
        "failed": (~scored, np.zeros(len(rows))),
    }
    picked = {}
    for name, (members, order) in groups.items():
        places = np.flatnonzero(members)
        picked[name] = [int(place) for place in places[np.argsort(order[places], kind="stable")][:count]]
    return {name: places for name, places in picked.items() if places}


def gallery(
    bundle: Bundle,
    manifest: Manifest,
    rows: pd.DataFrame,
    *,
    point: OperatingPoint,
    count: int,
    detector_weights: Path | None = None,
    detector: str | None = None,
    explainer: Explainer | None = None,
) -> list[GalleryItem]:
    """The presentations worth looking at, each with the crop of its first judged frame and, with an explainer, both maps."""
    picked = pick(rows, logit_threshold=point.logit_threshold, count=count)
    wanted = {str(rows["presentation"].iloc[place]) for places in picked.values() for place in places}
    sources = [source for source in sources_of(manifest) if source.name in wanted]
    pipeline = Pipeline(bundle, detector_weights=detector_weights, boxes=boxes_of(manifest), detector=detector)
    samples = {sample.source.name: sample for sample in pipeline.score(sources, frames=point.frames, keep_crops=True)}
    items = []
    for group, places in picked.items():
        for place in places:
            row = rows.iloc[place]
            crops = samples[str(row["presentation"])].crops
            crop = crops[0] if crops is not None and len(crops) else None
            bona_fide = attack = None
            if crop is not None and explainer is not None:
                (bona_fide,), (attack,) = explainer.maps(crop[None])
            items.append(_item(row, group, point, crop, bona_fide, attack))
    return items


def _item(
    row: Any,
    group: str,
    point: OperatingPoint,
    crop: NDArray[np.uint8] | None,
    bona_fide: NDArray[np.float32] | None,
    attack: NDArray[np.float32] | None,
) -> GalleryItem:
    scored = row["status"] == Status.OK.value
    return GalleryItem(
        presentation=str(row["presentation"]),
        label=str(row["label"]),
        group=group,
        crop=crop,
        bona_fide=bona_fide,
        attack=attack,
        species=str(row["species"]),
        score=float(row["score"]) if scored else None,
        threshold=point.threshold,
        accepted=bool(row["logit"] >= point.logit_threshold) if scored else None,
        status=str(row["status"]),
    )
