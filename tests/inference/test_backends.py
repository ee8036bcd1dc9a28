from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bonaface.errors import BundleError, MissingExtraError, SettingsError
from bonaface.inference import backends
from bonaface.inference.backends import (
    CERTAIN,
    OpenVinoBackend,
    as_logits,
    as_network_input,
    computes_bf16,
    load_backend,
)
from bonaface.inference.bundle import Bundle, change_bundle, load_bundle, make_bundle, write_bundle
from bonaface.inference.bundle_schema import InputCard, OutputCard, VariantCard
from bonaface.types import probability
from tests.networks import pictures, points, tiny_bundle, tiny_network

F32 = ("onnxruntime", "openvino")


def logits_of(bundle: Bundle, crops: np.ndarray, *, batch: int = 32, backend: str | None = None) -> np.ndarray:
    engine = load_backend(bundle, backend=backend, threads=1)
    return np.concatenate([engine.run(crops[start : start + batch])[0] for start in range(0, len(crops), batch)])


def openvino_variant(bundle: Bundle, precision: str = "f32") -> Bundle:
    from bonaface.models.openvino_export import openvino_files

    names = ("openvino.xml", "openvino.bin")
    card = VariantCard(backend="openvino", precision=precision, files=names, operating_points=points(0.5))
    files = dict(zip(names, openvino_files(bundle.contents["model.onnx"]), strict=True))
    return change_bundle(bundle, files=files, variants={precision: card})


