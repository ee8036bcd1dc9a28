"""Grad-CAM pictures of images, videos, folders, or of a whole manifest, and the gallery of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.config import ModelSettings
from bonaface.data.crop_store import boxes_of
from bonaface.data.manifest import Manifest, read_manifest
from bonaface.data.sources import Source, Sources, expand
from bonaface.errors import BundleError, InputError, needs_extra
from bonaface.inference.bundle import Bundle
from bonaface.inference.bundle_schema import OperatingPoint
from bonaface.inference.decision import PresentationResult, verdict_of
from bonaface.inference.pipeline import Pipeline
from bonaface.inference.scoring import score_manifest, sources_of
from bonaface.inference.verdict import Verdict
from bonaface.io import TABLE_SUFFIXES, new_folder
from bonaface.report.pictures import GalleryItem, contact_sheet, strip
from bonaface.types import Progress, Status, counted
from bonaface.workflows.bundle import find_bundle
from bonaface.workflows.operating_points import KINDS, rows_of
from bonaface.workflows.prepare import rows_of_split

if TYPE_CHECKING:
    from bonaface.models.network import LivenessNet


Explainer = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Gives heat maps `(n, size, size)` in 0..1 of what speaks for bona fide in crops, and of what speaks for attack."""


@dataclass(frozen=True)
class Explained:
    """The pictures that were written, the verdict on each presentation, and what the inputs were found to be."""

    path: Path
    pictures: tuple[Path, ...]
    verdicts: tuple[Verdict, ...]
    sources: Sources = field(default_factory=Sources)

    @property
    def complete(self) -> bool:
        """Whether there is a picture, and every presentation has a score."""
        return bool(self.pictures) and all(verdict.score is not None for verdict in self.verdicts)


def explain(
    bundle: str | Path | Bundle,
    *inputs: str | Path,
    output: str | Path,
    frames: int = 6,
    count: int = 6,
    split: str | None = None,
    frames_as_video: bool = False,
    detector_weights: str | Path | None = None,
    root: str | Path | None = None,
    progress: Progress | None = None,
) -> Explained:
    """Write a picture for each input: each crop, and over it what spoke for bona fide and what for attack (Grad-CAM).

    Inputs are found as `predict` finds them. Of an ensemble the first network alone is explained. A video gives a strip of
    frames, a manifest one gallery: the most wrong presentations, and the most certain of each class.

    Args:
        bundle: the bundle, its path, or the run folder that holds it.
        inputs: pictures, videos, folders, globs or a manifest.
        output: the folder for the pictures.
        frames: frames of a video in its strip.
        count: pictures in a row of a manifest's gallery.
        split: the split of a manifest, by default `test` where there is one.
        frames_as_video: whether the pictures of a folder are the frames of one presentation.
        detector_weights: the file of the detector's weights, by default the cached download.
        root: the folder that a manifest's paths are relative to, if it moved.
        progress: called with stage, done and total.

    Returns:
        The verdicts, and the paths of the pictures.

    Raises:
        InputError: an input does not exist.
        BundleError: the network cannot be explained.

    Examples:
        ```python
        explained = bonaface.explain("run/bundle", "photo.jpg", "clip.mp4", output="why")
        print(explained.pictures)
        ```
    """
    model = find_bundle(bundle, detector_weights=detector_weights, progress=progress)
    if not inputs:
        raise InputError("nothing to explain: name images, videos, folders, a glob or a manifest")
    paths = [Path(item) for item in inputs]
    tables = [path for path in paths if path.suffix.lower() in TABLE_SUFFIXES and path.is_file()]
    found = expand([path for path in paths if path not in tables], frames_as_video=frames_as_video)
    galleries = [(path, rows_of_split(read_manifest(path, root=root), split)[0]) for path in tables]
    explainer = explainer_of(model)
    names: list[str] = []
    verdicts: list[Verdict] = []
    with new_folder(output, what="pictures") as folder:
        if found.items:
            report = partial(progress, "explain") if progress else None
            with Pipeline(model, detector_weights=detector_weights) as pipeline:
                explained = _explained(pipeline, found.items, explainer, frames)
                for verdict, picture in counted(explained, report, len(found.items)):
                    verdicts.append(verdict)
                    if picture is not None:
                        names.append(f"{len(verdicts):03d}-{Path(verdict.source).stem}.png")
                        (folder / names[-1]).write_bytes(picture)
        for path, manifest in galleries:
            for group, picture in _galleries(model, manifest, explainer, count, detector_weights, progress):
                names.append(f"{path.stem}-{group}.png")
                (folder / names[-1]).write_bytes(picture)
    return Explained(Path(output), tuple(Path(output) / name for name in names), tuple(verdicts), found)


