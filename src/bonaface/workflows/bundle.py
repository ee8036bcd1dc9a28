"""Bundles that no training here made: written around a third party's ONNX file, downloaded by name, or recalibrated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from bonaface.config import describe_validation_error
from bonaface.data.downloads import cache_folder, fetch, sha256_of
from bonaface.data.faces.detector import load_detector
from bonaface.errors import BundleError, ScoreTableError, SettingsError, did_you_mean, format_list, needs_extra
from bonaface.inference.backends import load_backend
from bonaface.inference.bundle import Bundle, load_bundle, make_bundle, write_bundle
from bonaface.inference.bundle_schema import BundleCard, DetectorCard, InputCard, OperatingPoint, OutputCard
from bonaface.inference.model_zoo import OPEN_MODELS
from bonaface.inference.onnx_import import check_output, input_of, output_of, read_network
from bonaface.io import now, read_table
from bonaface.types import FusionRule, Label, Progress

if TYPE_CHECKING:
    import pandas as pd

    from bonaface.evaluation.scores import HigherIs

RANGES: Mapping[str, tuple[float, float, float]] = {
    "0..1": (255.0, 0.0, 1.0),
    "0..255": (1.0, 0.0, 1.0),
    "-1..1": (127.5, 1.0, 1.0),
}
"""Ranges of a network's pixels, as divisor, mean and standard deviation of `(pixel / divisor - mean) / std`."""


OUTPUT_TYPE = re.compile(r"logit|probability|(logits|softmax)\[\d+\]")


def find_bundle(
    bundle: str | Path | Bundle, *, detector_weights: str | Path | None = None, progress: Progress | None = None
) -> Bundle:
    """Return a bundle: one that is loaded, a bundle's or run's path, or the name of an open model.

    An open model is downloaded once, and the bundle around it kept in the cache folder. Raises BundleError, DownloadError.
    """
    if isinstance(bundle, Bundle):
        return bundle
    name = str(bundle)
    if Path(bundle).exists():
        return load_bundle(bundle)
    if name not in OPEN_MODELS or OPEN_MODELS[name].input is None:
        hint = did_you_mean(name, OPEN_MODELS)
        raise BundleError(
            f"no bundle at {name} and no open model of that name{hint}; expected a bundle, a run folder, or one of "
            f"{format_list(key for key, model in OPEN_MODELS.items() if model.input)}"
        )
    kept = cache_folder() / f"{name}-{version('bonaface')}.bonaface"
    try:
        return load_bundle(kept)
    except BundleError:  # none yet, or damaged
        made = pull_bundle(name, output=kept, detector_weights=detector_weights, progress=progress)
        assert isinstance(made, Bundle)
        return made


def bundle_from_onnx(
    network: str | Path,
    *,
    output: str | Path,
    output_type: str,
    crop_scale: float,
    size: int | None = None,
    layout: str | None = None,
    colour: str = "RGB",
    pixels: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    output_name: str | None = None,
    embedding: str | None = None,
    detector: str = "yunet",
    detector_weights: str | Path | None = None,
    name: str | None = None,
    licence: str = "",
    source: str = "",
) -> Bundle:
    """Write a bundle around a third party's ONNX network, so that it is measured and served by the same code as ours.

    The network is run on a few pictures before anything is written.

    Args:
        network: an ONNX file with one image input.
        output: the bundle to write: a zip where its name ends in `.bonaface` or `.zip`, else a folder.
        output_type: `logit`, `probability`, `logits[i]` or `softmax[i]`, where i is the bona fide class.
        crop_scale: the side of the crop over the longer side of the face box.
        size: the side of the input in pixels, where the file leaves it open.
        layout: `NCHW` or `NHWC`, where the file leaves it open.
        colour: `RGB` or `BGR`.
        pixels: the range of the pixels: `0..1`, `0..255` or `-1..1`.
        mean: then subtracted, one number or one a channel.
        std: then divided by, one number or one a channel.
        output_name: the output to use, where there are several.
        embedding: the output that is an embedding.
        detector: the face detector, `yunet`, `haar`, `boxes` or `whole_frame`.
        detector_weights: the file of its weights, by default the cached download.
        name: the bundle's name, by default the file's.
        licence: the licence of the network.
        source: where the network was published.

    Returns:
        The bundle, with the threshold 0.5 until it is calibrated.

    Raises:
        BundleError: the network's outputs cannot be what `output_type` says, or are the same for all pictures.
        SettingsError: an option is not one that is known.

    Examples:
        ```python
        peer = bonaface.bundle_from_onnx(
            "network.onnx", output="peer", output_type="softmax[0]", pixels="0..1", crop_scale=1.5, detector="haar"
        )
        print(peer.id)
        ```
    """
    if not OUTPUT_TYPE.fullmatch(output_type):
        raise SettingsError(
            f"--output-type {output_type}: expected logit, probability, logits[i] or softmax[i], where i counts from 0 and "
            "is the bona fide class"
        )
    path = Path(network)
    foreign = read_network(path)
    given = input_of(foreign, size=size, layout=layout)
    answer = output_of(foreign, output_name)
    divisor, offset, spread = RANGES[_known_range(pixels, foreign.dtype)]
    if foreign.dtype == "uint8" and (mean is not None or std is not None):
        raise BundleError(f"{path} takes whole pixels (uint8), to which --mean and --std do not apply; leave them out")
    weights = None if detector_weights is None else Path(detector_weights)
    try:
        card = BundleCard(
            name=name or path.stem,
            created=now(),
            files={},
            architecture=path.stem,
            input=InputCard(
                **given,
                colour=colour,
                divisor=divisor,
                mean=_three("--mean", mean, offset),
                std=_three("--std", std, spread),
            ),
            output=OutputCard(name=answer, meaning=output_type, embedding=embedding),
            crop_scale=crop_scale,
            detector=DetectorCard(name=detector, identity=load_detector(detector, weights=weights).identity),
            licence=licence,
            training={"published as": source or path.name, "sha256 of the network": sha256_of(path)},
            notes=("made from a published network: its training data and its error rates are as its makers say",),
        )
    except ValidationError as error:
        raise BundleError(describe_validation_error(error, BundleCard)) from None
    check_output(foreign, card.input, card.output)
    made = make_bundle(Path(output), card, {"model.onnx": foreign.content})
    load_backend(made, threads=1)
    write_bundle(made)
    return made


