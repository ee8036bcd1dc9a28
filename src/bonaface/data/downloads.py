"""Published files, downloaded once with pooch, verified by sha256 and kept in a cache folder."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bonaface.data.addresses import why_it_failed
from bonaface.errors import DownloadError

TIMEOUT = 30.0
"""Seconds without an answer after which a download is given up."""


@dataclass(frozen=True)
class Asset:
    """A published file: where it is, and the content that it must have."""

    name: str
    url: str
    sha256: str
    licence: str = ""


YUNET = Asset(
    name="face_detection_yunet_2023mar.onnx",
    url="https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/"
    "0047ac24afb1a50a0c6105001c89d1b5b805dbf1/onnx/yunet_s_640_640.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    licence="MIT",
)
"""The face detector YuNet; the same bytes as `face_detection_yunet_2023mar.onnx` of opencv_zoo."""


def cache_folder() -> Path:
    """Return the folder for downloads: `$BONAFACE_CACHE`, or `~/.cache/bonaface`. Raises DownloadError without a home."""
    chosen = os.environ.get("BONAFACE_CACHE")
    try:
        return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "bonaface"
    except RuntimeError:
        raise DownloadError(
            "no folder for downloads: this user has no home folder; set BONAFACE_CACHE to a writable folder"
        ) from None


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(
    asset: Asset,
    *,
    cache: Path | None = None,
    timeout: float = TIMEOUT,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Return the path of the asset in the cache, after downloading it where it is missing or damaged.

    A file put there by hand is accepted if its sha256 is right. `progress` gets the bytes so far and the bytes in all.
    Raises DownloadError, which names the file, its address, its sha256 and the path to put it by hand.
    """
    target = (cache if cache is not None else cache_folder()) / asset.name
    if _holds(target, asset.sha256):
        return target
    import pooch  # these two take as long to import as a photo takes to score
    import requests

    failed = f"{asset.name} could not be fetched from {asset.url}"
    by_hand = f"fetch it by other means (sha256 {asset.sha256}) and put it at {target}"

    def download(url: str, file: str, _: object) -> None:
        done = 0
        with requests.get(url, stream=True, timeout=timeout) as answer, Path(file).open("wb") as part:
            answer.raise_for_status()
            total = int(answer.headers.get("Content-Length", 0))
            for chunk in answer.iter_content(1 << 20):
                done += part.write(chunk)
                if progress is not None:
                    progress(done, total)

    pooch.get_logger().setLevel(logging.WARNING)
    try:
        pooch.retrieve(asset.url, f"sha256:{asset.sha256}", fname=asset.name, path=target.parent, downloader=download)
        target.chmod(0o644)
    except requests.RequestException as error:
        raise DownloadError(f"{failed}: {why_it_failed(error, seconds=timeout)}; {by_hand}") from None
    except ValueError:
        raise DownloadError(f"{failed}: the file there has a different sha256; {by_hand}") from None
    except OSError as error:
        raise DownloadError(
            f"{asset.name} cannot be kept in {target.parent}: {error.strerror or error}; "
            "set BONAFACE_CACHE to a writable folder"
        ) from None
    return target


def _holds(path: Path, sha256: str) -> bool:
    try:
        return path.is_file() and sha256_of(path) == sha256
    except OSError:
        return False
