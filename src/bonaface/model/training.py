"""Training: Lightning runs the loop, and is known in this room alone."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn

from bonaface.data.manifest import Manifest
from bonaface.errors import BonafaceError, InputError, SettingsError, writing
from bonaface.model.checkpoints import AtomicCheckpoint, KeepBest
from bonaface.model.loading import CropDataset, evaluation_loader, positive_weight, training_loader
from bonaface.model.network import LivenessNet, build_network
from bonaface.settings import Recipe

__all__ = ["TrainingResult", "fit"]


@dataclass(frozen=True)
class TrainingResult:
    """What a training left: `stopped` is `finished`, `early` or `interrupted`; `history` has a row per epoch."""

    best_weights: Path
    last_checkpoint: Path
    best_epoch: int
    best_value: float
    history: pd.DataFrame
    stopped: str
    seconds: float
    notes: tuple[str, ...] = ()


def fit(
    recipe: Recipe, manifest: Manifest, crops: pd.DataFrame, run: Path, *, resume: bool = False
) -> TrainingResult:
    """Train on the manifest's train split and keep the weights that are best on val.

    `crops` is the crop store's table. Writes `run/checkpoints` and `run/logs`. Interrupted by Ctrl-C or SIGTERM it ends
    after the last whole epoch that it kept, from which `resume` goes on to the same weights.
    """
    settings = recipe.training
    started = time.monotonic()
    train = CropDataset(manifest.where("train"), crops, recipe, training=True)
    val = CropDataset(manifest.where("val"), crops, recipe, training=False)
    for name, dataset in (("train", train), ("val", val)):
        if len(set(dataset.bona_fide.tolist())) < 2:
            raise InputError(
                f"split {name!r} has usable crops of {'one class alone' if len(dataset) else 'no presentation'}; "
                "training needs bona fide and attack presentations with a face in both train and val"
            )
    folder = run / "checkpoints"
    last = folder / "last.ckpt"
    if resume and not last.is_file():
        resume = False  # interrupted before the first epoch ended: from the start is where it was
    with writing(run), _seeded(recipe.seed), _quiet():
        folder.mkdir(parents=True, exist_ok=True)
        network = build_network(recipe.model)
        weight = positive_weight(train) if settings.balance == "weights" else 1.0
        module = LivenessModule(network, recipe, positive_weight=weight)
        best = KeepBest(folder / "best.safetensors", monitor=settings.monitor)
        stop = _Stop(best, patience=settings.early_stopping)
        callbacks: list[Callback] = [_Epochs(train), best, stop]
        tty = sys.stderr.isatty()
        if tty:
            callbacks.append(TQDMProgressBar())
        trainer = _trainer(recipe, run, callbacks, bar=tty)
        with _signals(trainer):
            trainer.fit(
                module,
                training_loader(train, recipe),
                evaluation_loader(val, recipe),
                ckpt_path=last if resume else None,
                weights_only=False,  # our own file of this very run: the optimiser's state is no plain tensor
            )
    history = pd.DataFrame(best.history)
    interrupted = trainer.interrupted or len(history) < settings.epochs and not stop.fired
    if not history.shape[0] and not interrupted:
        raise BonafaceError("training ended before its first epoch")
    return TrainingResult(
        best_weights=folder / "best.safetensors",
        last_checkpoint=last,
        best_epoch=best.best_epoch,
        best_value=best.best_value,
        history=history,
        stopped="interrupted" if interrupted else "early" if stop.fired else "finished",
        seconds=time.monotonic() - started,
        notes=tuple(
            f"{dataset.left_out} presentations of split {name} have no usable {what} and were left out of training"
            for name, dataset, what in (("train", train, "crop"), ("val", val, "first frame"))
            if dataset.left_out
        ),
    )


class LivenessModule(L.LightningModule):
    """The loop's side of the network: loss, optimiser, and what is measured after each epoch."""

    def __init__(self, network: LivenessNet, recipe: Recipe, *, positive_weight: float) -> None:
        super().__init__()
        self.network = network
        self._settings = recipe.training
        self.register_buffer("positive_weight", torch.tensor(positive_weight))
        self._gathered: list[tuple[Tensor, Tensor, Tensor]] = []
        self._losses: list[Tensor] = []
        self.measured: dict[str, float] = {}

    def training_step(self, batch: Any, _: int) -> Tensor:
        crops, labels, _index = batch
        logits, _embedding = self.network(crops)
        smooth = self._settings.label_smoothing
        weight = self.positive_weight if isinstance(self.positive_weight, Tensor) else None
        loss = nn.functional.binary_cross_entropy_with_logits(
            logits, labels * (1 - 2 * smooth) + smooth, pos_weight=weight
        )
        self._losses.append(loss.detach())
        return loss

    def on_train_epoch_start(self) -> None:
        self._losses.clear()
        if self._settings.freeze_norm:
            for part in self.network.modules():
                if isinstance(part, nn.modules.batchnorm._BatchNorm):
                    part.eval()

    def validation_step(self, batch: Any, _: int) -> None:
        crops, labels, index = batch
        logits, _embedding = self.network(crops)
        self._gathered.append((index, logits.float(), labels))

    def on_validation_epoch_start(self) -> None:
        self._gathered.clear()

    def on_validation_epoch_end(self) -> None:
        if self.trainer.sanity_checking or not self._gathered:
            return
        index, logits, labels = (torch.cat(parts) for parts in zip(*self._gathered, strict=True))
        if self.trainer.world_size > 1:
            index, logits, labels = (self.all_gather(part).flatten() for part in (index, logits, labels))
        # A distributed sampler repeats samples to fill its last batch: each counts once.
        _, first = np.unique(index.cpu().numpy(), return_index=True)
        self.measured = _measures(logits.cpu().double().numpy()[first], labels.cpu().numpy()[first] > 0.5)
        if self._losses:
            self.measured["train_loss"] = float(torch.stack(self._losses).mean())
        self.measured["learning_rate"] = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        self.log_dict(self.measured, sync_dist=False)

    def configure_optimizers(self) -> Any:
        settings = self._settings
        optimiser = torch.optim.Adam(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, mode="min", factor=settings.scheduler_factor, patience=settings.scheduler_patience
        )
        plan = {"scheduler": scheduler, "monitor": "val_loss", "interval": "epoch"}
        return {"optimizer": optimiser, "lr_scheduler": plan}


