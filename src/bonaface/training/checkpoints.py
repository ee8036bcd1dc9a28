"""What a training keeps: the best weights, its history, and the state to resume from. No file is a pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors
from torch import Tensor, nn

from bonaface.config import Recipe
from bonaface.config.recipe import with_new_keys
from bonaface.errors import InputError, OutputError, format_list, one_line
from bonaface.io import write_bytes, write_json, write_table
from bonaface.models.network import LivenessNet, network_bytes
from bonaface.models.weights import METADATA_KEY
from bonaface.training.loader import StoredFrames

Record = Mapping[str, float]
"""One epoch by the columns of the history; epochs count from 1."""

MAY_CHANGE = {
    "crop.weights",
    "model.ensemble_with",
    "training.accelerator",
    "training.early_stopping",
    "training.epochs",
    "training.workers",
}
"""Settings that a resumed run may change: where and how long it runs, and what is added to the network afterwards."""

Finite = Annotated[float, Field(allow_inf_nan=False)]


class BestEpoch(NamedTuple):
    """The best epoch so far, counted from 1 (0 before the first), and its monitored value."""

    epoch: int
    value: float


class State(BaseModel):
    """A training after a complete epoch, but for its tensors: those of the network and of Adam."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    fingerprint: dict[str, Any]
    history: list[dict[str, int | Finite]] = Field(min_length=1)
    learning_rate: Finite
    plateau_best: Finite
    bad_epochs: int = Field(ge=0)
    scaler: dict[str, int | Finite]


def best_epoch(history: Sequence[Record], monitor: str) -> BestEpoch:
    """Return the epoch with the least monitored value; of equal ones that with the least loss, then the first."""
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


def out_of_patience(history: Sequence[Record], monitor: str, *, patience: int | None) -> bool:
    """Return whether `patience` epochs have passed since the best one."""
    return patience is not None and len(history) - best_epoch(history, monitor).epoch >= patience


def state_dict_of(network: nn.Module, adam: torch.optim.Adam) -> dict[str, Tensor]:
    """Return the tensors of network and optimiser by name: copying into them restores a training."""
    found = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        state = adam.state[parameter]
        if not state:  # as Adam itself would start it
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        found |= {f"adam.{name}.{key}": state[key] for key in ("step", "exp_avg", "exp_avg_sq")}
    return found


def fingerprint(recipe: Recipe, manifest: str, frames: Sequence[StoredFrames] = ()) -> dict[str, Any]:
    """Return what decides the weights that a training reaches: recipe, manifest digest and, once known, crops."""
    found: dict[str, Any] = {"manifest": manifest, "recipe": recipe.model_dump(mode="json", exclude={"data"})}
    if frames:
        crops = hashlib.sha256()
        for part in frames:
            crops.update("\0".join(part.names).encode())
            for array in (part.labels, part.start, part.boxes):
                crops.update(np.ascontiguousarray(array).tobytes())
        found["crops"] = crops.hexdigest()
    return found


def check_resumable(run: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compare two fingerprints. Raises InputError naming whatever would change what the run learns."""
    if before.get("manifest") != now["manifest"]:
        raise InputError(f"{run} was trained on a different manifest; resume with that one or name another folder")
    old, new = _flat(with_new_keys(before.get("recipe") or {}), "recipe"), _flat(now["recipe"], "recipe")
    keys = [key for key in (old | new) if key.removeprefix("recipe.") not in MAY_CHANGE]
    changed = [
        f"{key.removeprefix('recipe.')} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in keys
        if old.get(key) != new.get(key)
    ]
    if changed:
        raise InputError(
            f"{run} was trained with other settings ({format_list(changed)}); resume with those or name another folder"
        )
    if "crops" in now and "crops" in before and before["crops"] != now["crops"]:
        raise InputError(f"{run} was trained on other crops: its footage has changed; name another folder")


def tensorboard_writer(folder: Path) -> Any:
    """Return a writer of TensorBoard's log, None where tensorboard is not installed."""
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))


@dataclass(frozen=True)
class Checkpoints:
    """The files of a training below its run folder; each is replaced as a whole."""

    run: Path

    @property
    def best(self) -> Path:
        """The weights of the best epoch, as safetensors; the .json next to it describes the epoch."""
        return self.run / "checkpoints" / "best.safetensors"

    @property
    def last(self) -> Path:
        """Everything needed to resume after the last complete epoch: safetensors with a JSON header entry."""
        return self.run / "checkpoints" / "last.ckpt"

    @property
    def history(self) -> Path:
        """A row per epoch."""
        return self.run / "logs" / "metrics.csv"

    def keep_best(self, network: LivenessNet, record: Record, *, recipe: Recipe) -> None:
        """Make this epoch's weights the best ones."""
        write_bytes(self.best, network_bytes(network))
        about = {
            "epoch": int(record["epoch"]),
            "monitor": recipe.training.monitor,
            "metrics": dict(record),
            "model": recipe.model.model_dump(mode="json"),
        }
        write_json(self.best.with_suffix(".json"), about)

    def keep_last(self, state: State, tensors: Mapping[str, Tensor]) -> None:
        """Make this the state to resume from, and write the history."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        write_bytes(self.last, bytes(safetensors.save(plain, metadata={METADATA_KEY: state.model_dump_json()})))
        write_table(pd.DataFrame(state.history), self.history)

    def read_last(self, now: Mapping[str, Any], expected: Mapping[str, Tensor]) -> tuple[State, dict[str, Tensor]]:
        """Return the state to resume from, and its tensors, all of which have a name and shape of `expected`.

        Raises InputError where the file is damaged, or where its fingerprint differs from `now`.
        """
        try:
            with safe_open(self.last, framework="pt") as file:
                state = State.model_validate_json((file.metadata() or {})[METADATA_KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            if apart := sorted({name for name, _ in _shapes(tensors) ^ _shapes(expected)}):
                raise ValueError(f"missing or unexpected tensors: {format_list(apart)}")
            needed = {"val_loss", "val_hter", "train_loss"}
            if any(
                row.get("epoch") != place or needed - row.keys() for place, row in enumerate(state.history, start=1)
            ):
                raise ValueError("incomplete history")
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
            reason = one_line(error)
            raise InputError(
                f"{self.last} is damaged and cannot be resumed from ({reason}); train again in another folder"
            ) from error
        check_resumable(self.run, state.fingerprint, now)
        return state, tensors

    def refuse_if_used(self) -> None:
        """Raise OutputError if this folder holds a training already."""
        for path in (self.last, self.best):
            if path.exists():
                raise OutputError(f"{path} exists; resume that training, or name another folder")


def _shapes(tensors: Mapping[str, Tensor]) -> set[tuple[str, tuple[object, ...]]]:
    return {(name, (*tensor.shape, tensor.dtype)) for name, tensor in tensors.items()}


def _flat(values: Any, prefix: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}.{key}")
    return flat
