from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import typer
from PIL import Image

import bonaface
from bonaface.choices import FacePolicy, FusionRule, HigherIs, Policy, Profile
from bonaface.cli import app, main
from bonaface.cli.options import as_share
from bonaface.inference.bundle import write_bundle
from bonaface.inference.pipeline import ScoringOptions
from tests.networks import tiny_bundle


def test_help_imports_nothing_heavy():
    program = (
        "import sys, contextlib\nsys.argv = ['bonaface', '--help']\nfrom bonaface.cli import main\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "heavy = {'torch', 'cv2', 'pandas', 'numpy', 'onnxruntime', 'accelerate', 'pydantic'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
    for name in ("train", "evaluate", "explain", "embed", "demo", "data"):
        assert name in done.stdout


@pytest.mark.slow
def test_a_photo_needs_no_modules_of_other_tasks(tmp_path: Path):
    photo, bundle = tmp_path / "photo.png", tmp_path / "bundle"
    Image.new("RGB", (64, 64)).save(photo)
    write_bundle(tiny_bundle(bundle))
    program = (
        f"import sys, contextlib\nsys.argv = ['bonaface', 'predict', {str(bundle)!r}, {str(photo)!r}]\n"
        "from bonaface.cli import main\nwith contextlib.suppress(SystemExit): main()\n"
        "print('OTHERS', sorted({'av', 'pandas', 'requests', 'pooch', 'jinja2', 'yaml', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "threshold" in done.stdout, done.stderr
    assert "OTHERS []" in done.stdout


def test_version(program):
    assert program("--version").stdout == f"bonaface {bonaface.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "default", "data.manifest=nowhere.csv", "-o", "run"], "nowhere.csv"),
        (["train", "default", "-o", "run"], "data.manifest"),
        (["train", "default", "training.epoch=3", "-o", "run"], "did you mean 'epochs'"),
        (["train", "nothing", "-o", "run"], "no recipe at nothing"),
        (["data", "index", "nowhere", "-o", "m.csv"], "nowhere"),
        (["data", "index", "empty", "-o", "m.csv"], "empty"),
        (["data", "index", "empty", "--layout", "foldr", "-o", "m.csv"], "folder"),
        (["evaluate", "nowhere", "m.csv", "-o", "out"], "no bundle at nowhere"),
        (["evaluate"], "Missing argument"),
        (["data", "crop", "m.csv"], "Missing option"),
        (["unknown"], "No such command"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(program, arguments: list[str], said: str, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    done = program(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    said_by_us = [line for line in done.stderr.splitlines() if not line.startswith(("command: ", "names: "))]
    assert len(said_by_us) == 1, done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("command", "option", "expected"),
    [
        (["predict", "run", "a.jpg"], "--faces", FacePolicy),
        (["serve", "run"], "--faces", FacePolicy),
        (["report", "s.csv", "-o", "o"], "--fusion", FusionRule),
        (["report", "s.csv", "-o", "o"], "--higher-is", HigherIs),
        (["compare", "a.csv", "b.csv"], "--policy", Policy),
        (["evaluate", "run", "m.csv", "-o", "o"], "--profile", Profile),
        (["bundle", "calibrate", "run", "s.csv", "-o", "o"], "--fusion", FusionRule),
    ],
)
def test_wrong_choice_names_what_is_expected(command, option, expected, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bonaface", *command, option, "other"])
    with pytest.raises(SystemExit) as raised:
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert raised.value.code == 2
    for word in (option, "other", *get_args(expected)):
        assert f"'{word}'" in line


def test_boxes_that_a_dataset_brings_are_read_on_demand(program, tmp_path: Path):
    footage = tmp_path / "SiW/Train/live/003"
    footage.mkdir(parents=True)
    (footage / "003-1-1-1-1.mov").touch()
    (footage / "003-1-1-1-1.face").write_text("10 20 110 140\n")
    for flags, boxes in (([], False), (["--boxes"], True), (["--no-boxes"], False)):
        done = program("data", "index", "SiW", "--layout", "siw", "-o", "m.csv", *flags, cwd=tmp_path)
        assert (done.returncode, (tmp_path / "m.boxes.csv").exists()) == (0, boxes), done.stderr


def test_a_table_and_its_footage_may_lie_apart(program, tmp_path: Path):
    (tmp_path / "footage").mkdir()
    (tmp_path / "footage/a.mp4").touch()
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/clips.csv").write_text("path,label\na.mp4,live\n")
    asked = ["data", "index", "footage", "--layout", "csv", "--table", "lists/clips.csv", "-o", "m.csv"]
    done = program(*asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 presentations: 1 bona fide")


@pytest.mark.parametrize(
    ("given", "meant"),
    [(["0.2"], 0.2), (["0"], 0.0), ([".5"], 0.5), (["7"], ["7"]), (["007"], ["007"]), (["7,8", "9"], ["7", "8", "9"])],
)
def test_a_whole_number_is_a_person_and_no_share(given: list[str], meant: object):
    assert as_share(given) == meant


def test_being_stopped_is_said_in_one_line(monkeypatch, capsys):
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bonaface.layouts", stopped)
    monkeypatch.setattr(sys, "argv", ["bonaface", "data", "layouts"])
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code == 130
    assert capsys.readouterr().err.strip() == "bonaface: interrupted; finished work is kept"


@pytest.mark.parametrize(
    ("command", "function"),
    [
        ("evaluate", "evaluate"),
        ("embed", "embed"),
        ("report", "report_scores"),
        ("export", "export"),
        *((f"data {name}", name) for name in ("index", "split", "crop", "audit")),
        ("bundle from-onnx", "bundle_from_onnx"),
        ("bundle calibrate", "calibrate_bundle"),
        ("bundle pull", "pull_bundle"),
    ],
)
def test_command_passes_on_what_its_function_takes(command: str, function: str):
    found = typer.main.get_command(app)
    for word in command.split():
        found = found.commands[word]  # type: ignore[attr-defined]
    taken = set(inspect.signature(getattr(bonaface, function)).parameters)
    taken |= set(ScoringOptions.__annotations__) if "options" in taken else set()
    passed = {parameter.name.removeprefix("no_") for parameter in found.params} - {"quiet", "json_log", "help"}
    assert passed <= taken
    assert len(found.params) >= 5


def test_every_public_name_can_be_used():
    assert all(getattr(bonaface, name) is not None for name in bonaface.__all__)
    assert set(bonaface.__all__) <= set(dir(bonaface))


def test_evaluate_takes_another_detector_on_purpose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    asked: dict[str, object] = {}

    def evaluate(*_: object, **given: object) -> SimpleNamespace:
        asked.update(given)
        return SimpleNamespace(profile=None)

    monkeypatch.setattr(bonaface, "evaluate", evaluate, raising=False)
    monkeypatch.setattr("bonaface.cli.evaluate.evaluate_lines", lambda _: ["measured"])
    monkeypatch.setattr(sys, "argv", ["bonaface", "evaluate", "b", "m.csv", "-o", "o", "--detector", "whole_frame"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    assert asked["detector"] == "whole_frame"
