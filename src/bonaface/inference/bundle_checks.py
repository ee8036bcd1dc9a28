"""Checks of a bundle's files: their kind, weights outside the file, weights of a different network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePath

from bonaface.errors import BundleError

KINDS = (".json", ".onnx", ".safetensors", ".xml", ".bin", ".md", ".txt")
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
    """Raise BundleError for a kind of file that no bundle has, and for an ONNX file with data outside itself.

    Nothing in a bundle is ever unpickled. The message does not name the bundle's path.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix not in KINDS:
        raise BundleError(f"{name} is a kind of file that no bundle has; expected {', '.join(KINDS)}")
    if suffix == ".onnx" and (outside := external_files(content)):
        raise BundleError(
            f"{name} takes weights from {outside[0]!r}, outside the file, where they cannot be checked; "
            "save the network as one ONNX file without external data"
        )


def external_files(content: bytes) -> list[str]:
    """Return where an ONNX file has tensors outside itself, in order; empty for one that is complete.

    Raises BundleError where the content is not ONNX.
    """
    try:
        found = list(_external(memoryview(content), "model", 0))
    except (IndexError, ValueError):
        raise BundleError("the network is not an ONNX file, or a damaged one; export it again") from None
    return list(dict.fromkeys(found))


def weights_architecture(content: bytes) -> str:
    """Return the architecture that a safetensors file of ours names in its header; empty where it names none."""
    length = int.from_bytes(content[:8], "little")
    try:
        about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["bonaface"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return str(about.get("architecture", "")) if isinstance(about, dict) else ""


def _external(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    outside, where = False, ""
    for field, value in _fields(message):
        if kind == "tensor":
            if field == _DATA_LOCATION and isinstance(value, int) and value & 0xFFFFFFFF == 1:  # as protobuf truncates
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
    """Yield the fields of a protobuf message: their number, and their bytes or whole number.

    Raises ValueError for a tag of more than 32 bits, of which other readers may drop the upper ones.
    """
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        if tag >> 32 or not tag >> 3:
            raise ValueError(f"tag {tag}")
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
