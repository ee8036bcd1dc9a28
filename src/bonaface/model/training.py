"""Training, from a recipe and stored crops to the best weights."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from bonaface.data.manifest import Manifest
from bonaface.errors import BonafaceError, InputError, SettingsError, writing
from bonaface.model.bar import StepBar
from bonaface.model.checkpoints import Checkpoints, Record, best_epoch, fingerprint, has_run_dry
from bonaface.model.interruption import Interrupted, Interruption
from bonaface.model.loading import StoredFrames, frames_for_training, frames_for_validation
from bonaface.model.loop import TrainingLoop
from bonaface.model.network import build_network
from bonaface.model.surroundings import quiet_lightning, seeded, single_threaded_opencv
from bonaface.settings import Recipe, TrainingSettings
from bonaface.verdicts import Label

__all__ = ["Stopped", "TrainingResult", "fit"]

Stopped = Literal["finished", "early", "interrupted"]


@dataclass(frozen=True)
class TrainingResult:
    """What a training left.

    Epochs count from 1; `best_epoch` is 0, and `best_weights` absent, where not one was completed. `history` has a row
    an epoch: `epoch`, `train_loss`, `val_loss` (nats), `val_accuracy`, `val_far`, `val_frr` (at score 0.5), `val_hter`
    (at the threshold of equal error), `lr`, `seconds`. `left_out` names the presentations of `train` without a usable
    frame, and those of `val` without a usable first frame. `seconds` are of this call alone.
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

    Writes `run/checkpoints` and `run/logs`. Ctrl-C or SIGTERM end it between two batches; with `resume` it then goes on
    after the last complete epoch, to exactly the weights that it would have had. `progress` is told training steps,
    `on_epoch` each row of the history; Lightning's progress bar is shown on a terminal where neither was given, or by
    `bar`. Raises InputError where a split lacks a class, SettingsError for a device or precision that is not here,
    and what `build_network` raises.
    """
    started = time.monotonic()
    _check_device(recipe.training)
    train = frames_for_training(manifest.where("train"), crops, first=recipe.training.frame == "first")
    val = frames_for_validation(manifest.where("val"), crops)
    _check_classes("train", train, "a usable stored frame")
    _check_classes("val", val, "a usable first frame")
    checkpoints = Checkpoints(run)
    expected = fingerprint(recipe, train, val)
    if not resume:
        checkpoints.refuse_if_used()
    state = checkpoints.read_last(expected) if resume else None
    stopped = _verdict(state["history"] if state else [], recipe.training)
    if stopped == "interrupted":
        interruption = Interruption(spawned=_spawns(recipe.training))
        with ExitStack() as stack:
            stack.enter_context(seeded(recipe.seed))
            stack.enter_context(quiet_lightning())
            stack.enter_context(single_threaded_opencv())
            loop = TrainingLoop(
                build_network(recipe.model),
                recipe,
                train=train,
                val=val,
                checkpoints=checkpoints,
                fingerprint=expected,
                state=state,
                on_epoch=on_epoch,
            )
            callbacks: list[Callback] = [interruption]
            alone = progress is None and on_epoch is None
            shows_bar = (alone and sys.stderr.isatty()) if bar is None else bar
            ...
    history = (checkpoints.read_last(expected) or {"history": []})["history"]
    best = best_epoch(history, recipe.training.monitor)
    return TrainingResult(
        best_weights=checkpoints.best,
        last_checkpoint=checkpoints.last,
        best_epoch=best.epoch,
        best_value=best.value,
        history=pd.DataFrame(history),
        stopped=_verdict(history, recipe.training),
        seconds=time.monotonic() - started,
        left_out={"train": train.left_out, "val": val.left_out},
    )
