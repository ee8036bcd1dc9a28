"""Recipes: frozen settings, read from YAML with `key=value` overrides; unknown keys are refused by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from bonaface.choices import FusionRule
from bonaface.errors import SettingsError, describe_validation_error, did_you_mean

DetectorName = Literal["yunet", "haar", "boxes", "whole_frame"]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """Base of all settings: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSettings(Settings):
    """The presentations."""

    manifest: Path | tuple[Path, ...] | None = Field(
        None, description="the manifest to train on, or several, such as [a.csv, b.csv]; their `split` column decides"
    )
    root: Path | None = Field(None, description="folder that the manifest's paths are relative to, if it moved")
    crops: Path | None = Field(None, description="crop store to use and fill; by default one inside the run folder")
    allow_leak: bool = Field(False, description="train although a subject occurs in two splits; noted in every report")


class CropSettings(Settings):
    """How faces are found and stored."""

    detector: DetectorName = Field("yunet", description="yunet, haar, boxes (the dataset's own) or whole_frame")
    weights: Path | None = Field(None, description="the detector's weights, if not the cached download")
    frames: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        10, description="frames stored per presentation, spread over it, with the first; or `all`"
    )
    scale: float = Field(2.7, ge=1, le=8, description="side of the stored square over the longer side of the box")
    side: int = Field(384, ge=64, le=2048, description="the stored square is shrunk to at most this many pixels")
    quality: int = Field(95, ge=50, le=100, description="JPEG quality of the stored square")
    resize: int | None = Field(
        None, ge=32, le=2048, description="whole_frame: the frame's shorter side is resized to this many pixels first"
    )

    @model_validator(mode="after")
    def _whole_frames_alone_are_resized(self) -> CropSettings:
        if self.resize is not None and self.detector != "whole_frame":
            raise ValueError(f"resize works with the detector whole_frame; with {self.detector} leave it out")
        return self


class ModelSettings(Settings):
    """The network, and the crop that it sees."""

    name: str = Field("mobilenetv3_large_100", description="any timm model")
    weights: str = Field(
        "imagenet", description="`imagenet` (from the hub), `none`, a .safetensors file, or a run to continue from"
    )
    weights_sha256: str = Field(
        "",
        pattern="^([0-9A-Fa-f]{64})?$",
        description="sha256 of the weights; built in for mobilenetv3_large_100 and mobilenetv3_small_100",
    )
    input_size: int = Field(224, ge=32, le=1024, description="side of the network's input in pixels")
    crop_scale: float = Field(1.5, gt=0, le=8, description="side of the input square over the longer side of the box")
    min_face: float | None = Field(
        None,
        ge=0,
        description="smallest face that is scored, its longer side in pixels; by default a crop is enlarged at most twice",
    )
    drop_rate: Fraction = Field(0.0, description="dropout before the logit")
    ensemble_with: str = Field(
        "",
        description="an open model, such as minifas-128, or a bundle: its logit is added to the trained network's, for cameras "
        "that are not in the footage",
    )


class AugmentSettings(Settings):
    """Augmentation of training crops: probabilities, and ranges as half-widths; zero switches each off."""

    flip: Fraction = Field(0.0, description="probability of a mirrored crop")
    scale_jitter: Fraction = Field(0.0, description="the crop scale is multiplied by 1 ± this")
    shift: Fraction = Field(0.0, description="the crop is shifted by up to this fraction of its side")
    rotate: float = Field(0.0, ge=0, le=180, description="degrees to either side")
    brightness: Fraction = Field(0.0, description="brightness is multiplied by 1 ± this")
    contrast: Fraction = Field(0.0, description="contrast is multiplied by 1 ± this")
    saturation: Fraction = Field(0.0, description="saturation is multiplied by 1 ± this")
    hue: float = Field(0.0, ge=0, le=0.5, description="the hue is turned by up to this fraction of the circle")
    blur: Fraction = Field(0.0, description="probability of a Gaussian blur")
    downscale: Fraction = Field(0.0, description="probability of shrinking and enlarging again")
    jpeg: Fraction = Field(0.0, description="probability of a second JPEG compression, quality 30 to 90")
    noise: Fraction = Field(0.0, description="probability of sensor noise")
    erase: Fraction = Field(0.0, description="probability of an erased rectangle")
    simulate: Fraction = Field(
        0.0, description="probability that a bona fide crop becomes a simulated print or replay, labelled as an attack"
    )


