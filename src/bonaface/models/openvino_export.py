"""Other forms of an exported network: OpenVINO's own files, and int8 in which some layers stay in f32.

Which layers have to stay differs between networks (quantising everything ruins one MobileNetV3 and leaves another as it
was), so groups of layers are tried. NNCF's own search, `quantize_with_accuracy_control`, validates after each of its 64
quantisers of a small MobileNetV3 and takes several times as long, in whatever precision OpenVINO chooses.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import BundleError, needs_extra, one_line

Files = tuple[bytes, bytes]
"""OpenVINO's two files: the graph (XML) and the weights."""

_CONVOLUTIONS = {"Convolution", "GroupConvolution"}
_QUANTISED = {*_CONVOLUTIONS, "MatMul", "Multiply"}


@dataclass(frozen=True)
class Quantised:
    """An int8 network that was accepted: its files, the layers that stay in f32, and every attempt.

    `tried` maps what stayed in f32 to how many frames then changed their decision.
    """

    files: Files
    left_alone: tuple[str, ...]
    tried: Mapping[str, int]


def openvino_files(onnx: bytes) -> Files:
    """Convert an ONNX network to OpenVINO's format, weights in f32. Raises MissingExtraError, BundleError."""
    ov = _openvino()
    return _saved(ov, _read(ov, onnx))


def search_int8(
    onnx: bytes,
    calibration: NDArray[Any],
    *,
    changed: Callable[[Files], int],
    limit: int,
    attempts: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Quantised:
    """Quantise a network to int8, with as few groups of layers in f32 as needed.

    First everything is quantised; then the group that helps most stays in f32, and so on until `changed`, the number of
    frames that change their decision under a candidate, is at most `limit`. `calibration` is what the network is given,
    a sample per row. Raises BundleError with the best that was reached, MissingExtraError.
    """
    ov, nncf = _openvino(), _nncf()
    groups = layer_groups(_read(ov, onnx))
    tried: dict[str, int] = {}
    kept: tuple[str, ...] = ()
    candidates: list[tuple[str, ...]] = [()]
    while candidates and len(tried) < attempts:
        for names in candidates[: attempts - len(tried)]:
            layers = tuple(dict.fromkeys(layer for name in names for layer in groups[name]))
            files = _quantise(ov, nncf, onnx, calibration, layers)
            tried[" + ".join(names) or "nothing"] = count = changed(files)
            if progress:
                progress(len(tried), attempts)
            if count <= limit:
                return Quantised(files, layers, tried)
        kept = min(candidates, key=lambda names: tried.get(" + ".join(names) or "nothing", math.inf))
        candidates = [(*kept, name) for name in groups if name not in kept]
    least = min(tried, key=lambda name: tried[name])
    raise BundleError(
        f"int8 changes the decision on {tried[least]} frames at best (with {least} in f32), but at most {limit} are "
        "accepted; leave --int8 out, or train longer: a network whose scores are far from its threshold tolerates more"
    )


def layer_groups(model: Any) -> dict[str, tuple[str, ...]]:
    """Return the groups of layers that are known to suffer from int8, by a name to print; none is empty."""
    layers = [op for op in model.get_ordered_ops() if op.get_type_name() in _QUANTISED]
    convolutions = [op for op in layers if op.get_type_name() in _CONVOLUTIONS]
    groups = {
        "the first 3 convolutions": convolutions[:3],
        "the depthwise convolutions": [op for op in layers if op.get_type_name() == "GroupConvolution"],
        "the layers on pooled features": [op for op in layers if _works_on_pooled(op)],
        "the first 8 convolutions": convolutions[:8],
    }
    return {name: tuple(str(op.get_friendly_name()) for op in ops) for name, ops in groups.items() if ops}


def _works_on_pooled(op: Any) -> bool:
    """Whether a layer takes one value per channel: in squeeze-and-excite blocks, their product, and the head."""
    given = [given.get_source_output() for given in op.inputs()]
    pooled = [_is_pooled(source.get_partial_shape()) for source in given if source.get_node().get_input_size()]
    if op.get_type_name() == "Multiply":
        return any(pooled) and not all(pooled)
    return any(pooled)


def _is_pooled(shape: Any) -> bool:
    if shape.rank.is_dynamic:
        return False
    return shape.rank.get_length() == 2 or all(side.is_static and side.get_length() == 1 for side in list(shape)[2:])


def _quantise(ov: Any, nncf: Any, onnx: bytes, calibration: NDArray[Any], left_alone: tuple[str, ...]) -> Files:
    with _quiet_nncf(nncf):
        quantised = nncf.quantize(
            _read(ov, onnx),
            nncf.Dataset([np.ascontiguousarray(sample[None]) for sample in calibration]),
            subset_size=len(calibration),
            ignored_scope=nncf.IgnoredScope(names=list(left_alone)) if left_alone else None,
        )
    return _saved(ov, quantised)


def _read(ov: Any, onnx: bytes) -> Any:
    try:
        return ov.Core().read_model(model=onnx)
    except RuntimeError as error:
        raise BundleError(f"OpenVINO cannot read model.onnx: {one_line(error)}") from None


def _saved(ov: Any, model: Any) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.xml"
        # By default it stores weights in f16, which changes scores.
        ov.save_model(model, str(graph), compress_to_fp16=False)
        return graph.read_bytes(), graph.with_suffix(".bin").read_bytes()


def _openvino() -> Any:
    with needs_extra("exporting OpenVINO's files"):
        import openvino
    return openvino


def _nncf() -> Any:
    # Disable NNCF's telemetry; must be set before the first import.
    os.environ.setdefault("NNCF_CI", "1")
    with needs_extra("exporting int8"):
        import nncf
    return nncf


@contextmanager
def _quiet_nncf(nncf: Any) -> Iterator[None]:
    """Silence NNCF's reports and progress bars."""
    nncf.set_log_level(40)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
