"""Files that are fetched once, checked against a pinned sha256, and kept in a cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bonaface.errors import DownloadError

__all__ = ["YUNET", "Asset", "cache_folder", "fetch", "sha256_of"]

TIMEOUT = 30.0
"""Seconds without a single byte before a download is given up."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Asset:
    """A published file: where it is, and the content that it must have.

    `size` is in bytes, 0 where it is not known; a longer answer is refused before it fills the disk.
    """

    name: str
    url: str
    sha256: str
    licence: str = ""
    size: int = 0


YUNET = Asset(
    name="face_detection_yunet_2023mar.onnx",
    url="https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/"
    "0047ac24afb1a50a0c6105001c89d1b5b805dbf1/onnx/yunet_s_640_640.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    licence="MIT",
    size=232_589,
)
"""The face detector YuNet; the same bytes as `face_detection_yunet_2023mar.onnx` of opencv_zoo."""


def cache_folder() -> Path:
    """The folder for downloads: `$BONAFACE_CACHE`, or `~/.cache/bonaface`."""
    chosen = os.environ.get("BONAFACE_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "bonaface"


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(
    asset: Asset,
    *,
    cache: Path | None = None,
    timeout: float = TIMEOUT,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The path of the asset in the cache, downloaded first where it is missing or damaged.

    A file placed there by hand is taken as it is, if its sha256 is right. `progress` is called with the bytes so far
    and the bytes in all (0 where the server does not say). Raises DownloadError, which names the file, its address,
    its sha256 and the path to put it by hand.
    """
    folder = cache if cache is not None else cache_folder()
    target = folder / asset.name
    found = _cached_sha256(asset, target)
    if found == asset.sha256:
        return target
    damage = f"; the file there now has the wrong sha256 {found}" if found else ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{asset.name}.", suffix=".part", dir=folder)
    except OSError as error:
        raise DownloadError(
            f"{asset.name} cannot be kept in {folder}: {error.strerror or error}; "
            f"set BONAFACE_CACHE to a folder that can be written{damage}"
        ) from None
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            digest = _download(asset, file, timeout=timeout, progress=progress)
            file.flush()
            os.fsync(file.fileno())
        if digest != asset.sha256:
            raise _Unfetched(f"the answer has the sha256 {digest}")
        part.chmod(0o644)
        part.replace(target)
    except (_Unfetched, OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        raise DownloadError(
            f"{asset.name} could not be fetched from {asset.url}: {_reason(error)}; fetch it by other means "
            f"(sha256 {asset.sha256}) and put it at {target}{damage}"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return target


class _Unfetched(Exception):
    """What came is not what was asked for."""


def _cached_sha256(asset: Asset, target: Path) -> str:
    try:
        return sha256_of(target)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise DownloadError(
            f"{asset.name} at {target} cannot be read: {error.strerror or error}; remove it, or put the file with "
            f"sha256 {asset.sha256} there ({asset.url})"
        ) from None


def _download(asset: Asset, file: BinaryIO, *, timeout: float, progress: Callable[[int, int], None] | None) -> str:
    if not asset.url.startswith(("https://", "http://")):
        raise _Unfetched("its address is neither https nor http")
    request = urllib.request.Request(asset.url, headers={"User-Agent": "bonaface"})
    digest = hashlib.sha256()
    done = 0
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        expected = int(answer.headers.get("Content-Length") or 0)
        while chunk := answer.read(_CHUNK):
            done += len(chunk)
            if asset.size and done > asset.size:
                raise _Unfetched(f"the answer is longer than the {asset.size} bytes of the file")
            digest.update(chunk)
            file.write(chunk)
            if progress is not None:
                progress(done, expected or asset.size)
    if done < expected:
        raise _Unfetched(f"the answer ended after {done} of {expected} bytes")
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, urllib.error.URLError):
        return _reason(error.reason) if isinstance(error.reason, Exception) else str(error.reason)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
