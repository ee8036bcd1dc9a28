"""Which presentations to look at, their crops, and the regions that decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.manifest import Manifest
from bonaface.errors import BundleError, MissingExtraError
from bonaface.runtime.bundle import Bundle
from bonaface.runtime.pipeline import Pipeline, Sample, Source
from bonaface.runtime.scoring import boxes_of, sources_of
from bonaface.verdicts import FrameScore, Status

__all__ = ["Explainer", "Picture", "Pick", "crops_of", "pick", "plain_pictures"]


@dataclass(frozen=True)
class Pick:
    """A presentation chosen for a gallery, and the row that it stands in."""

    presentation: str
    row: str
    label: str
    species: str
    logit: float
    threshold: float
    accepted: bool

    @property
    def right(self) -> bool:
        """Whether the decision agrees with the label."""
        return self.accepted == (self.label == "bona_fide")


@dataclass(frozen=True)
class Picture:
    """One crop, RGB, with the heat maps `(size, size)` in 0..1 for both outcomes where they can be had."""

    crop: NDArray[np.uint8]
    frame: FrameScore
    bona_fide: NDArray[np.float32] | None = None
    attack: NDArray[np.float32] | None = None


def pick(rows: pd.DataFrame, *, threshold: float, logit_threshold: float, count: int) -> list[Pick]:
    """The presentations to look at: wrong ones, farthest from the threshold first, then the most certain of each class.

    `rows` has one row a presentation. Those without a score are left out: there is nothing to explain in them.
    """
    scored = rows[rows["status"] == Status.OK.value]
    margin = scored["logit"] - logit_threshold
    bona_fide = scored["label"] == "bona_fide"
    wrong = (margin >= 0) != bona_fide
    wanted = [
        ("most wrong", margin[wrong].abs().sort_values(ascending=False, kind="stable")),
        ("most certain bona fide", margin[~wrong & bona_fide].sort_values(ascending=False, kind="stable")),
        ("most certain attack", margin[~wrong & ~bona_fide].sort_values(kind="stable")),
        ("least certain", margin[~wrong].abs().sort_values(kind="stable")),
    ]
    taken: set[object] = set()
    picks = []
    for title, order in wanted:
        for place in [place for place in order.index if place not in taken][:count]:
            taken.add(place)
            row = scored.loc[place]
            picks.append(
                Pick(
                    str(row["presentation"]),
                    title,
                    str(row["label"]),
                    str(row["species"]),
                    float(row["logit"]),
                    threshold,
                    bool(margin[place] >= 0),
                )
            )
    return picks


def crops_of(
    bundle: Bundle, manifest: Manifest, names: Sequence[str], *, frames: int = 1, detector_weights: Path | None = None
) -> dict[str, Sample]:
    """The named presentations scored again, with their crops kept."""
    wanted = set(names)
    sources: list[Source] = [source for source in sources_of(manifest) if source.name in wanted]
    pipeline = Pipeline(bundle, detector_weights=detector_weights, boxes=boxes_of(manifest))
    return {sample.source.name: sample for sample in pipeline.score(sources, frames=frames, keep_crops=True)}


class Explainer:
    """Grad-CAM through a bundle's weights.

    Raises MissingExtraError without torch, BundleError for a bundle without weights that carry gradients.
    """

    def __init__(self, bundle: Bundle) -> None:
        if "model.safetensors" not in bundle.card.files or not bundle.card.network:
            raise BundleError(
                f"{bundle.path} holds no model.safetensors of a network that Bonaface can build; "
                "Grad-CAM needs gradients, which an ONNX file alone does not give"
            )
        try:
            from bonaface.model.explain import grad_cam
            from bonaface.model.network import network_from_bytes
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("bonaface"):
                raise
            raise MissingExtraError("train", needed_for="explaining a verdict") from None
        from bonaface.settings import ModelSettings

        self._network = network_from_bytes(
            bundle.contents["model.safetensors"], ModelSettings.model_validate(bundle.card.network)
        )
        self._grad_cam = grad_cam

    def pictures(self, sample: Sample) -> list[Picture]:
        """Both heat maps of every crop that the sample kept, in frame order."""
        if sample.crops is None or not len(sample.crops):
            return []
        judged = [frame for frame in sample.frames if frame.status is Status.OK]
        bona_fide = self._grad_cam(self._network, sample.crops, outcome="bona_fide")
        attack = self._grad_cam(self._network, sample.crops, outcome="attack")
        return [
            Picture(crop, frame, good, bad)
            for crop, frame, good, bad in zip(sample.crops, judged, bona_fide, attack, strict=True)
        ]


def plain_pictures(sample: Sample) -> list[Picture]:
    """The crops without heat maps, for a bundle or an installation that cannot explain."""
    judged = [frame for frame in sample.frames if frame.status is Status.OK]
    crops = sample.crops if sample.crops is not None else []
    return [Picture(crop, frame) for crop, frame in zip(crops, judged, strict=True)]
