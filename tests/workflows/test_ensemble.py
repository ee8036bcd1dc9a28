"""A second network, whose logit is added to that of the trained one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bonaface
from bonaface.errors import BundleError, SettingsError
from bonaface.inference.bundle import Bundle, change_bundle, load_bundle, write_bundle
from bonaface.inference.bundle_schema import DetectorCard, InputCard
from bonaface.workflows import explain as explaining
from bonaface.workflows import export as exporting
from bonaface.workflows import variants
from bonaface.workflows.train import Run
from tests.conftest import SMALL

pytestmark = pytest.mark.slow


def written(bundle: Bundle, path: Path, **changes: object) -> Path:
    write_bundle(change_bundle(bundle, path=path, **changes))  # type: ignore[arg-type]
    return path


def trained_with(second: Path, run: Run, output: Path, *overrides: str) -> Run:
    """Train on the shared run's videos, with that second network."""
    return bonaface.train(
        "demo",
        *SMALL,
        *overrides,
        f"model.ensemble_with={second}",
        manifest=run.path / "manifest.csv",
        output=output,
        faces=False,
    )


@pytest.fixture(scope="module")
def second(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared run's network with a narrower crop, named as somebody else's."""
    path = Path(tmp_path_factory.mktemp("second")) / "second"
    return written(load_bundle(run.path), path, crop_scale=1.5, name="second", licence="Apache-2.0", variants={})


@pytest.fixture(scope="module")
def ensemble(run: Run, second: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = Path(tmp_path_factory.mktemp("ensemble")) / "run"
    return trained_with(second, run, output, "seed=1", "scoring.widen=true")


def test_the_logit_is_the_sum_of_both(ensemble: Run, second: Path, footage: Path, tmp_path: Path):
    bundle = load_bundle(ensemble.path)
    card = bundle.card.ensemble
    assert card is not None
    assert (card.name, card.licence, card.crop_scale) == ("second", "Apache-2.0", 1.5)
    assert card.bundle == load_bundle(second).id
    assert card.weight == bundle.card.training["calibration"]["scale"]
    alone = written(bundle, tmp_path / "alone", ensemble=None)
    sources = sorted(footage.glob("*/*/*.mp4"))[:6]
    verdicts = {path: list(bonaface.predict(path, *sources)) for path in (ensemble.path, alone, second)}
    logits = {path: np.array([each.logit for each in found]) for path, found in verdicts.items()}
    assert np.ptp(logits[second]) > 0.01
    assert np.allclose(logits[ensemble.path], logits[alone] + card.weight * logits[second], atol=1e-5)


def test_thresholds_and_scores_are_those_of_both(ensemble: Run, footage: Path):
    table = pd.read_csv(ensemble.path / "scores" / "test.csv")
    fused = table[table["frame"].isna()].set_index("presentation")["logit"]
    sources = [footage / name for name in fused.index]
    found = [float(verdict.logit or np.nan) for verdict in bonaface.predict(ensemble.path, *sources)]
    assert np.allclose(found, fused.to_numpy(), atol=1e-4)
    assert load_bundle(ensemble.path).operating_point("video").chosen_on["widened"]["presentations"]


def test_the_card_names_the_second_network(ensemble: Run, second: Path, program):
    bundle = load_bundle(ensemble.path)
    line = f"(bundle {load_bundle(second).id}, Apache-2.0) is added; its crop has scale 1.5 and 64 x 64 pixels"
    assert line in bundle.contents["README.md"].decode()
    assert str(second) not in bundle.contents["bundle.json"].decode()
    shown = program("bundle", "show", str(ensemble.path))
    assert f"ensemble: {bundle.card.ensemble.weight:.3g} times the logit of second {line}" in shown.stdout  # type: ignore[union-attr]


def test_a_variant_keeps_the_second_network(ensemble: Run, footage: Path, tmp_path: Path, monkeypatch):
    compared = []

    def make(bundle, names, frames, **options):
        compared.append(frames)
        return variants.make_variants(bundle, names, frames, **options)

    monkeypatch.setattr(exporting, "make_variants", make)
    for module in (variants, exporting):
        monkeypatch.setattr(module, "FEWEST_FRAMES", 30)
    exported = bonaface.export(ensemble.path, output=tmp_path / "model.bonaface", openvino=True, root=footage)
    bundle, source = exported.bundle, next(footage.glob("live/*/*.mp4"))
    assert "some of them" in bundle.card.variants["openvino"].comparison.what  # type: ignore[union-attr]
    (as_trained,), (as_variant,) = (bonaface.predict(each, source) for each in (bundle, bundle.use("openvino")))
    assert as_variant.logit == pytest.approx(as_trained.logit, abs=1e-3)
    assert bundle.card.ensemble == load_bundle(ensemble.path).card.ensemble
    (frames,) = compared
    assert len(frames.compared) == len(frames.added_logits) == 30
    assert np.ptp(frames.added_logits) > 0.01
    assert np.ptp(frames.added_logits[:10] - frames.added_logits[20:]) > 0  # mirrored, too


def test_a_missing_second_network_is_refused(run: Run, ensemble: Run, tmp_path: Path):
    card = load_bundle(ensemble.path).card.ensemble
    path = written(load_bundle(run.path), tmp_path / "bundle", ensemble=card)
    with pytest.raises(BundleError, match=r"lists no ensemble\.onnx, the second network of its ensemble"):
        load_bundle(path)


def test_a_broken_second_network_is_refused_before_training(run: Run, second: Path, tmp_path: Path):
    broken = written(load_bundle(second), tmp_path / "broken", input=InputCard(size=32))
    with pytest.raises(BundleError, match=r"broken: model\.onnx fails on an input of 1 x 32 x 32 x 3"):
        trained_with(broken, run, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_test_split_that_the_second_network_may_know_is_noted(ensemble: Run):
    assert any("too; if its training had subjects of this test split" in note for note in ensemble.notes)
    assert load_bundle(ensemble.path).card.notes == ensemble.notes[: len(load_bundle(ensemble.path).card.notes)]


def test_the_maps_are_said_to_be_of_the_first_network(ensemble: Run, footage: Path, tmp_path: Path, monkeypatch):
    titles = []
    monkeypatch.setattr(explaining, "strip", lambda items, *, title, subtitle: titles.append(subtitle))
    bonaface.explain(ensemble.path, next(footage.glob("live/*/*.mp4")), output=tmp_path / "why")
    assert titles[0].endswith("; maps of the first network alone")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"crop_scale": 3.0}, r"does not fit model\.ensemble_with=.*; add model\.crop_scale=3$"),
        ({"input": InputCard(size=512)}, r"add model\.input_size=410$"),
        ({"detector": DetectorCard(name="whole_frame", identity="whole_frame")}, r"add crop\.detector=whole_frame"),
        ({"detector": DetectorCard(name="haar", identity="haar of old")}, r"made with the face detector haar of old"),
    ],
)
def test_other_crops_and_faces_are_refused(run: Run, second: Path, tmp_path: Path, changes: dict, said: str):
    other = written(load_bundle(second), tmp_path / "other", **changes)
    with pytest.raises(SettingsError, match=said):
        trained_with(other, run, tmp_path / "run")


def test_an_ensemble_is_no_second_network(run: Run, ensemble: Run, tmp_path: Path):
    with pytest.raises(SettingsError, match="is an ensemble itself; name a bundle of one network"):
        trained_with(ensemble.path, run, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_name_is_refused_before_training(run: Run, tmp_path: Path, program):
    ended = program(
        "train",
        "demo",
        f"data.manifest={run.path / 'manifest.csv'}",
        "model.ensemble_with=minifas",
        "-o",
        str(tmp_path / "run"),
    )
    assert ended.returncode == 2
    assert "no bundle at minifas and no open model of that name (did you mean 'minifas-128'?)" in ended.stderr
    assert not (tmp_path / "run").exists()
