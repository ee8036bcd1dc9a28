"""A tiny network whose scores are spread, not saturated, and pictures to run through it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bonaface.choices import FusionRule
from bonaface.config import ModelSettings
from bonaface.inference.bundle import Bundle, make_bundle
from bonaface.inference.bundle_schema import BundleCard, DetectorCard, InputCard, OperatingPoint, OutputCard
from bonaface.models.network import LivenessNet, build_network, network_bytes
from bonaface.models.onnx_export import export_onnx
from bonaface.types import probability

SIZE = 64
SETTINGS = ModelSettings(name="mobilenetv3_small_050", weights="none", input_size=SIZE)


def pictures(count: int, *, size: int = SIZE, seed: int = 0) -> np.ndarray:
    """Crops `(count, size, size, 3)`: ramps, stripes and noise, each another."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    crops = np.empty((count, size, size, 3), np.uint8)
    for crop in crops:
        angle, pitch, height = rng.uniform(0, np.pi), rng.uniform(2, 25), rng.uniform(0, 60)
        wave = height * np.sin(2 * np.pi * pitch * (x * np.cos(angle) + y * np.sin(angle)))
        ramp = rng.uniform(-80, 80) * x + rng.uniform(-80, 80) * y
        picture = (
            rng.uniform(50, 200, 3) + (wave + ramp)[..., None] + rng.normal(0, rng.uniform(1, 12), (size, size, 3))
        )
        crop[:] = np.clip(picture, 0, 255)
    return crops


def tiny_network(*, spread: float = 2.0, seed: int = 0) -> LivenessNet:
    """A random network that has seen pictures: its logits have mean 0 and this standard deviation over them."""
    torch.manual_seed(seed)
    network = build_network(SETTINGS)
    crops = torch.from_numpy(pictures(128, seed=99))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network.train()(crops)
        network.eval()
        logits, _ = network(crops)
        head = network.backbone.get_classifier()
        assert isinstance(head, torch.nn.Linear)
        head.weight *= spread / logits.std()
        head.bias.zero_()
        head.bias.sub_(network(crops)[0].mean())
    return network


def point(threshold: float, *, frames: int = 1, fusion: FusionRule = "first") -> OperatingPoint:
    return OperatingPoint(
        threshold=float(probability(threshold)),
        logit_threshold=threshold,
        criterion="eer",
        frames=frames,
        fusion=fusion,
        chosen_on={"split": "val", "presentations": 40, "far": 0.05, "frr": 0.1},
    )


def points(threshold: float = 0.0) -> dict[str, OperatingPoint]:
    return {"image": point(threshold), "video": point(threshold, frames=4, fusion="mean")}


def tiny_bundle(path: Path, network: LivenessNet | None = None) -> Bundle:
    """A bundle of the tiny network as training makes one, in memory; whole frames are its crops."""
    network = tiny_network() if network is None else network
    onnx = export_onnx(network)
    card = BundleCard(
        name="tiny",
        created="2026-01-01T00:00:00+00:00",
        files={},
        architecture=SETTINGS.name,
        network=SETTINGS.model_dump(mode="json"),
        input=InputCard(size=SIZE),
        output=OutputCard(),
        crop_scale=1.0,
        detector=DetectorCard(name="whole_frame", identity="whole_frame"),
        operating_points=points(),
        licence="MIT",
        training={"datasets": ["drawn"], "best_epoch": 3},
    )
    return make_bundle(path, card, {"model.onnx": onnx, "model.safetensors": network_bytes(network)})
