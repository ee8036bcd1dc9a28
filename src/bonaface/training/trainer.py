"""Training, from a recipe and stored crops to the best weights."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from bonaface.config import Recipe, TrainingSettings
from bonaface.data.manifest import Manifest
from bonaface.errors import BonafaceError, InputError, SettingsError, few, writing
from bonaface.models.network import build_network
from bonaface.training.checkpoints import Checkpoints, Record, best_epoch, fingerprint, has_run_dry
from bonaface.training.interruption import Interrupted, Interruption
from bonaface.training.loader import StoredFrames, frames_for_training, frames_for_validation
from bonaface.training.loop import TrainingLoop
from bonaface.training.progress import StepBar, StepProgress
from bonaface.training.surroundings import InSpawnedProcess, quiet_lightning, seeded, single_threaded_opencv

__all__ = ["Stopped", "TrainingResult", "check", "fit"]

Stopped = Literal["finished", "early", "interrupted"]


@dataclass(frozen=True)
class TrainingResult:
    """What a training left.

    Epochs count from 1; `best_epoch` is 0, and `best_weights` absent, where not one was completed. `history`
    has a row an epoch: `epoch`, `train_loss`, `val_loss` (nats), `val_accuracy`, `val_far`, `val_frr` (at
    score 0.5), `val_hter` (at the threshold of equal error), `val_simulated_far` (at score 0.5, where attacks were
    simulated on validation; they count in `val_loss`), `lr`, `seconds`. `left_out` names the
    presentations of `train` without a usable frame, and those of `val` without a usable first frame.
    `seconds` are of this call alone.
    """

    best_weights: Path
    last_checkpoint: Path
    best_epoch: int
    best_value: float
    history: pd.DataFrame
    stopped: Stopped
    seconds: float
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)


def fit(
    recipe: Recipe,
    manifest: Manifest,
    crops: pd.DataFrame,
    run: Path,
    *,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[Record], None] | None = None,
    bar: bool | None = None,
) -> TrainingResult:
    """Train on the manifest's `train`, choose the best epoch on its `val`; `crops` is the crop store's table.

    Writes `run/checkpoints` and `run/logs`. Ctrl-C or SIGTERM end it between two batches; with `resume` it
    then goes on after the last complete epoch, to exactly the weights that it would have had. `progress` is
    told training steps, `on_epoch` each row of the history (neither by processes of several devices).
    Lightning's bar is shown on a terminal where nothing else tells of progress, or as `bar` says. Raises
    InputError where a split lacks a class or the loss is lost, SettingsError for a device or precision that
    is not here, OutputError where `run` holds a training or cannot be written, and what `build_network` does.
    """
    started = time.monotonic()
    settings = recipe.training
    accelerator = _accelerator(settings)
    train = frames_for_training(manifest.where("train"), crops, first=settings.frame == "first")
    val = frames_for_validation(manifest.where("val"), crops)
    _check_classes("train", train, "a usable stored frame")
    _check_classes("val", val, "a usable first frame")
    checkpoints = Checkpoints(run)
    expected = fingerprint(recipe, train, val)
    if not resume:
        checkpoints.refuse_if_used()
    state = checkpoints.read_last(expected) if resume else None
    if _verdict(state["history"] if state else [], settings) == "interrupted":
        _train(
            recipe,
            (train, val),
            checkpoints,
            fingerprint=expected,
            state=state,
            accelerator=accelerator,
            progress=progress,
            on_epoch=on_epoch,
            bar=(sys.stderr.isatty() and progress is None and on_epoch is None) if bar is None else bar,
        )
        state = checkpoints.read_last(expected)
    history = state["history"] if state else []
    best = best_epoch(history, settings.monitor)
    return TrainingResult(
        best_weights=checkpoints.best,
        last_checkpoint=checkpoints.last,
        best_epoch=best.epoch,
        best_value=best.value,
        history=pd.DataFrame(history),
        stopped=_verdict(history, settings),
        seconds=time.monotonic() - started,
        left_out={"train": train.left_out, "val": val.left_out},
    )


def check(recipe: Recipe) -> None:
    """Raise now what `fit` would raise for the device, the precision, the network or its weights, before hours of cropping.

    Builds the network once, so weights that have to be fetched are fetched. Raises what `fit` does.
    """
    _accelerator(recipe.training)
    with seeded(recipe.seed):
        build_network(recipe.model)


def _train(
    recipe: Recipe,
    frames: tuple[StoredFrames, StoredFrames],
    checkpoints: Checkpoints,
    *,
    fingerprint: Mapping[str, Any],
    state: Mapping[str, Any] | None,
    accelerator: str,
    progress: Callable[[int, int], None] | None,
    on_epoch: Callable[[Record], None] | None,
    bar: bool,
) -> None:
    """Run Lightning's loop to its end, or until somebody interrupts it."""
    settings = recipe.training
    spawned = settings.devices > 1 and not _UNDER_TORCHRUN
    interruption = Interruption(spawned=spawned)
    callbacks: list[Callback] = [interruption, *([InSpawnedProcess()] if spawned else [])]
    if bar:
        callbacks.append(StepBar())
    if progress is not None and not spawned:
        callbacks.append(StepProgress(progress))
    with (
        seeded(recipe.seed),
        quiet_lightning(),
        single_threaded_opencv(),
        _one_line(settings, checkpoints.run),
    ):
        loop = TrainingLoop(
            build_network(recipe.model),
            recipe,
            train=frames[0],
            val=frames[1],
            checkpoints=checkpoints,
            fingerprint=fingerprint,
            state=state,
            on_epoch=None if spawned else on_epoch,
        )
        trainer = Trainer(
            accelerator=accelerator,
            **_processes(settings, spawned=spawned),
            precision=settings.precision,
            max_epochs=settings.epochs,
            callbacks=callbacks,
            logger=TensorBoardLogger(checkpoints.run / "logs", name="", version="tensorboard"),
            default_root_dir=checkpoints.run,
            enable_progress_bar=bar,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            use_distributed_sampler=False,
        )
        done = trainer.fit_loop.epoch_progress.current
        done.processed = done.completed = len(loop.history)  # type: ignore[attr-defined]
        with interruption.listening():
            try:
                trainer.fit(loop)
            except Interrupted:
                return
            except Exception:
                # Processes that the interruption has reached first take others down in ways of their own.
                if not interruption.asked.is_set():
                    raise


