"""What runs the network of a bundle: crops in, logits and embeddings out."""

from __future__ import annotations

import os
import re
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import BundleError
from bonaface.runtime.bundle import Bundle, InputCard, OutputCard

__all__ = ["Backend", "OnnxBackend", "as_logits", "as_network_input", "load_backend"]


class Backend(Protocol):
    """Runs one network."""

    name: str

    def run(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
        """Logits `(n,)` and, where the network gives one, embeddings `(n, d)` of RGB crops `(n, size, size, 3)`."""
        ...


class OnnxBackend:
    """ONNX Runtime on the CPU."""

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Idle threads that spin take the cores from decoding and from the face detector.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                bundle.contents["model.onnx"], options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own exceptions share no public base
            raise BundleError(f"{bundle.path}: ONNX Runtime refuses model.onnx: {_one_line(error)}") from None
        self._input = bundle.card.input
        self._output = bundle.card.output
        known = [output.name for output in self._session.get_outputs()]
        wanted = [self._output.name, *([self._output.embedding] if self._output.embedding else [])]
        if unknown := [name for name in wanted if name not in known]:
            raise BundleError(f"{bundle.path}: model.onnx gives {', '.join(known)}, not {', '.join(unknown)}")
        self._run = partial(self._session.run, wanted)

    def run(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
        """See Backend."""
        outputs: list[Any] = self._run({self._input.name: as_network_input(crops, self._input)})
        embedding = np.asarray(outputs[1], dtype=np.float32) if len(outputs) > 1 else None
        return as_logits(np.asarray(outputs[0]), self._output), embedding


def load_backend(bundle: Bundle, *, threads: int | None = None) -> Backend:
    """The backend that runs the bundle's network."""
    return OnnxBackend(bundle, threads=threads)


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
    """The network's output as logits of bona fide, `(n,)`, infinite where a probability is exactly 0 or 1.

    >>> as_logits(np.array([[0.0, 0.0], [2.0, 0.0]]), OutputCard(meaning="logits[0]")).tolist()
    [0.0, 2.0]
    """
    values = raw.astype(np.float64).reshape(len(raw), -1)
    if card.meaning == "logit":
        return values[:, 0]
    with np.errstate(divide="ignore"):
        if card.meaning == "probability":
            return np.asarray(np.log(values[:, 0]) - np.log1p(-values[:, 0]))
        match = re.fullmatch(r"(logits|softmax)\[(\d+)\]", card.meaning)
        if match is None or int(match[2]) >= values.shape[1]:
            raise BundleError(f"the network gives {values.shape[1]} values, but its bundle speaks of {card.meaning}")
        bona_fide = values[:, int(match[2])]
        others = np.delete(values, int(match[2]), axis=1)
        if match[1] == "softmax":
            return np.asarray(np.log(bona_fide) - np.log(others.sum(axis=1)))
    top = others.max(axis=1)
    return np.asarray(bona_fide - (top + np.log(np.exp(others - top[:, None]).sum(axis=1))))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
