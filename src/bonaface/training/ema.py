"""The exponential moving average of a network's weights (`training.ema_epochs`)."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def averaged_copy(network: nn.Module, steps: float, device: torch.device) -> AveragedModel:
    """Return a copy of the network whose weights are averaged, exponentially, over about so many steps."""
    averaging = get_ema_multi_avg_fn(1 - 1 / max(steps, 1))  # type: ignore[no-untyped-call]
    return AveragedModel(network, device, multi_avg_fn=averaging, use_buffers=True)
