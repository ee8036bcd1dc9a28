"""A third party's ONNX network, compared with what the user says of it before a bundle is made of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import BundleError, InputError, did_you_mean, one_line
from bonaface.inference.backends import as_logits, as_network_input
from bonaface.inference.bundle_checks import check_file
from bonaface.inference.bundle_schema import InputCard, OutputCard
from bonaface.onnx_runtime import onnx_session

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
}
_CHANNELS = (("NCHW", 1), ("NHWC", 3))
_SAME = 1e-4
"""Logits of different pictures that are no further apart than this are one answer."""


class OnnxNetwork(NamedTuple):
    """An ONNX file of one image input; `shape` is that of its input, None for a free side."""

    path: Path
    content: bytes
    session: Any
    input_name: str
    dtype: str
    shape: list[int | None]

    def __str__(self) -> str:
        sides = " x ".join("?" if side is None else str(side) for side in self.shape)
        return f"{self.path} takes {sides}"


def read_network(path: Path) -> OnnxNetwork:
    """Load an ONNX file. Raises InputError, BundleError where it cannot be run or is not a network of one image."""
    content = _read(path)
    session = onnx_session(content, name=path)
    nodes = session.get_inputs()
    if len(nodes) != 1:
        names = ", ".join(node.name for node in nodes)
        raise BundleError(f"{path} takes {len(nodes)} inputs ({names}); expected one, the crop")
    (node,) = nodes
    if node.type not in _DTYPES:
        raise BundleError(f"{path} takes {node.type}; expected {', '.join(_DTYPES)}")
    shape = [side if isinstance(side, int) else None for side in node.shape]
    network = OnnxNetwork(path, content, session, node.name, _DTYPES[node.type], shape)
    if len(shape) != 4:
        raise BundleError(f"{network}; expected four axes: batch, channels, height, width")
    return network


def input_of(network: OnnxNetwork, *, size: int | None, layout: str | None) -> dict[str, Any]:
    """Return name, size, type and layout of the input: from the file, or as given where the file leaves them open.

    Raises BundleError where the two differ.
    """
    found = [name for name, place in _CHANNELS if network.shape[place] == 3]
    free = [name for name, place in _CHANNELS if network.shape[place] is None]
    if layout is None and len(found) != 1:
        raise BundleError(f"{network}, which leaves its layout open; add --layout NCHW or --layout NHWC")
    layout = layout or found[0]
    if layout not in [*found, *free]:
        place = "second" if layout == "NCHW" else "last"
        hint = f"; try --layout {found[0]}" if found else ""
        raise BundleError(f"{network}, but --layout {layout} needs 3 channels on the {place} axis{hint}")
    sides = network.shape[2:] if layout == "NCHW" else network.shape[1:3]
    known = {side for side in sides if side is not None}
    if len(known) > 1:
        raise BundleError(f"{network}, but crops are square: expected equal height and width")
    if size is None and not known:
        raise BundleError(f"{network}, any size at all; add the one it was trained with, such as --size 128")
    if size is not None and known and size not in known:
        raise BundleError(f"{network}, but --size is {size}; leave --size out, or name the right file")
    return {"name": network.input_name, "size": size or known.pop(), "dtype": network.dtype, "layout": layout}


def output_of(network: OnnxNetwork, name: str | None) -> str:
    """Return the name of the output to use; it may be left out if there is only one. Raises BundleError."""
    names = [node.name for node in network.session.get_outputs()]
    if name is None and len(names) > 1:
        raise BundleError(
            f"{network.path} gives {', '.join(names)}; name the output to use, such as --output-name {names[0]}"
        )
    if name is not None and name not in names:
        raise BundleError(f"{network.path} gives {', '.join(names)}, not {name}{did_you_mean(name, names)}")
    return name or names[0]


def check_output(network: OnnxNetwork, given: InputCard, output: OutputCard) -> None:
    """Run pictures through the network one by one. Raises BundleError where its outputs cannot be what `output` says.

    Also refused is a network that answers alike to all of them: its weights are lost, or its input has another range.
    """
    answers = np.concatenate([_answer(network, given, output.name, picture) for picture in probe_pictures(given.size)])
    if fault := _fault(answers, output.meaning):
        raise BundleError(f"{network.path}: --output-type is {output.meaning}, but {output.name} {fault}")
    logits = as_logits(answers, output)
    if np.ptp(logits) <= _SAME:
        raise BundleError(
            f"{network.path} gives the same answer to {len(logits)} different pictures (logit {logits[0]:.4g}); check that "
            "its weights were converted, and --range, --mean and --std"
        )


def probe_pictures(size: int) -> NDArray[np.uint8]:
    """Return pictures `(n, size, size, 3)` that differ in brightness, colour, contrast and detail."""
    rng = np.random.default_rng(0)
    colours = (0, 128, 255, (200, 150, 120), (40, 60, 160))
    pictures: list[NDArray[Any]] = [np.full((size, size, 3), colour) for colour in colours]
    ramp = np.linspace(0, 255, size)
    pictures += [np.repeat(side[..., None], 3, axis=2) for side in np.meshgrid(ramp, ramp)]
    for cells, contrast in ((4, 255), (16, 255), (16, 60), (size, 255), (size, 60)):
        coarse = 128 + contrast * (rng.random((cells, cells, 3)) - 0.5)
        step = -(-size // cells)
        pictures.append(coarse.repeat(step, axis=0).repeat(step, axis=1)[:size, :size])
    return np.stack([np.clip(picture, 0, 255).astype(np.uint8) for picture in pictures])


def _answer(network: OnnxNetwork, given: InputCard, output: str, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the outputs `(1, k)` of one picture; a fixed batch is filled with it."""
    batch = network.shape[0] or 1
    crops = np.repeat(picture[None], batch, axis=0)
    try:
        (found,) = network.session.run([output], {given.name: as_network_input(crops, given)})
    except Exception as error:  # ONNX Runtime's own exceptions share no public base
        raise BundleError(
            f"{network.path} fails on {batch} crop{'s' if batch > 1 else ''} of {given.size} x {given.size}: "
            f"{one_line(error)}; export it with a free batch axis, or for one crop"
        ) from None
    values = np.asarray(found)
    if values.dtype.kind != "f" or values.ndim == 0 or len(values) != batch:
        shape = " x ".join(map(str, values.shape)) or "a single number"
        raise BundleError(
            f"{network.path} gives {output} of shape {shape} and type {values.dtype} for {batch} crop"
            f"{'s' if batch > 1 else ''}; expected a row of floating point numbers for each"
        )
    return values[:1].astype(np.float64).reshape(1, -1)


