"""Every public function says what it takes, returns and raises, and its example runs."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import cv2
import pytest

import bonaface
from bonaface.data.frames import Frames
from bonaface.inference.decision_log import Decision, DecisionLog
from bonaface.workflows.train import Run
from tests.conftest import SMALL, ranked_as_labelled
from tests.workflows.test_bundle_commands import network as foreign_network

NOT_RUN = {"pull_bundle": "downloads"}
MARKS = {
    **dict.fromkeys(("audit", "demo", "explain", "export", "folds", "train"), pytest.mark.slow),
    "predict_on_ray": pytest.mark.cluster,
}

ADDED = {
    "train": (*SMALL, "model.weights=none", "crop.detector=haar"),
    "folds": (*SMALL, "model.weights=none", "crop.detector=haar"),
    "demo": SMALL,
}
"""Overrides that are added to a call so that it trains in seconds and without downloads."""


def public_functions() -> list[str]:
    return [name for name in bonaface.__all__ if inspect.isfunction(getattr(bonaface, name))]


def section(name: str, title: str) -> str:
    """The text of a section of a function's docstring; empty without it."""
    text = inspect.getdoc(getattr(bonaface, name)) or ""
    found = re.search(rf"^{title}:\n((?:    .*\n|\n)+)", f"{text}\n", re.MULTILINE)
    return found[1] if found else ""


def code(name: str) -> str:
    """The example's code; empty where it is a doctest, which runs as one."""
    return "\n".join(
        textwrap.dedent(block) for block in re.findall(r"```python\n(.*?)```", section(name, "Examples"), re.S)
    )


@pytest.mark.parametrize("name", public_functions())
def test_docstring_is_complete(name: str):
    signature = inspect.signature(getattr(bonaface, name), eval_str=False)
    described = re.findall(r"^    (\w+): ", section(name, "Args"), re.MULTILINE)
    assert described == list(signature.parameters), name
    assert bool(section(name, "Returns")) == (signature.return_annotation != "None")
    assert bool(section(name, "Raises")) == bool(signature.parameters)
    for error in re.findall(r"^    (\w+): ", section(name, "Raises"), re.MULTILINE):
        assert hasattr(bonaface.errors, error), f"{name} raises {error}"
    examples = section(name, "Examples")
    assert f"bonaface.{name}(" in examples
    assert code(name) or ">>> " in examples


@pytest.fixture
def workspace(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the examples name."""
    folder = tmp_path / "work"
    shutil.copytree(run.path.parent, folder)
    clip = next((folder / "footage" / "live").rglob("*.mp4"))
    shutil.copy(clip, folder / "clip.mp4")
    (frame,) = Frames(clip, count=1)
    cv2.imwrite(str(folder / "photo.jpg"), frame.image[..., ::-1])
    foreign_network(folder / "network.onnx", softmax=True)
    for name, split in (("scores", "test"), ("other-scores", "test"), ("val", "val")):
        ranked_as_labelled(folder / "run" / "scores" / f"{split}.csv", folder / f"{name}.csv")
    log = DecisionLog(str(folder / "decisions.db"))
    for number in range(20):
        when = datetime(2026, 3, 1 + number, tzinfo=UTC)
        log.add(Decision(f"{number:032x}", when, "bona_fide", 0.9, 0.5, "aaaa"))
    log.close()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=MARKS[name]) if name in MARKS else name
        for name in public_functions()
        if code(name) and name not in NOT_RUN
    ],
)
def test_example_runs(name: str, workspace: Path, monkeypatch: pytest.MonkeyPatch):
    if name in ADDED:
        function = getattr(bonaface, name)
        monkeypatch.setattr(bonaface, name, lambda *given, **options: function(*given, *ADDED[name], **options))
    exec(code(name), {"bonaface": bonaface})
