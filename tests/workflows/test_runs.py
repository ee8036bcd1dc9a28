from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

import bonaface
from bonaface.config import Recipe, load_recipe
from bonaface.data.crop_store import fill_store
from bonaface.errors import InputError, OutputError, SettingsError
from bonaface.models.network import load_network
from bonaface.training.loader import ValidationSet, frames_for_validation
from bonaface.training.validation import validation_measures
from bonaface.workflows.runs import open_run
from bonaface.workflows.train import Run
from tests.conftest import SMALL

SHORT = (*SMALL, "training.freeze_norm=true", "training.batch_size=4")


def recipe(*overrides: str) -> Recipe:
    return load_recipe("demo", (*SMALL, *overrides))


def status(path: Path) -> str:
    return json.loads((path / "run.json").read_text())["status"]


def command(run: Run, output: Path, *more: str) -> list[str]:
    return [
        "-m",
        "bonaface",
        "train",
        "demo",
        *SHORT,
        f"data.manifest={run.path.parent / 'manifest.csv'}",
        f"data.crops={run.path / 'crops'}",
        "-o",
        str(output),
        "--no-faces",
        *more,
    ]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], *, code: int = 0) -> tuple[str, str]:
    """Wait for a command that is to exit with this code, and return what it wrote."""
    output, errors = process.communicate(timeout=600)
    assert process.returncode == code, errors
    return output, errors


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    pytest.fail(f"{path} did not appear")


@pytest.mark.parametrize("left", [(), (".lock",), (".lock", ".run.json.k3j2h1g0")])
def test_run_killed_before_run_json_begins_again(run: Run, tmp_path: Path, left: tuple[str, ...]):
    folder = tmp_path / "out"
    folder.mkdir()
    for name in left:
        (folder / name).touch()
    with open_run(folder, recipe(), bonaface.read_manifest(run.path / "manifest.csv"), resume=False):
        assert status(folder) == "running"
    assert not (folder / ".run.json.k3j2h1g0").exists()


@pytest.mark.parametrize("was", ["running", "failed", "interrupted"])
def test_run_killed_before_its_first_epoch_begins_again(run: Run, tmp_path: Path, was: str):
    (tmp_path / "run.json").write_text(json.dumps({"status": was}))
    with open_run(tmp_path, recipe("seed=5"), bonaface.read_manifest(run.path / "manifest.csv"), resume=False):
        pass
    assert json.loads((tmp_path / "run.json").read_text())["recipe"]["seed"] == 5


@pytest.mark.parametrize("name", ["notes.txt", ".gitignore", "photo.jpg"])
def test_folder_of_something_else_is_refused(run: Run, tmp_path: Path, name: str):
    (tmp_path / name).touch()
    with (
        pytest.raises(OutputError, match="is not empty"),
        open_run(tmp_path, recipe(), bonaface.read_manifest(run.path / "manifest.csv"), resume=False),
    ):
        pass
    assert [item.name for item in tmp_path.iterdir()] == [name]


