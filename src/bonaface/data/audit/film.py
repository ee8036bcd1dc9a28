"""What is kept of a presentation to compare it with others: a few views, and every frame of a video very small.

The views say where two presentations may be one. A copy that begins later, or has every other frame, shares none of them: the
frames that it does share are found among the small ones, and then decoded again to be judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.data.frames import kind_of, open_frames, open_video
from bonaface.errors import MediaError

__all__ = ["Film", "Margins", "View", "margins_of", "pictures_of", "shrunk", "tiny", "view_of"]

Picture = NDArray[np.uint8]
Grey = NDArray[np.float32]
Margins = tuple[float, float, float, float]
"""Bars at the left, top, right and bottom, as shares of the width and the height."""

SIDE = 192
"""The longer side of a view, in pixels, at most."""

TINY = 16
MOST_FRAMES = 240
"""A longer video has every second of its frames kept, or fewer."""

LONG_SIDE = 640
NO_MARGINS: Margins = (0.0, 0.0, 0.0, 0.0)
_EVEN, _EDGE = 12, 20
_LEAST_LEFT = 0.4


@dataclass(frozen=True)
class View:
    """One frame, small, grey and coded: `picture` is a JPEG, `frame` its index in the file."""

    frame: int
    picture: bytes

    def grey(self) -> Grey:
        """The picture as `(height, width)` between 0 and 255."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.picture, np.uint8), cv2.IMREAD_GRAYSCALE), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Film:
    """A presentation, without the bars around it: `views`, and as `tiny` squares `(n, 16, 16)` every `step`th frame.

    `file` is where any other frame can be had from; None where there is none.
    """

    views: tuple[View, ...] = ()
    tiny: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, TINY, TINY), np.uint8), repr=False)
    step: int = 1
    margins: Margins = NO_MARGINS
    file: Path | None = None
    flip: str = ""

    def greys(self, frames: set[int]) -> dict[int, Grey]:
        """These frames as a view has them, by index; those that cannot be read are missing."""
        found = {view.frame: view.grey() for view in self.views if view.frame in frames}
        missing = frames - set(found)
        found |= {index: view_of(index, grey, self.margins).grey() for index, grey in self._read(missing)}
        return found

    def large(self, frame: int) -> Grey | None:
        """A frame between 0 and 255, at a long side of 640 at most; as a view has it where the file cannot be read."""
        for _, grey in self._read({frame}):
            return _without(grey, self.margins).astype(np.float32)
        return self.greys({frame}).get(frame)

    def _read(self, frames: set[int]) -> Iterator[tuple[int, Picture]]:
        if frames and self.file is not None:
            for index, picture in pictures_of(self.file, frames, flip=self.flip):
                yield index, np.asarray(cv2.cvtColor(shrunk(picture, LONG_SIDE), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def pictures_of(file: Path, frames: set[int], *, flip: str = "") -> Iterator[tuple[int, Picture]]:
    """Index and upright RGB picture of these frames, in order, as far as they can be read."""
    try:
        if kind_of(file) != "video":
            with open_frames(file, count=1, flip=flip) as opened:
                yield from ((frame.index, frame.image) for frame in opened if frame.index in frames)
            return
        reader = open_video(file)
        try:
            yield from ((index, picture) for index, _, picture in reader.frames(frames, flip=flip))
        finally:
            reader.close()
    except MediaError:
        return


def view_of(frame: int, grey: Picture, margins: Margins) -> View:
    """A frame as a view, from its grey picture at a long side of 640."""
    small = shrunk(_without(grey, margins), SIDE)
    return View(frame, bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]))


def tiny(grey: Picture, margins: Margins) -> NDArray[np.uint8]:
    """A frame as 16 x 16 cells."""
    return np.asarray(cv2.resize(_without(grey, margins), (TINY, TINY), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def margins_of(greys: Sequence[Picture]) -> Margins:
    """The bars of one even grey around what the pictures show, as a letterbox has them; the same in all of them.

    A wall that is as even passes into the rest by and by, and is no bar: a bar ends at a straight edge.
    """
    if any(grey.shape != greys[0].shape for grey in greys):
        return NO_MARGINS
    pictures = np.stack(greys).astype(np.int16)
    height, width = pictures.shape[1:]
    down, across = pictures, pictures.transpose(0, 2, 1)
    top, bottom, left, right = (_bar(side) for side in (down, down[:, ::-1], across, across[:, ::-1]))
    if height - top - bottom < _LEAST_LEFT * height or width - left - right < _LEAST_LEFT * width:
        return NO_MARGINS
    return (left / width, top / height, right / width, bottom / height)


def shrunk(image: Picture, side: int) -> Picture:
    """The picture at a long side of `side` at most."""
    height, width = image.shape[:2]
    factor = max(height, width) / side
    if factor <= 1:
        return image
    size = (max(round(width / factor), 1), max(round(height / factor), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _bar(pictures: NDArray[np.int16]) -> int:
    """How many rows from the top are a bar, with the row at its edge, which is neither."""
    level = int(np.median(pictures[:, 0]))
    off = np.abs(pictures - level) > _EVEN
    even = (off.mean(axis=2) < 0.02).all(axis=0)
    if even.all():
        return 0
    rows = int(np.argmin(even))
    beyond = pictures[:, rows + 1 : rows + 4]
    if rows < 2 or beyond.shape[1] == 0 or np.median(np.abs(beyond - level)) < _EDGE:
        return 0
    return rows + 1


def _without(grey: Picture, margins: Margins) -> Picture:
    height, width = grey.shape
    left, top, right, bottom = margins
    return grey[
        round(top * height) : height - round(bottom * height), round(left * width) : width - round(right * width)
    ]
