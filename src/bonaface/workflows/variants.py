"""A bundle's variants: made, given thresholds of their own, and accepted only where verdicts stay as they were."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import BundleError
from bonaface.inference.backends import as_network_input, computes_bf16, load_backend
from bonaface.inference.bundle import Bundle, Comparison, OperatingPoint, VariantCard, change_bundle
from bonaface.types import Progress, probability

__all__ = [
    "FEWEST_FRAMES",
    "MOST_CHANGED",
    "VARIANTS",
    "Frames",
    "Points",
    "VariantName",
    "check_processor",
    "make_variants",
]

VariantName = Literal["openvino", "bf16", "int8"]
VARIANTS: tuple[VariantName, ...] = ("openvino", "bf16", "int8")

MOST_CHANGED = 0.005
"""The share of frames whose verdict a variant may change."""
FEWEST_FRAMES = 1000
"""A variant is held against `model.onnx` on at least so many frames."""
PROBABILITY_TOLERANCE = 1e-4
LOGIT_TOLERANCE = 1e-3
ROUNDING_SPAN = 0.01

Chosen = dict[Literal["image", "video"], OperatingPoint]
Points = Callable[[Bundle], Chosen]
"""The thresholds that validation chooses for a bundle as it scores."""

_BATCH = 32
_OPENVINO = ("openvino.xml", "openvino.bin")
_INT8 = ("int8.xml", "int8.bin")


@dataclass(frozen=True)
class Frames:
    """What variants are made and judged with: crops `(n, size, size, 3)`.

    `calibration` are of the train split alone; `what` and `calibrated_on` say in words which crops they are.
    """

    compared: NDArray[np.uint8]
    what: str
    calibration: NDArray[np.uint8]
    calibrated_on: str


def make_variants(
    bundle: Bundle, names: Sequence[VariantName], frames: Frames, *, points: Points, progress: Progress | None = None
) -> Bundle:
    """The bundle with the variants of these names, in memory, each with its own thresholds.

    Raises BundleError where frames are too few to tell, or where a variant changes more verdicts than is accepted.
    """
    if not names:
        return bundle
    if len(frames.compared) < FEWEST_FRAMES:
        raise BundleError(
            f"variants are held against model.onnx on at least {FEWEST_FRAMES} frames, and there are "
            f"{len(frames.compared)} ({frames.what}); store more with crop.frames, or leave the variants out"
        )
    check_processor(names)
    judge = _Judge(bundle, frames, points)
    for name in VARIANTS:
        if name not in names:
            continue
        int8 = name == "int8"
        bundle = _with_int8(bundle, frames, judge, progress) if int8 else _with_openvino(bundle, name, judge)
    return bundle


def check_processor(names: Sequence[VariantName]) -> None:
    """Raises BundleError where one of these variants cannot be made here, because it could not be measured."""
    if "bf16" in names and not computes_bf16():
        raise BundleError(
            "this processor does not compute in bf16, so the variant bf16 cannot be measured, and what is not measured is "
            "not written; leave --bf16 out, or export where it does"
        )


class _Judge:
    """Holds candidates against `model.onnx`, on the same frames."""

    def __init__(self, bundle: Bundle, frames: Frames, points: Points) -> None:
        self._frames = frames
        self._points = points
        self._threshold = bundle.use(None).operating_point("image").logit_threshold
        self._logits = _logits(bundle.use(None), frames.compared)
        self._range = float(np.ptp(self._logits))
        self._known: dict[tuple[str, ...], Chosen] = {}
        self._last: tuple[tuple[str, ...], NDArray[np.float64]] | None = None

    @property
    def limit(self) -> int:
        """How many frames may change their verdict."""
        return math.floor(MOST_CHANGED * len(self._logits))

    def changed(self, candidate: Bundle) -> int:
        """How many frames change their verdict: at the old threshold, and where few do, at the candidate's own."""
        logits = self._logits_of(candidate)
        count = self._changed(logits, self._threshold)
        return count if count > self.limit else self._changed(logits, self._own(candidate)["image"].logit_threshold)

    def accept(self, candidate: Bundle) -> Bundle:
        """The bundle with the candidate's own thresholds and the comparison in its card. Raises BundleError."""
        logits = self._logits_of(candidate)
        own = self._own(candidate)
        found = Comparison(
            frames=len(logits),
            changed=self._changed(logits, own["image"].logit_threshold),
            what=self._frames.what,
            max_logit_difference=float(np.abs(logits - self._logits).max()),
            max_probability_difference=float(np.abs(probability(logits) - probability(self._logits)).max()),
            logit_range=self._range,
        )
        card = candidate.card.variants[candidate.variant]
        self._check(candidate.variant, card, found)
        done = card.model_copy(update={"operating_points": own, "comparison": found})
        return change_bundle(candidate, variants={**candidate.card.variants, candidate.variant: done})

    def _own(self, candidate: Bundle) -> Chosen:
        """Validation is scored once for each candidate, as it takes longer than all else."""
        key = _content_of(candidate)
        if key not in self._known:
            self._known[key] = self._points(candidate)
        return self._known[key]

    def _logits_of(self, candidate: Bundle) -> NDArray[np.float64]:
        key = _content_of(candidate)
        if self._last is None or self._last[0] != key:
            self._last = key, _logits(candidate, self._frames.compared)
        return self._last[1]

    def _changed(self, logits: NDArray[np.float64], threshold: float) -> int:
        return int(((logits >= threshold) != (self._logits >= self._threshold)).sum())

    def _check(self, name: str, card: VariantCard, found: Comparison) -> None:
        if found.changed > self.limit:
            raise BundleError(
                f"variant {name} changes the verdict of {found.changed} of {found.frames} frames "
                f"({100 * found.changed / found.frames:.2f} %), and {100 * MOST_CHANGED:g} % are accepted; leave it out"
            )
        if card.precision != "f32":
            return
        apart = found.max_logit_difference / max(found.logit_range, ROUNDING_SPAN)
        if not (found.max_probability_difference <= PROBABILITY_TOLERANCE and apart <= LOGIT_TOLERANCE):
            raise BundleError(
                f"variant {name} computes in f32 and still gives other scores than model.onnx: probabilities differ by up "
                f"to {found.max_probability_difference:.2g} (at most {PROBABILITY_TOLERANCE:g} is accepted), logits by up "
                f"to {apart:.2g} of their range (at most {LOGIT_TOLERANCE:g}); another version of OpenVINO may be right"
            )


