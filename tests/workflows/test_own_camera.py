"""A threshold for one's own camera from bona fide footage alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import bonaface
from bonaface.cli import app
from bonaface.errors import ScoreTableError
from bonaface.inference.bundle import change_bundle, write_bundle
from bonaface.types import probability
from tests.workflows.test_predict import GREEN, picture, reddish

__all__ = ["reddish"]

VALIDATION = {"bona_fide_mean": 4.0, "bona_fide_sd": 1.0, "attack_mean": -4.0, "attack_sd": 1.0}


@pytest.fixture
def bundle(reddish: Path, tmp_path: Path) -> Path:
    """A bundle that knows how its validation scored."""
    made = bonaface.load_bundle(reddish)
    points = {
        kind: dataclasses.replace(made.operating_point(kind), chosen_on=VALIDATION) for kind in ("image", "video")
    }
    changed = dataclasses.replace(change_bundle(made, operating_points=points), path=tmp_path / "known.bonaface")
    write_bundle(changed)
    return changed.path


def scores(logits: np.ndarray, *, subjects: list[str] | None = None, **columns: Any) -> pd.DataFrame:
    """One presentation a logit, each of one frame."""
    names = subjects if subjects is not None else [f"s{number // 5}" for number in range(len(logits))]
    table = pd.DataFrame(
        {
            "presentation": [f"{number}.png" for number in range(len(logits))],
            "frame": 0,
            "logit": logits,
            "score": probability(logits),
            "status": "ok",
            "system": "peer",
            "label": "bona_fide",
            "species": "",
            "subject": names,
            "split": "",
        }
    )
    return table.assign(**columns)


def calibrated(bundle: Path, table: pd.DataFrame, tmp_path: Path, criterion: str = "bpcer<=0.05", **options: Any):
    table.to_csv(tmp_path / "own.csv", index=False)
    return bonaface.calibrate_bundle(
        bundle, tmp_path / "own.csv", criterion=criterion, output=tmp_path / "own", **options
    )


@pytest.mark.parametrize(("limit", "lowest"), [(0.05, 5), (0.0, 0), (0.049, 4), (0.5, 50)])
def test_threshold_refuses_at_most_the_limit(bundle: Path, tmp_path: Path, limit: float, lowest: int):
    logits = np.random.default_rng(1).normal(4, 1, 100)
    point = calibrated(bundle, scores(logits), tmp_path, f"bpcer<={limit}").operating_point("video")
    assert point.logit_threshold == pytest.approx(np.sort(logits)[lowest], abs=1e-12)
    assert point.chosen_on["frr"] == pytest.approx(lowest / 100)
    assert point.chosen_on["attacks"] == 0
    assert "far" not in point.chosen_on


def test_notes_say_what_is_known(bundle: Path, tmp_path: Path):
    warnings = calibrated(bundle, scores(np.linspace(3, 5, 50)), tmp_path).operating_point("video").warnings
    text = " | ".join(warnings)
    assert "says nothing about how many attacks are accepted" in text
    assert "with 10 subjects, BPCER is at most" in text
    assert "takes 72 subjects without an error, at 5 presentations each" in text
    assert "do not differ clearly" in text


def test_another_camera_is_said_with_an_interval(bundle: Path, tmp_path: Path):
    logits = np.random.default_rng(2).normal(1.5, 2, 100)
    warnings = calibrated(bundle, scores(logits), tmp_path).operating_point("image").warnings
    (shift,) = (text for text in warnings if "this camera is not like" in text)
    assert f"{logits.mean() - 4:+.2f} (" in shift
    assert "instead of 1.00" in shift


def test_a_bundle_without_statistics_says_so(reddish: Path, tmp_path: Path):
    warnings = calibrated(reddish, scores(np.linspace(-3, 5, 50)), tmp_path).operating_point("video").warnings
    assert any("has no scores of its validation" in text for text in warnings)


def test_a_second_calibration_compares_with_validation_again(bundle: Path, tmp_path: Path):
    calibrated(bundle, scores(np.linspace(3, 5, 50)), tmp_path)
    assert VALIDATION.items() <= bonaface.load_bundle(tmp_path / "own").operating_point("video").chosen_on.items()
    with pytest.raises(ScoreTableError, match="score like attacks"):
        calibrated(tmp_path / "own", scores(np.full(50, -3.0)), tmp_path)


def test_footage_of_the_training_is_noted(bundle: Path, tmp_path: Path):
    warnings = (
        calibrated(bundle, scores(np.linspace(3, 5, 50), split="train"), tmp_path).operating_point("video").warnings
    )
    assert any("chosen on training data" in text for text in warnings)


def test_subjects_without_a_score_do_not_count(bundle: Path, tmp_path: Path):
    values, status = np.where(np.arange(50) < 25, 4.0, np.nan), ["ok"] * 25 + ["no_face"] * 25
    table = scores(values, subjects=["anna"] * 25 + ["berta"] * 25, status=status)
    with pytest.raises(ScoreTableError, match="has 1 subject with a score"):
        calibrated(bundle, table, tmp_path)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (scores(np.linspace(3, 5, 50), subjects=[""] * 50), "subjects that are not known"),
        (scores(np.linspace(3, 5, 50), subjects=["anna"] * 50), "has 1 subject with a score;"),
        (scores(np.full(50, -3.0)), "score like attacks .*are they live persons.*--allow-low-scores"),
        (scores(np.linspace(3, 5, 50), status="no_face", logit=np.nan, score=np.nan), "no logits"),
        (scores(np.linspace(3, 5, 50), split="test"), "split test"),
    ],
    ids=["unknown", "one", "attacks", "no face", "test"],
)
def test_footage_that_cannot_choose_is_refused(bundle: Path, tmp_path: Path, table: pd.DataFrame, said: str):
    with pytest.raises(ScoreTableError, match=said):
        calibrated(bundle, table, tmp_path)
    assert not (tmp_path / "own").exists()


def test_low_scores_are_taken_on_request(bundle: Path, tmp_path: Path):
    done = calibrated(bundle, scores(np.random.default_rng(3).normal(-3, 1, 50)), tmp_path, allow_low_scores=True)
    assert any("are they live persons?" in text for text in done.operating_point("video").warnings)


@pytest.mark.parametrize("criterion", ["eer", "hter", "bpcer20", "apcer<=0.01"])
def test_other_criteria_need_attacks(bundle: Path, tmp_path: Path, criterion: str):
    with pytest.raises(ScoreTableError, match=r"add attack presentations, or use bpcer<=0\.05"):
        calibrated(bundle, scores(np.linspace(3, 5, 50)), tmp_path, criterion)


def test_attacks_alone_choose_nothing(bundle: Path, tmp_path: Path):
    with pytest.raises(ScoreTableError, match="add bona fide presentations"):
        calibrated(bundle, scores(np.linspace(-3, 5, 50), label="attack", species="print"), tmp_path)


def test_a_manifest_is_scored_first(reddish: Path, tmp_path: Path):
    for number in range(6):
        picture(tmp_path / "own" / "live" / f"p{number // 2}" / f"{number}.png", (200 + 5 * number, 30, 30))
    bonaface.index(tmp_path / "own", layout="folder", output=tmp_path / "own.csv")
    own, output = str(tmp_path / "own.csv"), str(tmp_path / "b")
    ran = CliRunner().invoke(app, ["bundle", "calibrate", str(reddish), own, "--criterion", "bpcer<=0.2", "-o", output])
    assert ran.exit_code == 0, ran.output
    assert "validation FRR 16" in ran.stdout
    assert "FAR" not in ran.stdout
    mine = bonaface.load(tmp_path / "b")
    assert not mine(picture(tmp_path / "green.png", GREEN)).accepted
    assert mine(tmp_path / "own" / "live" / "p2" / "5.png").accepted
