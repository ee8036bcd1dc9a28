"""From a trained network to a bundle, and from a run's bundle to one with variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.config import ModelSettings, Recipe, load_recipe
from bonaface.data.crop_store import CropStore, fill_store, load_crop
from bonaface.data.cropping import crop_face
from bonaface.data.manifest import Manifest, read_manifest
from bonaface.errors import BundleError, InputError, needs_extra
from bonaface.evaluation.scores import read_scores
from bonaface.inference.backends import load_backend
from bonaface.inference.bundle import Bundle, change_bundle, load_bundle, make_bundle, write_bundle
from bonaface.inference.bundle_schema import BundleCard, DetectorCard, InputCard, OutputCard
from bonaface.inference.scoring import score_manifest
from bonaface.io import json_safe, now, versions
from bonaface.types import Box, Progress, Status
from bonaface.workflows.operating_points import Assessment, assess, choose_operating_points
from bonaface.workflows.variants import (
    FEWEST_FRAMES,
    VARIANTS,
    Frames,
    Points,
    VariantName,
    check_processor,
    make_variants,
)

if TYPE_CHECKING:
    from bonaface.models.network import LivenessNet


PARITY_CROPS = 64
"""Crops, spread over the stored ones, on which the exported network must agree with torch."""
EXPORT_CROPS = 256
"""The same when a run is exported by itself."""
CALIBRATION_CROPS = 300
"""Crops of train that int8 takes its ranges from."""
COMPARED_FRAMES = 1200
"""And on at most so many, to limit the time."""


@dataclass(frozen=True)
class Exported:
    """A bundle that was written, and how far its ONNX network differs from torch."""

    path: Path
    bundle: Bundle
    parity: Mapping[str, float]


def export(
    run: str | Path,
    *,
    output: str | Path,
    openvino: bool = False,
    bf16: bool = False,
    int8: bool = False,
    licence: str | None = None,
    crops: str | Path | None = None,
    detector_weights: Path | None = None,
    root: str | Path | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a finished run's bundle, with variants where they are asked for, and verify it against PyTorch.

    Crops of the run pass through torch and through the ONNX network first.

    Args:
        run: the run folder of a finished training.
        output: the bundle to write: a zip where its name ends in `.bonaface` or `.zip`, else a folder.
        openvino: whether to add the variant `openvino`, in f32.
        bf16: whether to add the variant `bf16`, for processors that have it.
        int8: whether to add the variant `int8`, which takes minutes.
        licence: what the card says of the network's use.
        crops: the run's crop store, if it moved.
        detector_weights: the file of the detector's weights, by default the cached download.
        root: the folder of the run's footage, if it moved.
        progress: called with stage, done and total.

    Returns:
        The bundle, and how far it differs from PyTorch.

    Raises:
        BundleError: the outputs differ, or a variant changes more decisions than accepted; nothing is written then.
        InputError: the run is not finished, or its crops are gone.

    Examples:
        ```python
        exported = bonaface.export("run", output="model.bonaface", licence="MIT")
        print(exported.bundle.id, exported.parity["max_logit_difference"])
        ```
    """
    folder = Path(run)
    bundle = load_bundle(folder)
    wanted: list[VariantName] = [name for name, asked in zip(VARIANTS, (openvino, bf16, int8), strict=True) if asked]
    check_processor(wanted)
    for name in ("recipe.yaml", "manifest.csv"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} has no {name}; expected the run folder that `bonaface train -o RUN` writes")
    settings, manifest = load_recipe(folder / "recipe.yaml"), read_manifest(folder / "manifest.csv", root=root)
    if detector_weights is not None:
        settings = settings.model_copy(
            update={"crop": settings.crop.model_copy(update={"weights": Path(detector_weights)})}
        )
    kept = settings.data.crops
    # Where the store of the training is gone, the run folder gets one of its own.
    where = Path(crops) if crops is not None else kept if kept is not None and kept.is_dir() else folder / "crops"
    store = fill_store(manifest, where, settings.crop, min_face=settings.model.min_face, progress=progress)
    usable = _usable(store.table, folder)
    parity = _compare_with_torch(bundle, settings, usable)
    tables = {name: folder / "scores" / f"{name}.csv" for name in ("test", "val", "widened")}
    scores = {name: read_scores(path) for name, path in tables.items() if path.is_file()}
    split = next((name for name in ("test", "val") if name in scores), None)
    bundle = change_bundle(
        bundle,
        path=Path(output),
        training={**bundle.card.training, "parity": parity},
        licence=bundle.card.licence if licence is None else licence,
        results=results_of(assess(scores[split], bundle), split) if split else bundle.card.results,
        variants={},
    )
    if wanted:
        points = partial(_points, manifest=manifest, settings=settings, widened=scores.get("widened"))
        frames = _frames(bundle, usable, manifest, settings)
        bundle = make_variants(bundle, wanted, frames, points=points, progress=progress)
    write_bundle(bundle)
    return Exported(Path(output), bundle, parity)


