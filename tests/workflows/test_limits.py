"""A bundle's limits on quality, from the command that sets them to the exit code of `predict`."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import bonaface
from bonaface.cli.app import app
from bonaface.config import CropSettings, ModelSettings
from bonaface.data.manifest import make_manifest
from bonaface.errors import ScoreTableError, SettingsError
from bonaface.evaluation.checking import check_scores
from bonaface.evaluation.discard import _LOW_IS_WORSE
from bonaface.inference.quality_limits import MEASURES
from bonaface.inference.scoring import score_manifest
from bonaface.types import QUALITY_COLUMNS
from bonaface.workflows.operating_points import choose_operating_points
from bonaface.workflows.prepare import small_faces_note
from tests.conftest import SMALL
from tests.networks import tiny_bundle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bonaface.inference.bundle import write_bundle

    folder = Path(tmp_path_factory.mktemp("limits"))
    made = tiny_bundle(folder / "bundle")
    write_bundle(made)
    for name, level in (("dark", 2), ("light", 120)):
        noise = np.random.default_rng(level).integers(0, 4, (80, 80, 3))
        Image.fromarray((noise + level).astype(np.uint8)).save(folder / f"{name}.png")
    return made.path


def run(*arguments: object) -> tuple[int, list[dict], str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done.exit_code, lines, done.output


def test_limits_are_set_applied_switched_off_and_taken_out(bundle: Path, tmp_path: Path):
    strict = tmp_path / "strict.bonaface"
    code, _, said = run("bundle", "limits", bundle, "-o", strict, "--set", "luminance_mean>=0.1", "--min-face", 40)
    assert code == 0
    assert "smallest face: 40 pixels" in said
    assert "limits on quality: luminance_mean >= 0.1" in said
    dark, light = bundle.parent / "dark.png", bundle.parent / "light.png"
    code, (refused, scored), _ = run("predict", strict, dark, light, "--json")
    assert (refused["verdict"], refused["score"], scored["score"] is None) == ("low_quality", None, False)
    assert refused["findings"][0]["advice"].rstrip(".") in refused["reason"]
    assert run("predict", strict, dark)[0] == 3
    assert run("predict", strict, dark, "--no-quality")[0] in (0, 1)
    assert run("predict", strict, light, "--min-face", 81)[0] == 3
    assert run("bundle", "limits", strict, "-o", tmp_path / "none")[0] == 0
    assert bonaface.load_bundle(tmp_path / "none").card.quality == {}
    assert bonaface.load_bundle(tmp_path / "none").card.min_face == 40
    assert "limits on quality: none" in run("bundle", "show", tmp_path / "none")[2]


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("sharpnes>=1", "did you mean 'sharpness'"),
        ("sharpness>=nan", "finite number"),
        ("head_pose_yaw<=30", "needs landmarks, which the detector whole_frame does not find"),
    ],
)
def test_limit_that_cannot_apply_is_one_line(bundle: Path, tmp_path: Path, limit: str, said: str):
    with pytest.raises(SettingsError, match=said):
        bonaface.set_limits(bundle, [limit], output=tmp_path / "strict")
    assert not (tmp_path / "strict").exists()


def test_score_table_holds_the_quality_of_frames_and_presentations(bundle: Path, tmp_path: Path):
    folder = tmp_path / "footage"
    for label, name in (("live", "light"), ("print", "dark")):
        (folder / label).mkdir(parents=True)
        (folder / label / f"{name}.png").write_bytes((bundle.parent / f"{name}.png").read_bytes())
    manifest = bonaface.index(folder, layout="folder", output=tmp_path / "manifest.csv").manifest
    strict = bonaface.set_limits(bundle, ["luminance_mean>=0.1"], output=tmp_path / "strict")
    table = score_manifest(strict, manifest).table
    assert set(QUALITY_COLUMNS) <= set(table.columns)
    for shown, rows in table.groupby("presentation"):
        assert rows["quality_luminance_mean"].nunique() == 1
        assert set(rows["status"]) == {"low_quality" if "dark" in str(shown) else "ok"}
    off = score_manifest(strict, manifest, quality=False).table
    assert set(off["status"]) == {"ok"}


def test_validation_of_small_faces_alone_says_what_to_do():
    rows = check_scores(
        pd.DataFrame(
            {"presentation": ["a", "b"], "label": ["bona_fide", "attack"], "status": "too_small", "logit": np.nan}
        )
    )
    with pytest.raises(ScoreTableError, match=r"not one of the 2 .* has a score: 2 too_small; .*model.min_face"):
        choose_operating_points(rows, criterion="eer", frames=1, fusion="mean")


def test_worse_side_of_each_measure_is_the_one_with_advice():
    assert set(_LOW_IS_WORSE) == {name for name, measure in MEASURES.items() if measure.low}
    assert all(measure.high for name, measure in MEASURES.items() if name not in _LOW_IS_WORSE)


@pytest.mark.parametrize(
    ("model", "count"),
    [
        ({"input_size": 224}, 2),  # a crop of 1.5 x 74 pixels is enlarged more than twice
        ({"input_size": 96}, 1),
        ({"input_size": 32}, 0),
        ({"input_size": 224, "min_face": 200}, 3),
        ({"input_size": 224, "min_face": 0}, 0),
        ({"input_size": 1024}, 3),  # not the face whose square was shrunk by the store
    ],
)
def test_training_notes_faces_that_are_too_small_in_use(tmp_path: Path, model: dict, count: int):
    table = pd.DataFrame(
        {
            "path": ["a", "a", "b", "c", "d", "e"],
            "status": ["ok", "ok", "ok", "ok", "ok", "no_face"],
            "w": [20.0, 25.0, 60.0, 75.0, 143.0, np.nan],
            "h": [25.0, 30.0, 74.0, 60.0, 100.0, np.nan],
        }
    )
    store = SimpleNamespace(table=table)
    note = small_faces_note(store, CropSettings(), ModelSettings(**model))  # type: ignore[arg-type]
    assert (note.partition(" presentations")[0] or "0") == str(count)


def test_smallest_face_of_a_recipe_applies_to_its_validation(run, tmp_path: Path):
    overrides = (*SMALL, "crop.detector=haar", f"data.crops={tmp_path / 'crops'}", "model.min_face=5000")
    with pytest.raises(ScoreTableError, match=r"not one of the \d+ validation presentations has a score: .*too_small"):
        bonaface.train("demo", *overrides, manifest=run.path.parent / "manifest.csv", output=tmp_path / "run")


def test_recipe_with_min_face_trains_on_small_faces(tmp_path: Path):
    rows: list[dict[str, str]] = []
    for split in ("train", "val", "test"):
        for label, level in (("bona_fide", 60), ("attack", 180)):
            for number in range(2):
                name = f"{split}-{label}-{number}.png"
                noise = np.random.default_rng(len(rows)).integers(0, 40, (12, 12, 3))
                Image.fromarray((noise + level).astype(np.uint8)).save(tmp_path / name)
                rows.append({"path": name, "label": label, "subject": f"{split}{number}", "split": split})
    manifest = make_manifest(pd.DataFrame(rows), tmp_path)
    overrides = (*SMALL, "crop.detector=whole_frame", "model.min_face=10", "training.epochs=1")
    run = bonaface.train("demo", *overrides, manifest=manifest, output=tmp_path / "run", faces=False)
    assert run.best_epoch == 1
    scores = pd.read_csv(tmp_path / "run" / "scores" / "test.csv")
    assert scores["score"].notna().all()
