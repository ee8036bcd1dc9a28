"""A bundle of random weights, which costs what a trained one costs."""

from __future__ import annotations

from pathlib import Path

from bonaface.config import ModelSettings
from bonaface.data.faces.detector import load_detector
from bonaface.inference.bundle import Bundle, make_bundle
from bonaface.inference.bundle_schema import BundleCard, DetectorCard, InputCard, OutputCard
from bonaface.models.network import LivenessNet, build_network, network_bytes
from bonaface.models.onnx_export import export_onnx

SETTINGS = ModelSettings(weights="none")


def random_bundle(folder: Path, weights: Path | None, network: LivenessNet | None = None) -> Bundle:
    """A MobileNetV3-Large with random weights as a bundle in memory."""
    network = network or build_network(SETTINGS).eval()
    onnx = export_onnx(network)
    detector = load_detector("yunet" if weights else "haar", weights=weights)
    card = BundleCard(
        name="random weights",
        created="",
        files={},
        architecture=SETTINGS.name,
        network=SETTINGS.model_dump(mode="json"),
        input=InputCard(size=SETTINGS.input_size),
        output=OutputCard(),
        crop_scale=SETTINGS.crop_scale,
        detector=DetectorCard(name="yunet" if weights else "haar", identity=detector.identity),
    )
    return make_bundle(folder / "bundle", card, {"model.onnx": onnx, "model.safetensors": network_bytes(network)})
