from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bonaface
from bonaface.data.downloads import sha256_of
from bonaface.errors import BundleError, DownloadError, InputError, SettingsError, WeightsError
from bonaface.inference.bundle import Bundle
from bonaface.inference.model_zoo import OPEN_MODELS
from bonaface.inference.pipeline import Pipeline
from bonaface.workflows import bundle as commands
from tests.networks import pictures


def network(
    path: Path,
    *,
    shape: tuple[Any, ...] = ("n", 3, 32, 32),
    softmax: bool = False,
    classes: int = 2,
    dtype: str = "FLOAT",
) -> Path:
    """An ONNX file whose values are weighted means of the colours: class i sees channel i."""
    from onnx import TensorProto, helper, numpy_helper

    channel, axes = (1, [2, 3]) if shape[1] in (3, "c") else (3, [1, 2])
    weights = np.eye(3, max(classes, 1), dtype=np.float32) * 4
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["colours"], keepdims=0),
        helper.make_node("MatMul", ["colours", "weights"], ["values" if softmax else "answer"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["values"], ["answer"], axis=1))
    assert channel
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", getattr(TensorProto, dtype), list(shape))],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [shape[0], classes])],
        [numpy_helper.from_array(np.array(axes), "axes"), numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


make = functools.partial(bonaface.bundle_from_onnx, crop_scale=1.5, detector="whole_frame")


def logits(bundle: Any, crops: np.ndarray) -> np.ndarray:
    found, _ = Pipeline(bundle, threads=1).run_network(crops)
    return found


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("batch", ["n", 1])
def test_a_network_is_fed_and_read_as_was_said(tmp_path: Path, layout: str, batch: int | str):
    shape = (batch, 3, 32, 32) if layout == "NCHW" else (batch, 32, 32, 3)
    file = network(tmp_path / "peer.onnx", shape=shape)
    options: dict[str, Any] = {"pixels": "-1..1", "output_type": "logits[0]"}
    rgb = make(file, output=tmp_path / "rgb.bonaface", **options)
    bgr = make(file, output=tmp_path / "bgr", colour="BGR", **options)
    crops = pictures(5, size=32)
    red, green, blue = (4 * (crops[..., place].mean(axis=(1, 2)) / 127.5 - 1) for place in range(3))
    np.testing.assert_allclose(logits(bonaface.load_bundle(rgb.path), crops), red - green, atol=1e-4)
    np.testing.assert_allclose(logits(bonaface.load_bundle(bgr.path), crops), blue - green, atol=1e-4)


def test_mean_and_std_come_after_the_range(tmp_path: Path):
    file = network(tmp_path / "peer.onnx", softmax=True)
    made = make(
        file, output=tmp_path / "b", output_type="softmax[1]", pixels="0..1", mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4]
    )
    crops = pictures(5, size=32)
    red, green = (
        4 * (crops[..., place].mean(axis=(1, 2)) / 255 - mean) / std
        for place, mean, std in ((0, 0.5, 0.2), (1, 0.4, 0.3))
    )
    np.testing.assert_allclose(logits(made, crops), green - red, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        (("n", 3, 32, 32), {"size": 128}, r"takes \? x 3 x 32 x 32, but --size is 128; leave --size out"),
        (("n", 3, 32, 32), {"layout": "NHWC"}, r"--layout NHWC needs 3 channels on the last axis; .*--layout NCHW"),
        (("n", 3, "h", "w"), {}, r"any size at all; add the one it was trained with, such as --size 128"),
        (("n", 3, 32, 48), {}, r"but crops are square"),
        (("n", "c", 32, 32), {}, r"leaves its layout open; add --layout NCHW"),
        (("n", 3, 32, 32), {"output_type": "softmax[0]"}, r"values whose sum is not 1; use logits\[0\]"),
        (("n", 3, 32, 32), {"output_type": "logits[2]"}, r"has 2 values a crop, counted from 0"),
        (("n", 3, 32, 32), {"output_type": "logit"}, r"2 values a crop; name the bona fide class"),
        (("n", 3, 32, 32), {"pixels": None}, r"add the range"),
        (("n", 3, 32, 32), {"output_name": "answr"}, r"gives answer, not answr \(did you mean 'answer'\?\)"),
        (("n", 3, 32, 32), {"mean": [1.0, 2.0]}, r"--mean has 2 numbers; expected one, or three"),
        (("n", 3, 32, 32), {"pixels": "0..2"}, r"no range '0..2'; expected 0..1"),
        (("n", 3, 32, 32), {"output_type": "live"}, r"--output-type live: expected logit, probability"),
        (("n", 3, 32, 32), {"colour": "GRB"}, r"colour: .*'RGB' or 'BGR'"),
    ],
)
def test_a_network_that_does_not_fit_what_is_said_of_it(
    tmp_path: Path, shape: tuple[Any, ...], options: dict[str, Any], said: str
):
    file = network(tmp_path / "peer.onnx", shape=shape)
    with pytest.raises((BundleError, SettingsError), match=said) as raised:
        make(file, output=tmp_path / "b", **{"pixels": "0..1", "output_type": "logits[0]", **options})
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "b").exists()


