"""Options that several commands share, and the parsers of their values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from bonaface.errors import SettingsError

Manifest = Annotated[Path, typer.Argument(metavar="MANIFEST", help="Manifest as `bonaface data index` writes it.")]
BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle, or the run folder that holds it.")]
Root = Annotated[Path | None, typer.Option(help="Folder the manifest's paths are relative to, if it moved.")]
Weights = Annotated[
    Path | None,
    typer.Option("--detector-weights", help="Weights of the face detector (default: the cached download)."),
]
NoFaces = Annotated[bool, typer.Option("--no-faces", help="Leave pictures of persons out of the report.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print no progress on stderr.")]
FramesAsVideo = Annotated[
    bool, typer.Option("--frames-as-video", help="The pictures of a folder are the frames of one presentation.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads to use; by default one per core.")]


def as_pairs(values: list[str] | None, option: str) -> dict[str, str] | None:
    pairs: dict[str, str] = {}
    for value in values or []:
        key, equals, meant = value.partition("=")
        if not (key and equals and meant):
            raise SettingsError(f"{option} {value}: expected name=meaning, such as {option} fake=print")
        pairs[key] = meant
    return pairs or None


def as_names(values: list[str] | None) -> list[str] | None:
    names = [name.strip() for value in values or [] for name in value.split(",") if name.strip()]
    return names or None


def as_share(values: list[str] | None) -> float | list[str] | None:
    """Return a share for 0.2, 0 or .2, else the names: 7 is the name of a person."""
    names = as_names(values)
    if names and len(names) == 1 and re.fullmatch(r"0|\d*\.\d+|\d+\.", names[0]):
        return float(names[0])
    return names


def as_numbers(text: str | None, option: str) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingsError(f"{option} {text}: expected one number, or three with commas") from None


def as_whole(text: str, option: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"{option} {text}: expected a whole number or `all`") from None
