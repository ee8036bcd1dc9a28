"""The network in Lightning's training loop: losses, measures, and what is kept after each epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from bonaface.config import Recipe
from bonaface.errors import InputError
from bonaface.evaluation.thresholds import choose_threshold
from bonaface.models.network import LivenessNet
from bonaface.training.checkpoints import Checkpoints, Record, best_epoch, has_run_dry
from bonaface.training.loader import (
    Batch,
    EpochSampler,
    StoredFrames,
    TrainingSet,
    ValidationSet,
    positive_weight,
    training_loader,
    validation_loader,
)
from bonaface.types import Label, Status, probability

__all__ = ["TrainingLoop", "validation_measures"]

_NOISE = 2
"""The stream of random numbers behind dropout; loading has the ones before."""
_STEPS_PER_LINE = 10
"""Training steps between two points of TensorBoard's curve."""


class TrainingLoop(LightningModule):
    """Trains a network by a recipe; after each epoch it measures, and keeps what is worth keeping.

    `state` is what an interrupted training left. Lightning's own checkpoints are not used: what they say of
    the place in the epoch differs from version to version, and they are written before the scheduler steps.
    """

    positive_weight: Tensor
    loss_sum: Tensor

    def __init__(
        self,
        network: LivenessNet,
        recipe: Recipe,
        *,
        train: StoredFrames,
        val: StoredFrames,
        checkpoints: Checkpoints,
        fingerprint: Mapping[str, Any],
        state: Mapping[str, Any] | None = None,
        on_epoch: Callable[[Record], None] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.history: list[Record] = list(state["history"]) if state else []
        self._recipe = recipe
        self._settings = recipe.training
        self._train_frames, self._val_frames = train, val
        self._checkpoints = checkpoints
        self._fingerprint = fingerprint
        self._state = state
        self._on_epoch = on_epoch
        self._sampler: EpochSampler | None = None
        self._judged: list[tuple[Tensor, Tensor]] = []
        self._measured: dict[str, float] = {}
        weight = 1.0
        if self._settings.balance != "none":
            weight = positive_weight(
                train.labels, balanced=self._settings.balance == "sampler", simulate=recipe.augment.simulate
            )
        self.register_buffer("positive_weight", torch.tensor(weight), persistent=False)
        self.register_buffer("loss_sum", torch.zeros(2), persistent=False)
        if state:
            network.load_state_dict(state["network"])

    def train_dataloader(self) -> DataLoader[Batch]:
        """Lightning's hook."""
        world, size = self.trainer.world_size, self._share_of_batch()
        self._sampler = EpochSampler(
            self._train_frames.labels,
            seed=self._recipe.seed,
            batch_size=size,
            balanced=self._settings.balance == "sampler",
            rank=self.trainer.global_rank,
            world=world,
        )
        # Lightning takes an iterator before it tells a sampler its epoch, so the sampler is told here.
        self._sampler.epoch = len(self.history)
        return training_loader(
            TrainingSet(self._train_frames, self._recipe),
            self._sampler,
            batch_size=size,
            workers=self._settings.workers,
            pin=self._on_gpu(),
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Lightning's hook."""
        return validation_loader(
            ValidationSet(self._val_frames, self._recipe),
            batch_size=self._share_of_batch(),
            workers=self._settings.workers,
            pin=self._on_gpu(),
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, with a scheduler that is stepped here, not by Lightning: what is kept includes its step."""
        settings = self._settings
        optimizer = torch.optim.Adam(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._scheduler = ReduceLROnPlateau(
            optimizer, mode="min", factor=settings.scheduler_factor, patience=settings.scheduler_patience
        )
        if self._state:
            optimizer.load_state_dict(self._state["optimizer"])
            self._scheduler.load_state_dict(self._state["scheduler"])
            self.trainer.precision_plugin.load_state_dict(self._state["precision"])
        self._state = None
        return optimizer

    def on_train_epoch_start(self) -> None:
        """Lightning's hook."""
        self._started = time.monotonic()
        self.loss_sum.zero_()
        if self._settings.freeze_norm:
            for module in self.network.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Seed dropout by the epoch; not earlier, as loaders draw a number too, some more often than others."""
        if batch_index == 0:
            seed = np.random.SeedSequence((_NOISE, self._recipe.seed, len(self.history), self.trainer.global_rank))
            torch.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss of a batch."""
        logits, _ = self.network(batch.crops)
        smoothing = self._settings.label_smoothing
        labels = batch.labels * (1 - smoothing) + smoothing / 2
        loss = binary_cross_entropy_with_logits(logits, labels, pos_weight=self.positive_weight)
        self.loss_sum += torch.stack([loss.detach() * len(labels), loss.new_tensor(len(labels))])
        self.log("train_loss", loss, prog_bar=True, logger=False)
        if batch_index % _STEPS_PER_LINE == 0:
            step = len(self.history) * int(self.trainer.num_training_batches) + batch_index
            self._plot({"step/train_loss": loss.item()}, step)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Lightning's hook."""
        self._judged = []

    def validation_step(self, batch: Batch, _: int) -> None:
        """Collect the logits; they are measured together."""
        logits, _embedding = self.network(batch.crops)
        self._judged.append((batch.samples, logits))

    def on_validation_epoch_end(self) -> None:
        """Measure validation, each presentation once whichever devices saw it."""
        samples = self._gathered(torch.cat([samples for samples, _ in self._judged]))
        logits = self._gathered(torch.cat([logits for _, logits in self._judged]))
        known, first = np.unique(samples.cpu().numpy(), return_index=True)
        self._judged = []
        values, real = logits.cpu().double().numpy()[first], known < len(self._val_frames)
        self._measured = validation_measures(
            values[real], self._val_frames.labels[known[real]], simulated=values[~real]
        )
        shown = {name: value for name, value in self._measured.items() if name in ("val_loss", "val_hter")}
        self.log_dict(shown, prog_bar=True, logger=False, rank_zero_only=True)

    def on_train_epoch_end(self) -> None:
        """Lightning's hook, after validation: keep what the epoch gave, and decide whether to go on."""
        optimizer = self.trainer.optimizers[0]
        loss_sum = self._gathered(self.loss_sum[None]).sum(dim=0)
        record = {
            "epoch": len(self.history) + 1,
            "train_loss": float(loss_sum[0] / loss_sum[1]),
            **self._measured,
            "lr": float(optimizer.param_groups[0]["lr"]),
            "seconds": round(time.monotonic() - self._started, 2),
        }
        if not np.isfinite([record["train_loss"], record["val_loss"]]).all():
            raise InputError(
                f"in epoch {record['epoch']} the loss became {record['train_loss']:g} in training and "
                f"{record['val_loss']:g} in validation; lower training.learning_rate or set training.precision=32"
            )
        self._scheduler.step(record["val_loss"])
        self.history.append(record)
        if self._sampler is not None:
            self._sampler.epoch = len(self.history)
        if self.trainer.is_global_zero:
            self._keep(record, optimizer)
        if has_run_dry(self.history, self._settings.monitor, patience=self._settings.early_stopping):
            self.trainer.should_stop = True

    def _keep(self, record: Record, optimizer: torch.optim.Optimizer) -> None:
        if best_epoch(self.history, self._settings.monitor).epoch == record["epoch"]:
            self._checkpoints.keep_best(self.network, record, recipe=self._recipe)
        state = {
            "fingerprint": self._fingerprint,
            "network": self.network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "precision": self.trainer.precision_plugin.state_dict(),
        }
        self._checkpoints.keep_last(state, self.history)
        self._plot({name: value for name, value in record.items() if name != "epoch"}, int(record["epoch"]))
        if self._on_epoch is not None:
            self._on_epoch(record)

    def _share_of_batch(self) -> int:
        """Of the recipe's batch, what one device takes, so that the recipe means the same on any number."""
        return max(self._settings.batch_size // self.trainer.world_size, 1)

    def _on_gpu(self) -> bool:
        return bool(self.trainer.strategy.root_device.type == "cuda")

    def _gathered(self, values: Tensor) -> Tensor:
        """The values of all devices, along the first axis."""
        if self.trainer.world_size == 1:
            return values
        gathered = self.all_gather(values)
        assert isinstance(gathered, Tensor)
        return gathered.flatten(0, 1)

    def _plot(self, values: Record, step: int) -> None:
        if isinstance(self.logger, TensorBoardLogger):
            self.logger.log_metrics(dict(values), step)


def validation_measures(
    logits: NDArray[np.float64], labels: NDArray[np.bool_], *, simulated: NDArray[np.float64] | None = None
) -> dict[str, float]:
    """Loss in nats; accuracy, FAR and FRR at score 0.5; HTER at the threshold of equal error.

    `labels` are True for bona fide; each class must occur. Logits of `simulated` attacks count in the loss, in which
    each class then weighs half, and have a FAR of their own at score 0.5; every other measure is of real ones alone.
    """
    rejected = logits < 0
    table = pd.DataFrame(
        {
            "presentation": [str(index) for index in range(len(logits))],
            "label": np.where(labels, Label.BONA_FIDE.value, Label.ATTACK.value),
            "status": Status.OK.value,
            "logit": logits,
            "score": probability(logits),
        }
    )
    errors = {"far": float("nan"), "frr": float("nan")}
    if np.isfinite(logits).all():
        errors = dict(choose_threshold(table, "eer").chosen_on)
    with np.errstate(invalid="ignore"):  # a logit that is not a number is told by the loss that it gives
        losses = np.logaddexp(0, np.where(labels, -logits, logits))
        if simulated is not None and len(simulated):
            errors["simulated"] = float((simulated >= 0).mean())
            # Each class weighs half, or more simulated attacks would favour whatever refuses more.
            attacks = np.concatenate([losses[~labels], np.logaddexp(0, simulated)])
            losses = np.array([losses[labels].mean(), attacks.mean()])
    return {
        "val_loss": float(losses.mean()),
        "val_accuracy": float((rejected != labels).mean()),
        "val_far": float((~rejected[~labels]).mean()),
        "val_frr": float(rejected[labels].mean()),
        "val_hter": (errors["far"] + errors["frr"]) / 2,
        **({"val_simulated_far": errors["simulated"]} if "simulated" in errors else {}),
    }
