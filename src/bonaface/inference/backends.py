"""Backends run the network of a bundle: crops in, logits and embeddings out."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import BundleError, SettingsError, did_you_mean, needs_extra, one_line
from bonaface.inference.bundle import Bundle
from bonaface.inference.bundle_schema import InputCard, OutputCard
from bonaface.onnx_runtime import onnx_session

BATCH = 4
"""Crops that go through a network at once, at most: a tenth to a fifth faster than one by one or 32 at once."""

CERTAIN = 104.0
"""Logit of a probability of exactly 1, and its negative of 0: beyond what f32 can tell from them.

Infinite ones could not be averaged over frames, nor written as JSON.
"""


class Backend:
    """Runs one network; each backend says how it infers a batch."""

    name: str

    def __init__(self, bundle: Bundle, file: str, known: Sequence[str]) -> None:
        card = bundle.card.output
        self._wanted = [card.name, *([card.embedding] if card.embedding else [])]
        if unknown := [name for name in self._wanted if name not in known]:
            raise BundleError(f"{bundle.path}: {file} gives {', '.join(known)}, not {', '.join(unknown)}")
        self._network = f"{bundle.path}: {file}"
        self._input = bundle.card.input
        self._output = card
        self._batch: int | None = None

    def run(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
        """Return logits `(n,)` and, if the network has them, embeddings `(n, d)` of RGB crops `(n, size, size, 3)`.

        A network of a fixed batch size is given full batches, the last one padded. Raises BundleError where the network
        fails on them.
        """
        if not len(crops):
            return np.empty(0), None
        missing = -len(crops) % self._batch if self._batch else 0
        padded = np.concatenate([crops, np.repeat(crops[-1:], missing, axis=0)]) if missing else crops
        size = self._batch or BATCH
        parts = [
            self._checked(as_network_input(padded[start : start + size], self._input))
            for start in range(0, len(padded), size)
        ]
        outputs = [np.concatenate(part)[: len(crops)] for part in zip(*parts, strict=True)]
        embedding = np.asarray(outputs[1], dtype=np.float32) if len(outputs) > 1 else None
        return as_logits(outputs[0], self._output), embedding

    def find_batch(self, declared: int | None) -> None:
        """Run the network on two pictures, and one at a time from now on if it cannot take both at once.

        `declared` is the batch size of its input, None for any. Raises BundleError where it does not take what the bundle's
        card describes, or gives something else.
        """
        size = self._input.size
        pictures = np.full((2, size, size, 3), 128, np.uint8)
        self._batch = declared
        try:
            self.run(pictures)
        except BundleError:
            if declared is not None:
                raise
            self._batch = 1
            self.run(pictures)

    def _checked(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        try:
            outputs = self._infer(batch)
        except Exception as error:  # ONNX Runtime's own exceptions share no public base
            shape = " x ".join(map(str, batch.shape))
            raise BundleError(
                f"{self._network} fails on an input of {shape} {batch.dtype}, which bundle.json describes: {one_line(error)}"
            ) from None
        for name, output in zip(self._wanted, outputs, strict=True):
            if output.dtype.kind != "f" or output.ndim == 0 or len(output) != len(batch) or not output.size:
                shape = " x ".join(map(str, output.shape)) or "a single number"
                raise BundleError(
                    f"{self._network} gives {name} of shape {shape} and type {output.dtype} for {len(batch)} crops; "
                    f"expected {len(batch)} rows of floating point numbers"
                )
        return outputs

    def _infer(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        raise NotImplementedError


class OnnxBackend(Backend):
    """ONNX Runtime on the CPU, in f32."""

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        self._session = onnx_session(bundle.contents["model.onnx"], name=f"{bundle.path}: model.onnx", threads=threads)
        super().__init__(bundle, "model.onnx", [output.name for output in self._session.get_outputs()])
        shapes = {node.name: node.shape for node in self._session.get_inputs()}
        if list(shapes) != [self._input.name]:
            raise BundleError(f"{bundle.path}: model.onnx takes {', '.join(shapes)}, not {self._input.name} alone")
        self.find_batch(
            next((side for side in shapes[self._input.name][:1] if isinstance(side, int) and side > 0), None)
        )

    def _infer(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        return [np.asarray(output) for output in self._session.run(self._wanted, {self._input.name: batch})]


class OpenVinoBackend(Backend):
    """OpenVINO on the CPU: a variant of the bundle, or its `model.onnx` in f32."""

    name = "openvino"

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        ov = _openvino()
        variant = bundle.card.variants.get(bundle.variant)
        core = ov.Core()
        precision = "bf16" if variant is not None and variant.precision == "bf16" else "f32"
        if precision == "bf16" and not computes_bf16():
            raise BundleError(
                f"{bundle.path}: this processor does not compute in bf16, so variant {bundle.variant} would not give the "
                "scores that were measured; use another variant"
            )
        # Left to itself, OpenVINO computes in bf16 wherever the processor can, and moves probabilities by 0.1.
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads or os.cpu_count() or 1,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        names = variant.files if variant is not None else ("model.onnx",)
        try:
            if variant is not None:
                graph, weights = (bundle.contents[name] for name in names)
                model = core.read_model(model=graph, weights=weights)
            else:
                model = core.read_model(model=bundle.contents["model.onnx"])
            self._compiled = core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise BundleError(f"{bundle.path}: OpenVINO cannot load {names[0]}: {one_line(error)}") from None
        super().__init__(
            bundle, names[0], sorted(name for output in self._compiled.outputs for name in output.get_names())
        )
        self._request = self._compiled.create_infer_request()
        self._one_at_a_time = threading.Lock()
        shape = self._compiled.input(0).get_partial_shape()
        first = shape[0] if shape.rank.is_static and len(shape) else None
        self.find_batch(None if first is None or first.is_dynamic else first.get_length())

    def _infer(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        with self._one_at_a_time:
            self._request.infer([batch], share_inputs=True)
            return [np.array(self._request.get_tensor(name).data) for name in self._wanted]


BACKENDS: Mapping[str, type[OnnxBackend | OpenVinoBackend]] = {
    OnnxBackend.name: OnnxBackend,
    OpenVinoBackend.name: OpenVinoBackend,
}


def load_backend(bundle: Bundle, *, backend: str | None = None, threads: int | None = None) -> Backend:
    """Return what runs the bundle's network: ONNX Runtime, the engine of the bundle's variant, or the named one.

    `openvino` runs any bundle's `model.onnx`, in f32. The network is run on a picture once. Raises SettingsError for an
    unknown backend, MissingExtraError for one that is not installed, BundleError where it cannot run the network or the
    variant.
    """
    needed = bundle.card.variants[bundle.variant].backend if bundle.variant else None
    name = backend or needed or OnnxBackend.name
    if name not in BACKENDS:
        raise SettingsError(f"no backend {name!r}; expected {' or '.join(BACKENDS)}{did_you_mean(name, BACKENDS)}")
    if needed is not None and name != needed:
        raise BundleError(
            f"{bundle.path}: variant {bundle.variant} runs on {needed}, not on {name}; leave --backend out"
        )
    return BACKENDS[name](bundle, threads=threads)


def computes_bf16() -> bool:
    """Whether this processor computes in bf16, which the variant of that name needs. Raises MissingExtraError."""
    return "BF16" in _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def as_network_input(crops: NDArray[np.uint8], card: InputCard) -> NDArray[Any]:
    """Return RGB crops `(n, size, size, 3)` in the order, layout, range and type that the network takes."""
    batch: NDArray[Any] = crops if card.colour == "RGB" else crops[..., ::-1]
    if card.dtype != "uint8":
        batch = (batch.astype(np.float32) / card.divisor - np.asarray(card.mean, np.float32)) / np.asarray(
            card.std, np.float32
        )
    if card.layout == "NCHW":
        batch = batch.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(batch, dtype=np.dtype(card.dtype))


def as_logits(raw: NDArray[Any], card: OutputCard) -> NDArray[np.float64]:
    """Return the network's output as logits of bona fide, `(n,)`, finite; probabilities give at most `CERTAIN`.

    Raises BundleError where the network gives NaN or infinity, or has fewer values than the card names.

    >>> as_logits(np.array([[0.0, 0.0], [2.0, 0.0]]), OutputCard(meaning="logits[0]")).tolist()
    [0.0, 2.0]
    """
    values = raw.astype(np.float64).reshape(len(raw), -1)
    if not np.isfinite(values).all():
        broken = int((~np.isfinite(values)).any(axis=1).sum())
        raise BundleError(
            f"the network gives NaN or infinity for {broken} of {len(values)} crops; its weights are damaged, or its bundle "
            "describes its input wrongly"
        )
    if card.meaning in {"logit", "probability"} and values.shape[1] != 1:
        raise BundleError(f"the network gives {values.shape[1]} values a crop, but its bundle names one {card.meaning}")
    if card.meaning == "logit":
        return values[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        if card.meaning == "probability":
            share = np.clip(values[:, 0], 0, 1)
            return _bounded(np.log(share) - np.log1p(-share))
        match = re.fullmatch(r"(logits|softmax)\[(\d+)\]", card.meaning)
        if match is None or int(match[2]) >= values.shape[1] or values.shape[1] < 2:
            raise BundleError(f"the network gives {values.shape[1]} values a crop, but its bundle names {card.meaning}")
        bona_fide = values[:, int(match[2])]
        others = np.delete(values, int(match[2]), axis=1)
        if match[1] == "softmax":
            return _bounded(np.log(np.maximum(bona_fide, 0)) - np.log(np.maximum(others.sum(axis=1), 0)))
    top = others.max(axis=1)
    return np.asarray(bona_fide - (top + np.log(np.exp(others - top[:, None]).sum(axis=1))))


def _bounded(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clip to CERTAIN; NaN, where every class has probability 0, becomes 0."""
    return np.nan_to_num(np.clip(logits, -CERTAIN, CERTAIN), nan=0.0)


def _openvino() -> Any:
    with needs_extra("the OpenVINO backend"):
        import openvino
    return openvino
