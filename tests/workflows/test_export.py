from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bonaface
from bonaface.errors import BundleError, InputError
from bonaface.inference.backends import computes_bf16
from bonaface.inference.bundle import Bundle, change_bundle, load_bundle, write_bundle
from bonaface.inference.bundle_schema import VariantCard
from bonaface.models.network import network_bytes
from bonaface.models.openvino_export import layer_groups, search_int8
from bonaface.workflows.train import Run
from bonaface.workflows.variants import Frames, VariantName, make_variants
from tests.networks import pictures, point, points, tiny_bundle, tiny_network

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Bundle:
    folder = Path(tmp_path_factory.mktemp("tiny"))
    return tiny_bundle(folder / "bundle")


@pytest.fixture(scope="module")
def frames() -> Frames:
    return Frames(pictures(1000), np.zeros(1000), "1000 drawn pictures", pictures(24, seed=8), "24 drawn pictures")


def test_a_run_becomes_one_file_with_its_real_figures(run: Run, tmp_path: Path):
    exported = bonaface.export(run.path, output=tmp_path / "model.bonaface", licence="MIT")
    again = load_bundle(tmp_path / "model.bonaface")
    assert again.id == exported.bundle.id
    assert (tmp_path / "model.bonaface").is_file()
    trained = load_bundle(run.path)
    assert again.contents["model.onnx"] == trained.contents["model.onnx"]
    assert again.card.operating_points == trained.card.operating_points
    assert exported.parity["crops"] > 0
    card = again.contents["README.md"].decode()
    assert "Licence: MIT." in card
    assert "On the test split" in card
    for name, rate in again.card.results["image"]["apcer"].items():
        assert f"| APCER, {name} | {100 * rate['value']:.2f} % ({rate['errors']}/{rate['total']})" in card
    assert trained.card.results == again.card.results


def test_a_folder_where_the_name_does_not_end_like_a_zip(run: Run, tmp_path: Path):
    bonaface.export(run.path, output=tmp_path / "model")
    assert load_bundle(tmp_path / "model").card.name == load_bundle(run.path).card.name


def test_the_card_names_no_path_of_this_machine(run: Run):
    text = (run.path / "bundle" / "bundle.json").read_text()
    assert str(run.path.parent) not in text


def test_a_network_that_gives_other_scores_is_not_written(run: Run, tmp_path: Path):
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    bundle = load_bundle(copy)
    from bonaface.config import ModelSettings
    from bonaface.models.network import network_from_bytes

    network = network_from_bytes(
        bundle.contents["model.safetensors"], ModelSettings.model_validate(bundle.card.network)
    )
    head = network.backbone.get_classifier()
    assert isinstance(head, torch.nn.Linear)
    head.bias.data += 0.01
    write_bundle(
        change_bundle(replace(bundle, path=copy / "bundle"), files={"model.safetensors": network_bytes(network)})
    )
    with pytest.raises(BundleError, match=r"differs from torch: over .* crops probabilities differ"):
        bonaface.export(copy, output=tmp_path / "model.bonaface", root=run.path.parent / "footage")
    assert not (tmp_path / "model.bonaface").exists()


def test_too_few_frames_for_a_variant_are_counted(run: Run, tmp_path: Path):
    with pytest.raises(BundleError, match=r"at least 1000 frames, and there are \d+ \(.*mirror images of all of them"):
        bonaface.export(run.path, output=tmp_path / "model.bonaface", openvino=True)
    assert not (tmp_path / "model.bonaface").exists()


def test_what_is_no_run_is_refused(tiny: Bundle, tmp_path: Path):
    write_bundle(replace(tiny, path=tmp_path / "run" / "bundle"))
    with pytest.raises(InputError, match=r"has no recipe.yaml; expected the run folder"):
        bonaface.export(tmp_path / "run", output=tmp_path / "x")


def chosen(_: Bundle) -> Any:
    return points(0.01)


def accepted(bundle: Bundle, frames: Frames, name: VariantName) -> VariantCard:
    away = points(20.0)
    made = make_variants(change_bundle(bundle, operating_points=away), [name], frames, points=lambda _: away)  # type: ignore[arg-type,return-value]
    assert set(made.card.variants) == {name}
    card = made.card.variants[name]
    assert card.comparison is not None
    assert card.comparison.frames == 1000
    assert card.comparison.changed <= 5
    assert card.operating_points["image"].criterion == "eer"
    text = made.contents["README.md"].decode()
    assert f"| {name} | openvino | {card.precision} | {card.comparison.changed} of 1000 (" in text
    return card


