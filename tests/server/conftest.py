"""A tiny bundle, drawn pictures and videos of a person, and a server of its own process."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from bonaface.choices import FusionRule
from bonaface.data.faces.detector import load_detector
from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import Take, bona_fide_frames
from bonaface.data.video_writer import write_video
from bonaface.inference.bundle import Bundle, make_bundle, write_bundle
from bonaface.inference.bundle_schema import BundleCard, DetectorCard, InputCard, OperatingPoint, OutputCard
from bonaface.inference.pipeline import Pipeline
from bonaface.types import logit

FPS = 15


def brightness_network(middle: float = 90.0) -> bytes:
    """An ONNX network whose logit is how much brighter than `middle` the crop is, in steps of 8, plus some texture."""
    from onnx import TensorProto, helper, numpy_helper

    kernel = np.random.default_rng(0).normal(0, 0.01, (4, 3, 5, 5)).astype(np.float32)
    kernel -= kernel.mean(axis=(1, 2, 3), keepdims=True)
    floats = {"kernel": kernel, "middle": np.array([middle], np.float32), "step": np.array([8.0], np.float32)}
    whole = {"axes": np.array([1, 2, 3]), "flat": np.array([-1])}
    constants = [numpy_helper.from_array(value, name) for name, value in {**floats, **whole}.items()]
    nodes = [
        helper.make_node("Cast", ["crops"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["mean", "middle"], ["above"]),
        helper.make_node("Div", ["above", "step"], ["level"]),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["edges"], strides=[3, 3]),
        helper.make_node("Relu", ["edges"], ["positive"]),
        helper.make_node("ReduceMean", ["positive", "axes"], ["texture"], keepdims=0),
        helper.make_node("Add", ["level", "texture"], ["sum"]),
        helper.make_node("Reshape", ["sum", "flat"], ["logit"]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", 96, 96, 3])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def point(threshold: float, frames: int, fusion: FusionRule) -> OperatingPoint:
    return OperatingPoint(
        threshold=threshold, logit_threshold=logit(threshold), criterion="eer", frames=frames, fusion=fusion
    )


def brightness_bundle(path: Path) -> Bundle:
    """A bundle around brightness_network, with the Haar detector."""
    card = BundleCard(
        name="brightness",
        created="2026-01-01T00:00:00Z",
        files={},
        architecture="brightness",
        input=InputCard(size=96),
        output=OutputCard(embedding=None),
        crop_scale=1.4,
        detector=DetectorCard(name="haar", identity=load_detector("haar").identity),
        operating_points={"image": point(0.5, 1, "first"), "video": point(0.4, 6, "mean")},
        training={"secret": "/home/somebody/footage"},
    )
    return make_bundle(path, card, {"model.onnx": brightness_network()})


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    path = Path(tmp_path_factory.mktemp("server")) / "bundle"
    write_bundle(brightness_bundle(path))
    return path


@pytest.fixture(scope="session")
def pipeline(bundle: Path) -> Pipeline:
    from bonaface.inference.bundle import load_bundle

    return Pipeline(load_bundle(bundle), threads=2)


@pytest.fixture(scope="session")
def frames() -> list[np.ndarray]:
    """A person's second in front of a camera, 640 x 480 RGB, bright."""
    drawn = bona_fide_frames(Take(Person.random(3), 5), FPS, FPS)
    return [scaled(frame, 120) for frame in drawn]


@pytest.fixture(scope="session")
def dark_frames(frames) -> list[np.ndarray]:
    return [scaled(frame, 55) for frame in frames]


def scaled(frame: np.ndarray, mean: float) -> np.ndarray:
    """The frame at about that mean brightness."""
    return np.clip(frame * (mean / max(frame.mean(), 1.0)), 0, 255).astype(np.uint8)


def encoded(frame: np.ndarray, form: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, form, **({"quality": 95} if form in {"JPEG", "WEBP"} else {}) | options)
    return file.getvalue()


@pytest.fixture(scope="session")
def jpeg(frames) -> bytes:
    return encoded(frames[0])


@pytest.fixture(scope="session")
def mp4(frames, tmp_path_factory) -> bytes:
    file = tmp_path_factory.mktemp("video") / "live.mp4"
    write_video(file, frames, fps=FPS)
    return file.read_bytes()


@dataclass
class Running:
    """A server in a process of its own."""

    url: str
    process: subprocess.Popen[str]

    def connect(self) -> socket.socket:
        host, port = self.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=30)

    def memory(self) -> int:
        """The most memory that the process ever had, in bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) * 1024

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


# Each test process has ports of its own, below those that the system hands out: a server of another could take one just freed.
_PORTS = itertools.count(20_000 + 1_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]))


def free_port() -> int:
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


def start_server(
    bundle: Path, *options: str, environment: dict[str, str] | None = None, files: int | None = None
) -> Running:
    """Start a server; `files` limits its open files."""
    port = free_port()
    command = [sys.executable, "-c", "from bonaface.cli import main; main()", "serve", str(bundle), "--port", str(port)]
    if files:
        command = ["bash", "-c", f'ulimit -n {files}; exec "$@"', "limited", *command]
    process = subprocess.Popen(
        [*command, *options],
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        if process.poll() is not None:
            raise AssertionError(process.stdout.read() if process.stdout else "the server ended")
        try:
            httpx.get(f"{url}/readyz").raise_for_status()
            return Running(url, process)
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server did not start")


@pytest.fixture(scope="session")
def servers(bundle: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers, and ends them."""
    started: list[Running] = []

    def start(*options: str, **more: Any) -> Running:
        started.append(start_server(bundle, *options, **more))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()
        if server.process.stdout:
            server.process.stdout.close()


@pytest.fixture(scope="session")
def server(servers) -> Running:
    return servers("--max-concurrent", "8")