def _measures(logits: np.ndarray[Any, Any], bona_fide: np.ndarray[Any, Any]) -> dict[str, float]:
    """Validation loss, errors at 0.5, and HTER at the equal error rate's threshold, from every logit once."""
    loss = np.logaddexp(0, np.where(bona_fide, -logits, logits)).mean()
    accepted = logits >= 0
    far, frr = accepted[~bona_fide].mean(), (~accepted)[bona_fide].mean()
    steps = np.append(np.unique(logits), np.inf)
    fars = (logits[~bona_fide][None] >= steps[:, None]).mean(axis=1)
    frrs = (logits[bona_fide][None] < steps[:, None]).mean(axis=1)
    place = int(np.argmin(np.abs(fars - frrs)))
    return {
        "val_loss": float(loss),
        "val_accuracy": float((accepted == bona_fide).mean()),
        "val_far": float(far),
        "val_frr": float(frr),
        "val_hter": float((fars[place] + frrs[place]) / 2),
    }


class _Epochs(Callback):
    """Tells the dataset which epoch it is in, resumed or not."""

    def __init__(self, dataset: CropDataset) -> None:
        self._dataset = dataset

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._dataset.set_epoch(trainer.current_epoch)


class _Stop(Callback):
    """Ends the training when the monitor has not become better for `patience` epochs."""

    def __init__(self, best: KeepBest, *, patience: int | None) -> None:
        self._best = best
        self._patience = patience
        self.fired = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if (
            self._patience
            and not trainer.sanity_checking
            and len(self._best.history) - self._best.best_epoch > self._patience
        ):
            self.fired = trainer.should_stop = True


def _trainer(recipe: Recipe, run: Path, callbacks: list[Callback], *, bar: bool) -> L.Trainer:
    settings = recipe.training
    if settings.accelerator == "gpu" and not torch.cuda.is_available():
        raise SettingsError("training.accelerator is gpu, but torch sees none; use auto or cpu")
    loggers = [
        CSVLogger(run, name="logs", version="csv"),
        TensorBoardLogger(run, name="logs", version="tensorboard"),
    ]
    return L.Trainer(
        default_root_dir=run,
        accelerator=settings.accelerator,
        devices=settings.devices if torch.cuda.is_available() or settings.accelerator == "cpu" else 1,
        precision=settings.precision,
        max_epochs=settings.epochs,
        callbacks=[*callbacks, AtomicCheckpoint(run / "checkpoints" / "last.ckpt")],
        logger=loggers,
        enable_checkpointing=False,
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        use_distributed_sampler=settings.devices > 1,
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch and ask for deterministic kernels, for this training alone."""
    state = torch.get_rng_state()
    before = torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.set_rng_state(state)


@contextmanager
def _signals(trainer: L.Trainer) -> Iterator[None]:
    """Have SIGTERM end a training as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        trainer.state.status = "interrupted"  # type: ignore[assignment]
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's tips and greetings out of a user's terminal."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for about in (
                ".*does not have many workers.*",
                ".*Checkpoint directory .* exists.*",
                ".*pin_memory.*",
                ".*LeafSpec.*",
                ".*number of training batches.*",
                ".*Experiment logs directory.*",
                ".*treespec.*",
            ):
                warnings.filterwarnings("ignore", message=about)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
