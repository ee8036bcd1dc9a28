"""What each install can do; the modules that it lacks are hidden. `make test-installs` walks the real installs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

import bonaface
from bonaface.errors import EXTRAS
from bonaface.inference.bundle import write_bundle
from tests.networks import tiny_bundle

pytestmark = pytest.mark.slow

HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""
BASE = tuple(EXTRAS)
EVAL = tuple(module for module, extra in EXTRAS.items() if extra != "eval")
SCORES = (("live", "bona_fide", "", 0.9), ("paper", "attack", "print", 0.2), ("screen", "attack", "replay", 0.4))


def run(hidden: Iterable[str], program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    hide = HIDE.format(names=tuple(hidden))
    return subprocess.run(
        [sys.executable, "-c", hide + program, *arguments], capture_output=True, text=True, check=False
    )


def run_command(hidden: Iterable[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(hidden, "from bonaface.cli import main\nmain()", *arguments)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(tiny_bundle(folder / "bundle"))
    return folder / "bundle"


def test_base_predicts_and_shows(bundle: Path, tmp_path: Path):
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    done = run_command(BASE, "predict", str(bundle), str(tmp_path / "photo.png"), "--save", str(tmp_path / "out"))
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout.count("\n") == 1
    shown = run_command(BASE, "bundle", "show", str(bundle))
    assert shown.returncode == 0, shown.stderr


def test_base_predicts_without_what_windows_lacks():
    done = run(("fcntl", "resource"), "import bonaface.workflows.model, bonaface.cli.app, bonaface.workflows.bundle")
    assert done.returncode == 0, done.stderr


def test_base_serves():
    done = run(BASE, "import bonaface.server.serve, bonaface.server.app, bonaface.workflows.bundle, bonaface.cli.app")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["data", "index", "footage", "-o", "m.csv"], "eval"),
        (["data", "layouts"], "eval"),
        (["data", "audit", "m.csv"], "eval"),
        (["evaluate", "b", "m.csv", "-o", "out"], "eval"),
        (["compare", "a.csv", "b.csv"], "eval"),
        (["log", "log.db"], "eval"),
        (["bundle", "calibrate", "b", "s.csv", "-o", "c"], "eval"),
        (["train", "default", "-o", "run"], "train"),
        (["demo", "-o", "demo"], "train"),
        (["explain", "b", "photo.png"], "train"),
        (["export", "run", "-o", "b"], "train"),
        (["folds", "default", "a.csv", "b.csv", "-o", "out"], "train"),
    ],
)
def test_base_says_which_extra_a_command_needs(arguments: list[str], extra: str):
    done = run_command(BASE, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(f'in a clone of Bonaface: pip install ".[{extra}]"\n')


def test_python_says_which_extra_a_name_needs():
    done = run(
        BASE,
        "import bonaface\n"
        "for name in bonaface.__all__:\n"
        "    try: getattr(bonaface, name)\n"
        "    except bonaface.BonafaceError as error: print(name, type(error).__name__, isinstance(error, ImportError))",
    )
    assert done.returncode == 0, done.stderr
    refused = {line.split()[0] for line in done.stdout.splitlines()}
    assert all(line.endswith("MissingExtraError True") for line in done.stdout.splitlines())
    assert {"audit", "evaluate", "train", "read_scores", "demo"} <= refused
    assert not {"BonafaceError", "Verdict", "load_bundle", "predict", "bundle_from_onnx", "pull_bundle"} & refused
    assert refused <= set(bonaface.__all__)


def test_eval_reports_without_train(tmp_path: Path):
    rows = [f"{name}-{p},{label},{kind},p{p},{score}" for p in range(8) for name, label, kind, score in SCORES]
    table = tmp_path / "scores.csv"
    table.write_text("\n".join(["presentation,label,species,subject,score", *rows]) + "\n")
    done = run_command(EVAL, "report", str(table), "-o", str(tmp_path / "report"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "report.html").is_file()


def test_eval_says_that_training_needs_train(tmp_path: Path):
    footage = tmp_path / "footage"
    for label in ("live", "print"):
        for person in range(4):
            (footage / label / f"p{person}").mkdir(parents=True)
            Image.new("RGB", (64, 64)).save(footage / label / f"p{person}" / "1.png")
    manifest = str(tmp_path / "m.csv")
    for arguments in (["index", str(footage), "-o", manifest], ["split", manifest, "--val", "0.5", "--test", "0"]):
        done = run_command(EVAL, "data", *arguments)
        assert done.returncode == 0, done.stderr
    done = run_command(EVAL, "train", "demo", f"data.manifest={manifest}", "-o", str(tmp_path / "run"))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith('pip install ".[train]"')
    assert not (tmp_path / "run").exists()
