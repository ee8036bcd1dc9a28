from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bonaface.config import Recipe, load_recipe
from bonaface.errors import InputError
from bonaface.models.network import build_network, network_bytes
from bonaface.models.weights import METADATA_KEY
from bonaface.training.checkpoints import Checkpoints, check_resumable, fingerprint
from bonaface.training.trainer import Trainer
from tests.training.conftest import SMALL, Stored


@pytest.fixture(scope="module")
def trained(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """A training of one epoch; tests only read it."""
    run = tmp_path_factory.mktemp("trained")
    Trainer(load_recipe("demo", (*SMALL, "training.epochs=1"))).fit(*stored, run)
    return Checkpoints(run)


def _state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        return load_file(path), json.loads(file.metadata()[METADATA_KEY])


def _header(content: bytes, **changes: Any) -> bytes:
    length = struct.unpack("<Q", content[:8])[0]
    header = json.dumps({**json.loads(content[8 : 8 + length]), **changes}).encode()
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("the checkpoint ran code",))


BROKEN_BYTES = {
    "empty": lambda good: b"",
    "cut in the header": lambda good: good[:100],
    "cut in the tensors": lambda good: good[:-1000],
    "one byte more": lambda good: good + b"\0",
    "noise": lambda good: bytes(range(256)) * 40,
    "pickle": lambda good: pickle.dumps(Evil()),
    "huge header": lambda good: struct.pack("<Q", 2**62) + good[8:],
    "tensor beyond the end": lambda good: _header(good, x={"dtype": "F32", "shape": [9], "data_offsets": [0, 2**40]}),
    "no state": lambda good: _header(good, __metadata__={}),
    "state that is no JSON": lambda good: _header(good, __metadata__={METADATA_KEY: "{"}),
    "nested state": lambda good: _header(good, __metadata__={METADATA_KEY: '{"fingerprint":' * 100_000}),
    "a list": lambda good: _header(good, __metadata__={METADATA_KEY: "[]"}),
}


@pytest.mark.parametrize("how", BROKEN_BYTES)
def test_damaged_checkpoint_is_refused(trained: Checkpoints, stored: Stored, tmp_path: Path, how: str):
    broken = Checkpoints(tmp_path).last
    broken.parent.mkdir()
    broken.write_bytes(BROKEN_BYTES[how](trained.last.read_bytes()))
    _refused(stored, tmp_path)


BROKEN_STATES: dict[str, dict[str, Any]] = {
    "no history": {"history": []},
    "history of another epoch": {"history": [{"epoch": 7, "train_loss": 1.0, "val_loss": 1.0, "val_hter": 0.5}]},
    "history without losses": {"history": [{"epoch": 1}]},
    "history that is text": {"history": "1"},
    "loss that is text": {"history": [{"epoch": 1, "train_loss": "1", "val_loss": 1.0, "val_hter": 0.5}]},
    "infinite rate": {"learning_rate": float("inf")},
    "no rate": {"learning_rate": None},
    "negative count": {"bad_epochs": -1},
    "scaler of lists": {"scaler": {"scale": [1]}},
    "fingerprint that is text": {"fingerprint": "x"},
    "unknown entry": {"x": 1},
}


@pytest.mark.parametrize("how", BROKEN_STATES)
def test_checkpoint_with_impossible_state_is_refused(trained: Checkpoints, stored: Stored, tmp_path: Path, how: str):
    tensors, state = _state(trained.last)
    broken = Checkpoints(tmp_path).last
    broken.parent.mkdir()
    save_file(tensors, broken, metadata={METADATA_KEY: json.dumps({**state, **BROKEN_STATES[how]})})
    _refused(stored, tmp_path)


@pytest.mark.parametrize("how", ["missing", "additional", "reshaped", "of another type"])
def test_checkpoint_with_other_tensors_is_refused(trained: Checkpoints, stored: Stored, tmp_path: Path, how: str):
    tensors, state = _state(trained.last)
    name = next(name for name in tensors if name.endswith("exp_avg") and tensors[name].dim() == 4)
    if how == "missing":
        del tensors[name]
    elif how == "additional":
        tensors["network.more"] = torch.zeros(3)
    elif how == "reshaped":
        tensors[name] = tensors[name].flatten()
    else:
        tensors[name] = tensors[name].half()
    broken = Checkpoints(tmp_path).last
    broken.parent.mkdir()
    save_file(tensors, broken, metadata={METADATA_KEY: json.dumps(state)})
    _refused(stored, tmp_path)


def _refused(stored: Stored, run: Path) -> None:
    trainer = Trainer(load_recipe("demo", (*SMALL, "training.epochs=2")))
    with pytest.raises(InputError, match=r"last\.ckpt is damaged and cannot be resumed from") as caught:
        trainer.fit(*stored, run, resume=True)
    assert "\n" not in str(caught.value)


def test_checkpoint_resumes_on_changed_crops_only_if_they_are_the_same(trained: Checkpoints, stored: Stored):
    moved = stored.crops.assign(x=stored.crops["x"] + 1)
    trainer = Trainer(load_recipe("demo", (*SMALL, "training.epochs=2")))
    with pytest.raises(InputError, match="footage has changed"):
        trainer.fit(stored.manifest, moved, trained.run, resume=True)


CHANGES = [
    ("training.learning_rate=0.1", "training.learning_rate"),
    ("model.drop_rate=0.5", "model.drop_rate"),
    ("augment.flip=0.25", "augment.flip"),
    ("crop.frames=3", "crop.frames"),
    ("training.gradient_accumulation=2", "training.gradient_accumulation"),
    ("seed=7", "seed"),
]
ALLOWED = [
    "training.epochs=9",
    "training.early_stopping=3",
    "training.workers=1",
    "crop.weights=x.onnx",
    "model.ensemble_with=x",
]


@pytest.mark.parametrize(("override", "named"), CHANGES)
def test_resuming_names_the_setting_that_changed(recipe: Recipe, override: str, named: str):
    changed = load_recipe("demo", (*SMALL, "training.epochs=2", override))
    with pytest.raises(InputError, match=rf"other settings \({named} was .*, is "):
        check_resumable(Path("run"), fingerprint(recipe, "m"), fingerprint(changed, "m"))


def test_run_with_earlier_names_of_settings_resumes(recipe: Recipe):
    before = fingerprint(recipe, "m")
    training = before["recipe"]["training"]
    training |= {"average": training.pop("ema_epochs"), "accumulate": training.pop("gradient_accumulation")}
    check_resumable(Path("run"), before, fingerprint(recipe, "m"))


@pytest.mark.parametrize("override", ALLOWED)
def test_resuming_may_change_how_long_and_where(recipe: Recipe, override: str):
    changed = load_recipe("demo", (*SMALL, "training.epochs=2", override))
    check_resumable(Path("run"), fingerprint(recipe, "m"), fingerprint(changed, "m"))


def test_resuming_on_a_different_manifest_is_refused(recipe: Recipe):
    with pytest.raises(InputError, match="different manifest"):
        check_resumable(Path("run"), fingerprint(recipe, "m"), fingerprint(recipe, "n"))


def test_weights_have_one_metadata_entry(recipe: Recipe):
    # safetensors writes several in an order that differs between processes, and the bytes with it.
    content = network_bytes(build_network(recipe.model))
    length = struct.unpack("<Q", content[:8])[0]
    assert list(json.loads(content[8 : 8 + length])["__metadata__"]) == [METADATA_KEY]
