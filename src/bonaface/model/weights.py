"""Weights as files: safetensors from disk or the hub, held against the network that asked for them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import socket
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from bonaface.errors import DownloadError, WeightsError, few

__all__ = ["METADATA_KEY", "Weights", "fetch_weights", "load_into", "parse_weights", "read_weights"]

HUB_FILE = "model.safetensors"
METADATA_KEY = "bonaface"
"""Entry of a safetensors header that describes one of our own networks, as JSON."""

_PICKLE_SUFFIXES = {".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar"}
_OWN_PREFIX = "backbone."


@dataclass(frozen=True)
class Weights:
    """Tensors of a backbone by name, and what is known of them.

    `about` is what our own files say of the network they belong to; empty for a file from elsewhere.
    """

    tensors: Mapping[str, Tensor]
    source: str
    sha256: str
    about: Mapping[str, object] = field(default_factory=dict)


def read_weights(path: Path) -> Weights:
    """The tensors of a safetensors file, a backbone's own or one of ours. Raises WeightsError."""
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
            f"{path} is a pickle, which can run any code when it is opened; convert it where you trust it, "
            "by safetensors.torch.save_file(torch.load(FILE, weights_only=True), OUT), and give that file"
        )
    return parse_weights(content, source=str(path))


def parse_weights(content: bytes, *, source: str) -> Weights:
    """The same from bytes; `source` names them in messages. Raises WeightsError."""
    try:
        tensors = safetensors.load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{source} is not a safetensors file, or is damaged: {reason}") from None
    return Weights(_backbone_alone(tensors), source, hashlib.sha256(content).hexdigest(), _about(content))


def fetch_weights(architecture: str, repository: str, *, cache: Path | None = None) -> Weights:
    """ImageNet weights from a repository of the hub, taken from the hub's own cache where they are in it.

    `$HF_HOME` moves that cache, `$HF_ENDPOINT` names another hub. Raises DownloadError.
    """
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    with suppress(LocalEntryNotFoundError):
        return _cached(hf_hub_download(repository, HUB_FILE, cache_dir=cache, local_files_only=True))
    by_hand = (
        f"fetch {endpoint}/{repository}/resolve/main/{HUB_FILE} by hand, hold it against the sha256 in "
        f"{endpoint}/{repository}/raw/main/{HUB_FILE}, and set model.weights to that .safetensors file"
    )
    try:
        _check_reachable(endpoint)
        with _quiet_hub():
            path = hf_hub_download(repository, HUB_FILE, cache_dir=cache, endpoint=endpoint)
    except EntryNotFoundError:
        raise DownloadError(
            f"the hub repository {repository} has no {HUB_FILE} for {architecture}; "
            "set model.weights=none, or to a .safetensors file"
        ) from None
    except Exception as error:  # the hub's client raises errors of several HTTP libraries, by its version
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split())[:200] or type(cause).__name__
        raise DownloadError(
            f"the ImageNet weights of {architecture} ({repository}, {HUB_FILE}) could not be fetched: "
            f"{reason}; {by_hand}"
        ) from None
    return _cached(path)


def load_into(backbone: nn.Module, weights: Weights, *, classifier: str, architecture: str) -> None:
    """Copy weights into a backbone; a classifier of another size is dropped, so that the fresh one stays.

    `classifier` is the name of the module that gives the logit. Raises WeightsError naming the tensors
    that are missing, unexpected or of another shape.
    """
    held = str(weights.about.get("architecture", architecture))
    if held.partition(".")[0] != architecture.partition(".")[0]:
        raise WeightsError(
            f"{weights.source} holds weights of {held}, but the network asked for is {architecture}; "
            f"set model.name={held}"
        )
    own = backbone.state_dict()
    given = dict(weights.tensors)
    head = [name for name in own if name.startswith(f"{classifier}.")]
    if any(name in given and given[name].shape != own[name].shape for name in head):
        for name in head:
            given.pop(name, None)
    faults = _faults(own, given, optional=set(head))
    if faults:
        raise WeightsError(
            f"{weights.source} does not fit {architecture}: {faults}; set model.name to their architecture"
        )
    backbone.load_state_dict(given, strict=False)


def _faults(own: Mapping[str, Tensor], given: Mapping[str, Tensor], *, optional: set[str]) -> str:
    # num_batches_tracked is a counter that older files lack; it plays no part in what a network computes.
    needed = [name for name in own if name not in optional and not name.endswith("num_batches_tracked")]
    missing = [name for name in needed if name not in given]
    unexpected = [name for name in given if name not in own]
    misshapen = [
        f"{name} {tuple(tensor.shape)} for {tuple(own[name].shape)}"
        for name, tensor in given.items()
        if name in own and tensor.shape != own[name].shape
    ]
    parts = [("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen)]
    return "; ".join(f"{len(names)} {what} ({few(names, limit=3)})" for what, names in parts if names)


def _backbone_alone(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our own files hold the backbone under a prefix, beside the mean and std that their header repeats."""
    if not any(name.startswith(_OWN_PREFIX) for name in tensors):
        return tensors
    return {name.removeprefix(_OWN_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(_OWN_PREFIX)}


def _about(content: bytes) -> dict[str, object]:
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    with suppress(ValueError, TypeError):
        about = json.loads(metadata.get(METADATA_KEY, "{}"))
        if isinstance(about, dict):
            return about
    return {}


def _cached(path: str) -> Weights:
    weights = read_weights(Path(path))
    # The hub's cache names a large file's blob by its sha256, and its client checks the size alone.
    blob = Path(path).resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", blob) and blob != weights.sha256:
        raise WeightsError(f"{path} is damaged (its sha256 is not {blob}); delete it, it is then fetched again")
    return weights


def _check_reachable(endpoint: str) -> None:
    """Fail at once where the hub's name does not even resolve: the client would try for half a minute."""
    address = urlsplit(endpoint)
    if address.scheme in urllib.request.getproxies() or not address.hostname:
        return
    socket.getaddrinfo(address.hostname, address.port or 443)


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """No line for every try; a progress bar for people alone."""
    logger = logging.getLogger("huggingface_hub")
    level, had_bars = logger.level, not are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    if had_bars and not sys.stderr.isatty():
        disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if had_bars:
            enable_progress_bars()
