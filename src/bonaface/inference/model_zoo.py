"""Published open models: address, sha256, and preprocessing of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bonaface.data.downloads import YUNET, Asset
from bonaface.inference.bundle_schema import InputCard, OutputCard

_MINIFAS = "https://raw.githubusercontent.com/VietAnh954/face-antispoof-onnx/b5724af4f4cb336695e81653634e3f354b52f5c1"
_MINIFAS_INPUT = InputCard(name="input", size=128, dtype="float32", layout="NCHW", divisor=255.0)
_MINIFAS_OUTPUT = OutputCard(name="output", meaning="logits[0]", embedding=None)


@dataclass(frozen=True)
class OpenModel:
    """A published file; `input`, `output` and `crop_scale` are None if it is not a liveness network."""

    asset: Asset
    title: str
    architecture: str
    input: InputCard | None = None
    output: OutputCard | None = None
    crop_scale: float | None = None


OPEN_MODELS: Mapping[str, OpenModel] = {
    "yunet": OpenModel(YUNET, "the face detector YuNet", "yunet"),
    "minifas-128": OpenModel(
        Asset(
            name="minifas_128_celebaspoof.onnx",
            url=f"{_MINIFAS}/models/best/98.20/best_model.onnx",
            sha256="af2381b88f38769222ed93379e12444e2a50814575de1c46170de570c55a42b6",
            licence="Apache-2.0",
        ),
        "MiniFAS, trained on CelebA-Spoof",
        "minifas",
        _MINIFAS_INPUT,
        _MINIFAS_OUTPUT,
        1.5,
    ),
    "minifas-128-int8": OpenModel(
        Asset(
            name="minifas_128_celebaspoof_int8.onnx",
            url=f"{_MINIFAS}/models/best_model_quantized.onnx",
            sha256="fde20585635cae62ed1d41796f76b6f8bc4b92cd91ec1cf0f1bc6485d2d587a9",
            licence="Apache-2.0",
        ),
        "the same in int8",
        "minifas",
        _MINIFAS_INPUT,
        _MINIFAS_OUTPUT,
        1.5,
    ),
}
