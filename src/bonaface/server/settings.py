"""What a server may be told, and the limits of what may be sent to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bonaface.errors import SettingsError

__all__ = ["Limits", "ServerSettings", "read_key"]


@dataclass(frozen=True)
class Limits:
    """How much one request may send: bytes in all, pixels a picture, files a burst; pixels, seconds, frames of a video.

    `video_work` is pixels times frames: what decoding a video may cost, since nobody can stop it halfway. `timeout` is in
    seconds, from the first byte to the answer.
    """

    bytes: int = 16_000_000
    pixels: int = 16_000_000
    video_pixels: int = 9_000_000
    files: int = 32
    seconds: float = 20.0
    frames: int = 2_400
    video_work: int = 5_400_000_000
    timeout: float = 30.0


@dataclass(frozen=True)
class ServerSettings:
    """How the server runs.

    `places` requests at most, of `room` bytes in all, are inside at once, being read, waiting or being worked on;
    `workers` threads decode and find faces, at most `limits.pixels` at once; `faces` says what is judged where a frame shows
    several: none, or the largest. `body_rate` is in bytes a second, asked of a sender after `body_grace` seconds. `key` is
    asked for where it is not empty. `log` is the address of the decision log, as SQLAlchemy takes it.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    limits: Limits = field(default_factory=Limits)
    places: int = 32
    room: int = 128_000_000
    workers: int | None = None
    faces: Literal["refuse", "largest"] = "refuse"
    body_grace: float = 5.0
    body_rate: int = 20_000
    key: str = field(default="", repr=False)
    log: str | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None


def read_key(file: Path) -> str:
    """The API key in a file, without the line's end. Raises SettingsError where there is none, or a weak one."""
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the API key in {file} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    if len(key) < 16 or not key.isascii() or not key.isprintable():
        raise SettingsError(f"the API key in {file} must be 16 or more printable ASCII characters")
    return key
