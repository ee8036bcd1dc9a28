"""What a training keeps: its history, the best weights to use, and the state to go on from."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from bonaface.config import Recipe
from bonaface.errors import InputError, OutputError, few
from bonaface.io import write_bytes, write_json, write_table
from bonaface.models.network import LivenessNet, save_network
from bonaface.training.loader import StoredFrames

__all__ = ["BestEpoch", "Checkpoints", "Record", "best_epoch", "epoch_line", "fingerprint", "has_run_dry"]

Record = Mapping[str, float]
"""One epoch, counted from 1, by the columns of the history."""

_MAY_CHANGE = {"epochs", "early_stopping", "accelerator", "devices", "workers"}
"""Settings of a training that a resumed one may change: how long, and on what, it runs."""


class BestEpoch(NamedTuple):
    """The best epoch so far, counted from 1 (0 before the first), and its monitored value."""

    epoch: int
    value: float


def best_epoch(history: Sequence[Record], monitor: str) -> BestEpoch:
    """The epoch with the least monitored value; of equal ones that with the least loss, then the first."""
    if not history:
        return BestEpoch(0, float("nan"))
    best = min(history, key=lambda record: (record[monitor], record["val_loss"]))
    return BestEpoch(int(best["epoch"]), best[monitor])


def epoch_line(history: Sequence[Record], *, epochs: int, monitor: str) -> str:
    """Return the last epoch of a history as a line for a person; the best so far is marked."""
    last = history[-1]
    best = "  best *" if best_epoch(history, monitor).epoch == last["epoch"] else ""
    return (
        f"epoch {last['epoch']:.0f}/{epochs}  train {last['train_loss']:.3f}  val {last['val_loss']:.3f}  "
        f"HTER {100 * last['val_hter']:.1f} %{best}  {last['seconds']:.0f} s"
    )


def has_run_dry(history: Sequence[Record], monitor: str, *, patience: int | None) -> bool:
    """Whether `patience` epochs have passed since the best one."""
    return patience is not None and len(history) - best_epoch(history, monitor).epoch >= patience


def fingerprint(recipe: Recipe, train: StoredFrames, val: StoredFrames) -> dict[str, Any]:
    """Everything that decides what a training learns: the same fingerprint, the same weights."""
    seen = hashlib.sha256()
    for frames in (train, val):
        seen.update("\0".join(frames.names).encode())
        for part in (frames.labels, frames.start, frames.boxes):
            seen.update(np.ascontiguousarray(part).tobytes())
    settings = recipe.model_dump(mode="json", include={"seed", "model", "augment", "training"})
    settings["training"] = {key: value for key, value in settings["training"].items() if key not in _MAY_CHANGE}
    return {"settings": settings, "data": seen.hexdigest()}


@dataclass(frozen=True)
class Checkpoints:
    """The files of a training under its run folder, each written beside its place and moved there.

    `last` is a pickle, and is only ever read to resume the run that wrote it.
    """

    run: Path

    @property
    def best(self) -> Path:
        """The weights of the best epoch: safetensors, with a .json beside it that says which."""
        return self.run / "checkpoints" / "best.safetensors"

    @property
    def last(self) -> Path:
        """Everything needed to go on after the last complete epoch."""
        return self.run / "checkpoints" / "last.ckpt"

    @property
    def history(self) -> Path:
        """A row per epoch."""
        return self.run / "logs" / "metrics.csv"

    def keep_best(self, network: LivenessNet, record: Record, *, recipe: Recipe) -> None:
        """Make this epoch's weights the best ones."""
        save_network(network, self.best)
        about = {
            "epoch": int(record["epoch"]),
            "monitor": recipe.training.monitor,
            "metrics": dict(record),
            "model": recipe.model.model_dump(mode="json"),
        }
        write_json(self.best.with_suffix(".json"), about)

    def keep_last(self, state: Mapping[str, Any], history: Sequence[Record]) -> None:
        """Make this the state to go on from; it holds tensors, numbers, strings and containers of them."""
        buffer = io.BytesIO()
        torch.save({**state, "history": [dict(record) for record in history]}, buffer)
        write_bytes(self.last, buffer.getvalue())
        table = pd.DataFrame([dict(record) for record in history])
        write_table(table, self.history)

    def read_last(self, expected: Mapping[str, Any]) -> dict[str, Any] | None:
        """The state to go on from, None where no epoch was completed yet.

        Raises InputError where it is damaged, or of a training with another `fingerprint`.
        """
        if not self.last.is_file():
            return None
        try:
            # As restricted as torch can make a pickle, which is no boundary: this is our own file, in our run.
            state: dict[str, Any] = torch.load(self.last, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{self.last} is damaged and cannot be resumed from ({reason}); train anew") from None
        held = state["fingerprint"]
        changed = _changed(held["settings"], expected["settings"])
        if changed:
            raise InputError(f"{self.run} was trained with other settings ({few(changed)}); resume with those")
        if held["data"] != expected["data"]:
            raise InputError(f"{self.run} was trained on another manifest or other crops; resume with those")
        return state

    def refuse_if_used(self) -> None:
        """Raise OutputError where a training lies here already."""
        for path in (self.last, self.best):
            if path.exists():
                raise OutputError(f"{path} is there already; resume that training, or name another folder")


def _changed(before: Any, after: Any, name: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        inner = (_changed(before.get(key), after.get(key), f"{name}.{key}".lstrip(".")) for key in keys)
        return [line for lines in inner for line in lines]
    return [] if before == after else [f"{name} was {before!r}, is {after!r}"]
