"""Export the network as one ONNX file, and compare its outputs with torch's."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bonaface.errors import BundleError, one_line
from bonaface.models.network import LivenessNet
from bonaface.onnx_runtime import onnx_session
from bonaface.types import probability

PROBABILITY_TOLERANCE = 1e-4
"""The largest accepted difference between probabilities of torch and of the exported network."""
LOGIT_TOLERANCE = 1e-3
"""The same for logits, as a share of their range over the crops, because probabilities hide faults near 0 and 1."""

ROUNDING_SPAN = 0.01
"""The least range of logits that differences are compared with: below it, rounding in f32 is all there is."""

_OPSET = 18
_BATCHES = (1, 2, 5, 32)


@dataclass(frozen=True)
class Parity:
    """The largest differences between an exported network and torch on the same crops, over all batch sizes.

    `logit_range` is the span of torch's logits over the crops; `embedding_difference` is relative to the largest value
    in the embeddings.
    """

    max_logit_difference: float
    max_probability_difference: float
    logit_range: float
    embedding_difference: float
    crops: int


def export_onnx(network: LivenessNet) -> bytes:
    """Return the network as a single ONNX file that takes any number of crops.

    Input `crops`, uint8 RGB `(n, size, size, 3)`; outputs `logit` `(n,)` and `embedding` `(n, d)`, float32. The network
    keeps its device and mode. Raises BundleError if torch cannot export it.
    """
    # Two crops: with one, the exporter may take the batch for a constant.
    crops = torch.zeros(2, network.input_size, network.input_size, 3, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1)
    with _ready_to_score(network), _quiet_exporter(), tempfile.TemporaryDirectory() as folder:
        try:
            program = torch.onnx.export(
                network,
                (crops,),
                input_names=["crops"],
                output_names=["logit", "embedding"],
                dynamic_shapes=({0: batch},),
                opset_version=_OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # the exporter's errors share no base
            reason = one_line(error)
            raise BundleError(
                f"{network.architecture} cannot be exported to ONNX: {reason}; choose another model.name"
            ) from error
        whole = Path(folder) / "model.onnx"
        assert program is not None
        for node in program.model.graph:
            node.metadata_props.clear()  # the exporter's notes name the folders of the machine that it ran on
        program.save(str(whole), external_data=False)
        return whole.read_bytes()


def check_parity(network: LivenessNet, onnx: bytes, crops: NDArray[np.uint8]) -> Parity:
    """Run crops `(n, size, size, 3)` through torch and through ONNX Runtime, in batches of several sizes.

    Raises BundleError where a probability differs by more than 1e-4, or a logit by more than 1e-3 of the logits' range.
    """
    if len(crops) == 0:
        raise BundleError("no crops to compare the exported network with torch on; give at least one")
    with _ready_to_score(network), torch.no_grad():
        parts = [network(torch.from_numpy(part)) for part in np.array_split(crops, -(-len(crops) // 32))]
    logits = torch.cat([logit for logit, _ in parts]).double().numpy()
    embeddings = torch.cat([embedding for _, embedding in parts]).double().numpy()
    session = onnx_session(onnx, name="model.onnx", threads=torch.get_num_threads())
    worst_logit = worst_probability = worst_embedding = 0.0
    for size in _BATCHES:
        if size > len(crops) and size != 1:
            continue
        given = [session.run(["logit", "embedding"], {"crops": part}) for part in _batches(crops, size)]
        other = np.concatenate([logit for logit, _ in given]).astype(np.float64)
        worst_logit = max(worst_logit, _furthest(other, logits))
        worst_probability = max(worst_probability, _furthest(probability(other), probability(logits)))
        worst_embedding = max(worst_embedding, _furthest(np.concatenate([part for _, part in given]), embeddings))
    span = float(np.ptp(logits))
    parity = Parity(
        max_logit_difference=worst_logit,
        max_probability_difference=worst_probability,
        logit_range=span,
        embedding_difference=worst_embedding / max(float(np.abs(embeddings).max()), 1e-12),
        crops=len(crops),
    )
    if not worst_probability <= PROBABILITY_TOLERANCE or not worst_logit <= LOGIT_TOLERANCE * max(span, ROUNDING_SPAN):
        raise BundleError(
            f"the exported network differs from torch: over {len(crops)} crops probabilities differ by up "
            f"to {worst_probability:.2g} (accepted: {PROBABILITY_TOLERANCE:g}) and logits by up to "
            f"{worst_logit:.2g} of a range of {span:.2g} (accepted: {LOGIT_TOLERANCE:g} of it); "
            "try another version of torch or onnxruntime"
        )
    return parity


def _batches(crops: NDArray[np.uint8], size: int) -> list[NDArray[np.uint8]]:
    """Return batches of `size` (the last may be smaller) of enough crops to show a fault at this size."""
    few = crops if size >= 32 else crops[: 4 * size + 1]
    return [np.ascontiguousarray(few[start : start + size]) for start in range(0, len(few), size)]


def _furthest(found: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    difference = np.abs(found.astype(np.float64) - expected[: len(found)])
    return float("nan") if np.isnan(difference).any() else float(difference.max())


@contextmanager
def _ready_to_score(network: LivenessNet) -> Iterator[None]:
    """Keep the network on the CPU and in evaluation mode for the time of a block."""
    training, device = network.training, network.mean.device
    network.eval().cpu()
    try:
        yield
    finally:
        network.to(device).train(training)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter's progress report and its warnings about torch's internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch's exporter calls torch's own deprecated parts, other ones in each version.
            for category in (DeprecationWarning, FutureWarning):
                warnings.filterwarnings("ignore", category=category, module=r"(torch|onnxscript|onnx_ir|copyreg)\b")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