@pytest.mark.slow
@pytest.mark.parametrize("spread", [2.0, 40.0], ids=["spread", "saturated"])
def test_every_f32_backend_gives_what_torch_gives(tmp_path: Path, thousand: np.ndarray, spread: float):
    network = tiny_network(spread=spread)
    bundle = openvino_variant(tiny_bundle(tmp_path / "b", network))
    with torch.no_grad():
        torch_logits, torch_embeddings = network(torch.from_numpy(thousand))
    expected = torch_logits.double().numpy()
    inside = ((expected > -5) & (expected < 5)).mean()
    assert inside > 0.9 if spread == 2.0 else inside < 0.3
    span = np.ptp(expected)
    for backend, found in (
        *((name, bundle) for name in F32),
        (None, bundle.use("f32")),
    ):
        given = logits_of(found, thousand, backend=backend)
        assert np.abs(given - expected).max() <= 1e-3 * span
        assert np.abs(probability(given) - probability(expected)).max() <= 1e-4
        # A logit nearer to the threshold than rounding may fall on either side.
        decided = np.abs(expected) > 1e-3 * span
        np.testing.assert_array_equal((given >= 0)[decided], (expected >= 0)[decided])
        _, embeddings = load_backend(found, backend=backend, threads=1).run(thousand[:8])
        assert embeddings is not None
        np.testing.assert_allclose(embeddings, torch_embeddings[:8].numpy(), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("backend", F32)
def test_neither_batch_nor_order_changes_a_logit(tiny: Bundle, backend: str):
    crops = pictures(33, seed=4)
    whole = logits_of(tiny, crops, batch=33, backend=backend)
    for batch in (1, 2, 7):
        np.testing.assert_allclose(logits_of(tiny, crops, batch=batch, backend=backend), whole, atol=1e-4)
    np.testing.assert_allclose(logits_of(tiny, crops[::-1], backend=backend)[::-1], whole, atol=1e-4)


@pytest.mark.parametrize("backend", F32)
def test_a_view_of_pictures_is_as_good_as_a_copy(tiny: Bundle, backend: str):
    crops = pictures(4)
    np.testing.assert_allclose(
        logits_of(tiny, crops[:, :, ::-1], backend=backend),
        logits_of(tiny, crops[:, :, ::-1].copy(), backend=backend),
        atol=1e-6,
    )


def test_openvino_computes_in_f32_unless_the_variant_says_bf16(tiny: Bundle):
    import openvino

    assert OpenVinoBackend(tiny)._compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    other = openvino_variant(tiny, "bf16").use("bf16")
    if not computes_bf16():
        with pytest.raises(BundleError, match=r"does not compute in bf16, so variant bf16 would not give the scores"):
            load_backend(other)
        return
    engine = OpenVinoBackend(other)
    assert engine._compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.bf16


def test_an_unknown_backend_is_named(tiny: Bundle):
    with pytest.raises(SettingsError, match=r"no backend 'openvin'; expected onnxruntime or openvino \(did you mean"):
        load_backend(tiny, backend="openvin")


def test_a_variant_on_another_engine_is_refused(tiny: Bundle):
    with pytest.raises(BundleError, match=r"variant f32 runs on openvino, not on onnxruntime"):
        load_backend(openvino_variant(tiny).use("f32"), backend="onnxruntime")


def test_openvino_that_is_not_installed_is_an_extra(tiny: Bundle, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[openvino\]"'):
        load_backend(tiny, backend="openvino")


def test_a_damaged_graph_is_one_line(tiny: Bundle):
    broken = openvino_variant(tiny)
    broken = change_bundle(broken, files={"openvino.xml": b"<net"}).use("f32")
    with pytest.raises(BundleError, match=r"OpenVINO cannot load openvino\.xml") as raised:
        load_backend(broken)
    assert "\n" not in str(raised.value)
    with pytest.raises(BundleError, match=r"ONNX Runtime cannot load .*model\.onnx") as raised:
        load_backend(replace(tiny, contents={**tiny.contents, "model.onnx": b"\x08\x09"}))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("backend", F32)
def test_an_output_that_is_not_there_is_named(tiny: Bundle, backend: str):
    card = tiny.card.model_copy(update={"output": OutputCard(name="score")})
    with pytest.raises(BundleError, match=r"model.onnx gives .*logit.*, not score"):
        load_backend(replace(tiny, card=card), backend=backend)


def fixed_batch(batch: int | str) -> bytes:
    """A network of that batch size whose logit is the mean of its input."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0)]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 32, 32])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, [batch])],
        [numpy_helper.from_array(np.array([1, 2, 3]), "axes")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


@pytest.mark.parametrize("backend", F32)
@pytest.mark.parametrize("batch", [1, 4, "n"])
def test_a_network_of_a_fixed_batch_size_takes_any_number_of_crops(tiny: Bundle, batch: int | str, backend: str):
    card = tiny.card.model_copy(
        update={
            "input": InputCard(name="image", size=32, dtype="float32", layout="NCHW", divisor=255.0),
            "output": OutputCard(name="mean", embedding=None),
        }
    )
    bundle = make_bundle(Path("b"), card, {"model.onnx": fixed_batch(batch)})
    crops = pictures(6, size=32)
    expected = crops.mean(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(logits_of(bundle, crops, backend=backend), expected, rtol=1e-5)


def inner_batch(batch: int, dtype: str = "FLOAT") -> bytes:
    """A network that takes any number of crops by its input, and `batch` by a reshape inside."""
    from onnx import TensorProto, helper, numpy_helper

    kind = getattr(TensorProto, dtype)
    nodes = [
        helper.make_node("Reshape", ["image", "shape"], ["flat"]),
        helper.make_node("ReduceMean", ["flat", "axes"], ["mean"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "inner",
        [helper.make_tensor_value_info("image", kind, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("mean", kind, ["m"])],
        [
            numpy_helper.from_array(np.array([batch, 3 * 32 * 32]), "shape"),
            numpy_helper.from_array(np.array([1]), "axes"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def mean_bundle(tiny: Bundle, network: bytes, **given: Any) -> Bundle:
    card = tiny.card.model_copy(
        update={
            "input": InputCard(
                **{"name": "image", "size": 32, "dtype": "float32", "layout": "NCHW", "divisor": 255.0, **given}
            ),
            "output": OutputCard(name="mean", embedding=None),
        }
    )
    return make_bundle(Path("b"), card, {"model.onnx": network})


@pytest.mark.parametrize("backend", F32)
def test_a_batch_of_one_inside_the_graph(tiny: Bundle, backend: str, capfd):
    bundle = mean_bundle(tiny, inner_batch(1))
    crops = pictures(6, size=32)
    expected = crops.mean(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(logits_of(bundle, crops, backend=backend), expected, rtol=1e-5)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("backend", F32)
def test_a_larger_batch_inside_the_graph_is_refused(tiny: Bundle, backend: str, capfd):
    with pytest.raises(BundleError, match=r"b: model.onnx fails on an input of 1 x 3 x 32 x 32 float32") as raised:
        load_backend(mean_bundle(tiny, inner_batch(3)), backend=backend)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floating_point_inputs_are_cast(tiny: Bundle, dtype: str):
    network = inner_batch(1, {"float16": "FLOAT16", "float64": "DOUBLE"}[dtype])
    crops = pictures(3, size=32)
    expected = crops.mean(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(logits_of(mean_bundle(tiny, network, dtype=dtype), crops), expected, rtol=2e-3)


@pytest.mark.parametrize(
    "given", [{"size": 48}, {"layout": "NHWC"}, {"dtype": "uint8"}, {"dtype": "float16"}, {"name": "pixels"}]
)
@pytest.mark.parametrize("batch", [1, "n"])
def test_a_network_that_does_not_fit_its_card(tiny: Bundle, batch: int | str, given: dict[str, Any], capfd):
    with pytest.raises(BundleError, match=r"b: model.onnx (fails on an input of|takes image, not pixels)") as raised:
        load_backend(mean_bundle(tiny, fixed_batch(batch), **given))
    assert "\n" not in str(raised.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (OutputCard(name="embedding", meaning="logit", embedding=None), r"gives \d+ values a crop, .* names one logit"),
        (OutputCard(name="embedding", meaning="logits[99999]", embedding=None), r"gives \d+ values a crop"),
        (OutputCard(name="logit", meaning="logits[0]", embedding=None), r"gives 1 values a crop"),
    ],
)
def test_an_output_that_does_not_fit_its_card(tiny: Bundle, output: OutputCard, said: str):
    with pytest.raises(BundleError, match=said):
        load_backend(replace(tiny, card=tiny.card.model_copy(update={"output": output})))


def test_a_network_that_fails_later_is_one_line(tiny: Bundle):
    backend = load_backend(mean_bundle(tiny, fixed_batch("n")))
    with pytest.raises(BundleError, match="fails on an input of 2 x 3 x 40 x 40 float32") as raised:
        backend.run(pictures(2, size=40))
    assert "\n" not in str(raised.value)


def test_a_bundle_from_disk_scores_as_the_one_in_memory(tiny: Bundle, tmp_path: Path):
    both = openvino_variant(replace(tiny, path=tmp_path / "m.bonaface"))
    write_bundle(both)
    again = load_bundle(tmp_path / "m.bonaface")
    crops = pictures(5)
    np.testing.assert_array_equal(logits_of(again.use("f32"), crops), logits_of(both.use("f32"), crops))


def test_network_input_is_what_the_card_says():
    crops = np.zeros((1, 2, 2, 3), np.uint8)
    crops[..., 0] = 255
    card = InputCard(
        size=16, dtype="float32", layout="NCHW", colour="BGR", divisor=127.5, mean=(1, 1, 1), std=(1, 1, 2)
    )
    given = as_network_input(crops, card)
    assert given.shape == (1, 3, 2, 2)
    np.testing.assert_allclose(given[0, :, 0, 0], [-1, -1, 0.5])


@pytest.mark.parametrize(
    ("raw", "meaning", "expected"),
    [
        ([[0.5]], "logit", 0.5),
        ([[0.5]], "probability", 0.0),
        ([[0.25, 0.75]], "softmax[1]", np.log(3)),
        ([[1.0, 2.0, 3.0]], "logits[2]", 3 - np.log(np.e + np.e**2)),
        ([[1.0, 0.0]], "softmax[0]", CERTAIN),
        ([[1.0, 0.0]], "softmax[1]", -CERTAIN),
        ([[1.0]], "probability", CERTAIN),
        ([[0.0]], "probability", -CERTAIN),
    ],
)
def test_logits_of_every_meaning(raw: list[list[float]], meaning: str, expected: float):
    assert as_logits(np.array(raw), OutputCard(meaning=meaning))[0] == pytest.approx(expected)


@pytest.mark.parametrize("nearest", [np.float32(1e-45), np.nextafter(np.float32(1), np.float32(0))])
def test_a_certain_probability_lies_beyond_every_other(nearest: np.float32):
    (logit,) = as_logits(np.array([[nearest]], np.float32), OutputCard(meaning="probability"))
    assert 16 < abs(logit) < CERTAIN


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_no_score(value: float):
    with pytest.raises(BundleError, match="NaN or infinity for 1 of 2 crops"):
        as_logits(np.array([[0.5], [value]]), OutputCard())


def test_backends_are_those_that_the_names_say():
    assert set(backends.BACKENDS) == set(F32)