def linear(path: Path, weights: np.ndarray, *, bias: float = 0.0, softmax: bool = False, dtype: str = "FLOAT") -> Path:
    """An ONNX file whose two values are a linear map of the mean colours."""
    from onnx import TensorProto, helper, numpy_helper

    kind = getattr(TensorProto, dtype)
    number = np.dtype("float16" if dtype == "FLOAT16" else "float32")
    last = "answer" if not softmax else "values"
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["colours"], keepdims=0),
        helper.make_node("MatMul", ["colours", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], [last]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["values"], ["answer"], axis=1))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("image", kind, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("answer", kind, ["n", 2])],
        [
            numpy_helper.from_array(np.array([2, 3]), "axes"),
            numpy_helper.from_array(weights.astype(number), "weights"),
            numpy_helper.from_array(np.array([bias, 0], number), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("scale", [0.0, 1e-7])
@pytest.mark.parametrize(("bias", "softmax"), [(0.0, False), (3.0, False), (0.0, True), (3.0, True), (200.0, True)])
def test_a_network_that_answers_alike_is_refused(tmp_path: Path, scale: float, bias: float, softmax: bool):
    weights = np.random.default_rng(1).normal(0, 1, (3, 2)) * scale
    file = linear(tmp_path / "p.onnx", weights, bias=bias, softmax=softmax)
    output_type = "softmax[0]" if softmax else "logits[0]"
    with pytest.raises(BundleError, match=r"p.onnx gives the same answer to \d+ different pictures") as raised:
        make(file, output=tmp_path / "b", pixels="0..1", output_type=output_type)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "b").exists()


def test_float16_input_is_cast(tmp_path: Path):
    weights = np.array([[4, 0], [0, 4], [0, 0]])
    made = make(
        linear(tmp_path / "p.onnx", weights, dtype="FLOAT16"),
        output=tmp_path / "b",
        pixels="0..1",
        output_type="logits[0]",
    )
    crops = pictures(5, size=32)
    red, green = (4 * crops[..., place].mean(axis=(1, 2)) / 255 for place in (0, 1))
    np.testing.assert_allclose(logits(bonaface.load_bundle(made.path), crops), red - green, atol=0.02)


def test_weights_that_are_no_cascade_are_refused(tmp_path: Path):
    file = network(tmp_path / "peer.onnx")
    for weights in (file, str(file)):
        with pytest.raises(WeightsError, match=r"peer.onnx is not a cascade that OpenCV reads"):
            bonaface.bundle_from_onnx(
                file,
                output=tmp_path / "b",
                output_type="logits[0]",
                crop_scale=1.5,
                pixels="0..1",
                detector="haar",
                detector_weights=weights,
            )


def test_shares_are_not_taken_for_logits(tmp_path: Path):
    file = network(tmp_path / "peer.onnx", softmax=True)
    with pytest.raises(BundleError, match=r"values whose sum is always 1; use softmax\[0\]"):
        make(file, output=tmp_path / "b", pixels="0..1", output_type="logits[0]")


def test_whole_pixels_have_no_range(tmp_path: Path):
    file = network(tmp_path / "peer.onnx", shape=("n", 32, 32, 3), dtype="UINT8")
    made = make(file, output=tmp_path / "b", output_type="logits[0]")
    crops = pictures(3, size=32)
    red, green = (4 * crops[..., place].mean(axis=(1, 2)) for place in (0, 1))
    np.testing.assert_allclose(logits(made, crops), red - green, rtol=1e-4)
    with pytest.raises(BundleError, match=r"whole pixels \(uint8\), but --range is 0..1"):
        make(file, output=tmp_path / "c", output_type="logits[0]", pixels="0..1")


def test_what_is_no_network(tmp_path: Path):
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04")
    options: dict[str, Any] = {"output": tmp_path / "b", "output_type": "logit", "pixels": "0..1"}
    for name, said in (("text.onnx", "not an ONNX file"), ("model.pt", "not an ONNX file by its name")):
        with pytest.raises(BundleError, match=said):
            make(tmp_path / name, **options)
    with pytest.raises(InputError, match="no network at"):
        make(tmp_path / "nowhere.onnx", **options)


def test_grad_cam_of_a_third_party_s_network_is_refused_with_a_reason(tmp_path: Path):
    made = make(network(tmp_path / "p.onnx"), output=tmp_path / "b", pixels="0..1", output_type="logits[0]")
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(BundleError, match="Grad-CAM needs gradients, which an ONNX file alone does not give"):
        bonaface.explain(made, tmp_path / "photo.png", output=tmp_path / "why")


@pytest.fixture
def file_server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "file_server"
    folder.mkdir()
    network(folder / "peer.onnx")
    (folder / "detector.onnx").write_bytes(b"a detector")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_an_open_model_is_fetched_checked_and_made_a_bundle(file_server: str, tmp_path: Path, monkeypatch):
    model = OPEN_MODELS["minifas-128"]
    assert model.input is not None
    assert model.output is not None
    file = tmp_path / "file_server" / "peer.onnx"
    asset = replace(model.asset, url=f"{file_server}/peer.onnx", sha256=sha256_of(file))
    own = replace(
        model,
        asset=asset,
        input=model.input.model_copy(update={"name": "image", "size": 32}),
        output=model.output.model_copy(update={"name": "answer"}),
    )
    monkeypatch.setattr(commands, "OPEN_MODELS", {"peer": own})
    monkeypatch.setattr(
        commands, "bundle_from_onnx", functools.partial(commands.bundle_from_onnx, detector="whole_frame")
    )
    pulled = bonaface.pull_bundle(
        "peer", output=tmp_path / "peer.bonaface", detector_weights=tmp_path / "none", cache=tmp_path / "cache"
    )
    assert isinstance(pulled, Bundle)
    card = bonaface.load_bundle(pulled.path).card
    assert card.licence == "Apache-2.0"
    assert card.training["published as"] == f"{file_server}/peer.onnx"
    assert card.output.meaning == "logits[0]"

    changed = replace(own, asset=replace(asset, sha256="0" * 64, name="other.onnx"))
    monkeypatch.setattr(commands, "OPEN_MODELS", {"peer": changed})
    with pytest.raises(DownloadError, match=rf"other.onnx could not be fetched .*sha256 {'0' * 64}.* put it at"):
        bonaface.pull_bundle("peer", output=tmp_path / "x.bonaface", cache=tmp_path / "cache")
    assert not (tmp_path / "x.bonaface").exists()


def test_a_detector_is_fetched_as_a_file(file_server: str, tmp_path: Path, monkeypatch):
    file = tmp_path / "file_server" / "detector.onnx"
    model = OPEN_MODELS["yunet"]
    asset = replace(model.asset, url=f"{file_server}/detector.onnx", sha256=sha256_of(file))
    monkeypatch.setattr(commands, "OPEN_MODELS", {"yunet": replace(model, asset=asset)})
    pulled = bonaface.pull_bundle("yunet", cache=tmp_path / "cache")
    assert isinstance(pulled, Path)
    assert pulled.read_bytes() == b"a detector"


def test_open_models_are_pinned_and_licensed():
    assert set(OPEN_MODELS) == {"yunet", "minifas-128", "minifas-128-int8"}
    for model in OPEN_MODELS.values():
        assert len(model.asset.sha256) == 64
        assert model.asset.licence
        assert model.asset.url.startswith("https://")
        # A commit, not a branch: what is there can never change.
        assert any(len(part) == 40 and set(part) <= set("0123456789abcdef") for part in model.asset.url.split("/"))
    with pytest.raises(SettingsError, match=r"no open model 'minifas' .*expected yunet, minifas-128"):
        bonaface.pull_bundle("minifas")


def test_the_commands(program, tmp_path: Path):
    network(tmp_path / "peer.onnx")
    run = partial(program, cwd=tmp_path)
    options = ["--output-type", "logits[0]", "--scale", "1.5", "--detector", "whole_frame"]
    done = run("bundle", "from-onnx", "peer.onnx", "-o", "peer.bonaface", "--range", "0..1", *options)
    assert done.returncode == 0, done.stderr
    shown = run("bundle", "show", "peer.bonaface").stdout
    for said in ("format 1", "input: 32 x 32 pixels, RGB, NCHW", "logits[0] is bona fide", "model.onnx", "sha256"):
        assert said in shown
    wrong = run("bundle", "from-onnx", "peer.onnx", "-o", "b", "--range", "0..1", "--size", "64", *options)
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    with contextlib.suppress(FileNotFoundError):
        (tmp_path / "b").rmdir()
        pytest.fail("something was written")
