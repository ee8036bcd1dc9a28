"""Training by two processes on the CPU, which gloo connects. This file is also the program of each process."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bonaface.config import load_recipe
from bonaface.errors import BonafaceError
from bonaface.training.distributed import lost_processes_reported
from bonaface.training.trainer import Trainer
from tests.training.conftest import SMALL, Stored

EXACT = ("training.freeze_norm=true", "training.batch_size=5", "training.ema_epochs=1")
"""On the CPU BatchNorm has statistics of each process alone. Batches of 5 are not the same share for both of two."""


def fit(stored: Stored, run: Path, *overrides: str, resume: bool = False) -> pd.DataFrame:
    return Trainer(load_recipe("demo", (*SMALL, *EXACT, *overrides))).fit(*stored, run, resume=resume).history


def fit_by_two(stored: Stored, run: Path, *overrides: str, resume: bool = False) -> subprocess.CompletedProcess[str]:
    asked = run.with_suffix(".pickle")
    asked.write_bytes(pickle.dumps((stored, run, overrides, resume)))
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", __name__, str(asked)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def assert_same_curve(run: Path, expected: pd.DataFrame) -> None:
    found = pd.read_csv(run / "logs" / "metrics.csv")
    assert found.columns.tolist() == expected.columns.tolist()
    for name in ("epoch", "train_loss", "val_loss", "val_hter", "lr"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(("processes", "expected"), [("1", RuntimeError), ("2", BonafaceError)])
def test_lost_processes_are_one_line(processes: str, expected: type[Exception], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", processes)
    monkeypatch.setenv("RANK", "1")
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(expected, match="reset by peer") as caught, lost_processes_reported():
            raise RuntimeError("Connection reset by peer. This is typical.\nGLHF!")
        if expected is BonafaceError:
            assert "\n" not in str(caught.value)
            assert "process 1 failed, or lost one" in str(caught.value)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.cluster
def test_two_processes_learn_what_one_does(stored: Stored, tmp_path: Path):
    whole = fit(stored, tmp_path / "one", "training.epochs=4")
    done = fit_by_two(stored, tmp_path / "two", "training.epochs=2")
    assert done.returncode == 0, done.stderr
    assert_same_curve(tmp_path / "two", whole[:2])
    fit(stored, tmp_path / "two", "training.epochs=4", resume=True)  # by one process
    assert_same_curve(tmp_path / "two", whole)


@pytest.mark.cluster
def test_two_processes_resume_what_one_began(stored: Stored, tmp_path: Path):
    whole = fit(stored, tmp_path / "one", "training.epochs=4")
    fit(stored, tmp_path / "part", "training.epochs=2")
    done = fit_by_two(stored, tmp_path / "part", "training.epochs=4", resume=True)
    assert done.returncode == 0, done.stderr
    assert_same_curve(tmp_path / "part", whole)


@pytest.mark.cluster
def test_error_of_the_first_process_is_that_of_both(stored: Stored, tmp_path: Path):
    fit(stored, tmp_path / "used", "training.epochs=1")
    done = fit_by_two(stored, tmp_path / "used", "training.epochs=1")
    assert done.returncode != 0
    assert done.stderr.count("OutputError: ") in {1, 2}  # torchrun may end the second process before it writes
    assert "resume that training" in done.stderr
    assert "RuntimeError" not in done.stderr


if __name__ == "__main__":
    given, folder, settings, again = pickle.loads(Path(sys.argv[1]).read_bytes())
    fit(given, folder, *settings, resume=again)
