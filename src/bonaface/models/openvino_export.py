"""Other forms of an exported network: OpenVINO's own files, and int8 with the layers left alone that cannot bear it.

Which layers those are differs from network to network, so it is searched: quantising everything ruins one MobileNetV3,
and leaves another as it was.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import BundleError, needs_extra

__all__ = ["Files", "Quantised", "layer_groups", "openvino_files", "search_int8"]

Files = tuple[bytes, bytes]
"""OpenVINO's two files: the graph (XML) and the weights."""

_CONVOLUTIONS = {"Convolution", "GroupConvolution"}
_WEIGHTED = {*_CONVOLUTIONS, "MatMul"}
_QUANTISED = {*_WEIGHTED, "Add", "Multiply", "ReduceMean", "AvgPool", "MaxPool"}
_FIRST = (3, 8)


@dataclass(frozen=True)
class Quantised:
    """An int8 network that was accepted: its files, the layers left in f32, and every attempt with what it changed.

    `tried` maps what was left alone to how many frames then changed their verdict.
    """

    files: Files
    left_alone: tuple[str, ...]
    tried: Mapping[str, int]


def openvino_files(onnx: bytes) -> Files:
    """An ONNX network in OpenVINO's own format, weights in f32. Raises MissingExtraError, BundleError."""
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
    """Quantise a network to int8, leaving as few groups of layers alone as it takes.

    First nothing is left alone; then the group that helps most joins those that are, until `changed`, which says how many
    frames change their verdict under a candidate, gives at most `limit`. `calibration` is what the network is given,
    a sample a row. Raises BundleError with the least that was reached, MissingExtraError.
    """
    ov = _openvino()
    nncf = _nncf()
    groups = layer_groups(_read(ov, onnx))
    left: tuple[str, ...] = ()
    tried: dict[str, int] = {}

    def attempt(names: tuple[str, ...]) -> tuple[int, Files, tuple[str, ...]]:
        layers = tuple(dict.fromkeys(layer for name in names for layer in groups[name]))
        files = _quantise(ov, nncf, onnx, calibration, layers)
        count = changed(files)
        tried[" + ".join(names) or "nothing"] = count
        if progress:
            progress(len(tried), attempts)
        return count, files, layers

    best = attempt(left)
    while best[0] > limit and len(left) < len(groups) and len(tried) < attempts:
        round_best: tuple[int, Files, tuple[str, ...]] | None = None
        chosen = ""
        for name in groups:
            if name in left or len(tried) >= attempts:
                continue
            found = attempt((*left, name))
            if round_best is None or found[0] < round_best[0]:
                round_best, chosen = found, name
            if found[0] <= limit:
                break
        if round_best is None:
            break
        left, best = (*left, chosen), min(best, round_best, key=lambda each: each[0])
    if best[0] > limit:
        least = min(tried, key=lambda name: tried[name])
        raise BundleError(
            f"int8 changes the verdict of {tried[least]} frames at the least (with {least} left alone), and {limit} are "
            "accepted; leave --int8 out, or train longer: a network whose scores lie far from its threshold bears more"
        )
    return Quantised(best[1], best[2], tried)


def layer_groups(model: Any) -> dict[str, tuple[str, ...]]:
    """Groups of layers of an OpenVINO network that are known to suffer from int8, by a name to print; none is empty."""
    ordered = model.get_ordered_ops()
    weighted = [op for op in ordered if op.get_type_name() in _WEIGHTED]
    convolutions = [op for op in weighted if op.get_type_name() in _CONVOLUTIONS]
    gates = _gates(ordered)
    last = [op for op in weighted if op.get_friendly_name() not in gates and _is_pooled(op)]
    groups = {
        f"the first {_FIRST[0]} convolutions": _names(convolutions[: _FIRST[0]]),
        "squeeze-and-excite": _names([op for op in ordered if op.get_friendly_name() in gates]),
        f"the first {_FIRST[1]} convolutions": _names(convolutions[: _FIRST[1]]),
        "the depthwise convolutions": _names([op for op in weighted if op.get_type_name() == "GroupConvolution"]),
        "the layers after the last pooling": _names(last),
    }
    return {name: tuple(layers) for name, layers in groups.items() if layers}


def _names(ops: Sequence[Any]) -> list[str]:
    return [str(op.get_friendly_name()) for op in ops]


def _gates(ordered: Sequence[Any]) -> set[str]:
    """Everything between a pooling and the product of its answer, one value a channel, with the features it came from."""
    found: set[str] = set()
    for product in ordered:
        if product.get_type_name() != "Multiply":
            continue
        shapes = [_spatial(product.input_value(place)) for place in (0, 1)]
        for place in (0, 1):
            if shapes[place] == (1, 1) and shapes[1 - place] not in {(1, 1), None}:
                walked = _back_to_pooling(product.input_value(place).get_node())
                if walked:
                    found |= {*walked, str(product.get_friendly_name())}
    return found


def _back_to_pooling(op: Any) -> set[str]:
    """The quantisable layers from here back to the pooling that feeds them; empty where there is none."""
    walked: set[str] = set()
    waiting, seen, pooled = [op], set(), False
    while waiting:
        here = waiting.pop()
        name = str(here.get_friendly_name())
        if name in seen or here.get_type_name() in {"Constant", "Parameter"}:
            continue
        seen.add(name)
        if here.get_type_name() in _QUANTISED:
            walked.add(name)
        if here.get_type_name() in {"ReduceMean", "AvgPool"}:
            pooled = True
            continue
        waiting += [here.input_value(place).get_node() for place in range(here.get_input_size())]
    return walked if pooled else set()


def _is_pooled(op: Any) -> bool:
    """Whether a layer works on one value a channel and not on a map."""
    return op.get_type_name() == "MatMul" or _spatial(op.input_value(0)) == (1, 1)


def _spatial(output: Any) -> tuple[int, int] | None:
    """Height and width of an NCHW tensor; None for anything else, and where they are not known."""
    shape = output.get_partial_shape()
    if shape.rank.is_dynamic or shape.rank.get_length() != 4 or shape[2].is_dynamic or shape[3].is_dynamic:
        return None
    return int(shape[2].get_length()), int(shape[3].get_length())


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
        raise BundleError(f"OpenVINO cannot read model.onnx: {' '.join(str(error).split())[:200]}") from None


def _saved(ov: Any, model: Any) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.xml"
        # Left to itself it would store the weights in f16, and with them other scores.
        ov.save_model(model, str(graph), compress_to_fp16=False)
        return graph.read_bytes(), graph.with_suffix(".bin").read_bytes()


def _openvino() -> Any:
    with needs_extra("exporting OpenVINO's files"):
        import openvino
    return openvino


def _nncf() -> Any:
    # NNCF reports to its maker unless this is set before it is loaded; what is trained here is nobody else's matter.
    os.environ.setdefault("NNCF_CI", "1")
    with needs_extra("exporting int8"):
        import nncf
    return nncf


@contextmanager
def _quiet_nncf(nncf: Any) -> Iterator[None]:
    """NNCF without its reports and bars: what is worth saying is said once, at the end."""
    nncf.set_log_level(40)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
