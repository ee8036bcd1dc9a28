"""What all tests share: one thread per process, and one small trained run."""

from __future__ import annotations

import fcntl
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

# Before torch is imported: threads of several test processes wait for each other longer than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import bonaface
from bonaface.cli import main
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.types import probability
from bonaface.workflows.train import Run

SMALL = (
    "model.name=test_efficientnet",
    "model.input_size=64",
    "crop.frames=2",
    "training.epochs=1",
    "training.workers=0",
    "training.batch_size=8",
    "training.accelerator=cpu",
    "scoring.frames=2",
)
"""Overrides of the recipe `demo` that train in a second."""


def ranked_as_labelled(table: Path, output: Path) -> None:
    """Write `table` with scores that rank as its labels say: one epoch of training ranks by chance."""
    scores = pd.read_csv(table, dtype=str)
    scores["logit"] = scores["label"].map({"bona_fide": 2.0, "attack": -2.0})
    scores["score"] = probability(scores["logit"].to_numpy())
    scores.to_csv(output, index=False)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Run:
    """A run trained on a few drawn videos, in a folder with `footage` and `manifest.csv`; tests only read it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "trained"  # one for all processes of xdist
    folder.mkdir(exist_ok=True)
    kept = folder / "run.pickle"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.is_file():
            write_demo_dataset(folder / "footage", persons=4, takes=1, seconds=0.3, seed=3)
            bonaface.index(folder / "footage", layout="folder", output=folder / "manifest.csv")
            bonaface.split(folder / "manifest.csv", val=0.25, test=0.25)
            made = bonaface.train("demo", *SMALL, manifest=folder / "manifest.csv", output=folder / "run")
            kept.write_bytes(pickle.dumps(made))
    trained: Run = pickle.loads(kept.read_bytes())
    return trained


@pytest.fixture(scope="session")
def footage(run: Run) -> Path:
    """The videos that the shared run was trained on."""
    return run.path.parent / "footage"


class Ended(NamedTuple):
    """What a call of the program left."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """The program, run in this process with these arguments, in the folder `cwd`."""

    def run(*arguments: str, cwd: Path | None = None) -> Ended:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["bonaface", *arguments])
            patched.chdir(cwd or Path.cwd())
            with pytest.raises(SystemExit) as ended:
                main()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, *capsys.readouterr())

    return run