def _explained(
    pipeline: Pipeline, sources: list[Source], explainer: Explainer, frames: int
) -> Iterator[tuple[Verdict, bytes | None]]:
    """The verdict on each presentation and its picture, None where there is no crop."""
    points = {kind: pipeline.bundle.operating_point(kind) for kind in KINDS}
    # The verdict rests on as many frames as its threshold was chosen for, whatever is drawn.
    for result in pipeline.score(sources, frames=lambda source: points[source.kind].frames, keep_crops=True):
        point = points[result.source.kind]
        verdict = verdict_of(result, point, bundle=pipeline.bundle.id)
        drawn = result
        if point.frames not in (1, frames):
            (drawn,) = pipeline.score([result.source], frames=frames, keep_crops=True)
        items = _frames(drawn, explainer, verdict)
        title, subtitle = Path(verdict.source).name, f"{verdict.outcome}, {verdict.describe()}"
        if pipeline.bundle.card.ensemble:
            subtitle += "; maps of the first network alone"
        yield verdict, strip(items, title=title, subtitle=subtitle) if items else None


def _galleries(
    model: Bundle,
    manifest: Manifest,
    explainer: Explainer,
    count: int,
    detector_weights: str | Path | None,
    progress: Progress | None,
) -> Iterator[tuple[str, bytes]]:
    """The contact sheet of each group of a manifest's presentations."""
    point = model.operating_point("video")
    report = partial(progress, "score") if progress else None
    scored = score_manifest(model, manifest, detector_weights=detector_weights, progress=report)
    items = gallery(
        model,
        manifest,
        rows_of(scored.table, point, "video"),
        point=point,
        count=count,
        detector_weights=detector_weights,
        explainer=explainer,
    )
    for group in dict.fromkeys(item.group for item in items):
        if shown := [item for item in items if item.group == group and item.pictures()]:
            yield group, contact_sheet(shown)


def _frames(result: PresentationResult, explainer: Explainer, verdict: Verdict) -> list[GalleryItem]:
    """The frames of one presentation that have a crop, each with its maps."""
    if result.crops is None or not len(result.crops):
        return []
    scored = [frame for frame in result.frames if frame.status is Status.OK]
    return [
        GalleryItem(
            presentation=result.source.name,
            label="",
            group="frames",
            crop=crop,
            bona_fide=bona_fide,
            attack=attack,
            score=frame.score,
            threshold=verdict.threshold,
            note="" if frame.time is None else f"{frame.time:.2f} s",
        )
        for frame, crop, bona_fide, attack in zip(scored, result.crops, *explainer(result.crops), strict=True)
    ]


def explainer_of(bundle: Bundle, network: LivenessNet | None = None) -> Explainer:
    """Return Grad-CAM through a bundle's weights, or through `network`, which was built with them.

    Raises MissingExtraError without torch, BundleError for a bundle without weights that carry gradients, InputError for
    a network that keeps no map of features over the picture.
    """
    if "model.safetensors" not in bundle.card.files or not bundle.card.network:
        raise BundleError(
            f"{bundle.path} holds no model.safetensors of a network that Bonaface can build; "
            "Grad-CAM needs gradients, which an ONNX file alone does not give"
        )
    with needs_extra("explaining a verdict"):
        from bonaface.models.grad_cam import grad_cam, refuse_without_map
        from bonaface.models.network import network_from_bytes
    if network is None:
        settings = ModelSettings.model_validate(bundle.card.network)
        network = network_from_bytes(bundle.contents["model.safetensors"], settings)
    refuse_without_map(network)
    return partial(grad_cam, network)


def pick(rows: pd.DataFrame, *, logit_threshold: float, count: int) -> dict[str, list[int]]:
    """Return the positions of the presentations to look at, by group of the gallery, each presentation once.

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
    detector_weights: str | Path | None = None,
    detector: str | None = None,
    explainer: Explainer | None = None,
) -> list[GalleryItem]:
    """Return the presentations worth looking at, each with the crop of its first scored frame; with an explainer both maps."""
    picked = pick(rows, logit_threshold=point.logit_threshold, count=count)
    wanted = {str(rows["presentation"].iloc[place]) for places in picked.values() for place in places}
    sources = [source for source in sources_of(manifest) if source.name in wanted]
    with Pipeline(bundle, detector_weights=detector_weights, boxes=boxes_of(manifest), detector=detector) as pipeline:
        scored = pipeline.score(sources, frames=point.frames, keep_crops=True)
        results = {result.source.name: result for result in scored}
    items = []
    for group, places in picked.items():
        for place in places:
            row = rows.iloc[place]
            crops = results[str(row["presentation"])].crops
            crop = crops[0] if crops is not None and len(crops) else None
            bona_fide = attack = None
            if crop is not None and explainer is not None:
                (bona_fide,), (attack,) = explainer(crop[None])
            scored = row["status"] == Status.OK.value
            item = GalleryItem(
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
            items.append(item)
    return items
