"""The network: a timm backbone with one logit, which takes crops as they are stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import timm
import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

from bonaface.config import ModelSettings
from bonaface.errors import SettingsError, WeightsError, did_you_mean, one_line
from bonaface.models.weights import (
    METADATA_KEY,
    Weights,
    fetch_weights,
    load_into,
    parse_weights,
    read_weights,
)


class Backbone(Protocol):
    """What we need of a timm model, which is a module as well."""

    def forward_features(self, images: Tensor) -> Tensor: ...
    def forward_head(self, features: Tensor, *, pre_logits: bool) -> Tensor: ...
    def get_classifier(self) -> nn.Module: ...


class LivenessNet(nn.Module):
    """Takes crops, normalises them, and gives the logit of bona fide and the embedding before it.

    `mean` and `std`, of pixels in 0..1, belong to the weights and are saved with them. `about` says where the weights
    came from: `weights`, `sha256`, `licence`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        *,
        architecture: str,
        input_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        about: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.architecture = architecture
        self.input_size = input_size
        self.embedding_size = int(backbone.get_classifier().in_features)  # type: ignore[arg-type]
        self.about = dict(about or {})
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(1, 3, 1, 1))

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits `(n,)`, positive for bona fide, and embeddings `(n, d)`, both float32.

        `crops` are uint8 RGB `(n, size, size, 3)`.
        """
        return self.forward_images(crops.permute(0, 3, 1, 2).to(self.mean.dtype) / 255)

    def forward_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Do the same with float RGB images `(n, 3, size, size)` in 0..1."""
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Return the output of the last convolutional stage for images `(n, 3, size, size)` in 0..1."""
        return self.backbone.forward_features((images - self.mean) / self.std)

    def head(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and embeddings of `features`."""
        embedding = self.backbone.forward_head(features, pre_logits=True)
        logit: Tensor = self.backbone.get_classifier()(embedding)
        return logit.flatten().float(), embedding.float()

    def rescale(self, scale: float, offset: float) -> None:
        """Make every logit `scale * logit + offset`, by the classifier's own weights."""
        classifier = self.backbone.get_classifier()
        assert isinstance(classifier, nn.Linear)  # `_classifier_name` refuses others
        with torch.no_grad():
            classifier.weight.mul_(scale)
            classifier.bias.mul_(scale).add_(offset)


def build_network(settings: ModelSettings) -> LivenessNet:
    """Build the network that the settings describe, with the weights that they name.

    `weights` is `imagenet`, `none` or a .safetensors file: of a backbone, or one of our own networks to continue from.
    What they lack is initialised from torch's seed. Raises SettingsError,
    WeightsError, DownloadError.
    """
    if settings.weights == "none":
        return _assemble(settings, None)
    if settings.weights == "imagenet":
        repository = _card(settings.name).repository
        if not repository:
            raise WeightsError(
                f"the hub has no weights of {settings.name}; set model.weights to none or a .safetensors file"
            )
        sha256 = settings.weights_sha256
        return _assemble(settings, fetch_weights(settings.name, repository, sha256=sha256))
    weights = read_weights(Path(settings.weights))
    if settings.weights_sha256.lower() not in {"", weights.sha256}:
        raise WeightsError(
            f"{weights.source} has the sha256 {weights.sha256}, but model.weights_sha256 is {settings.weights_sha256}"
        )
    return _assemble(settings, weights)


def load_network(path: Path, settings: ModelSettings) -> LivenessNet:
    """Build a trained network from a file of `network_bytes`, ready to score. Raises WeightsError."""
    return _trained(read_weights(path), settings)


def network_from_bytes(content: bytes, settings: ModelSettings) -> LivenessNet:
    """Do the same from the content of the file."""
    return _trained(parse_weights(content, source="model.safetensors"), settings)


def _trained(weights: Weights, settings: ModelSettings) -> LivenessNet:
    if not weights.about:
        raise WeightsError(
            f"{weights.source} is not a network that Bonaface trained; start a training from it with model.weights"
        )
    return _assemble(settings, weights).eval()