_UNDER_TORCHRUN = "TORCHELASTIC_RUN_ID" in os.environ


def _processes(settings: TrainingSettings, *, spawned: bool) -> dict[str, Any]:
    if _UNDER_TORCHRUN:
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        return {"strategy": "ddp", "devices": here, "num_nodes": int(os.environ["WORLD_SIZE"]) // here}
    # Spawned, not started as the same command anew: what else the command does is done once.
    return {"strategy": "ddp_spawn" if spawned else "auto", "devices": settings.devices}


def _verdict(history: Sequence[Record], settings: TrainingSettings) -> Stopped:
    """What a training with this history is, whoever asks and whenever."""
    if has_run_dry(history, settings.monitor, patience=settings.early_stopping):
        return "early" if len(history) < settings.epochs else "finished"
    return "finished" if len(history) >= settings.epochs else "interrupted"


def _check_classes(split: str, frames: StoredFrames, what: str) -> None:
    bona_fide = int(frames.labels.sum())
    attacks = len(frames) - bona_fide
    if bona_fide and attacks:
        return
    left_out = f"; {few(frames.left_out, limit=3)} were left out for the lack of one" if frames.left_out else ""
    raise InputError(
        f"split {split!r} has {bona_fide} bona fide and {attacks} attack presentations with {what}; "
        f"training needs both{left_out}"
    )


def _accelerator(settings: TrainingSettings) -> str:
    """The accelerator by Lightning's name, checked against what is here."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else int(torch.backends.mps.is_available())
    if settings.accelerator == "gpu" and not gpus:
        raise SettingsError("training.accelerator=gpu, but torch finds no GPU here; use cpu or auto")
    on_gpu = settings.accelerator != "cpu" and gpus > 0
    if on_gpu and settings.devices > gpus and not _UNDER_TORCHRUN:
        raise SettingsError(f"training.devices={settings.devices}, but torch finds {gpus} GPU here; set that")
    if settings.precision == "16-mixed" and not on_gpu:
        raise SettingsError("training.precision=16-mixed needs a GPU; on a CPU use 32, or bf16-mixed")
    return "gpu" if on_gpu else "cpu"


@contextmanager
def _one_line(settings: TrainingSettings, run: Path) -> Iterator[None]:
    """What goes wrong inside torch and Lightning, as an error that says what to do."""
    try:
        yield
    except BonafaceError as error:
        # One that a loader process raised arrives with that process's traceback around it.
        lines = str(error).strip().splitlines()
        if len(lines) > 1:
            raise type(error)(lines[-1].partition(": ")[2] or lines[-1]) from None
        raise
    except torch.OutOfMemoryError:
        raise SettingsError(
            f"the GPU's memory is too small for training.batch_size={settings.batch_size}; lower it"
        ) from None
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}:
            raise
        with writing(run):
            raise
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise SettingsError(
            f"BatchNorm has one value to learn a spread from at training.batch_size={settings.batch_size} and this "
            "model.input_size; raise either, or set training.freeze_norm=true"
        ) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise BonafaceError(
            f"a loader process died ({' '.join(str(error).split())[:160]}); "
            "give the machine more (shared) memory, or set training.workers=0"
        ) from None