def test_trained_folder_is_not_begun_again(run: Run, tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    (tmp_path / "run.json").write_text('{"status": "interrupted"}')
    with (
        pytest.raises(OutputError, match="add --resume"),
        open_run(tmp_path, recipe(), bonaface.read_manifest(run.path / "manifest.csv"), resume=False),
    ):
        pass


def test_two_processes_cannot_train_in_one_folder(run: Run, tmp_path: Path):
    manifest = bonaface.read_manifest(run.path / "manifest.csv")
    with open_run(tmp_path, recipe(), manifest, resume=False):
        with (
            pytest.raises(OutputError, match="another process is training in"),
            open_run(tmp_path, recipe(), manifest, resume=True),
        ):
            pass
        assert status(tmp_path) == "running"
    with (tmp_path / ".lock").open("w") as lock:  # the lock ended with the block
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_leftovers_of_killed_runs_are_removed(run: Run, tmp_path: Path):
    manifest = bonaface.read_manifest(run.path / "manifest.csv")
    with open_run(tmp_path, recipe(), manifest, resume=False):
        pass
    (tmp_path / "checkpoints").mkdir()
    left = [".bundle-k3j2h1g0", ".bundle-k3j2h1g0-old", ".report.a_b1c2d3"]
    for name in left:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").touch()
    for name in ("checkpoints/.last.ckpt.abcd1234", "checkpoints/.best.safetensors.abcd1234", ".recipe.yaml.abcd1234"):
        (tmp_path / name).touch()
    kept = [tmp_path / ".gitignore", tmp_path / "checkpoints" / "last.ckpt", tmp_path / ".DS_Store"]
    for path in kept:
        path.touch()
    with open_run(tmp_path, recipe(), manifest, resume=True):
        pass
    assert all(path.exists() for path in kept)
    hidden = {path.name for path in tmp_path.rglob(".*")}
    assert hidden == {".gitignore", ".DS_Store", ".lock"}


@pytest.mark.parametrize(("error", "expected"), [(KeyboardInterrupt, "interrupted"), (ValueError, "failed")])
def test_end_of_a_run_is_noted(run: Run, tmp_path: Path, error: type[BaseException], expected: str):
    with (
        pytest.raises(error),
        open_run(tmp_path, recipe(), bonaface.read_manifest(run.path / "manifest.csv"), resume=False),
    ):
        raise error
    assert status(tmp_path) == expected


def test_changed_setting_is_refused_before_anything_is_cropped(run: Run, tmp_path: Path):
    manifest = bonaface.read_manifest(run.path / "manifest.csv")
    with open_run(tmp_path, recipe(), manifest, resume=False):
        pass
    with pytest.raises(InputError, match=r"training\.learning_rate was"):
        bonaface.train("demo", *SMALL, "training.learning_rate=0.5", manifest=manifest, output=tmp_path, resume=True)
    assert not (tmp_path / "crops").exists()


def test_thresholds_follow_the_criterion_of_the_recipe(run: Run, tmp_path: Path):
    manifest = run.path.parent / "manifest.csv"
    with pytest.raises(SettingsError, match="unknown criterion 'ear'"):
        bonaface.train("demo", *SMALL, "scoring.criterion=ear", manifest=manifest, output=tmp_path / "no")
    assert not (tmp_path / "no").exists()
    crops = f"data.crops={run.path / 'crops'}"
    other = bonaface.train(
        "demo", *SMALL, crops, "scoring.criterion=hter", manifest=manifest, output=tmp_path / "other", faces=False
    )
    assert other.bundle is not None
    points = bonaface.load_bundle(other.bundle).card.operating_points
    assert {point.criterion for point in points.values()} == {"hter"}


@pytest.mark.slow
def test_killed_and_resumed_run_equals_an_undisturbed_one(run: Run, tmp_path: Path):
    epochs = "training.epochs=6"
    whole = start([sys.executable, *command(run, tmp_path / "whole", epochs)])
    finish(whole)
    killed = start([sys.executable, *command(run, tmp_path / "killed", epochs)])
    wait_for(tmp_path / "killed" / "checkpoints" / "last.ckpt", killed)
    os.killpg(killed.pid, signal.SIGKILL)
    finish(killed, code=-signal.SIGKILL)
    assert status(tmp_path / "killed") == "running"
    again = start([sys.executable, *command(run, tmp_path / "killed", epochs, "--resume")])
    finish(again)
    for name in ("bundle/model.onnx", "bundle/model.safetensors", "scores/test.csv"):
        ours, theirs = (tmp_path / folder / name for folder in ("killed", "whole"))
        if name.endswith(".csv"):
            a, b = (pd.read_csv(path).drop(columns="system") for path in (ours, theirs))
            pd.testing.assert_frame_equal(a, b)
        else:
            assert ours.read_bytes() == theirs.read_bytes(), name


@pytest.mark.slow
def test_ctrl_c_keeps_the_checkpoint_and_exits_with_130(run: Run, tmp_path: Path):
    process = start([sys.executable, *command(run, tmp_path / "out", "training.epochs=500")])
    wait_for(tmp_path / "out" / "checkpoints" / "last.ckpt", process)
    process.send_signal(signal.SIGINT)
    _, errors = finish(process, code=130)
    assert "Traceback" not in errors
    assert status(tmp_path / "out") == "interrupted"
    (tmp_path / "out" / "checkpoints" / "last.ckpt").write_bytes(b"damaged")
    process = start([sys.executable, *command(run, tmp_path / "out", "training.epochs=500", "--resume")])
    _, errors = finish(process, code=2)
    assert "is damaged and cannot be resumed from" in errors


@pytest.mark.cluster
def test_two_processes_write_once_and_keep_the_weights_that_they_validated(run: Run, tmp_path: Path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    two = tmp_path / "two"
    overrides = ("training.epochs=1", "training.ema_epochs=1", "training.freeze_norm=false")
    output, _ = finish(start([*torchrun, *command(run, two, *overrides)]))
    assert output.count("bundle: ") == 1
    assert status(two) == "complete"
    metrics = pd.read_csv(two / "logs" / "metrics.csv")
    assert len(metrics) == 1

    recipe, manifest = load_recipe(two / "recipe.yaml"), bonaface.read_manifest(two / "manifest.csv")
    store = fill_store(manifest, recipe.data.crops or two / "crops", recipe.crop)
    data = ValidationSet(frames_for_validation(manifest.where("val"), store.table), recipe)
    with torch.no_grad():
        crops = torch.stack([data[index].crops for index in range(len(data))])
        logits, _ = load_network((two / "checkpoints" / "best.safetensors"), recipe.model)(crops)
    measured = validation_measures(logits.double().numpy(), data.labels, simulated=data.simulated)
    assert measured["val_loss"] == pytest.approx(metrics["val_loss"][0], rel=1e-4)


@pytest.mark.cluster
@pytest.mark.parametrize("killed", [0, 1])
def test_killed_process_ends_all_with_a_line_and_the_run_resumes(run: Run, tmp_path: Path, killed: int):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    processes = start([*torchrun, *command(run, tmp_path / "out", "training.epochs=500")])
    wait_for(tmp_path / "out" / "checkpoints" / "last.ckpt", processes)
    children = Path(f"/proc/{processes.pid}/task/{processes.pid}/children").read_text().split()
    (victim,) = (pid for pid in children if f"\0RANK={killed}\0" in Path(f"/proc/{pid}/environ").read_text())
    os.kill(int(victim), signal.SIGKILL)
    _, errors = finish(processes, code=1)
    assert errors.count(f"bonaface: training process {1 - killed} failed, or lost one") == 1
    assert str(Path(bonaface.__file__).parent) not in errors  # no line of a traceback of ours
    assert status(tmp_path / "out") == ("running" if killed == 0 else "failed")
    done = len(pd.read_csv(tmp_path / "out" / "logs" / "metrics.csv"))
    resumed = start([sys.executable, *command(run, tmp_path / "out", f"training.epochs={done + 1}", "--resume")])
    finish(resumed)
    assert status(tmp_path / "out") == "complete"
    assert len(pd.read_csv(tmp_path / "out" / "logs" / "metrics.csv")) == done + 1