class TrainingSettings(Settings):
    """The optimiser and the training loop."""

    epochs: int = Field(10, ge=1, description="passes over the training presentations, at most")
    batch_size: int = Field(32, ge=1, description="crops of a batch, over all training processes together")
    learning_rate: float = Field(1e-4, gt=0, description="learning rate of Adam at the start")
    weight_decay: float = Field(1e-5, ge=0, description="weight decay of Adam")
    scheduler_factor: float = Field(0.1, gt=0, lt=1, description="ReduceLROnPlateau on the validation loss")
    scheduler_patience: int = Field(
        10, ge=0, description="epochs without a better validation loss before the rate falls"
    )
    early_stopping: int | None = Field(None, ge=1, description="epochs without a better `monitor` before training ends")
    monitor: Literal["val_loss", "val_hter"] = Field(
        "val_loss", description="value whose minimum makes the best checkpoint"
    )
    validate_simulated: int = Field(
        0,
        ge=0,
        description="attacks simulated on each bona fide first frame of validation; they count in its loss, each class with "
        "half the weight; for validation that is too easy to choose an epoch by",
    )
    balance: Literal["none", "weights", "sampler"] = Field(
        "none",
        description="class balance: by loss weights, by sampling (which also draws all datasets alike), or as the data has it",
    )
    frame: Literal["random", "first"] = Field("random", description="which stored frame of a video an epoch uses")
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="labels 0 and 1 become s / 2 and 1 - s / 2 for this s"
    )
    ema_epochs: float = Field(
        0.0,
        ge=0,
        description="the weights are an exponential moving average over about this many epochs; 0 takes the last ones",
    )
    freeze_norm: bool = Field(False, description="keep the BatchNorm statistics of the initial weights")
    precision: Annotated[Literal["32", "16-mixed", "bf16-mixed"], BeforeValidator(str)] = Field(
        "32", description="floating-point format of the training"
    )
    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="what trains; auto takes a GPU where there is one"
    )
    gradient_accumulation: int = Field(
        1,
        ge=1,
        description="batches whose gradients are summed before the optimiser steps, for GPUs with little memory",
    )
    workers: int = Field(2, ge=0, description="loader processes of each training process")

    @model_validator(mode="before")
    @classmethod
    def _torchrun_sets_the_devices(cls, value: object) -> object:
        """Recipes that earlier versions left in run folders hold `devices: 1`."""
        if not isinstance(value, dict) or "devices" not in value:
            return value
        if value["devices"] != 1:
            raise ValueError(
                f"training.devices={value['devices']}: start one process per device with "
                "`torchrun --nproc-per-node=N -m bonaface train ...` instead"
            )
        return {key: part for key, part in value.items() if key != "devices"}


class ScoringSettings(Settings):
    """How presentations are scored with the trained network."""

    frames: int = Field(8, ge=1, description="frames of a video, spread over it, whose scores are fused")
    fusion: FusionRule = Field("mean", description="how the logits of frames are fused")
    widen: bool = Field(
        False,
        description="validation is widened by simulated cameras and attacks, which fits the scale and offset of the logits "
        "and helps to choose the thresholds",
    )
    criterion: str = Field("eer", description="what validation chooses the thresholds by, such as eer or apcer<=0.01")