def calibrate_bundle(
    bundle: str | Path | Bundle,
    scores: str | Path | pd.DataFrame,
    *,
    output: str | Path,
    criterion: str = "eer",
    frames: int | None = None,
    fusion: FusionRule | None = None,
    higher_is: HigherIs = "bona_fide",
    allow_low_scores: bool = False,
    detector_weights: str | Path | None = None,
    threads: int | None = None,
    root: str | Path | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Write a bundle with thresholds that a criterion picks on its own scores of validation presentations.

    Bona fide footage of one's own camera alone is enough for `bpcer<=X`. The notes of the new thresholds then say how far
    the camera's scores are from those of the bundle's validation. The variants are left out, since their thresholds were
    chosen otherwise.

    Args:
        bundle: the bundle, its path, or the run folder that holds it.
        scores: footage that the bundle will not be tested on: a score table that `evaluate` wrote with this bundle, or a
            manifest, which is scored first (its split val where it has one).
        output: the bundle to write.
        criterion: `eer`, `hter`, `bpcer20`, `apcer<=0.01`, `bpcer<=0.05` or `fixed=0.5`.
        frames: frames of a video to fuse, by default the bundle's number.
        fusion: `mean`, `median`, `max_attack` or `first`, by default the bundle's.
        higher_is: what a higher score in the table means, `bona_fide` or `attack`.
        allow_low_scores: accept bona fide footage that scores like the attacks of the bundle's validation.
        detector_weights: the file of the detector's weights, by default the cached download.
        threads: threads to use, by default one per core.
        root: the folder that the paths of a manifest are relative to.
        progress: called with the stage `score`, done and total.

    Returns:
        The new bundle; its card says what chose the thresholds.

    Raises:
        ScoreTableError: the scores are of a different bundle, of split test, rank attacks above bona fide presentations, or
            are bona fide alone and of unknown subjects, of one subject, or like those of attacks.
        SettingsError: the criterion or an option is not known.

    Examples:
        ```python
        done = bonaface.calibrate_bundle("run/bundle", "val.csv", criterion="apcer<=0.1", output="strict")
        print(done.operating_point("video").threshold)
        ```
    """
    with needs_extra("bonaface.calibrate_bundle"):
        from bonaface.evaluation.scores import read_scores, turned_round
        from bonaface.workflows.assess import choose_points, refuse_inverted, rows_of

    model = find_bundle(bundle)
    given: pd.DataFrame
    if not isinstance(scores, str | Path):
        given = scores
    elif _is_manifest(Path(scores)):
        given = _scored(model, Path(scores), detector_weights, threads, root, progress)
    else:
        given = read_scores(scores)
    table, _ = turned_round(given, higher_is)
    systems = sorted({str(name) for name in table["system"].unique()}) if "system" in table else []
    if systems and systems != [model.card.name]:
        raise ScoreTableError(
            f"the scores are of {format_list(systems)}, the bundle is {model.card.name}; score validation with this bundle"
        )
    if "logit" not in table or table["logit"].isna().all():
        raise ScoreTableError(
            "the scores have no logits (column logit), which a bundle decides on; expected a table that "
            "`bonaface evaluate` wrote with this bundle, complete"
        )
    point = model.operating_point("video")
    points = choose_points(table, criterion=criterion, frames=frames or point.frames, fusion=fusion or point.fusion)
    if (table["label"] == Label.ATTACK).any():
        refuse_inverted(table)  # after a test split was refused, whose ranking says nothing about the bundle
    else:
        for kind, each in points.items():
            rows = rows_of(table, each, kind)
            points[kind] = _with_shift(each, rows, model.operating_point(kind), allow_low_scores)
    kept = {name: content for name, content in model.contents.items() if not _of_a_variant(name, model.card)}
    card = model.card.model_copy(update={"operating_points": points, "variants": {}, "results": {}})
    done = make_bundle(Path(output), card, {name: kept[name] for name in kept if name in model.card.files})
    write_bundle(done)
    return done


def _is_manifest(path: Path) -> bool:
    if not path.is_file():
        return False
    columns = read_table(path, error=ScoreTableError).columns
    return "path" in columns and "presentation" not in columns


def _scored(
    model: Bundle,
    path: Path,
    detector_weights: str | Path | None,
    threads: int | None,
    root: str | Path | None,
    progress: Progress | None,
) -> pd.DataFrame:
    """Return the bundle's scores of a manifest's split val, or of all of it where it has no splits."""
    from bonaface.data.manifest import read_manifest
    from bonaface.inference.scoring import score_manifest
    from bonaface.workflows.prepare import part_of

    manifest = read_manifest(path, root=root)
    part, _ = part_of(manifest, "val" if "val" in set(manifest.table["split"]) else "all")
    report = partial(progress, "score") if progress else None
    return score_manifest(model, part, detector_weights=detector_weights, threads=threads, progress=report).table


def _with_shift(
    point: OperatingPoint, rows: pd.DataFrame, before: OperatingPoint, allow_low_scores: bool
) -> OperatingPoint:
    """Return a threshold from bona fide footage alone with a note on how its scores differ from those of validation."""
    from bonaface.evaluation.arrays import ScoreArrays
    from bonaface.evaluation.own_camera import camera_shift, like_attacks

    arrays = ScoreArrays.from_table(rows)
    if (question := like_attacks(arrays, before.chosen_on)) and not allow_low_scores:
        raise ScoreTableError(
            f"{question} If so, training with this footage helps more than a threshold; to choose one all the same add "
            "--allow-low-scores"
        )
    notes = (*point.warnings, camera_shift(arrays, before.chosen_on), question)
    return replace(point, warnings=tuple(note for note in notes if note))


def _of_a_variant(name: str, card: BundleCard) -> bool:
    return any(name in variant.files for variant in card.variants.values())


def pull_bundle(
    name: str,
    *,
    output: str | Path | None = None,
    detector_weights: str | Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Bundle | Path:
    """Download a published model, verify its sha256 and write a bundle around it.

    The face detector that it needs is downloaded as well.

    Args:
        name: the name of an open model, such as `minifas-128`.
        output: the bundle to write, by default `NAME.bonaface` in the current folder.
        detector_weights: the file of the detector's weights, by default the cached download.
        cache: the folder of downloads, by default the user's cache.
        progress: called with stage, done and total.

    Returns:
        The bundle; for a model that is not a liveness network, such as a face detector, the path of its file.

    Raises:
        SettingsError: there is no open model of that name.
        DownloadError: a file cannot be downloaded, or is not the one that was published.

    Examples:
        ```python
        bundle = bonaface.pull_bundle("minifas-128")
        ```
    """
    if name not in OPEN_MODELS:
        raise SettingsError(
            f"no open model {name!r}{did_you_mean(name, OPEN_MODELS)}; expected {', '.join(OPEN_MODELS)}, "
            "or any ONNX file through `bonaface bundle from-onnx`"
        )
    model = OPEN_MODELS[name]
    report = partial(progress, "download") if progress else None
    file = fetch(model.asset, cache=cache, progress=report)
    if model.input is None or model.output is None or model.crop_scale is None:
        return file
    if detector_weights is None:
        detector_weights = fetch(OPEN_MODELS["yunet"].asset, cache=cache, progress=report)
    return bundle_from_onnx(
        file,
        output=output or f"{name}.bonaface",
        output_type=model.output.meaning,
        crop_scale=model.crop_scale,
        size=model.input.size,
        layout=model.input.layout,
        colour=model.input.colour,
        pixels="0..1",
        output_name=model.output.name,
        detector_weights=detector_weights,
        name=name,
        licence=model.asset.licence,
        source=model.asset.url,
    )


def _known_range(pixels: str | None, dtype: str) -> str:
    if dtype == "uint8":
        if pixels not in (None, "0..255"):
            raise BundleError(f"the network takes whole pixels (uint8), but --range is {pixels}; leave --range out")
        return "0..255"
    if pixels is None:
        raise BundleError(f"add the range of the network's pixels: --range {', or '.join(RANGES)}")
    if pixels not in RANGES:
        raise SettingsError(f"no range {pixels!r}; expected {', '.join(RANGES)}{did_you_mean(pixels, RANGES)}")
    return pixels


def _three(option: str, values: Sequence[float] | None, otherwise: float) -> tuple[float, float, float]:
    if values is None:
        return (otherwise, otherwise, otherwise)
    if len(values) not in (1, 3):
        raise SettingsError(f"{option} has {len(values)} numbers; expected one, or three with commas, a channel each")
    first, second, third = values if len(values) == 3 else tuple(values) * 3
    return (float(first), float(second), float(third))
