"""Read frames of a camera in a thread, so that the newest are always available."""

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

from bonaface.errors import InputError, MediaError

BURST_SECONDS = 1.0
"""The frames of a burst span about this long."""
_DEVICE = re.compile(r"/dev/video(\d+)")
_MOST_PROBED = 4


def camera_number(source: object) -> int | None:
    """Return the number of the camera that a source names: 0, "0" or "/dev/video0"; None for anything else.

    A file whose name is a number is a file.
    """
    if isinstance(source, int):
        return int(source)
    text = str(source) if isinstance(source, str | Path) else ""
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

    Raises InputError where it cannot be opened.
    """

    def __init__(self, number: int, count: int) -> None:
        self._number = number
        self._ended = threading.Event()
        self._full = threading.Condition()
        self._kept: deque[tuple[float, NDArray[np.uint8]]] = deque(maxlen=count)
        self._video = _open(number)
        if not self._video.isOpened():
            raise InputError(f"no camera {number} here{_what_is_there(number)}")
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
                raise MediaError(f"camera {self._number} returns no frames")
            if self._ended.is_set():
                raise MediaError(f"camera {self._number} has stopped")
            return tuple(picture for _, picture in self._kept)

    def _read(self) -> None:
        while not self._ended.is_set():
            found, picture = self._video.read()
            now = time.monotonic()
            with self._full:
                if not found:
                    self._ended.set()
                elif not self._kept or now - self._kept[-1][0] >= self._gap:
                    self._kept.append((now, np.ascontiguousarray(picture[..., ::-1])))
                self._full.notify_all()


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