def network_bytes(network: LivenessNet) -> bytes:
    """Return a network's weights, with mean and std, as safetensors."""
    about = {
        "architecture": network.architecture,
        "input_size": network.input_size,
        "mean": network.mean.flatten().tolist(),
        "std": network.std.flatten().tolist(),
        **network.about,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    # One entry only: safetensors writes several in no fixed order, and equal weights shall give equal bytes.
    return bytes(safetensors.save(tensors, metadata={METADATA_KEY: json.dumps(about)}))


def _assemble(settings: ModelSettings, weights: Weights | None) -> LivenessNet:
    card = _card(settings.name)
    options: dict[str, Any] = {"img_size": settings.input_size} if card.fixed_size else {}
    try:
        backbone = timm.create_model(
            settings.name, pretrained=False, num_classes=1, drop_rate=settings.drop_rate, **options
        )
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        reason = one_line(error)
        raise SettingsError(f"timm cannot build model.name={settings.name}: {reason}") from None
    classifier = _classifier_name(backbone, settings.name)
    if weights is not None:
        load_into(backbone, weights, classifier=classifier, architecture=settings.name)
    about = weights.about if weights else {}
    network = LivenessNet(
        backbone,
        architecture=settings.name,
        input_size=settings.input_size,
        mean=_three(about.get("mean"), card.mean),
        std=_three(about.get("std"), card.std),
        about=_origin(weights, settings, card),
    )
    _check_head(network)
    # Crops come channels last, and convolutions are fastest in that layout on CPUs and tensor cores alike.
    return network.to(memory_format=torch.channels_last)


class _Card(NamedTuple):
    """What timm knows about an architecture and its usual weights."""

    repository: str
    licence: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fixed_size: bool


def _card(name: str) -> _Card:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        known = timm.list_models()
        hint = did_you_mean(architecture, known)
        raise SettingsError(f"model.name={name} is not one of timm's {len(known)} architectures{hint}")
    try:
        card = timm.models.get_pretrained_cfg(name)
    except RuntimeError:
        known = [found.partition(".")[2] for found in timm.list_pretrained(f"{architecture}.*")]
        raise SettingsError(
            f"model.name={name}: timm has no weights {tag!r} of {architecture}{did_you_mean(tag, known)}; "
            f"known: {', '.join(known)}"
        ) from None
    return _Card(card.hf_hub_id or "", card.license or "", card.mean, card.std, bool(card.fixed_input_size))


def _origin(weights: Weights | None, settings: ModelSettings, card: _Card) -> dict[str, str]:
    if weights is None:
        return {"weights": "none"}
    if weights.about:  # one of ours: its origin is the weights that it was started from
        return {key: str(weights.about[key]) for key in ("weights", "sha256", "licence") if key in weights.about}
    if settings.weights == "imagenet":
        return {"weights": card.repository, "sha256": weights.sha256, "licence": card.licence}
    return {"weights": Path(weights.source).name, "sha256": weights.sha256}


def _three(found: object, otherwise: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(float(value) for value in found) if isinstance(found, list) else otherwise


def _classifier_name(backbone: nn.Module, name: str) -> str:
    """Return the name in the backbone of the module that gives the logit."""
    classifier = backbone.get_classifier()  # type: ignore[operator]
    for path, module in backbone.named_modules():
        if module is classifier and isinstance(module, nn.Linear) and module.bias is not None:
            return str(path)
    raise SettingsError(f"model.name={name} has no linear classifier with a bias to give one logit; choose another")


def _check_head(network: LivenessNet) -> None:
    """Refuse the few timm models whose output is not their classifier's on the embedding."""
    image = torch.zeros(1, 3, network.input_size, network.input_size)
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            logit, embedding = network.forward_images(image)
            whole = network.backbone((image - network.mean) / network.std)  # type: ignore[operator]
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = one_line(error)
        raise SettingsError(
            f"model.name={network.architecture} does not work at model.input_size={network.input_size}: {reason}"
        ) from None
    finally:
        network.train(training)
    same = whole.shape == (1, 1) and torch.allclose(logit, whole.flatten(), rtol=1e-3, atol=1e-4)
    if embedding.shape != (1, network.embedding_size) or not same:
        raise SettingsError(
            f"model.name={network.architecture}: its logit does not come from one embedding; choose another"
        )
