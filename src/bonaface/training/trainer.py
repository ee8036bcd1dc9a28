"""The training loop, from a recipe and stored crops to the best weights.

One process, or one per device under torchrun; Accelerate places the network, scales losses and averages gradients. The
loaders are left out of its `prepare`, because our sampler already gives each process its share.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
import torch
from accelerate.utils import broadcast_object_list
from timm.layers import convert_sync_batchnorm
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bonaface.config import Recipe, TrainingSettings
from bonaface.data.manifest import Manifest
from bonaface.errors import BonafaceError, InputError, SettingsError
from bonaface.models.network import LivenessNet, build_network, load_network
from bonaface.training.checkpoints import (
    Checkpoints,
    Record,
    State,
    best_epoch,
    epoch_line,
    fingerprint,
    out_of_patience,
    state_dict_of,
    tensorboard_writer,
)
from bonaface.training.distributed import lost_processes_reported, make_accelerator, ready_to_fork
from bonaface.training.loader import (
    EpochSampler,
    StoredFrames,
    TrainingSet,
    ValidationSet,
    batches,
    batches_in_order,
    check_classes,
    frames_for_training,
    frames_for_validation,
    make_loader,
    positive_weight,
)
from bonaface.training.normalisation import freeze_norm, has_norm, min_batch_per_process
from bonaface.training.signals import Stopped, stop_on_signals
from bonaface.training.validation import validation_measures
from bonaface.types import Progress

Outcome = Literal["finished", "early", "interrupted"]
T = TypeVar("T")

_DROPOUT = 2
"""The stream of random numbers behind dropout; the loader uses the others."""
_STEPS_PER_POINT = 10
"""Training steps between two points of TensorBoard's loss curve."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training left.

    Epochs count from 1; `best_epoch` is 0, and `best_weights` absent, if none was completed. `history` has a row per
    epoch: `epoch`, `train_loss`, what `validation_measures` gives, `lr`, `seconds`. `left_out` names the presentations of
    `train` without a usable frame, and those of `val` without a usable first frame. `seconds` are of this call alone.
    """

    best_weights: Path
    best_epoch: int
    history: pd.DataFrame
    stopped: Outcome
    seconds: float
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Trainer:
    """Trains the network of a recipe, which is built here and then trained by `fit`, once.

    Raises SettingsError for a device or precision that this machine does not have, and what `build_network` does.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._settings = recipe.training
        self._stop = threading.Event()
        with lost_processes_reported():
            self._accelerator = make_accelerator(self._settings)
            with self._accelerator.local_main_process_first(), torch.random.fork_rng():
                torch.manual_seed(recipe.seed % 2**32)
                self.network: LivenessNet = build_network(recipe.model)
        learns_norm = has_norm(self.network) and not self._settings.freeze_norm
        self._synchronised = learns_norm and self._world > 1 and self._accelerator.device.type == "cuda"
        self._min_batch = min_batch_per_process(
            self._settings, self._world, own_norm=learns_norm and not self._synchronised
        )

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes."""
        return bool(self._accelerator.is_main_process)

    def from_main_process(self, make: Callable[[], T]) -> T:
        """Return what `make` gives in the main process, or raise its BonafaceError, in every process."""
        made: list[Any] = [None]
        if self.is_main:
            try:
                made = [make()]
            except BonafaceError as error:
                made = [error]
        if self._world > 1:
            with lost_processes_reported():
                broadcast_object_list(made)
        if isinstance(made[0], BonafaceError):
            raise made[0]
        found: T = made[0]
        return found

    def fit(
        self,
        manifest: Manifest,
        crops: pd.DataFrame,
        run: Path,
        *,
        resume: bool = False,
        progress: Progress | None = None,
    ) -> TrainingResult:
        """Train on the manifest's `train`, choose the best epoch on its `val`; `crops` is the crop store's table.

        Writes `run/checkpoints` and `run/logs`. Ctrl-C or SIGTERM stop it between two batches. With `resume` it continues
        after the last complete epoch, and reaches exactly the weights of an uninterrupted training. At the end `network`
        holds the best weights. Raises InputError if a split lacks a class or the loss diverges, OutputError if `run`
        holds a training already or cannot be written.
        """
        started = time.monotonic()
        settings = self._settings
        train = frames_for_training(manifest.where("train"), crops, first=settings.frame == "first")
        val = frames_for_validation(manifest.where("val"), crops)
        check_classes("train", train, "a usable stored frame")
        check_classes("val", val, "a usable first frame")
        self._checkpoints = Checkpoints(run)
        self._fingerprint = fingerprint(self.recipe, manifest.digest, (train, val))
        if not resume:
            self.from_main_process(self._checkpoints.refuse_if_used)
        stopped = False
        on_gpu = self._accelerator.device.type == "cuda"
        with (
            torch.random.fork_rng([self._accelerator.device] if on_gpu else []),
            lost_processes_reported(),
            ready_to_fork(),
            stop_on_signals(self._stop),
        ):
            self._prepare(train, val)
            try:
                if resume and self.from_main_process(self._checkpoints.last.exists):
                    self._restore()
                while _ended(self.history, settings) is None:
                    self._run_epoch(progress)
                self._raise_if_stopped()
            except Stopped:
                stopped = True
            except torch.OutOfMemoryError:
                raise SettingsError(
                    f"the GPU's memory is too small for training.batch_size={settings.batch_size}; lower it"
                ) from None
            finally:
                if self._board:
                    self._board.close()
                del self._train_loader, self._val_loader  # ends their processes
            self._accelerator.end_training()
        outcome = None if stopped else _ended(self.history, settings)
        if outcome and self.is_main:
            with torch.random.fork_rng():
                # Built again, without what the training wrapped around it.
                self.network = load_network(self._checkpoints.best, self.recipe.model)
        return TrainingResult(
            best_weights=self._checkpoints.best,
            best_epoch=best_epoch(self.history, settings.monitor).epoch,
            history=pd.DataFrame(self.history),
            stopped=outcome or "interrupted",
            seconds=time.monotonic() - started,
            left_out={"train": train.left_out, "val": val.left_out},
        )

    def _prepare(self, train: StoredFrames, val: StoredFrames) -> None:
        """Make the optimiser, scheduler and loaders."""
        recipe, settings = self.recipe, self._settings
        balanced = settings.balance == "sampler"
        place: dict[str, Any] = {"rank": int(self._accelerator.process_index), "world": self._world}
        on_gpu = self._accelerator.device.type == "cuda"
        loading: dict[str, Any] = {"workers": settings.workers, "pin": on_gpu}
        self.history: list[Record] = []
        self._sampler = EpochSampler(
            train.labels,
            sources=train.sources,
            seed=recipe.seed,
            batch_size=settings.batch_size,
            balanced=balanced,
            min_batch=self._min_batch,
            **place,
        )
        self._train_loader = make_loader(TrainingSet(train, recipe), self._sampler, **loading)
        self._validation = ValidationSet(val, recipe)
        order = batches_in_order(len(self._validation), batch_size=settings.batch_size, **place)
        self._val_loader = make_loader(self._validation, order, **loading)
        weight = 1.0
        if settings.balance != "none":
            weight = positive_weight(train.labels, balanced=balanced, simulate=recipe.augment.simulate)
        self._positive_weight = torch.tensor(weight, device=self._accelerator.device)
        # Before Accelerate wraps the network: a copy of the wrapped one would still run the original.
        steps = settings.ema_epochs * len(self._train_loader) / settings.gradient_accumulation
        self._average: AveragedModel | None = None
        if steps:
            averaging = get_ema_multi_avg_fn(1 - 1 / max(steps, 1))  # type: ignore[no-untyped-call]
            device = self._accelerator.device
            self._average = AveragedModel(self.network, device, multi_avg_fn=averaging, use_buffers=True)
        if self._synchronised:
            convert_sync_batchnorm(self.network)
        self._model = self._accelerator.prepare_model(self.network)
        self._adam = torch.optim.Adam(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._optimizer = self._accelerator.prepare_optimizer(self._adam)
        self._scheduler = ReduceLROnPlateau(
            self._adam, mode="min", factor=settings.scheduler_factor, patience=settings.scheduler_patience
        )
        self._board = tensorboard_writer(self._checkpoints.run / "logs" / "tensorboard") if self.is_main else None

    def _run_epoch(self, progress: Progress | None) -> None:
        """Train an epoch, validate, and keep what it gave."""
        started = time.monotonic()
        train_loss = self._train_epoch(progress)
        record = {
            "epoch": len(self.history) + 1,
            "train_loss": train_loss,
            **self._validate(),
            "lr": float(self._adam.param_groups[0]["lr"]),
            "seconds": round(time.monotonic() - started, 2),
        }
        if not np.isfinite([record["train_loss"], record["val_loss"]]).all():
            raise InputError(
                f"in epoch {record['epoch']} the loss became {record['train_loss']:g} in training and "
                f"{record['val_loss']:g} in validation; lower training.learning_rate or set training.precision=32"
            )
        self._scheduler.step(record["val_loss"])
        self.history.append(record)
        if not self.is_main:
            return
        best = best_epoch(self.history, self._settings.monitor).epoch == record["epoch"]
        if best:
            self._checkpoints.keep_best(self._validated_network, record, recipe=self.recipe)
        self._checkpoints.keep_last(self._state(), self._state_dict())
        self._plot({name: value for name, value in record.items() if name != "epoch"}, len(self.history))
        if progress:
            line = epoch_line(self.history, epochs=self._settings.epochs, monitor=self._settings.monitor)
            progress.epoch(line, {**record, "epochs": self._settings.epochs, "best": best})

    def _train_epoch(self, progress: Progress | None) -> float:
        """Train on each presentation once, and return the mean loss."""
        epoch, steps = len(self.history), len(self._train_loader)
        smoothing, window = self._settings.label_smoothing, self._settings.gradient_accumulation
        self._sampler.epoch = epoch
        self._model.train()
        if self._settings.freeze_norm:
            freeze_norm(self.network)
        total = torch.zeros(2, device=self._accelerator.device)
        loader = iter(self._train_loader)
        # Seeded here because making the iterator draws a number, too.
        seed = np.random.SeedSequence((_DROPOUT, self.recipe.seed, epoch, self._accelerator.process_index))
        torch.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))
        for step, batch in enumerate(batches(loader)):
            self._raise_if_stopped()
            ends_window = (step + 1) % window == 0 or step + 1 == steps
            whole = self._sampler.samples(step - step % window, window)
            real = self._sampler.real(step)
            logits, _ = self._model(batch.crops.to(self._accelerator.device, non_blocking=True))
            labels = batch.labels.to(self._accelerator.device, non_blocking=True) * (1 - smoothing) + smoothing / 2
            losses = binary_cross_entropy_with_logits(
                logits[:real], labels[:real], pos_weight=self._positive_weight, reduction="none"
            )
            # Gradients are averaged over processes and summed over the window: each sample weighs the same in both.
            loss = losses.sum() / (whole / self._world)
            with nullcontext() if ends_window else self._accelerator.no_sync(self._model):
                self._accelerator.backward(loss)
            if ends_window:
                self._optimizer.step()
                self._optimizer.zero_grad()
                if self._average:
                    self._average.update_parameters(self.network)
            total += torch.stack([losses.detach().sum(), losses.new_tensor(real)])
            if step % _STEPS_PER_POINT == 0 and self._board:
                self._plot({"step/train_loss": float(losses.detach().mean())}, epoch * steps + step)
            if progress and self.is_main:
                progress("train", epoch * steps + step + 1, self._settings.epochs * steps)
        loss_sum, count = self._gathered(total[None]).sum(dim=0).tolist()
        return float(loss_sum / count)

    def _validate(self) -> dict[str, float]:
        """Measure validation, each presentation once whichever processes scored it."""
        network = self._validated_network.eval()
        if self._world > 1:  # on CPUs each process has BatchNorm statistics of its own; those of the first one are kept
            for buffer in network.buffers():
                torch.distributed.broadcast(buffer, 0)
        indices, logits = [], []
        with torch.inference_mode():
            for batch in batches(self._val_loader):
                self._raise_if_stopped()
                found, _ = network(batch.crops.to(self._accelerator.device, non_blocking=True))
                indices.append(batch.samples)
                logits.append(found)
            gathered = self._gathered(torch.cat(logits)).cpu().double().numpy()
            index = self._gathered(torch.cat(indices).to(self._accelerator.device)).cpu().numpy()
        known, first = np.unique(index, return_index=True)
        data = self._validation
        return validation_measures(
            gathered[first],
            data.labels[known],
            simulated=data.simulated[known],
            sources=data.sources[known],
            source_names=data.frames.source_names,
        )

    @property
    def _validated_network(self) -> LivenessNet:
        """The network that is validated and kept: the average where there is one."""
        module = self._average.module if self._average else self.network
        assert isinstance(module, LivenessNet)
        return module

    def _state_dict(self) -> dict[str, Tensor]:
        """Return all tensors that a training is resumed from."""
        found = state_dict_of(self.network, self._adam)
        if self._average:
            found |= {f"average.{name}": tensor for name, tensor in self._average.state_dict().items()}
        return found

    def _state(self) -> State:
        scaler = self._accelerator.scaler
        return State(
            fingerprint=self._fingerprint,
            history=[dict(record) for record in self.history],
            learning_rate=float(self._adam.param_groups[0]["lr"]),
            plateau_best=float(self._scheduler.best),
            bad_epochs=self._scheduler.num_bad_epochs,
            scaler=scaler.state_dict() if scaler else {},
        )

    def _restore(self) -> None:
        """Continue where the last checkpoint was made."""
        own = self._state_dict()
        state, tensors = self._checkpoints.read_last(self._fingerprint, own)
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[name])
        self._adam.param_groups[0]["lr"] = state.learning_rate
        self._scheduler.best, self._scheduler.num_bad_epochs = state.plateau_best, state.bad_epochs
        self._scheduler.last_epoch = len(state.history)
        if self._accelerator.scaler:
            self._accelerator.scaler.load_state_dict({**self._accelerator.scaler.state_dict(), **state.scaler})
        self.history = list(state.history)

    def _raise_if_stopped(self) -> None:
        """Stop all processes at the same batch as soon as one of them was asked to."""
        asked = self._stop.is_set()
        if self._world > 1:
            flag = torch.tensor(float(asked), device=self._accelerator.device)
            asked = bool(self._accelerator.reduce(flag).item())
        if asked:
            raise Stopped

    def _plot(self, values: Record, step: int) -> None:
        if self._board:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    @property
    def _world(self) -> int:
        return int(self._accelerator.num_processes)

    def _gathered(self, values: Tensor) -> Tensor:
        """Return the values of all processes, along the first axis."""
        found: Tensor = self._accelerator.gather(values)
        return found


def _ended(history: Sequence[Record], settings: TrainingSettings) -> Outcome | None:
    """Return how a training with this history has ended; None if it has not."""
    if len(history) >= settings.epochs:
        return "finished"
    return "early" if out_of_patience(history, settings.monitor, patience=settings.early_stopping) else None