class Recipe(Settings):
    """All settings of a training, as `bonaface train` reads them and the run folder keeps them."""

    seed: int = Field(0, ge=0, description="seed of every random draw of the training")
    data: DataSettings = DataSettings()
    crop: CropSettings = CropSettings()
    model: ModelSettings = ModelSettings()
    augment: AugmentSettings = AugmentSettings()
    training: TrainingSettings = TrainingSettings()
    scoring: ScoringSettings = ScoringSettings()

    @model_validator(mode="before")
    @classmethod
    def _sections_may_be_empty(cls, value: object) -> object:
        if isinstance(value, dict):
            return {key: {} if part is None and key != "seed" else part for key, part in value.items()}
        return value

    @model_validator(mode="after")
    def _crop_fits_the_store(self) -> Recipe:
        widest = self.model.crop_scale * (1 + self.augment.scale_jitter)
        # A stored square of exactly that size may be a rounding error narrower.
        if self.crop.detector != "whole_frame" and widest > self.crop.scale * (1 + 1e-9):
            raise ValueError(
                f"training crops reach {widest:g} x the box (model.crop_scale {self.model.crop_scale:g}, "
                f"augment.scale_jitter {self.augment.scale_jitter:g}), but crop.scale stores {self.crop.scale:g} x; "
                f"set crop.scale to {math.ceil(100 * widest) / 100:g} or more, or lower the others"
            )
        return self


_RENAMED = {"accumulate": "gradient_accumulation", "average": "ema_epochs"}
"""Keys of `training` in the run folders of drafts, by which they stay readable."""


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with Bonaface, by name.

    Returns:
        The paths of their YAML files.

    Examples:
        >>> import bonaface
        >>> list(bonaface.shipped_recipes())
        ['baseline', 'default', 'demo']
    """
    installed = Path(str(resources.files("bonaface"))) / "recipes"
    folder = installed if installed.is_dir() else Path(__file__).parents[3] / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(source: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Load a recipe from a YAML file, or a shipped one by name, and apply overrides in order.

    Args:
        source: a YAML file, or the name of a shipped recipe.
        overrides: `section.key=value`, such as `training.epochs=20`.

    Returns:
        The recipe, with every setting.

    Raises:
        SettingsError: a key is not known, or a value does not fit.

    Examples:
        >>> import bonaface
        >>> bonaface.load_recipe("default", ["training.epochs=3"]).training.epochs
        3
    """
    values = _read_yaml(_recipe_path(source))
    for override in overrides:
        _override(values, override)
    try:
        return Recipe.model_validate(with_new_keys(values))
    except ValidationError as error:
        raise SettingsError(f"{source}: {describe_validation_error(error, Recipe)}") from None


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML, every value written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def _recipe_path(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    name = path.stem if path.suffix in {".yaml", ".yml"} and path.parent == Path() else str(source)
    if name in shipped:
        return shipped[name]
    raise SettingsError(
        f"no recipe at {source}: expected a YAML file, or one of the shipped recipes "
        f"({', '.join(shipped)}){did_you_mean(name, shipped)}"
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path} holds a {type(values).__name__}; expected sections such as `training:`")
    return values


def with_new_keys(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe with the names that they have today."""
    if not isinstance(training := recipe.get("training"), dict):
        return recipe
    return {**recipe, "training": {_RENAMED.get(key, key): value for key, value in training.items()}}


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise SettingsError(f"{override!r} is not an override; expected section.key=value, such as training.epochs=20")
    *sections, last = key.strip().split(".")
    for section in sections:
        inner = values.get(section)
        if inner is None:
            inner = values[section] = {}
        if not isinstance(inner, dict):
            raise SettingsError(f"{override!r}: {section} is a value, not a section")
        values = inner
    kind = _annotation((*sections, last))
    if kind in (str, Path, Path | None, Path | tuple[Path, ...] | None):
        # A path or free text is taken as it is typed, `#`, numbers and all.
        several = kind == Path | tuple[Path, ...] | None and text.startswith("[") and text.endswith("]")
        values[last] = [item.strip() for item in text[1:-1].split(",")] if several else text or None
        return
    try:
        values[last] = yaml.safe_load(text) if text else None
    except yaml.YAMLError:
        values[last] = text


def _annotation(keys: tuple[str, ...]) -> Any:
    """Return the type of a setting, None for an unknown one."""
    annotation: Any = Recipe
    for key in keys:
        fields: Mapping[str, Any] = getattr(annotation, "model_fields", {})
        if key not in fields:
            return None
        annotation = fields[key].annotation
    return annotation
