"""The network as one ONNX file, held against torch before anybody trusts it."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bonaface.errors import BundleError
from bonaface.io import write_bytes
from bonaface.models.network import LivenessNet
from bonaface.onnx_runtime import onnx_session
from bonaface.types import probability

__all__ = ["LOGIT_TOLERANCE", "PROBABILITY_TOLERANCE", "ROUNDING_SPAN", "Parity", "check_parity", "export_onnx"]

PROBABILITY_TOLERANCE = 1e-4
"""How far apart the probabilities of torch and of the exported network may be."""
LOGIT_TOLERANCE = 1e-3
"""The same for logits, as a share of their range over the crops: probabilities hide faults near 0 and 1."""

ROUNDING_SPAN = 0.01
"""Where all logits are nearly the same, this stands for their range: what is left of it is rounding in f32."""

_OPSET = 18
_BATCHES = (1, 2, 5, 32)


@dataclass(frozen=True)
class Parity:
    """How far an exported network strays from torch on the same crops, at its worst over batch sizes.

    `logit_range` is the span of torch's logits over the crops; `embedding_difference` is relative to the largest value
    in the embeddings.
    """

    max_logit_difference: float
    max_probability_difference: float
    logit_range: float
    embedding_difference: float
    crops: int

    def to_dict(self) -> dict[str, float]:
        """All of it, for JSON."""
        return asdict(self)


def export_onnx(network: LivenessNet, path: Path, *, input_size: int) -> Path:
    """Write the network as a single ONNX file and return its path; any number of crops goes through it at once.

    `crops` uint8 RGB `(n, size, size, 3)` go in; `logit` `(n,)` and `embedding` `(n, d)` come out, float32. The network
    is left on the device and in the mode that it had. Raises BundleError where torch cannot export it, OutputError.
    """
    # Two crops: with one, the exporter may take the batch for a constant.
    crops = torch.zeros(2, input_size, input_size, 3, dtype=torch.uint8)
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
        except Exception as error:  # the exporter's errors are of many kinds, and none that a user could act upon
            reason = " ".join(str(error).split())[:200]
            raise BundleError(
                f"{network.architecture} cannot be exported to ONNX: {reason}; choose another model.name"
            ) from error
        whole = Path(folder) / "model.onnx"
        assert program is not None
        program.save(str(whole), external_data=False)
        write_bytes(path, whole.read_bytes())
    return path


def check_parity(network: LivenessNet, onnx: Path | bytes, crops: NDArray[np.uint8]) -> Parity:
    """Run crops `(n, size, size, 3)` through torch and through ONNX Runtime, in batches of several sizes.

    Raises BundleError where a probability differs by more than 1e-4, or a logit by more than 1e-3 of the logits' range.
    """
    if len(crops) == 0:
        raise BundleError("there are no crops to hold the exported network against torch with; give at least one")
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
            f"the exported network does not give what torch gives: over {len(crops)} crops probabilities differ by up "
            f"to {worst_probability:.2g} (at most {PROBABILITY_TOLERANCE:g} is accepted) and logits by up to "
            f"{worst_logit:.2g} of a range of {span:.2g} (at most {LOGIT_TOLERANCE:g} of it); "
            "another version of torch or of onnxruntime may export it rightly"
        )
    return parity


def _batches(crops: NDArray[np.uint8], size: int) -> list[NDArray[np.uint8]]:
    """Batches of `size`, but the last, of a stretch of the crops that is long enough to show a fault of this size."""
    few = crops if size >= 32 else crops[: 4 * size + 1]
    return [np.ascontiguousarray(few[start : start + size]) for start in range(0, len(few), size)]


def _furthest(found: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    difference = np.abs(found.astype(np.float64) - expected[: len(found)])
    return float("nan") if np.isnan(difference).any() else float(difference.max())


@contextmanager
def _ready_to_score(network: LivenessNet) -> Iterator[None]:
    """The network on the processor, without dropout and with fixed statistics, for the time of a block."""
    training, device = network.training, network.mean.device
    network.eval().cpu()
    try:
        yield
    finally:
        network.to(device).train(training)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter without its progress report, and without warnings about torch's own inside."""
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
