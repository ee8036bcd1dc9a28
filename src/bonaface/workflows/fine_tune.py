"""Continue from a bundle: check that the recipe fits it, and compare what came out with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from bonaface.config import Recipe
from bonaface.errors import ScoreTableError, SettingsError
from bonaface.evaluation.compare import compare
from bonaface.evaluation.scores import presentations
from bonaface.inference.bundle import Bundle, load_bundle
from bonaface.types import Threshold, percent

BEFORE, AFTER = "before", "after"


def started_from(settings: Recipe) -> tuple[Recipe, Bundle | None]:
    """Return the recipe with the weights file of the bundle that `model.weights` names, and the bundle.

    `model.weights` may be a run folder or a bundle's folder; for anything else the recipe stays as it is, without a bundle.
    Raises SettingsError where the recipe has another network, crop or face detector than the bundle, or the bundle holds no
    weights to train.
    """
    path = Path(settings.model.weights)
    if path.suffix in {".bonaface", ".zip"}:
        raise SettingsError(f"model.weights={path} is a zipped bundle; unzip it, and name the folder")
    if settings.model.weights in {"imagenet", "none"} or not path.is_dir():
        return settings, None
    bundle = load_bundle(path)
    card = bundle.card
    if not card.network or "model.safetensors" not in bundle.contents:
        raise SettingsError(
            f"{bundle.path} holds no weights to train (model.safetensors); name a run of `bonaface train`"
        )
    needed = {
        "model.name": (card.architecture, settings.model.name),
        "model.input_size": (card.input.size, settings.model.input_size),
        "model.crop_scale": (card.crop_scale, settings.model.crop_scale),
        "crop.detector": (card.detector.name, settings.crop.detector),
        "crop.resize": (card.resize, settings.crop.resize),
    }
    misfits = [f"{key}={'' if own is None else own}" for key, (own, asked) in needed.items() if own != asked]
    if misfits:
        raise SettingsError(f"the recipe does not fit {bundle.path}, which it continues from; add {' '.join(misfits)}")
    folder = path / "bundle" if (path / "bundle").is_dir() else path
    model = settings.model.model_copy(update={"weights": str(folder / "model.safetensors")})
    return settings.model_copy(update={"model": model}), bundle


def differences_from(before: Bundle, scores: pd.DataFrame, new_scores: pd.DataFrame, point: Threshold) -> Iterator[str]:
    """Yield a sentence on each dataset: HTER of a video by the bundle before and after, each at its own threshold.

    Both tables are of the same presentations.
    """
    points = {BEFORE: before.operating_point("video"), AFTER: point}
    tables = {BEFORE: presentations(scores), AFTER: presentations(new_scores)}
    known = set(before.card.training.get("datasets", ()))
    for name in sorted(set(tables[AFTER]["dataset"])):
        rows = {system: table[table["dataset"] == name].reset_index(drop=True) for system, table in tables.items()}
        try:
            found = compare(rows, points)
        except ScoreTableError as error:
            yield f"on {name} the bundle that this training started from cannot be compared: {error}"
            continue
        hter = next(each for each in found.differences if each.measure == "hter")
        rates = {system: percent(found.evaluations[system].at[0].hter.value) for system in points}
        verdict = (
            "no difference beyond chance" if not hter.real else f"really {'better' if hter.value < 0 else 'worse'}"
        )
        if hter.reason:
            verdict = f"which cannot be tested ({hter.reason})"
        advice = ""
        if hter.real and hter.value > 0 and name in known:
            advice = ": keep the bundle that this training started from, or train with more of that dataset"
        yield (
            f"on {name or 'the presentations'} ({found.persons} subjects) HTER was {rates[BEFORE]} with the bundle that this "
            f"training started from and is {rates[AFTER]} now, {verdict}{advice}"
        )