def _fault(answers: NDArray[np.float64], meaning: str) -> str:
    """Return why values `(n, k)` cannot have that meaning; empty where they can."""
    count = answers.shape[1]
    kind = meaning.partition("[")[0]
    index = re.search(r"\d+", meaning)
    shares = bool(((answers >= -1e-3) & (answers <= 1 + 1e-3)).all())
    whole = bool(np.allclose(answers.sum(axis=1), 1, atol=5e-3))
    if not np.isfinite(answers).all():
        return "has NaN or infinity; check --range, --mean and --std"
    if index is None and count != 1:
        return f"has {count} values a crop; name the bona fide class, as logits[0] or softmax[1]"
    if index is not None and int(index[0]) >= count:
        return f"has {count} value{'s' if count > 1 else ''} a crop, counted from 0"
    if index is not None and count < 2:
        return "has one value a crop; use logit or probability"
    if kind == "probability" and not shares:
        return f"has values from {answers.min():.3g} to {answers.max():.3g}, which are not probabilities; use logit"
    if kind == "softmax" and not (shares and whole):
        return f"has values whose sum is not 1; use {meaning.replace('softmax', 'logits')}"
    if kind == "logits" and shares and whole:
        return f"has values whose sum is always 1; use {meaning.replace('logits', 'softmax')}"
    return ""


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"no network at {path}; expected an ONNX file")
    if path.suffix.lower() != ".onnx":
        raise BundleError(f"{path} is not an ONNX file by its name; expected a network saved as .onnx")
    try:
        content = path.read_bytes()
        check_file(path.name, content)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except BundleError as error:
        raise BundleError(f"{path}: {str(error).removeprefix(f'{path.name} ')}") from None
    return content
