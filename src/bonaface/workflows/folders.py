"""Output folders: never two runs in one, never half a file that looks whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import bonaface
from bonaface.errors import OutputError, writing

__all__ = ["fresh_folder", "now", "read_json", "versions", "write_json", "write_text"]

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "onnx",
    "onnxruntime",
    "opencv-python-headless",
    "av",
    "numpy",
    "pandas",
)


def fresh_folder(path: str | Path, *, what: str) -> Path:
    """Make an empty folder, or accept one that is empty already; anything else in its place is an OutputError."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        held = "holds another run" if (path / "run.json").exists() else "is not empty" if path.is_dir() else "is a file"
        hint = ", or add --resume to go on with it" if (path / "run.json").exists() and what == "training run" else ""
        raise OutputError(f"{path} {held}; name another folder for the {what}{hint}")
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_text(path: Path, text: str) -> None:
    """Write a file complete or not at all."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with fresh.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON complete or not at all."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def versions() -> dict[str, str]:
    """Versions of Bonaface and of what decides its numbers."""
    found = {"bonaface": bonaface.__version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def now() -> str:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()
