"""What runs the network of a bundle: crops in, logits and embeddings out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import BundleError, SettingsError, did_you_mean, needs_extra
from bonaface.inference.bundle import Bundle, InputCard, OutputCard
from bonaface.onnx_runtime import onnx_session, reason

__all__ = [
    "BACKENDS",
    "Backend",
    "OnnxBackend",
    "OpenVinoBackend",
    "as_logits",
    "as_network_input",
    "computes_bf16",
    "load_backend",
]


CERTAIN = 104.0
"""The logit that stands for a probability of exactly 1, and its negative for 0: beyond what f32 can tell from them.

Infinite ones could not be averaged over frames, nor written as JSON.
"""


class Backend(Protocol):
    """Runs one network."""

    name: str

    def run(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
        """Logits `(n,)` and, where the network gives one, embeddings `(n, d)` of RGB crops `(n, size, size, 3)`."""
        ...


class OnnxBackend:
    """ONNX Runtime on the CPU, in f32."""

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        self._session = onnx_session(bundle.contents["model.onnx"], name=f"{bundle.path}: model.onnx", threads=threads)
        self._input = bundle.card.input
        self._output = bundle.card.output
        wanted = _wanted(bundle, [output.name for output in self._session.get_outputs()], "model.onnx")
        given = {node.name: node.shape for node in self._session.get_inputs()}
        if list(given) != [self._input.name]:
            raise BundleError(f"{bundle.path}: model.onnx takes {', '.join(given)}, not {self._input.name} alone")
        self._batch = _fixed(given[self._input.name][:1])
        self._run = partial(self._session.run, wanted)

    def run(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
        """See Backend."""
        return _through(self._infer, crops, self._input, self._output, batch=self._batch)

    def _infer(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        return [np.asarray(output) for output in self._run({self._input.name: batch})]


class OpenVinoBackend:
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
            raise BundleError(f"{bundle.path}: OpenVINO cannot load {names[0]}: {reason(error)}") from None
        self._input = bundle.card.input
        self._output = bundle.card.output
        known = {name for output in self._compiled.outputs for name in output.get_names()}
        self._wanted = _wanted(bundle, sorted(known), names[0])
        first = self._compiled.input(0).get_partial_shape()[0]
        self._batch = None if first.is_dynamic else first.get_length()
        self._request = self._compiled.create_infer_request()

    def run(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
        """See Backend."""
        return _through(self._infer, crops, self._input, self._output, batch=self._batch)

    def _infer(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        self._request.infer([batch], share_inputs=True)
        return [np.array(self._request.get_tensor(name).data) for name in self._wanted]


BACKENDS: Mapping[str, type[OnnxBackend | OpenVinoBackend]] = {
    OnnxBackend.name: OnnxBackend,
    OpenVinoBackend.name: OpenVinoBackend,
}


def load_backend(bundle: Bundle, *, backend: str | None = None, threads: int | None = None) -> Backend:
    """What runs the bundle's network: ONNX Runtime, the engine of the bundle's variant, or the one that `backend` names.

    `openvino` runs any bundle's `model.onnx`, in f32. Raises SettingsError for an unknown backend, MissingExtraError for
    one that is not installed, BundleError where it cannot run the network or the variant.
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
    """RGB crops `(n, size, size, 3)` in the order, layout and range that the network takes."""
    batch: NDArray[Any] = crops if card.colour == "RGB" else crops[..., ::-1]
    if card.dtype == "float32":
        batch = (batch.astype(np.float32) / card.divisor - np.asarray(card.mean, np.float32)) / np.asarray(
            card.std, np.float32
        )
    if card.layout == "NCHW":
        batch = batch.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(batch, dtype=np.dtype(card.dtype))


def as_logits(raw: NDArray[Any], card: OutputCard) -> NDArray[np.float64]:
    """The network's output as logits of bona fide, `(n,)`: finite, within `CERTAIN` of 0 where it gives probabilities.

    Raises BundleError where the network gives what is no number.

    >>> as_logits(np.array([[0.0, 0.0], [2.0, 0.0]]), OutputCard(meaning="logits[0]")).tolist()
    [0.0, 2.0]
    """
    values = raw.astype(np.float64).reshape(len(raw), -1)
    if not np.isfinite(values).all():
        broken = int((~np.isfinite(values)).any(axis=1).sum())
        raise BundleError(
            f"the network gives what is no number for {broken} of {len(values)} crops; its weights are damaged, or its "
            "bundle says wrongly how it has to be fed"
        )
    if card.meaning == "logit":
        return values[:, 0]
    with np.errstate(divide="ignore"):
        if card.meaning == "probability":
            share = np.clip(values[:, 0], 0, 1)
            return _bounded(np.log(share) - np.log1p(-share))
        match = re.fullmatch(r"(logits|softmax)\[(\d+)\]", card.meaning)
        if match is None or int(match[2]) >= values.shape[1]:
            raise BundleError(f"the network gives {values.shape[1]} values, but its bundle speaks of {card.meaning}")
        bona_fide = values[:, int(match[2])]
        others = np.delete(values, int(match[2]), axis=1)
        if match[1] == "softmax":
            return _bounded(np.log(bona_fide) - np.log(others.sum(axis=1)))
    top = others.max(axis=1)
    return np.asarray(bona_fide - (top + np.log(np.exp(others - top[:, None]).sum(axis=1))))


def _bounded(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.clip(logits, -CERTAIN, CERTAIN), dtype=np.float64)


def _through(
    infer: Callable[[NDArray[Any]], list[NDArray[Any]]],
    crops: NDArray[np.uint8],
    given: InputCard,
    wanted: OutputCard,
    *,
    batch: int | None,
) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
    """Logits and embeddings of crops; a network of a fixed batch size is given full batches, the last one padded."""
    prepared = as_network_input(crops, given)
    if batch is None:
        parts = [infer(prepared)]
    else:
        missing = -len(prepared) % batch
        padded = np.concatenate([prepared, np.repeat(prepared[-1:], missing, axis=0)]) if missing else prepared
        parts = [infer(padded[start : start + batch]) for start in range(0, len(padded), batch)]
    outputs = [np.concatenate(part)[: len(crops)] for part in zip(*parts, strict=True)]
    embedding = np.asarray(outputs[1], dtype=np.float32) if len(outputs) > 1 else None
    return as_logits(outputs[0], wanted), embedding


def _wanted(bundle: Bundle, known: Sequence[str], file: str) -> list[str]:
    card = bundle.card.output
    wanted = [card.name, *([card.embedding] if card.embedding else [])]
    if unknown := [name for name in wanted if name not in known]:
        raise BundleError(f"{bundle.path}: {file} gives {', '.join(known)}, not {', '.join(unknown)}")
    return wanted


def _fixed(size: Sequence[Any]) -> int | None:
    """The batch size that a network was frozen at; None where any number of crops goes through it."""
    return int(size[0]) if size and isinstance(size[0], int) and size[0] > 0 else None


def _openvino() -> Any:
    with needs_extra("the OpenVINO backend"):
        import openvino
    return openvino
