"""The network as ONNX, and the proof that it still gives the same numbers."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from bonaface.errors import BundleError
from bonaface.model.network import LivenessNet
from bonaface.verdicts import probability

__all__ = ["Parity", "check_parity", "export_onnx"]

MOST_PROBABILITY = 1e-4
MOST_LOGIT = 1e-3
"""How far exported probabilities may be from torch's, and exported logits as a share of the logits' range."""


@dataclass(frozen=True)
class Parity:
    """The largest differences between torch and the exported network on the same crops."""

    max_logit_difference: float
    max_probability_difference: float
    logit_range: float

    def to_dict(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


def export_onnx(network: LivenessNet, path: Path, *, input_size: int) -> Path:
    """Write the network as one ONNX file: uint8 `crops` `(n, size, size, 3)` to `logit` `(n,)` and `embedding` `(n, d)`."""
    network = network.eval()
    example = torch.zeros((2, input_size, input_size, 3), dtype=torch.uint8)  # of one, the batch axis might be frozen
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.cpu(),
            (example,),
            input_names=["crops"],
            output_names=["logit", "embedding"],
            dynamic_shapes=({0: batch},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        assert program is not None
        program.save(str(path), external_data=False)
    onnx.checker.check_model(str(path))
    return path


def check_parity(network: LivenessNet, path: Path, crops: NDArray[np.uint8]) -> Parity:
    """Hold the exported network against torch on the same crops, in batches of one and of many.

    Raises BundleError where a probability differs by more than 1e-4, or a logit by more than 1e-3 of the logits' range.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    network = network.eval().cpu()
    with torch.inference_mode():
        expected = network(torch.from_numpy(crops))[0].double().numpy()
    span = float(np.ptp(expected)) if len(expected) > 1 else 1.0
    worst = likely = 0.0
    for size in (len(crops), 7, 1):
        parts = [
            session.run(["logit"], {"crops": crops[start : start + size]})[0] for start in range(0, len(crops), size)
        ]
        given = np.concatenate(parts).astype(np.float64)
        worst = max(worst, float(np.abs(given - expected).max()))
        likely = max(likely, float(np.abs(probability(given) - probability(expected)).max()))
    if not likely <= MOST_PROBABILITY or not worst <= MOST_LOGIT * max(span, 1.0):
        raise BundleError(
            f"the exported network differs from torch by {likely:.2g} in probability and {worst:.2g} in the logit "
            f"(at most {MOST_PROBABILITY:g} and {MOST_LOGIT:g} of the range {span:.3g}); nothing was written"
        )
    return Parity(worst, likely, span)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    names = ("torch.onnx", "onnxscript", "torch.export", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
