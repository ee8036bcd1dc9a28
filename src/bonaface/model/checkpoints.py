"""What a training keeps: its best weights, and where to go on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from bonaface.model.network import save_network

__all__ = ["AtomicCheckpoint", "KeepBest"]


class KeepBest(Callback):
    """Writes the network whenever the monitored figure is lower than ever before; on a tie, where the loss is.

    `history` has a row per epoch, from 1; `best_epoch` is 0 before the first.
    """

    def __init__(self, path: Path, *, monitor: str) -> None:
        self._path = path
        self._monitor = monitor
        self._least = (float("inf"), float("inf"))
        self.best_epoch = 0
        self.history: list[dict[str, float]] = []

    @property
    def best_value(self) -> float:
        """The monitored figure of the best epoch."""
        return self._least[0]

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        measured: dict[str, float] = dict(getattr(pl_module, "measured", {}))
        if trainer.sanity_checking or not measured:
            return
        self.history.append({"epoch": trainer.current_epoch + 1, **measured})
        figures = (measured[self._monitor], measured["val_loss"])
        if figures < self._least or not self.best_epoch:
            self._least, self.best_epoch = figures, trainer.current_epoch + 1
            if trainer.is_global_zero:
                save_network(pl_module.network, self._path)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training has to know."""
        return {"least": self._least, "best_epoch": self.best_epoch, "history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where the interrupted training was."""
        self._least = tuple(state_dict["least"])
        self.best_epoch = state_dict["best_epoch"]
        self.history = list(state_dict["history"])


class AtomicCheckpoint(Callback):
    """Writes everything needed to resume after each epoch, beside its place and moved there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        state = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        if not trainer.is_global_zero:
            return
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            with fresh.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        finally:
            fresh.unlink(missing_ok=True)
