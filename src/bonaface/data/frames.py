"""Open the frames of a presentation, an image or a video."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Set
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from bonaface.data.frame_folder import FrameFolder
from bonaface.data.hdf5 import HDF5_SUFFIXES, Hdf5Reader
from bonaface.data.images import IMAGE_SUFFIXES, read_image
from bonaface.data.signatures import HEAD, IMAGE_TYPES, VIDEO_TYPES, media_type
from bonaface.data.video import VideoInfo, VideoReader
from bonaface.data.video_process import SUPPORTED, WatchedVideo
from bonaface.errors import InputError, MediaError
from bonaface.io.storage import is_remote, read_range, temporary_copy

VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp", ".flv"),
        *(".mts", ".m2ts", ".ogv", ".3g2", ".vob", ".asf", ".mjpeg"),
    }
)

_GOLDEN_RATIO = (5**0.5 - 1) / 2

Media = Path | bytes | tuple[bytes, ...] | tuple[NDArray[np.uint8], ...]
"""A file, or a folder of numbered pictures; an upload: an image, a video, or the images of a burst in order; RGB frames."""


Reader = VideoReader | WatchedVideo | Hdf5Reader | FrameFolder


@dataclass(frozen=True)
class Frame:
    """One upright RGB picture `(height, width, 3)`; `time` is in seconds from the start, None for an image."""

    index: int
    time: float | None
    image: NDArray[np.uint8]


class Frames:
    """The chosen frames of one presentation, to be iterated once.

    They are chosen among `total`. After iterating, `decoded` counts the frames that were decoded, `expected` those that the
    file promises up to the last chosen one (None where it does not say), and `note` says what was wrong: nothing,
    truncated, variable rate.
    """

    def __init__(
        self,
        source: Media,
        *,
        count: int | Literal["all"],
        flip: str = "",
        first: int | None = None,
        without: Set[int] = frozenset(),
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.total = 1
        self.expected: int | None = None
        self.decoded = 0
        self.note = ""
        self._flip = flip
        self._stop = stop
        self._reader: Reader | None = None
        self._wanted: set[int] | None = {0}
        self._pictures: dict[int, Path | bytes | NDArray[np.uint8]] = {}
        self._closing = ExitStack()
        if isinstance(source, tuple):
            self.total = len(source)
            chosen = spread(self.total, self.total if count == "all" else count)
            self._pictures = {index: source[index] for index in chosen if index not in without}
            self.expected = len(chosen)
            if repeated := len(source) - len({each if isinstance(each, bytes) else each.tobytes() for each in source}):
                self.note = f"{repeated} of {len(source)} pictures repeat an earlier one"
            return
        if isinstance(source, Path):
            source = self._closing.enter_context(temporary_copy(source))
        if kind_of(source) == "image":
            self._pictures = {} if 0 in without else {0: source}
            self.expected = 1
            return
        try:
            self._reader = open_video(source)
        except MediaError:
            self._closing.__exit__(*sys.exc_info())
            raise
        held = self._reader.info.frames
        total = self.total = held if first is None else min(held, first)
        if count == "all":
            self._wanted = None if total == held else set(range(total))
            self.expected = (max(total, self._reader.info.declared) if total == held else total) or None
        else:
            self._wanted = set(spread(max(total, 1), count)) - without
            self.expected = max(self._wanted) + 1 if total and self._wanted else None

    @property
    def video(self) -> VideoInfo | None:
        """Metadata of a video's container; None for pictures."""
        return None if self._reader is None else self._reader.info

    @property
    def rate(self) -> float | None:
        """Frames per second, if the container has them."""
        return None if self._reader is None else self._reader.info.fps

    def __iter__(self) -> Iterator[Frame]:
        reader = self._reader
        if reader is None:
            for index, source in self._pictures.items():
                known = isinstance(source, Path)
                picture = source if isinstance(source, np.ndarray) else read_image(source, trusted=known)
                self.decoded += 1
                yield Frame(index, None, picture[::-1].copy() if self._flip == "vertical" else picture)
            return
        if self._wanted is not None and not self._wanted:
            return
        for index, time, picture in reader.frames(self._wanted, flip=self._flip, stop=self._stop):
            self.decoded = reader.decoded
            yield Frame(index, time, picture)
        self.decoded = reader.decoded
        if not self.decoded:
            raise MediaError(
                f"{reader.name}: no frame could be decoded{f' ({reader.damage})' if reader.damage else ''}"
            )
        self.note = self._what_was_wrong(reader)

    def _what_was_wrong(self, reader: Reader) -> str:
        info = reader.info
        notes = [reader.note] if reader.note else []
        if info.declared > info.frames:
            notes.append(f"truncated: it holds {info.frames} of the {info.declared} frames that it declares")
        elif not info.declared and info.seconds and info.seconds > 1.1 * info.held_seconds + 0.5:
            notes.append(
                f"truncated: it holds {info.held_seconds:.1f} of the {info.seconds:.1f} seconds that it declares"
            )
        if self.expected is not None and self.decoded < min(self.expected, info.frames or self.expected):
            why = f" ({reader.damage})" if reader.damage else ""
            notes.append(f"only {self.decoded} of {info.frames} frames could be decoded{why}")
        elif reader.damage:
            notes.append(reader.damage)
        if info.variable_rate:
            notes.append("variable frame rate: frames are spread by number, not by time")
        return "; ".join(notes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.close()
        self._closing.__exit__(kind, error, trace)


def open_frames(
    source: Media,
    *,
    count: int | Literal["all"] = 1,
    flip: str = "",
    first: int | None = None,
    without: Set[int] = frozenset(),
    stop: Callable[[], bool] = lambda: False,
) -> Frames:
    """Open an image, a burst or a video for `count` frames chosen by `spread`; an image has one.

    `first` says how many frames of a video, from its start on, they are taken from; those numbered in `without` are left
    out. `flip="vertical"` undoes a stored vertical flip; a video ends early once `stop` says so. Raises MediaError, here
    or while iterating.
    """
    return Frames(source, count=count, flip=flip, first=first, without=without, stop=stop)


def open_video(source: Path | bytes) -> Reader:
    """Return the reader of a video: a folder's pictures, an HDF5 file's colour stream, or a file that FFmpeg knows.

    FFmpeg works in a separate process with limits, on systems that have them.
    """
    if isinstance(source, Path):
        if source.suffix.lower() in HDF5_SUFFIXES:
            return Hdf5Reader(source)
        if source.is_dir():
            return FrameFolder(source)
    return WatchedVideo(source) if SUPPORTED else VideoReader(source)


def kind_of(source: Path | str | bytes) -> Literal["image", "video"] | None:
    """Return what a file or an upload is by its first bytes; by its suffix where the bytes do not say; None for neither.

    A folder counts as a video: its pictures are the frames. An upload is one of IMAGE_TYPES or VIDEO_TYPES or nothing.

    >>> kind_of("a/B.MP4"), kind_of("Thumbs.db")
    ('video', None)
    """
    if isinstance(source, bytes):
        kind = media_type(source)
        return "image" if kind in IMAGE_TYPES else "video" if kind in VIDEO_TYPES else None
    path = Path(source)
    suffix = path.suffix.lower()
    try:
        if is_remote(path):
            kind = media_type(read_range(path, 0, HEAD)) or ""
        else:
            with path.open("rb") as file:
                kind = media_type(file.read(HEAD)) or ""
    except IsADirectoryError:
        return "video"
    except (OSError, ValueError, InputError):  # missing or unreadable: only its name is left
        kind = ""
    if kind.startswith("image/") and suffix != ".mjpeg":  # a stream of JPEGs starts as one JPEG does
        return "image"
    if kind.startswith("video/"):
        return "video"
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "video" if suffix in VIDEO_SUFFIXES | HDF5_SUFFIXES else None


def spread(total: int, count: int) -> list[int]:
    """Indexes of `count` of `total` frames: the first frame, and one of each further part of as many equal parts.

    Its place in its part moves by the golden ratio from part to part: the same in every call, and not in step with light
    that pulses. Training, evaluation, prediction and server choose frames by this function.

    >>> spread(300, 4), spread(2, 4)
    ([0, 121, 167, 289], [0, 1])
    """
    count = min(total, count)
    starts = [part * total // count for part in range(count + 1)]
    return [
        start + int(part * _GOLDEN_RATIO % 1 * (end - start))
        for part, (start, end) in enumerate(itertools.pairwise(starts))
    ]


def part_of(index: int, *, total: int, count: int) -> int:
    """Return in which of `count` equal parts of `total` frames a frame is.

    >>> [part_of(index, total=10, count=3) for index in (0, 2, 3, 5, 6, 9)]
    [0, 0, 1, 1, 2, 2]
    """
    return ((index + 1) * count - 1) // total


def evenly_spaced(total: int, count: int) -> list[int]:
    """Indexes of `count` of `total` frames, from the first on; all of them where there are fewer.

    >>> evenly_spaced(300, 4), evenly_spaced(2, 4)
    ([0, 75, 150, 225], [0, 1])
    """
    count = min(total, count)
    return [index * total // count for index in range(count)]