def _with_openvino(bundle: Bundle, name: VariantName, judge: _Judge) -> Bundle:
    from bonaface.models.openvino_export import openvino_files

    files = {file: bundle.contents[file] for file in _OPENVINO if file in bundle.contents}
    if not files:
        files = dict(zip(_OPENVINO, openvino_files(bundle.contents["model.onnx"]), strict=True))
    precision: Literal["f32", "bf16"] = "bf16" if name == "bf16" else "f32"
    return judge.accept(
        _candidate(bundle, name, VariantCard(backend="openvino", precision=precision, files=_OPENVINO), files)
    )


def _with_int8(bundle: Bundle, frames: Frames, judge: _Judge, progress: Progress | None) -> Bundle:
    from bonaface.models.openvino_export import Files, search_int8

    card = VariantCard(backend="openvino", precision="int8", files=_INT8, calibrated_on=frames.calibrated_on)

    def candidate(files: Files) -> Bundle:
        return _candidate(bundle, "int8", card, dict(zip(_INT8, files, strict=True)))

    found = search_int8(
        bundle.contents["model.onnx"],
        as_network_input(frames.calibration, bundle.card.input),
        changed=lambda files: judge.changed(candidate(files)),
        limit=judge.limit,
        progress=(lambda done, total: progress("int8", done, total)) if progress else None,
    )
    attempts = ", ".join(f"{name}: {count}" for name, count in found.tried.items())
    told = f"frames that changed by what was left in f32, in the order tried: {attempts}"
    card = card.model_copy(update={"left_alone": found.left_alone, "search": told})
    return judge.accept(candidate(found.files))


def _candidate(bundle: Bundle, name: str, card: VariantCard, files: dict[str, bytes]) -> Bundle:
    return change_bundle(bundle, files=files, variants={**bundle.card.variants, name: card}).use(name)


def _content_of(candidate: Bundle) -> tuple[str, ...]:
    card = candidate.card.variants[candidate.variant]
    return (card.precision, *(candidate.card.files[name] for name in card.files))


def _logits(bundle: Bundle, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    backend = load_backend(bundle)
    return np.concatenate([backend.run(crops[start : start + _BATCH])[0] for start in range(0, len(crops), _BATCH)])
