"""The scripts and the notebook in `examples/` run as they stand."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
import time
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from bonaface.data import camera
from bonaface.data.frames import Frames
from bonaface.types import Label, Status
from bonaface.workflows.train import Run

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOK = EXAMPLES / "footage_to_verdict.ipynb"
OUTCOMES = {*map(str, Label), *map(str, Status)}


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clip(footage: Path) -> Path:
    return next((footage / "live").rglob("*.mp4"))


class FakeCamera:
    """An open camera that shows one picture."""

    def __init__(self, picture: np.ndarray) -> None:
        self._picture = picture

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def read(self) -> tuple[bool, np.ndarray]:
        time.sleep(0.02)
        return True, self._picture

    def release(self) -> None:
        pass


def test_webcam_prints_verdicts(run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (frame,) = Frames(clip, count=1)
    monkeypatch.setattr(camera, "_open", lambda number: FakeCamera(frame.image[..., ::-1]))
    example("webcam").main([str(run.bundle), "--seconds", "0.2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert {line.split()[0] for line in lines} <= OUTCOMES


def test_webcam_without_a_camera_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(camera, "cameras", dict)
    with pytest.raises(SystemExit, match="no camera 97 here"):
        example("webcam").main([str(run.bundle), "--camera", "97"])


def test_batch_scoring_writes_a_row_each(run: Run, footage: Path, tmp_path: Path, capsys):
    shutil.copytree(footage / "live", tmp_path / "clips")
    (tmp_path / "clips" / "notes.txt").write_text("no picture")
    (tmp_path / "clips" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    output = tmp_path / "verdicts.csv"
    example("batch_scoring").main([str(run.bundle), str(tmp_path / "clips"), "-o", str(output)])
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(list(footage.glob("live/**/*.mp4"))) + 1
    counts = Counter(row["outcome"] for row in rows)
    shown = capsys.readouterr().out
    assert all(f"{number} {outcome}" in shown for outcome, number in counts.items())
    assert counts["unreadable"] == 1
    assert "notes.txt" in shown


def test_batch_scoring_without_a_bundle_is_one_line(tmp_path: Path):
    with pytest.raises(SystemExit, match="no bundle at nowhere"):
        example("batch_scoring").main(["nowhere", "x.jpg", "-o", str(tmp_path / "v.csv")])
    assert not (tmp_path / "v.csv").exists()


@pytest.fixture
def backend(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BUNDLE", str(run.bundle))
    module = example("fastapi_backend")
    monkeypatch.setattr(module, "MOST_BYTES", 1_000_000)
    with TestClient(module.app) as client:
        yield client


def post(client: TestClient, content: bytes) -> Any:
    return client.post("/onboarding/4711", files={"photo": ("photo.jpg", content)})


def test_back_end_answers_each_photo(backend: TestClient, clip: Path):
    (frame,) = Frames(clip, count=1)
    photo = cv2.imencode(".jpg", frame.image[..., ::-1])[1].tobytes()
    empty = cv2.imencode(".jpg", np.full((240, 240, 3), 127, dtype=np.uint8))[1].tobytes()
    answers = [post(backend, content).json() for content in (photo, empty, b"no picture")]
    assert answers[0]["next"] == {"bona_fide": "documents", "attack": "refused"}.get(answers[0]["verdict"], "again")
    assert answers[0]["bundle"]
    assert [answer["next"] for answer in answers[1:]] == ["again", "again"]
    assert [answer["verdict"] for answer in answers[1:]] == ["no_face", "unreadable"]


def test_back_end_refuses_what_is_too_large(backend: TestClient):
    assert post(backend, b"x" * 1_000_001).status_code == 413


def test_scripts_are_short():
    for path in EXAMPLES.glob("*.py"):
        assert 20 <= len(path.read_text(encoding="utf-8").splitlines()) <= 60, path.name


def code_cells() -> list[str]:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_notebook_holds_no_outputs():
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.slow
def test_notebook_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names: dict[str, object] = {}
    for number, cell in enumerate(code_cells(), start=1):
        exec(compile(cell, f"cell {number}", "exec"), names)
    shown = capsys.readouterr().out
    assert "72 subjects, 720 presentations" in shown
    assert "APCER" in shown
    assert shown.splitlines()[-1].split()[0] in OUTCOMES