def export_network(
    network: LivenessNet,
    path: Path,
    settings: Recipe,
    manifest: Manifest,
    store: CropStore,
    *,
    training: Mapping[str, Any],
) -> Bundle:
    """Return a draft of the bundle of a trained network: without thresholds, which its scores on validation decide.

    Raises BundleError if the exported network's logits differ from torch's.
    """
    from bonaface.models.network import network_bytes
    from bonaface.models.onnx_export import check_parity, export_onnx

    onnx = export_onnx(network)
    parity = check_parity(
        network,
        onnx,
        _crops(_spread_over(store.table[store.table["status"] == Status.OK.value], PARITY_CROPS), settings.model),
    )
    card = BundleCard(
        name=f"{settings.model.name}-{path.resolve().parent.name}",
        created=now(),
        files={},
        architecture=settings.model.name,
        network={
            **settings.model.model_dump(mode="json", exclude={"ensemble_with"}),
            "weights": Path(settings.model.weights).name,
        },
        input=InputCard(size=settings.model.input_size),
        output=OutputCard(),
        crop_scale=settings.model.crop_scale,
        resize=settings.crop.resize,
        min_face=settings.model.min_face,
        detector=DetectorCard(name=settings.crop.detector, identity=store.detector_identity),
        training={
            **training,
            "initial_weights": dict(network.about),
            "manifest": manifest.digest,
            "datasets": sorted(set(manifest.table["dataset"])),
            "presentations": {split: len(manifest.where(split)) for split in ("train", "val", "test")},
            "versions": versions(),
            "parity": asdict(parity),
        },
        notes=manifest.notes,
    )
    return make_bundle(path, card, {"model.onnx": onnx, "model.safetensors": network_bytes(network)})


def results_of(assessment: Assessment, split: str) -> dict[str, Any]:
    """Return an assessment's error rates as the card holds them: at the bundle's thresholds, with counts and intervals."""
    results: dict[str, Any] = {"split": split}
    for kind, evaluation in assessment.evaluations.items():
        measures = json_safe(assessment.measures(kind))
        results[kind] = {
            "title": assessment.titles[kind],
            **{key: measures[key] for key in ("counts", "apcer", "bpcer", "far", "frr", "hter")},
            "auc": json_safe(evaluation.ranking.auc),
        }
    return results


def _usable(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    usable = table[table["status"] == Status.OK.value]
    if not len(usable):
        reason = "; ".join(sorted({str(reason) for reason in table["reason"] if reason})[:1])
        raise InputError(
            f"the run in {folder} has no crop{f' ({reason})' if reason else ''} to compare the exported network on; "
            "name its footage with --root, or its crop store with --crops"
        )
    return usable


def _compare_with_torch(bundle: Bundle, settings: Recipe, usable: pd.DataFrame) -> dict[str, float]:
    with needs_extra("exporting a run"):
        from bonaface.models.network import network_from_bytes
        from bonaface.models.onnx_export import check_parity
    if "model.safetensors" not in bundle.card.files or not bundle.card.network:
        raise BundleError(
            f"{bundle.path} holds no model.safetensors to compare model.onnx with; export a run of `bonaface train`"
        )
    network = network_from_bytes(
        bundle.contents["model.safetensors"], ModelSettings.model_validate(bundle.card.network)
    )
    return asdict(
        check_parity(network, bundle.contents["model.onnx"], _crops(_spread_over(usable, EXPORT_CROPS), settings.model))
    )


def _points(bundle: Bundle, *, manifest: Manifest, settings: Recipe, widened: pd.DataFrame | None) -> Points:
    """Choose a variant's thresholds on validation, by the criterion that chose those of `model.onnx`.

    `widened` are the simulated presentations that widened it, as `model.onnx` scored them.
    """
    point = bundle.use(None).operating_point("video")
    scored = score_manifest(
        bundle,
        manifest.where("val"),
        frames=point.frames,
        fusion=point.fusion,
        detector_weights=settings.crop.weights,
    )
    return choose_operating_points(
        scored.table, criterion=point.criterion, frames=point.frames, fusion=point.fusion, widened=widened
    )


def _frames(bundle: Bundle, usable: pd.DataFrame, manifest: Manifest, settings: Recipe) -> Frames:
    """Calibrate on train alone; compare on validation and on the frames of train that calibrate nothing.

    Where those are fewer than needed, their mirror images are added.
    """
    split_of = dict(zip(manifest.table["path"], manifest.table["split"], strict=True))
    splits = usable["path"].map(split_of)
    train = usable[splits == "train"]
    calibration = _spread_over(train, min(CALIBRATION_CROPS, -(-len(train) // 2)))
    rows = _spread_over(pd.concat([usable[splits == "val"], train.drop(index=calibration.index)]), COMPARED_FRAMES)
    what = f"{len(rows)} stored frames of val and train, none of which calibrated int8"
    mirrored = max(FEWEST_FRAMES - len(rows), 0)
    if mirrored:
        what += f", and the mirror images of {'all' if mirrored >= len(rows) else 'some'} of them"
    compared = _with_mirrored(_crops(rows, settings.model), mirrored)
    added = np.zeros(len(compared))
    if (ensemble := bundle.card.ensemble) and bundle.second:
        view = settings.model.model_copy(update={"crop_scale": ensemble.crop_scale, "input_size": ensemble.input.size})
        added = ensemble.weight * load_backend(bundle.second).run(_with_mirrored(_crops(rows, view), mirrored))[0]
    return Frames(
        compared, added, what, _crops(calibration, settings.model), f"{len(calibration)} stored frames of train"
    )


def _with_mirrored(crops: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    return np.concatenate([crops, crops[:count, :, ::-1]]) if count else crops


def _spread_over(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return `count` of the rows, evenly spaced; all of them where there are fewer."""
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))]


def _crops(rows: pd.DataFrame, model: ModelSettings) -> NDArray[np.uint8]:
    """Return the crops `(n, size, size, 3)` of stored frames as the network sees them."""
    boxes = [Box(*map(float, row)) for row in rows[["x", "y", "w", "h"]].to_numpy()]
    crops = [
        crop_face(load_crop(file), box, scale=model.crop_scale, size=model.input_size)
        for file, box in zip(rows["file"].tolist(), boxes, strict=True)
    ]
    return np.stack(crops) if crops else np.empty((0, model.input_size, model.input_size, 3), np.uint8)
