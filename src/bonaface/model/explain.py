"""Grad-CAM: which regions of a crop spoke for an outcome."""

from __future__ import annotations

import contextlib
import copy
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import GradCAM
from torch import Tensor, nn

from bonaface.model.network import LivenessNet

__all__ = ["grad_cam"]


class _Logit(nn.Module):
    """The logit alone, of float images, with the last convolutional features at a place that can be hooked."""

    def __init__(self, network: LivenessNet) -> None:
        super().__init__()
        self.network = network
        self.last = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        features = self.last(self.network.features(images))
        return self.network.judge(features)[0][:, None]


def grad_cam(
    network: LivenessNet, crops: NDArray[np.uint8], *, outcome: Literal["bona_fide", "attack"]
) -> NDArray[np.float32]:
    """Heat maps `(n, size, size)` in 0..1 of what spoke for an outcome in crops `(n, size, size, 3)`.

    Each map is scaled by itself: two pictures' maps do not compare. Method: Selvaraju et al., Grad-CAM, ICCV 2017.
    """
    model = _Logit(copy.deepcopy(network).cpu().eval())
    sign = 1.0 if outcome == "bona_fide" else -1.0
    maps = []
    with GradCAM(model=model, target_layers=[model.last]) as method:
        for crop in crops:
            image = torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)[None].float() / 255
            image.requires_grad_(True)
            with torch.enable_grad(), contextlib.redirect_stdout(None):
                maps.append(method(input_tensor=image, targets=[lambda output: sign * output[..., 0].sum()])[0])
    return np.asarray(np.clip(np.nan_to_num(np.stack(maps)), 0, 1), dtype=np.float32)
