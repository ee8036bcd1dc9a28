"""What a bundle's files may be: no pickle, no weights outside the file, no weights of another network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePath

from bonaface.errors import BundleError

__all__ = ["check_file", "external_files", "weights_architecture"]

KINDS = (".json", ".onnx", ".safetensors", ".xml", ".bin", ".md", ".txt")
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npy", ".npz", ".tar", ".zip")
_PICKLE_MAGIC = (b"PK\x03\x04", *(bytes([0x80, version]) for version in range(1, 6)))

# The fields of ONNX's protobuf messages that lead to a tensor, by message (onnx.proto3, stable since IR version 1).
_LEADS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_DEEPEST = 60


def check_file(name: str, content: bytes) -> None:
    """Refuse a pickle, a file of a kind that no bundle has, and an ONNX file that takes data from outside itself.

    Raises BundleError with what was found, without the bundle's path.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix in PICKLES or (suffix in {".onnx", ".safetensors"} and _looks_pickled(content)):
        raise BundleError(
            f"{name} is a pickle or an archive, which can run any code when it is opened; a bundle's weights are "
            "model.onnx and model.safetensors"
        )
    if suffix not in KINDS:
        raise BundleError(f"{name} is of a kind that no bundle has; expected {', '.join(KINDS)}")
    if suffix == ".onnx" and (outside := external_files(content)):
        raise BundleError(
            f"{name} takes weights from {outside[0]!r}, outside the file, where they cannot be checked; "
            "save the network as one ONNX file without external data"
        )


def external_files(content: bytes) -> list[str]:
    """Where an ONNX file has tensors that lie outside it, in order; empty for one that is whole.

    Raises BundleError where the content is not ONNX.
    """
    try:
        found = list(_external(memoryview(content), "model", 0))
    except (IndexError, ValueError):
        raise BundleError("the network is not an ONNX file, or a damaged one; export it again") from None
    return list(dict.fromkeys(found))


def weights_architecture(content: bytes) -> str:
    """The architecture that a safetensors file of ours names in its header; empty where it names none."""
    length = int.from_bytes(content[:8], "little")
    try:
        about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["bonaface"])
    except (ValueError, KeyError, TypeError):
        return ""
    return str(about.get("architecture", "")) if isinstance(about, dict) else ""


def _looks_pickled(content: bytes) -> bool:
    # The length that opens a safetensors file may look like a pickle's first bytes; its header opens with a brace.
    return content.startswith(_PICKLE_MAGIC) and content[8:9] != b"{"


def _external(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    outside, where = False, ""
    for field, value in _fields(message):
        if kind == "tensor":
            if field == _DATA_LOCATION and value == 1:
                outside = True
            elif field == _EXTERNAL_DATA and isinstance(value, memoryview):
                outside = True
                entry = {number: bytes(part) for number, part in _fields(value) if isinstance(part, memoryview)}
                if entry.get(1) == b"location":
                    where = entry.get(2, b"").decode(errors="replace")
        elif field in _LEADS[kind] and isinstance(value, memoryview):
            yield from _external(value, _LEADS[kind][field], depth + 1)
    if outside:
        yield where or "an unnamed file"


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """The fields of a protobuf message: their number, and their bytes or whole number."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            value, place = _varint(message, place)
            yield field, value
            continue
        if wire == 2:
            length, place = _varint(message, place)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if place + length > len(message):
            raise ValueError("a field is longer than the message")
        yield field, message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
