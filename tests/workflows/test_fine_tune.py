"""Training that continues from a bundle."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bonaface
from bonaface.errors import SettingsError
from bonaface.workflows.fine_tune import differences_from
from tests.conftest import SMALL

pytestmark = pytest.mark.slow


def test_a_training_continues_from_a_run_and_is_compared_with_it(run, tmp_path: Path):
    tuned = bonaface.train(
        "demo",
        *SMALL,
        f"model.weights={run.path}",
        "training.learning_rate=1e-9",
        manifest=run.path / "manifest.csv",
        output=tmp_path / "run",
        faces=False,
    )
    before, after = bonaface.load_bundle(run.path).card, bonaface.load_bundle(tuned.path).card
    assert after.training["started_from"] == bonaface.load_bundle(run.path).id
    assert after.training["initial_weights"] == before.training["initial_weights"]
    note = next(note for note in tuned.notes if "that this training started from" in note)
    assert "cannot be tested" in note  # one subject in the test split


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.input_size=96", "model.input_size=64"),
        ("model.crop_scale=1.5", "model.crop_scale=2.4"),
        ("crop.detector=whole_frame", "crop.detector=haar"),
        ("model.name=mobilenetv3_small_050", "model.name=test_efficientnet"),
    ],
)
def test_another_network_or_crop_is_refused_with_what_to_add(run, override: str, said: str, tmp_path: Path):
    with pytest.raises(SettingsError, match=f"add {said}"):
        bonaface.train(
            "demo",
            *SMALL,
            f"model.weights={run.path}",
            override,
            manifest=run.path / "manifest.csv",
            output=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()


def test_a_zipped_bundle_is_refused(run, tmp_path: Path):
    with pytest.raises(SettingsError, match="unzip it"):
        bonaface.train("demo", "model.weights=m.bonaface", manifest=run.path / "manifest.csv", output=tmp_path / "run")


@pytest.mark.parametrize(("shift", "said"), [(6.0, "really better"), (-6.0, "really worse.*keep the bundle")])
def test_a_real_difference_is_said(run, shift: float, said: str):
    bundle = bonaface.load_bundle(run.path)
    threshold = bundle.operating_point("video").logit_threshold
    rng = np.random.default_rng(0)
    bona_fide = np.arange(200) % 2 == 0
    names = [f"{number}.mp4" for number in range(200)]
    logits = np.where(bona_fide, 1.0, -1.0) * abs(shift) / 2

    def table(values: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "presentation": names,
                "frame": pd.array([pd.NA] * 200, dtype="Int64"),
                "label": np.where(bona_fide, "bona_fide", "attack"),
                "species": np.where(bona_fide, "", "print"),
                "subject": [f"s{number // 4}" for number in range(200)],
                "subject_known": True,
                "dataset": bundle.card.training["datasets"][0],
                "split": "test",
                "status": "ok",
                "logit": values + threshold,
                "score": 1 / (1 + np.exp(-values - threshold)),
            }
        )

    right, wrong = table(logits), table(logits + rng.normal(0, 6, 200))
    scores, new = (wrong, right) if shift > 0 else (right, wrong)
    (note,) = differences_from(bundle, scores, new, bundle.operating_point("video"))
    assert re.search(said, note)
