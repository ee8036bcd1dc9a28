"""A folder of numbered pictures, read as the video whose frames they are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from bonaface.data.images import IMAGE_SUFFIXES, read_image
from bonaface.data.indexed_reader import IndexedReader
from bonaface.data.video import VideoInfo
from bonaface.errors import MediaError

_NUMBER = re.compile(r"\d+")
_LEAST_NUMBERED = 3  # two pictures can be numbered by chance


def frame_files(folder: Path) -> list[Path]:
    """The pictures directly in a folder, by suffix, in natural order (2 before 10). Raises MediaError."""
    try:
        names = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise MediaError(f"{folder}: the folder cannot be listed ({error.strerror or error})") from None
    pictures = sorted((name for name in names if PurePath(name).suffix.lower() in IMAGE_SUFFIXES), key=natural_order)
    if not pictures:
        raise MediaError(f"{folder}: the folder holds no pictures; expected the frames of one presentation")
    return [folder / name for name in pictures]


def natural_order(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """A sort key for names in which numbers count as numbers.

    >>> sorted(["f10.jpg", "f2.jpg", "F1.jpg"], key=natural_order)
    ['F1.jpg', 'f2.jpg', 'f10.jpg']
    """
    parts = re.split(r"(\d+)", name.casefold())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts], name


def are_numbered_frames(names: Iterable[str]) -> bool:
    """Whether the names of a folder's pictures differ in one number alone, as the frames of a video do.

    >>> are_numbered_frames(["0001.jpg", "0002.jpg", "0003.jpg"]), are_numbered_frames(["a.jpg", "b.jpg", "c.jpg"])
    (True, False)
    """
    stems = [PurePath(name).stem for name in names]
    if len(stems) < _LEAST_NUMBERED:
        return False
    numbers = [_NUMBER.findall(stem) for stem in stems]
    if len({_NUMBER.sub("#", stem) for stem in stems}) > 1 or not numbers[0]:
        return False
    return sum(len(set(values)) > 1 for values in zip(*numbers, strict=True)) == 1


class FrameFolder(IndexedReader):
    """The pictures of a folder in natural order, opened for one pass. Raises MediaError where there is no picture."""

    def __init__(self, source: Path) -> None:
        self._files = frame_files(source)
        # without width and height, in which the pictures may differ
        super().__init__(source, VideoInfo("pictures", frames=len(self._files), declared=len(self._files)))

    def picture(self, index: int) -> NDArray[np.uint8]:
        return read_image(self._files[index], trusted=True)