def test_openvino_becomes_a_variant_with_its_own_thresholds(tiny: Bundle, frames: Frames):
    card = accepted(tiny, frames, "openvino")
    assert card.precision == "f32"
    assert card.comparison is not None
    assert card.comparison.changed == 0
    assert card.comparison.max_probability_difference <= 1e-4


@pytest.mark.skipif(not computes_bf16(), reason="this processor does not compute in bf16")
def test_bf16_becomes_a_variant_where_it_is_computed(tiny: Bundle, frames: Frames):
    assert accepted(tiny, frames, "bf16").precision == "bf16"


def test_bf16_is_refused_where_it_is_not_computed(
    tiny: Bundle, frames: Frames, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bonaface.workflows.variants.computes_bf16", lambda: False)
    said = r"this processor does not compute in bf16, .* leave --bf16 out"
    with pytest.raises(BundleError, match=said):
        make_variants(tiny, ["openvino", "bf16"], frames, points=chosen)
    with pytest.raises(BundleError, match=said):
        bonaface.export(run.path, output=tmp_path / "model.bonaface", bf16=True)
    assert not (tmp_path / "model.bonaface").exists()


def test_a_variant_that_changes_too_many_verdicts_is_refused(tiny: Bundle, frames: Frames):
    with pytest.raises(
        BundleError, match=r"variant openvino changes the decision on \d+ of 1000 frames .* accepted: 0\.5 %"
    ):
        make_variants(tiny, ["openvino"], frames, points=lambda _: {"image": point(1.0), "video": point(1.0)})


def test_too_few_frames_are_refused(tiny: Bundle, frames: Frames):
    few = replace(frames, compared=frames.compared[:999], what="999 drawn pictures")
    with pytest.raises(BundleError, match=r"at least 1000 frames, and there are 999 \(999 drawn pictures\)"):
        make_variants(tiny, ["openvino"], few, points=chosen)


def test_the_search_leaves_more_alone_until_few_verdicts_change(tiny: Bundle):
    counts = iter([80, 40, 60, 30, 50, 45, 3])
    written: list[tuple[int, int]] = []
    found = search_int8(
        tiny.contents["model.onnx"],
        pictures(8),
        changed=lambda _: next(counts),
        limit=5,
        progress=lambda *step: written.append(step),
    )
    names = list(found.tried)
    assert names[0] == "nothing"
    # The third group of the first round helped most, so it stays in f32 in every later attempt.
    best = names[3]
    assert len(names) == 7
    assert all(name.startswith(f"{best} + ") for name in names[5:])
    assert list(found.tried.values())[-1] == 3
    assert found.left_alone
    assert len(written) == len(names)


def test_int8_that_cannot_be_had_is_refused_with_the_figure(tiny: Bundle):
    counts = iter([80, 40, 60])
    with pytest.raises(
        BundleError, match=r"int8 changes the decision on 40 frames at best \(with .* in f32\), but at most 5"
    ):
        search_int8(tiny.contents["model.onnx"], pictures(8), changed=lambda _: next(counts), limit=5, attempts=3)


def test_int8_is_smaller_and_says_what_it_cost(tmp_path: Path, frames: Frames):
    network = tiny_network(spread=30.0)
    bundle = tiny_bundle(tmp_path / "b", network)
    # A threshold far from every score, as training gives one: no frame is near it.
    away = points(600.0)
    bundle = change_bundle(bundle, operating_points=away)
    made = make_variants(bundle, ["int8"], frames, points=lambda _: away)  # type: ignore[arg-type,return-value]
    card = made.card.variants["int8"]
    assert card.comparison is not None
    assert card.comparison.changed <= 5
    assert card.search.startswith("frames that changed by what stayed in f32, in the order tried: nothing: ")
    assert len(made.contents["int8.bin"]) < 0.7 * len(made.contents["model.onnx"])
    assert "calibrated on 24 drawn pictures" in made.contents["README.md"].decode()


def test_groups_of_layers_are_found_in_the_graph(tiny: Bundle):
    import openvino

    groups = layer_groups(openvino.Core().read_model(model=tiny.contents["model.onnx"]))
    assert set(groups) == {
        "the first 3 convolutions",
        "the depthwise convolutions",
        "the layers on pooled features",
        "the first 8 convolutions",
    }
    # mobilenetv3_small: 11 blocks with a depthwise convolution each, 9 of them with squeeze-and-excite: two convolutions
    # and a product; then a convolution and the classifier behind the last pooling.
    assert len(groups["the depthwise convolutions"]) == 11
    assert len(groups["the layers on pooled features"]) >= 9 * 3 + 2
    assert not set(groups["the layers on pooled features"]) & set(groups["the depthwise convolutions"])
    assert np.all([len(layers) > 0 for layers in groups.values()])
