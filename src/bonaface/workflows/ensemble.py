"""Add a second network to a trained one: the bundle's logit is the weighted sum of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bonaface.config import Recipe
from bonaface.data.cropping import MAX_ENLARGEMENT, crop_face
from bonaface.data.faces.detector import load_detector
from bonaface.errors import SettingsError
from bonaface.inference.backends import load_backend
from bonaface.inference.bundle import Bundle, change_bundle
from bonaface.inference.bundle_schema import ENSEMBLE_FILE, EnsembleCard
from bonaface.types import Box, Progress
from bonaface.workflows.bundle import find_bundle


class SecondNetwork:
    """The second network of an ensemble, ready to run; `bundle` is the one that it comes from."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._backend = load_backend(bundle)

    def __call__(self, faces: Sequence[tuple[NDArray[np.uint8], Box]]) -> NDArray[np.float64]:
        """Return a logit for each picture and the box of the face in it."""
        scale, size = self.bundle.card.crop_scale, self.bundle.card.input.size
        crops = [crop_face(picture, box, scale=scale, size=size) for picture, box in faces]
        return self._backend.run(np.stack(crops))[0]


def second_network(settings: Recipe, *, progress: Progress | None = None) -> SecondNetwork | None:
    """Return the network that `model.ensemble_with` names; None where it names none.

    Raises SettingsError where its faces are found or cropped in another way than the recipe's, BundleError, DownloadError.
    """
    name, weights = settings.model.ensemble_with, settings.crop.weights
    if not name:
        return None
    # The open models were made with YuNet; the weights of another detector are refused below.
    bundle = find_bundle(
        name, detector_weights=weights if settings.crop.detector == "yunet" else None, progress=progress
    )
    if bundle.card.ensemble:
        raise SettingsError(f"model.ensemble_with={name} is an ensemble itself; name a bundle of one network")
    if misfits := list(_misfits(bundle, settings)):
        raise SettingsError(f"the recipe does not fit model.ensemble_with={name}; add {' '.join(misfits)}")
    identity = load_detector(settings.crop.detector, weights=weights).identity
    if bundle.card.detector.identity != identity:
        raise SettingsError(
            f"model.ensemble_with={name} was made with the face detector {bundle.card.detector.identity}, but the recipe's "
            f"is {identity}; make that bundle again with this one (pull or from-onnx)"
        )
    return SecondNetwork(bundle)


def _misfits(bundle: Bundle, settings: Recipe) -> Iterator[str]:
    """Yield the settings with which the recipe's crops hold what the second network needs to see."""
    card, model = bundle.card, settings.model
    if card.detector.name != settings.crop.detector:
        yield f"crop.detector={card.detector.name}"
    if card.resize != settings.crop.resize:
        yield f"crop.resize={'' if card.resize is None else card.resize}"
    if card.crop_scale > model.crop_scale:
        yield f"model.crop_scale={card.crop_scale:g}"
    least = card.input.size * model.crop_scale / card.crop_scale / MAX_ENLARGEMENT
    if model.input_size < least:
        yield f"model.input_size={int(np.ceil(least))}"


def add_second(bundle: Bundle, second: Bundle, *, weight: float) -> Bundle:
    """Return the bundle, in memory, with the other's network as its second one."""
    card = second.card
    ensemble = EnsembleCard(
        name=card.name,
        bundle=second.id,
        licence=card.licence,
        input=card.input,
        output=card.output.model_copy(update={"embedding": None}),
        crop_scale=card.crop_scale,
        weight=weight,
        training=card.training,
    )
    return change_bundle(bundle, files={ENSEMBLE_FILE: second.contents["model.onnx"]}, ensemble=ensemble)


def ensemble_notes(bundle: Bundle, second: Bundle) -> Iterator[str]:
    """Yield the second bundle's notes, and one where both networks were trained on the same dataset."""
    name = second.card.name
    yield from (f"{name}: {note}" for note in second.card.notes)
    known, own = (set(each.card.training.get("datasets", ())) for each in (second, bundle))
    if both := sorted(known & own):
        yield (
            f"{name} was trained on {', '.join(both)}, too; if its training had subjects of this test split, the error rates "
            "are too low"
        )
