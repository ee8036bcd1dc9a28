"""Bundles that no training here made: written around a third party's ONNX file, downloaded by name, or recalibrated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from bonaface.data.downloads import cache_folder, fetch, sha256_of
from bonaface.data.faces.detector import load_detector
from bonaface.errors import BundleError, SettingsError, describe_validation_error, did_you_mean, format_list
from bonaface.inference.backends import load_backend
from bonaface.inference.bundle import Bundle, load_bundle, make_bundle, write_bundle
from bonaface.inference.bundle_schema import BundleCard, DetectorCard, InputCard, OutputCard
from bonaface.inference.model_zoo import OPEN_MODELS
from bonaface.inference.onnx_import import check_output, input_of, output_of, read_network
from bonaface.io import now
from bonaface.io.storage import is_remote
from bonaface.types import Progress

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
    if is_remote(bundle) or Path(bundle).exists():
        return load_bundle(bundle)
    if name not in OPEN_MODELS or OPEN_MODELS[name].input is None:
        hint = did_you_mean(name, OPEN_MODELS)
        raise BundleError(
            f"no bundle at {name} and no open model of that name{hint}; expected a bundle, a run folder, or one of "
            f"{format_list(key for key, model in OPEN_MODELS.items() if model.input)}"
        )
    weights = Path(detector_weights) if detector_weights else None
    given = f"-{sha256_of(weights)[:8]}" if weights and weights.is_file() else ""  # the bundle names its detector
    kept = cache_folder() / f"{name}-{version('bonaface')}{given}.bonaface"
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
