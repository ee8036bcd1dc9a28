"""Weights as files: safetensors from disk or from the Hugging Face hub, checked against the network they are for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from bonaface.data.downloads import Asset, cache_folder, fetch, sha256_of
from bonaface.errors import DownloadError, WeightsError, format_list, one_line

HUB_FILE = "model.safetensors"
PINNED: Mapping[str, tuple[str, str]] = {
    "timm/mobilenetv3_large_100.ra_in1k": (
        "96f46a1c52932f27492dff66c72378eb99b443a7",
        "f425af34cc1cead2b5d6211f789a1f30b94835dc32f9c0fcc5a916e4fd2dde85",
    ),
    "timm/mobilenetv3_small_100.lamb_in1k": (
        "1824797e7887cbec1990e4adbd6675960a36c589",
        "46d2c063b18125884c48937afa4c49e18128869e52e8db96df48bf0a4d7ff697",
    ),
}
"""Revision and sha256 of HUB_FILE in the repositories whose weights can be fetched without `model.weights_sha256`."""
METADATA_KEY = "bonaface"
"""Metadata entry of our own safetensors files: JSON that describes the network."""

_PICKLE_SUFFIXES = {".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar"}
_OWN_PREFIX = "backbone."


@dataclass(frozen=True)
class Weights:
    """Tensors of a backbone by name.

    `about` is the description in our own files; empty for a file from elsewhere.
    """

    tensors: Mapping[str, Tensor]
    source: str
    sha256: str
    about: Mapping[str, object] = field(default_factory=dict)


def read_weights(path: Path) -> Weights:
    """Read a safetensors file, of a backbone or one of ours. Raises WeightsError."""
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; expected weights as one .safetensors file")
    if not path.is_file():
        raise WeightsError(f"no weights at {path}; expected `imagenet`, `none` or the path of a .safetensors file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from None
    if path.suffix.lower() in _PICKLE_SUFFIXES or content[:2] in (b"PK", b"\x80\x02"):
        raise WeightsError(
            f"{path} is a pickle, which can run code when it is opened; if you trust it, convert it with "
            "safetensors.torch.save_file(torch.load(FILE, weights_only=True), OUT) and give that file"
        )
    return parse_weights(content, source=str(path))


def parse_weights(content: bytes, *, source: str) -> Weights:
    """Read the content of such a file; `source` names it in messages. Raises WeightsError."""
    try:
        tensors = safetensors.load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        reason = one_line(error)
        raise WeightsError(f"{source} is not a safetensors file, or is damaged: {reason}") from None
    # our own files hold the backbone under a prefix, together with mean and std
    own = {name.removeprefix(_OWN_PREFIX): each for name, each in tensors.items() if name.startswith(_OWN_PREFIX)}
    return Weights(own or tensors, source, hashlib.sha256(content).hexdigest(), _about(content))


def fetch_weights(architecture: str, repository: str, *, sha256: str = "") -> Weights:
    """Fetch ImageNet weights from a repository of the hub, and verify the sha256 that is pinned here or given.

    They are taken from Bonaface's cache, or from that of the hub's client (`$HF_HOME`), if either has them.
    `$HF_ENDPOINT` names a mirror of the hub. Raises DownloadError, which names the file, its sha256 and where to put it
    by hand.
    """
    revision, asset = _asset(architecture, repository, sha256.lower())
    folder = cache_folder() / "weights"
    if not (folder / asset.name).is_file():
        found = try_to_load_from_cache(repository, HUB_FILE, revision=revision)
        # A file that a different program fetched is not parsed before its sha256 is known.
        if isinstance(found, str) and sha256_of(Path(found)) == asset.sha256:
            return read_weights(Path(found))
    try:
        return read_weights(fetch(asset, cache=folder))
    except DownloadError as error:
        raise DownloadError(f"{error}; or train from scratch with model.weights=none") from None


def _asset(architecture: str, repository: str, sha256: str) -> tuple[str, Asset]:
    """Return the repository's revision, and its file there."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    revision, pinned = PINNED.get(repository, ("main", ""))
    if sha256 and sha256 != pinned:
        revision, pinned = "main", sha256
    if not pinned:
        raise DownloadError(
            f"the ImageNet weights of {architecture} ({repository}) have no sha256 pinned in Bonaface; set "
            f"model.weights_sha256 to the one in {endpoint}/{repository}/raw/main/{HUB_FILE}, or fetch "
            f"{endpoint}/{repository}/resolve/main/{HUB_FILE} by hand and set model.weights to that file"
        )
    return revision, Asset(
        name=f"{repository.replace('/', '--')}-{pinned[:8]}.safetensors",
        url=f"{endpoint}/{repository}/resolve/{revision}/{HUB_FILE}",
        sha256=pinned,
    )


def load_into(backbone: nn.Module, weights: Weights, *, classifier: str, architecture: str) -> None:
    """Copy weights into a backbone; a classifier that they lack, or have in a different size, becomes zero.

    `classifier` is the name of the module that gives the logit. Raises WeightsError naming the tensors that are missing,
    unexpected or of a different shape.
    """
    held = str(weights.about.get("architecture", architecture))
    if held.partition(".")[0] != architecture.partition(".")[0]:
        raise WeightsError(
            f"{weights.source} holds weights of {held}, but model.name is {architecture}; set model.name={held}"
        )
    own = backbone.state_dict()
    given = dict(weights.tensors)
    head = [name for name in own if name.startswith(f"{classifier}.")]
    if any(name in given and given[name].shape != own[name].shape for name in head):
        for name in head:
            given.pop(name, None)
    if not set(head) <= given.keys():  # a new classifier starts at zero: its first logits are then of no size
        given |= {name: torch.zeros_like(own[name]) for name in head}
    faults = {
        # Older files lack the counter num_batches_tracked; no output depends on it.
        "missing": [name for name in own if name not in given and not name.endswith("num_batches_tracked")],
        "unexpected": [name for name in given if name not in own],
        "of a different shape": [
            f"{name} {tuple(given[name].shape)} for {tuple(tensor.shape)}"
            for name, tensor in own.items()
            if name in given and given[name].shape != tensor.shape
        ],
    }
    if any(faults.values()):
        found = "; ".join(
            f"{len(names)} {what} ({format_list(names, limit=3)})" for what, names in faults.items() if names
        )
        raise WeightsError(
            f"{weights.source} does not fit {architecture}: {found}; set model.name to their architecture"
        )
    backbone.load_state_dict(given, strict=False)


def _about(content: bytes) -> dict[str, object]:
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    with suppress(ValueError, TypeError):
        about = json.loads(metadata.get(METADATA_KEY, "{}"))
        if isinstance(about, dict):
            return about
    return {}
