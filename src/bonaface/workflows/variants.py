"""Variants of a bundle: other forms of its network, each compared with `model.onnx` before it is accepted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import BundleError
from bonaface.inference.backends import as_network_input, computes_bf16, load_backend
from bonaface.inference.bundle import Bundle, change_bundle
from bonaface.inference.bundle_schema import Comparison, OperatingPoint, VariantCard
from bonaface.types import Progress, percent, probability

VariantName = Literal["openvino", "bf16", "int8"]
VARIANTS: tuple[VariantName, ...] = ("openvino", "bf16", "int8")
FEWEST_FRAMES = 1000
"""A variant is compared with `model.onnx` on at least so many frames."""
MOST_CHANGED = 0.005
"""The share of frames whose decision a variant may change."""
Points = dict[Literal["image", "video"], OperatingPoint]
_OPENVINO = ("openvino.xml", "openvino.bin")
_INT8 = ("int8.xml", "int8.bin")


@dataclass(frozen=True)
class Frames:
    """What variants are made and compared with: crops `(n, size, size, 3)`.

    `calibration` are of the train split alone; `what` and `calibrated_on` describe the crops. `added_logits` are what
    an ensemble's second network adds to the logits of those compared.
    """

    compared: NDArray[np.uint8]
    added_logits: NDArray[np.float64]
    what: str
    calibration: NDArray[np.uint8]
    calibrated_on: str


def check_processor(names: Sequence[VariantName]) -> None:
    """Raise BundleError if one of these variants cannot be measured, and so not made, on this processor."""
    if "bf16" in names and not computes_bf16():
        raise BundleError(
            "this processor does not compute in bf16, so the variant bf16 cannot be measured and is not written; "
            "leave --bf16 out, or export on one that does"
        )


def make_variants(
    bundle: Bundle,
    names: Sequence[VariantName],
    frames: Frames,
    *,
    points: Callable[[Bundle], Points],
    progress: Progress | None = None,
) -> Bundle:
    """Return the bundle with these variants, in memory; `points` chooses thresholds on validation for what it is given.

    Raises BundleError if the frames are too few, or if a variant changes more decisions than accepted.
    """
    if len(frames.compared) < FEWEST_FRAMES:
        raise BundleError(
            f"variants are compared with model.onnx on at least {FEWEST_FRAMES} frames, and there are "
            f"{len(frames.compared)} ({frames.what}); store more with crop.frames, or leave the variants out"
        )
    check_processor(names)
    reference = _logits(bundle.use(None), frames)
    for name in VARIANTS:
        if name in names:
            make = _int8 if name == "int8" else partial(_openvino, name=name)
            bundle = _accept(make(bundle, frames, reference, progress), bundle, frames, reference, points)
    return bundle


def _openvino(bundle: Bundle, *_: Any, name: VariantName) -> Bundle:
    from bonaface.models.openvino_export import openvino_files

    files = {file: bundle.contents[file] for file in _OPENVINO if file in bundle.contents}
    if not files:
        files = dict(zip(_OPENVINO, openvino_files(bundle.contents["model.onnx"]), strict=True))
    card = VariantCard(backend="openvino", precision="bf16" if name == "bf16" else "f32", files=_OPENVINO)
    return _candidate(bundle, name, card, files)


def _int8(bundle: Bundle, frames: Frames, reference: NDArray[np.float64], progress: Progress | None) -> Bundle:
    from bonaface.models.openvino_export import Files, search_int8

    card = VariantCard(backend="openvino", precision="int8", files=_INT8, calibrated_on=frames.calibrated_on)
    threshold = bundle.use(None).operating_point("image").logit_threshold

    def candidate(files: Files) -> Bundle:
        return _candidate(bundle, "int8", card, dict(zip(_INT8, files, strict=True)))

    def changed(files: Files) -> int:
        return _changed(_logits(candidate(files), frames), threshold, reference, threshold)

    found = search_int8(
        bundle.contents["model.onnx"],
        as_network_input(frames.calibration, bundle.card.input),
        changed=changed,
        limit=_limit(reference),
        progress=partial(progress, "int8") if progress else None,
    )
    attempts = ", ".join(f"{name}: {count}" for name, count in found.tried.items())
    search = f"frames that changed by what stayed in f32, in the order tried: {attempts}"
    card = card.model_copy(update={"left_alone": found.left_alone, "search": search})
    return candidate(found.files)


def _candidate(bundle: Bundle, name: str, card: VariantCard, files: dict[str, bytes]) -> Bundle:
    return change_bundle(bundle, files=files, variants={**bundle.card.variants, name: card}).use(name)


def _accept(
    candidate: Bundle,
    bundle: Bundle,
    frames: Frames,
    reference: NDArray[np.float64],
    points: Callable[[Bundle], Points],
) -> Bundle:
    """Return the candidate with its own thresholds and the comparison in its card. Raises BundleError."""
    from bonaface.models.onnx_export import LOGIT_TOLERANCE, PROBABILITY_TOLERANCE, ROUNDING_SPAN

    name, card = candidate.variant, candidate.card.variants[candidate.variant]
    logits, own = _logits(candidate, frames), points(candidate)
    threshold = bundle.use(None).operating_point("image").logit_threshold
    found = Comparison(
        frames=len(logits),
        changed=_changed(logits, own["image"].logit_threshold, reference, threshold),
        what=frames.what,
        max_logit_difference=float(np.abs(logits - reference).max()),
        max_probability_difference=float(np.abs(probability(logits) - probability(reference)).max()),
        logit_range=float(np.ptp(reference - frames.added_logits)),
    )
    if found.changed > _limit(reference):
        raise BundleError(
            f"variant {name} changes the decision on {found.changed} of {found.frames} frames "
            f"({percent(found.changed / found.frames)}; accepted: {100 * MOST_CHANGED:g} %); leave it out"
        )
    apart = found.max_logit_difference / max(found.logit_range, ROUNDING_SPAN)
    close = found.max_probability_difference <= PROBABILITY_TOLERANCE and apart <= LOGIT_TOLERANCE
    if card.precision == "f32" and not close:
        raise BundleError(
            f"variant {name} computes in f32 but its scores differ from those of model.onnx: probabilities by up to "
            f"{found.max_probability_difference:.2g} (accepted: {PROBABILITY_TOLERANCE:g}), logits by up to {apart:.2g} "
            f"of their range (accepted: {LOGIT_TOLERANCE:g}); try another version of OpenVINO"
        )
    done = card.model_copy(update={"operating_points": own, "comparison": found})
    return change_bundle(candidate, variants={**candidate.card.variants, name: done})


def _changed(
    logits: NDArray[np.float64], threshold: float, reference: NDArray[np.float64], reference_threshold: float
) -> int:
    return int(((logits >= threshold) != (reference >= reference_threshold)).sum())


def _limit(reference: NDArray[np.float64]) -> int:
    return math.floor(MOST_CHANGED * len(reference))


def _logits(bundle: Bundle, frames: Frames) -> NDArray[np.float64]:
    return load_backend(bundle).run(frames.compared)[0] + frames.added_logits
