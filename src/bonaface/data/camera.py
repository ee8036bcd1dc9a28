"""Read frames of a camera, here or in the network, in a thread, so that the newest are always available."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonaface.data.addresses import WAIT_SECONDS, scheme_of, shown
from bonaface.errors import InputError, MediaError

BURST_SECONDS = 1.0
"""The frames of a burst span about this long."""
_DEVICE = re.compile(r"/dev/video(\d+)")
_MOST_PROBED = 4


def camera_of(source: object) -> int | str | None:
    """Return the camera that a source names: the number of 0, "0" or "/dev/video0", or an rtsp address; None if it is none.

    A file whose name is a number is a file; a link in /dev, such as those in /dev/v4l/by-id, is the device.
    """
    if isinstance(source, int):
        return int(source)
    text = str(source) if isinstance(source, str | Path) else ""
    if scheme_of(source) in ("rtsp", "rtsps"):
        return text
    if text.startswith("/dev/"):
        text = os.path.realpath(text)
    if device := _DEVICE.fullmatch(text):
        return int(device[1])
    return int(text) if text.isascii() and text.isdecimal() and not Path(text).exists() else None


def cameras() -> dict[int, str]:
    """Return the cameras of this machine by number, with their names where the system gives them."""
    if sys.platform == "linux":
        return {
            int(match[1]): _name(Path("/sys/class/video4linux") / device.name / "name")
            for device in Path("/dev").glob("video*")
            if (match := _DEVICE.fullmatch(str(device)))
        }
    return {number: "" for number in range(_MOST_PROBED) if _opens(number)}


class Camera:
    """A camera, opened for a `with` block; `count` frames are kept, spread over about the last second.

    `source` is the number of a camera here, or the rtsp address of one in the network; `name` is for messages. Raises
    InputError where it cannot be opened.
    """

    def __init__(self, source: int | str, count: int) -> None:
        self.name = shown(source) if isinstance(source, str) else f"camera {source}"
        self._ended = threading.Event()
        self._full = threading.Condition()
        self._kept: deque[tuple[float, NDArray[np.uint8]]] = deque(maxlen=count)
        self._video: _Local | _Network = _Network(source, self.name) if isinstance(source, str) else _Local(source)
        self._gap = BURST_SECONDS / count
        self._reader = threading.Thread(target=self._read, daemon=True, name="bonaface-camera")

    def __enter__(self) -> Camera:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._reader.join(timeout=2)
        self._video.release()

    def newest(self) -> tuple[NDArray[np.uint8], ...]:
        """Return the RGB frames of about the last second, at least one. Raises MediaError where the camera gives none."""
        with self._full:
            if not self._full.wait_for(lambda: len(self._kept) == self._kept.maxlen, timeout=5) and not self._kept:
                raise MediaError(f"{self.name} returns no frames")
            if self._ended.is_set():
                raise MediaError(f"{self.name} has stopped")
            return tuple(picture for _, picture in self._kept)

    def _read(self) -> None:
        while not self._ended.is_set():
            picture = self._video.read()
            now = time.monotonic()
            with self._full:
                if picture is None:
                    self._ended.set()
                elif not self._kept or now - self._kept[-1][0] >= self._gap:
                    self._kept.append((now, picture))
                self._full.notify_all()


class _Local:
    """A camera of this machine. Raises InputError where it cannot be opened."""

    def __init__(self, number: int) -> None:
        self._video = _open(number)
        if not self._video.isOpened():
            raise InputError(f"no camera {number} here{_what_is_there(number)}")

    def read(self) -> NDArray[np.uint8] | None:
        found, picture = self._video.read()
        return np.ascontiguousarray(picture[..., ::-1]) if found else None

    def release(self) -> None:
        self._video.release()


class _Network:
    """A camera at an rtsp address. Raises InputError where it cannot be opened."""

    def __init__(self, address: str, name: str) -> None:
        import av

        try:
            self._container = av.open(
                address,
                format="rtsp",
                options={"rtsp_flags": "prefer_tcp", "protocol_whitelist": "rtsp,rtsps,tcp,udp,rtp,srtp,tls"},
                timeout=WAIT_SECONDS,
                metadata_errors="ignore",
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:  # whose own text holds the address
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise InputError(
                f"{name}: no connection to the camera, or no answer within {WAIT_SECONDS:.0f} seconds ({reason}); check its "
                "address and password"
            ) from None
        try:
            self._frames = self._container.decode(video=0)
        except (av.error.FFmpegError, LookupError, ValueError):
            self._container.close()
            raise InputError(f"{name}: the stream holds no video that can be decoded") from None

    def read(self) -> NDArray[np.uint8] | None:
        import av

        try:
            frame = next(self._frames, None)
            return None if frame is None else np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
        except (av.error.FFmpegError, OSError, ValueError, LookupError):
            return None

    def release(self) -> None:
        self._container.close()


def _open(number: int) -> Any:
    """A cv2.VideoCapture; OpenCV is imported here, since its import takes longer than scoring a picture."""
    import cv2

    log = cv2.utils.logging
    before = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(number)
    finally:
        log.setLogLevel(before)


def _opens(number: int) -> bool:
    video = _open(number)
    try:
        return bool(video.isOpened())
    finally:
        video.release()


def _what_is_there(number: int) -> str:
    there = cameras()
    if number in there:
        device = f"/dev/video{number}"
        if sys.platform == "linux" and not os.access(device, os.R_OK | os.W_OK):
            return f": {device} cannot be opened by this user; join the group that owns it (often video)"
        return ": it is in use, or returns no frames; close the program that uses it"
    if not there:
        return ": this machine has no camera; connect one, or name a file"
    listed = ", ".join(f"{each} ({name})" if name else str(each) for each, name in sorted(there.items()))
    return f"; found {listed}: name one of these, or a file"


def _name(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
