"""The README's commands run as they stand, on generated videos."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

import bonaface
from bonaface.cli import app
from bonaface.data.frames import Frames
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.types import Label
from tests.conftest import SMALL, ranked_as_labelled
from tests.workflows.test_bundle_commands import network as foreign_network

pytestmark = pytest.mark.slow

README = Path(__file__).parents[1] / "README.md"
ELSEWHERE = {
    "bonaface bundle pull minifas-128": "downloads",
    "bonaface predict run/bundle 0": "needs a camera",
    "bonaface serve run/bundle": "runs until it is stopped",
}
"""Commands that other tests run, and why this one does not."""

ADDED = {
    "data crop": ["--detector", "haar"],  # the default detector is a download
    "train": [*SMALL, "model.weights=none", "crop.detector=haar"],
    "folds": [*SMALL, "model.weights=none", "crop.detector=haar"],
    "bundle from-onnx": ["--detector", "haar"],
}
"""What is added to a command so that it runs without downloads, and in seconds."""

ANSWERS = {"predict": {0, 1, 3}, "data audit": {0, 1}}
"""Exit codes other than 0 that are an answer."""


def commands() -> list[str]:
    lines = (line.split("  #")[0].strip() for line in README.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line.startswith("bonaface ")]


def run(command: str) -> None:
    name = next((name for name in {**ADDED, **ANSWERS} if command.startswith(f"bonaface {name} ")), "")
    done = CliRunner().invoke(app, [*shlex.split(command)[1:], *ADDED.get(name, [])])
    assert done.exception is None or isinstance(done.exception, SystemExit), f"{command}\n{done.exception}"
    assert done.exit_code in ANSWERS.get(name, {0}), f"{command}\n{done.output}"


def test_commands_run_in_order(footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(footage, tmp_path / "footage")
    clip = next((footage / "live").rglob("*.mp4"))
    (tmp_path / "clips").mkdir()
    shutil.copy(clip, tmp_path / "clip.mp4")
    shutil.copy(clip, tmp_path / "clips")
    (frame,) = Frames(clip, count=1)
    cv2.imwrite(str(tmp_path / "photo.jpg"), frame.image[..., ::-1])
    foreign_network(tmp_path / "network.onnx", softmax=True)
    done = [command for command in commands() if command not in ELSEWHERE]
    assert len(done) > 12
    for command in done:
        if "minifas-128" in command:
            bonaface.bundle_from_onnx(
                tmp_path / "network.onnx",
                output=tmp_path / "minifas-128",
                output_type="softmax[0]",
                pixels="0..1",
                crop_scale=1.5,
                detector="haar",
            )
        if "other.csv" in command:
            for seed, name in enumerate(("other", "a", "b", "c"), start=50):
                write_demo_dataset(tmp_path / name, persons=4, takes=1, seconds=0.3, seed=seed)
                bonaface.index(tmp_path / name, layout="folder", output=tmp_path / f"{name}.csv")
                bonaface.split(tmp_path / f"{name}.csv", val=0.25, test=0.25)
        if command.startswith("bonaface report"):
            for name, split in (("scores", "test"), ("other-scores", "test"), ("val", "val")):
                ranked_as_labelled(tmp_path / "run" / "scores" / f"{split}.csv", tmp_path / f"{name}.csv")
        run(command)
    assert (tmp_path / "run" / "report" / "report.html").is_file()


def test_skipped_commands_are_in_the_readme():
    assert ELSEWHERE.keys() <= set(commands())


def test_python_example_runs(run, monkeypatch, capsys, tmp_path: Path):
    example = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    shutil.copytree(run.bundle, tmp_path / "run" / "bundle")
    clip = next((run.path.parent / "footage" / "live").rglob("*.mp4"))
    (frame,) = Frames(clip, count=1)
    cv2.imwrite(str(tmp_path / "photo.jpg"), frame.image[..., ::-1])
    monkeypatch.chdir(tmp_path)
    exec(example[1], {})
    outcome, score, threshold = capsys.readouterr().out.split()
    assert outcome in set(Label)
    assert 0 <= float(score) <= 1
    assert 0 <= float(threshold) <= 1


def test_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120
