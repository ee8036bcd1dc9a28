"""Grad-CAM: which regions of a crop spoke for bona fide, and which for attack.

With one logit both outcomes share one map: what raises the logit speaks for bona fide, what lowers it for attack. So
both heat maps of a crop come from one pass and lie on one scale, which the usual scaling of each map by its own
minimum and maximum would hide.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from bonaface.errors import InputError
from bonaface.models.network import LivenessNet

_BATCH = 16


def refuse_without_map(network: LivenessNet) -> None:
    """Raise now the InputError that the other functions would raise for a network without a feature map."""
    evidence(network, np.zeros((1, network.input_size, network.input_size, 3), np.uint8))


def grad_cam(network: LivenessNet, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return heat maps `(n, size, size)` in 0..1: where crops `(n, size, size, 3)` speak for bona fide, and for attack.

    The two maps of one crop compare: 1 is the strongest evidence in the crop for either outcome. Maps of different crops
    do not. Raises InputError for a network without a feature map.
    """
    maps = evidence(network, crops)
    strongest = np.abs(maps).max(axis=(1, 2), keepdims=True)
    scaled = maps / np.where(strongest > 0, strongest, 1)
    towards = (np.maximum(each, 0).astype(np.float32) for each in (scaled, -scaled))
    size = (crops.shape[2], crops.shape[1])
    enlarged = ([cv2.resize(each, size, interpolation=cv2.INTER_CUBIC) for each in maps] for maps in towards)
    bona_fide, attack = (np.clip(np.stack(each), 0, 1) for each in enlarged)
    return bona_fide, attack


def evidence(network: LivenessNet, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What each place of the last feature map adds to the logit, `(n, h, w)`; negative speaks for attack.

    Grad-CAM (Selvaraju et al., ICCV 2017) before its rectifier: channels weighted by the mean gradient of the logit.
    Raises InputError for a network without a feature map.
    """
    training, device = network.training, network.mean.device
    network.eval()
    parts = []
    try:
        for start in range(0, len(crops), _BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(crops[start : start + _BATCH])).to(device)
            parts.append(_evidence(network, batch).float().cpu().numpy())
    finally:
        network.train(training)
    return np.concatenate(parts)


@torch.inference_mode(mode=False)
def _evidence(network: LivenessNet, crops: torch.Tensor) -> torch.Tensor:
    """No hook and no parameter's gradient: the logit is differentiated by the features that it is computed from."""
    with torch.no_grad():
        images = crops.permute(0, 3, 1, 2).to(network.mean.dtype) / 255
        features = network.features(images)
    features = features.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        logits, _ = network.head(features)
    (gradient,) = torch.autograd.grad(logits.sum(), features)
    channels = _channel_axis(network, features)
    others = tuple(axis for axis in (1, 2, 3) if axis != channels)
    return (gradient.mean(dim=others, keepdim=True) * features).sum(dim=channels).detach()


def _channel_axis(network: LivenessNet, features: torch.Tensor) -> int:
    """1 for most networks; 3 for those of timm that keep channels last."""
    wide = int(getattr(network.backbone, "num_features", 0))
    if features.ndim == 4 and features.shape[1] == wide:
        return 1
    if features.ndim == 4 and features.shape[3] == wide:
        return 3
    raise InputError(
        f"{network.architecture} has no map of features over the picture, so Grad-CAM cannot say where it looked; "
        "a convolutional network has"
    )
