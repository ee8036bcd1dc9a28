"""BatchNorm in training: whether it learns statistics, from how many crops, and of how many processes."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bonaface.config import TrainingSettings
from bonaface.errors import SettingsError


def has_norm(network: nn.Module) -> bool:
    """Return whether the network has BatchNorm."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def freeze_norm(network: nn.Module) -> None:
    """Keep the statistics of all BatchNorm until the network is set to training again."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def min_batch_per_process(settings: TrainingSettings, processes: int, *, own_norm: bool) -> int:
    """Return how many crops of a batch each process needs: two where its BatchNorm learns from its own crops alone.

    Raises SettingsError where `training.batch_size` has too few.
    """
    crops = 2 if own_norm else 1
    if settings.batch_size >= crops * processes:
        return crops
    found = f"training.batch_size={settings.batch_size} leaves less than {crops} for each of {processes} processes"
    if own_norm:
        raise SettingsError(
            f"{found}, and BatchNorm learns no statistics from one crop; raise it, or set training.freeze_norm=true"
        )
    raise SettingsError(f"{found}; raise it, or start fewer processes")
