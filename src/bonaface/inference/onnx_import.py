"""A third party's ONNX network, held against what is said of it before a bundle is made of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from bonaface.errors import BundleError, InputError, did_you_mean
from bonaface.inference.backends import as_network_input
from bonaface.inference.bundle_checks import check_file
from bonaface.inference.bundle_schema import InputCard
from bonaface.onnx_runtime import onnx_session, reason

__all__ = ["ForeignNetwork"]

_DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
_CHANNELS = (("NCHW", 1), ("NHWC", 3))
_PROBES = 6


class ForeignNetwork:
    """An ONNX file of one image input. Raises InputError, BundleError where it is none that can be run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = _read(path)
        self._session = onnx_session(self.content, name=path)
        nodes = self._session.get_inputs()
        if len(nodes) != 1:
            names = ", ".join(node.name for node in nodes)
            raise BundleError(f"{path} takes {len(nodes)} inputs ({names}); expected one, the crop")
        self._input = nodes[0]
        if self._input.type not in _DTYPES:
            raise BundleError(f"{path} takes {self._input.type}; expected {' or '.join(_DTYPES)}")
        self.dtype = _DTYPES[self._input.type]
        self._shape = [side if isinstance(side, int) else None for side in self._input.shape]
        self._shown = " x ".join("?" if side is None else str(side) for side in self._shape)
        if len(self._shape) != 4:
            raise BundleError(
                f"{path} takes an input of shape {self._shown}; expected four axes: batch, channels, height, width"
            )

    def input(self, *, size: int | None, layout: str | None) -> dict[str, Any]:
        """Name, size, type and layout of the input: from the file, or as they are said where the file leaves them open.

        Raises BundleError where the two do not fit.
        """
        path, shown = self.path, self._shown
        found = [name for name, place in _CHANNELS if self._shape[place] == 3]
        free = [name for name, place in _CHANNELS if self._shape[place] is None]
        if layout is None and len(found) != 1:
            raise BundleError(
                f"{path} takes {shown}, which does not tell its layout; say --layout NCHW or --layout NHWC"
            )
        layout = layout or found[0]
        if layout not in [*found, *free]:
            place = "second" if layout == "NCHW" else "last"
            hint = f"; it looks like --layout {found[0]}" if found else ""
            raise BundleError(f"{path} takes {shown}, but --layout {layout} wants 3 channels on the {place} axis{hint}")
        known = {side for side in (self._shape[2:] if layout == "NCHW" else self._shape[1:3]) if side is not None}
        if len(known) > 1:
            raise BundleError(f"{path} takes {shown}, but crops are square: expected equal height and width")
        if size is None and not known:
            raise BundleError(f"{path} takes {shown}, any size at all; say the one it was trained with, as --size 128")
        if size is not None and known and size not in known:
            raise BundleError(f"{path} takes {shown}, but --size says {size}; leave --size out, or name the right file")
        return {"name": self._input.name, "size": size or known.pop(), "dtype": self.dtype, "layout": layout}

    def output(self, name: str | None) -> str:
        """The name of the output that answers; may be left open where there is one alone. Raises BundleError."""
        names = [node.name for node in self._session.get_outputs()]
        if name is None and len(names) > 1:
            raise BundleError(f"{self.path} gives {', '.join(names)}; say which answers, as --output-name {names[0]}")
        if name is not None and name not in names:
            raise BundleError(f"{self.path} gives {', '.join(names)}, not {name}{did_you_mean(name, names)}")
        return name or names[0]

    def check_meaning(self, card: InputCard, output: str, meaning: str) -> None:
        """Run a few crops through it, and refuse answers that cannot be what `meaning` says. Raises BundleError."""
        fixed = self._shape[0]
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (fixed or _PROBES, card.size, card.size, 3), dtype=np.uint8)
        answers = []
        for crops in (noise, noise // 4, np.full_like(noise, 128)):
            try:
                (found,) = self._session.run([output], {card.name: as_network_input(crops, card)})
            except Exception as error:  # ONNX Runtime's own exceptions share no public base
                raise BundleError(
                    f"{self.path} does not take {len(crops)} crops of {card.size} x {card.size}: {reason(error)}"
                ) from None
            if len(found) != len(crops):
                raise BundleError(f"{self.path} answers {len(crops)} crops with {len(found)} rows of {output}")
            answers.append(np.asarray(found, dtype=np.float64).reshape(len(found), -1))
        if fault := _fault(np.concatenate(answers), meaning):
            raise BundleError(f"{self.path}: {output} was said to be {meaning}, but the network gives {fault}")


def _fault(answers: np.ndarray[Any, np.dtype[np.float64]], meaning: str) -> str:
    """Why values `(n, k)` cannot have that meaning; empty where they can."""
    count = answers.shape[1]
    kind = meaning.partition("[")[0]
    index = re.search(r"\d+", meaning)
    shares = bool(((answers >= -1e-6) & (answers <= 1 + 1e-6)).all())
    whole = bool(np.allclose(answers.sum(axis=1), 1, atol=1e-3))
    if not np.isfinite(answers).all():
        return "values that are no numbers; check --range, --mean and --std"
    if index is None and count != 1:
        return f"{count} values a crop; say which is bona fide, as logits[0] or softmax[1]"
    if index is not None and int(index[0]) >= count:
        return f"{count} value{'s' if count > 1 else ''} a crop, counted from 0"
    if index is not None and count < 2:
        return "one value a crop; say logit or probability"
    if kind == "probability" and not shares:
        return f"values from {answers.min():.3g} to {answers.max():.3g}, which are no probabilities; say logit"
    if kind == "softmax" and not (shares and whole):
        return f"values whose sum is not 1; say {meaning.replace('softmax', 'logits')}"
    if kind == "logits" and shares and whole:
        return f"values whose sum is always 1; say {meaning.replace('logits', 'softmax')}"
    return ""


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"no network at {path}; expected an ONNX file")
    if path.suffix.lower() != ".onnx":
        raise BundleError(f"{path} is no ONNX file by its name; expected a network saved as .onnx")
    try:
        content = path.read_bytes()
        check_file(path.name, content)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except BundleError as error:
        raise BundleError(f"{path}: {str(error).removeprefix(f'{path.name} ')}") from None
    return content
