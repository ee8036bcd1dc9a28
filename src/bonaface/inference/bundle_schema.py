"""Schema of `bundle.json`: frozen models of a bundle's input, output, thresholds and variants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from bonaface.choices import FusionRule
from bonaface.inference.quality_limits import Limit, known_limits, pose_limits
from bonaface.types import Threshold, probability

FORMAT = 1
"""Version of the bundle's own format; a reader refuses those it does not know."""

ENSEMBLE_FILE = "ensemble.onnx"
"""The second network of an ensemble."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
Kind = Literal["image", "video"]
Precision = Literal["f32", "bf16", "int8"]


class Card(BaseModel):
    """Base of the models: unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputCard(Card):
    """The network's input: crops of `size` x `size` pixels.

    A floating point network is given `(pixel / divisor - mean) / std` a channel, a `uint8` one the pixels as they are.
    """

    name: str = "crops"
    size: int = Field(224, ge=16, le=2048)
    dtype: Literal["uint8", "float16", "float32", "float64"] = "uint8"
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    colour: Literal["RGB", "BGR"] = "RGB"
    divisor: float = Field(1.0, gt=0)
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


class OutputCard(Card):
    """The network's output: `logit`, `probability`, `logits[i]` or `softmax[i]`, where i is the bona fide class."""

    name: str = "logit"
    meaning: str = Field("logit", pattern=r"^(logit|probability|(logits|softmax)\[\d+\])$")
    embedding: str | None = "embedding"


class DetectorCard(Card):
    """The face detector that the crops were made with; a different one is refused."""

    name: Literal["yunet", "haar", "boxes", "whole_frame"]
    identity: str


@dataclass(frozen=True, kw_only=True)
class OperatingPoint(Threshold):
    """A threshold of a bundle, and what it applies to: the scores of `frames` frames of a video, fused by `fusion`.

    Decisions compare logits: `logit >= logit_threshold` accepts.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    threshold: Annotated[float, Field(ge=0, le=1)]
    logit_threshold: float
    frames: Annotated[int, Field(ge=1)]
    fusion: FusionRule


def _one_threshold(point: OperatingPoint) -> OperatingPoint:
    """Raise ValueError where `logit_threshold`, which decides, does not belong to `threshold`, which is shown."""
    implied, rejected = float(probability(point.logit_threshold)), float(probability(-point.logit_threshold))
    if not (
        math.isclose(implied, point.threshold, rel_tol=1e-4)
        and math.isclose(rejected, 1 - point.threshold, rel_tol=1e-4, abs_tol=1e-15)
    ):
        raise ValueError(
            f"logit_threshold {point.logit_threshold:g} is a probability of {implied:g}, but threshold is "
            f"{point.threshold:g}"
        )
    return point


OperatingPoints = dict[Kind, Annotated[OperatingPoint, AfterValidator(_one_threshold)]]


class Comparison(Card):
    """A variant compared with `model.onnx`, each at its own threshold for one image, on the same frames.

    `changed` of `frames` got another verdict; `what` says which frames those are. `max_logit_difference` is in logits,
    `logit_range` the span of the logits of `model.onnx`.
    """

    frames: int = Field(ge=1)
    changed: int = Field(ge=0)
    what: str
    max_logit_difference: float
    max_probability_difference: float
    logit_range: float


class EnsembleCard(Card):
    """A second network, whose logit times `weight` is added to that of `model.onnx`; it gets a crop of its own.

    `name`, `licence`, `training` and the id `bundle` are those of the bundle that it comes from.
    """

    name: str
    bundle: str
    licence: str = ""
    input: InputCard
    output: OutputCard
    crop_scale: float = Field(gt=0, le=100)
    weight: float = Field(1.0, gt=0)
    training: dict[str, Any] = {}


class VariantCard(Card):
    """Another form of the same network, with thresholds of its own.

    `files` are the graph and its weights; `left_alone` are the layers that int8 leaves in f32, `search` says how they
    were found, `calibrated_on` which crops the ranges were taken from.
    """

    backend: Literal["openvino"]
    precision: Precision
    files: tuple[FileName, FileName]
    operating_points: OperatingPoints = {}
    comparison: Comparison | None = None
    left_alone: tuple[str, ...] = ()
    search: str = ""
    calibrated_on: str = ""


class BundleCard(Card):
    """The content of `bundle.json`. `results` are the error rates of the run that made it, by image and video.

    With `resize` the shorter side of a whole frame is brought to that many pixels before the crop is cut. A face whose
    longer side has fewer than `min_face` pixels is `too_small`; by default one whose crop would be enlarged more than
    twice. A frame outside a limit of `quality` is `low_quality`.
    """

    format: int = FORMAT
    name: str
    created: str
    files: dict[FileName, Digest]
    architecture: str
    network: dict[str, Any] = {}
    input: InputCard
    output: OutputCard
    crop_scale: float = Field(gt=0, le=100)
    resize: int | None = Field(None, ge=32, le=2048)
    detector: DetectorCard
    min_face: float | None = Field(None, ge=0, le=10_000)
    quality: Annotated[dict[str, Limit], AfterValidator(known_limits)] = {}
    operating_points: OperatingPoints = {}
    variants: dict[str, VariantCard] = {}
    ensemble: EnsembleCard | None = None
    licence: str = ""
    training: dict[str, Any] = {}
    results: dict[str, Any] = {}
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _pose_needs_landmarks(self) -> BundleCard:
        if (names := pose_limits(self.quality)) and self.detector.name != "yunet":
            raise ValueError(
                f"the limit on {names[0]} needs landmarks, which the detector {self.detector.name} does not find; leave it "
                "out, or use yunet"
            )
        return self
