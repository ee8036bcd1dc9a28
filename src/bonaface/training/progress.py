"""How far a training is: Lightning's bar for people, a callback for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

__all__ = ["StepBar", "StepProgress"]


class StepBar(TQDMProgressBar):
    """Lightning's bar, one line an epoch, on stderr, where it does not mix with what a command prints."""

    def __init__(self) -> None:
        super().__init__(leave=True)

    def init_train_tqdm(self) -> Tqdm:
        """Lightning's hook."""
        return Tqdm(
            desc=self.train_description,
            disable=self.is_disabled,
            leave=True,
            dynamic_ncols=True,
            file=sys.stderr,
            smoothing=0,
            bar_format=self.BAR_FORMAT,
        )

    def init_validation_tqdm(self) -> Tqdm:
        """Lightning's hook."""
        return Tqdm(
            desc=self.validation_description,
            position=1,
            disable=self.is_disabled,
            leave=False,
            dynamic_ncols=True,
            file=sys.stderr,
            bar_format=self.BAR_FORMAT,
        )

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What stands behind the bar: losses and HTER, without Lightning's number of the log."""
        shown: dict[str, Any] = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        return shown


class StepProgress(Callback):
    """Tells how many training steps of all epochs are done."""

    def __init__(self, told: Callable[[int, int], None]) -> None:
        self._told = told

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        self._tell(trainer, trainer.current_epoch, 0)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Lightning's hook."""
        self._tell(trainer, trainer.current_epoch, batch_idx + 1)

    def _tell(self, trainer: Trainer, epoch: int, steps: int) -> None:
        an_epoch = int(trainer.num_training_batches)
        self._told(epoch * an_epoch + steps, int(trainer.max_epochs or 0) * an_epoch)
