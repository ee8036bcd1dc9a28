"""Open the frames of a presentation, an image or a video."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from bonaface.data.frame_folder import FrameFolder
from bonaface.data.hdf5 import HDF5_SUFFIXES, Hdf5Reader
from bonaface.data.images import IMAGE_SUFFIXES, read_image
from bonaface.data.signatures import HEAD, IMAGE_TYPES, VIDEO_TYPES, media_type
from bonaface.data.video import VideoReader
from bonaface.data.video_process import SUPPORTED, WatchedVideo
from bonaface.errors import InputError, MediaError
from bonaface.io.storage import read_range, temporary_copy

VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp", ".flv"),
        *(".mts", ".m2ts", ".ogv", ".3g2", ".vob", ".asf", ".mjpeg"),
    }
)

VARIABLE_RATE = "variable frame rate: frames are spread by number, not by time"
"""The one of the `faults` of frames with which nothing is missing."""

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


class Frames:
    """The chosen frames of an image, a burst or a video, to be iterated once, in a `with` block.

    `choose(total, count)` says which of `total` frames are taken; an image has one. `first` says how many frames of a
    video, from its start on, they are taken from; those numbered in `without` are left out. `flip="vertical"` undoes a
    stored vertical flip; a video ends early once `stop` says so.

    `video` is the metadata of a video's container, None for pictures. After iterating, `decoded` counts the frames up to
    the last one that was decoded, and `faults` names what is missing or damaged; `note` has this and what else is unusual.
    Raises MediaError, here or while iterating.
    """

    def __init__(
        self,
        source: Media,
        *,
        count: int | Literal["all"] = 1,
        choose: Callable[[int, int], Iterable[int]] = spread,
        flip: str = "",
        first: int | None = None,
        without: Set[int] = frozenset(),
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.decoded = 0
        self.faults: list[str] = []
        self._remarks: list[str] = []
        self._flip = flip
        self._stop = stop
        self._pictures: Sequence[Path | bytes | NDArray[np.uint8]] = ()
        self._reader: Reader | None = None
        with ExitStack() as opened:
            if isinstance(source, Path):
                source = opened.enter_context(temporary_copy(source))
            if isinstance(source, tuple):
                self._pictures = source
            elif kind_of(source) == "image":
                self._pictures = (source,)
            else:
                self._reader = opened.enter_context(closing(open_video(source)))
            self._opened = opened.pop_all()
        self.video = self._reader.info if self._reader else None
        held = self.video.frames if self.video else len(self._pictures)
        if repeated := len(self._pictures) - len({_content(each) for each in self._pictures}):
            self.faults.append(f"{repeated} of {held} pictures repeat an earlier one")
        self.total = held if first is None else min(held, first)
        self._wanted: set[int] | None = None
        if count != "all":
            self._wanted = set(choose(max(self.total, 1), count)) - without
        elif self.total < held:
            self._wanted = set(range(self.total))

    @property
    def note(self) -> str:
        """What was wrong or unusual, as one text."""
        return "; ".join([*self.faults, *self._remarks])

    def __iter__(self) -> Iterator[Frame]:
        reader = self._reader
        if self._wanted == set():
            return
        for index, time, picture in reader.frames(self._wanted, stop=self._stop) if reader else self._read_pictures():
            self.decoded = reader.decoded if reader else self.decoded + 1
            yield Frame(index, time, picture[::-1].copy() if self._flip == "vertical" else picture)
        if reader is not None:
            self.decoded = reader.decoded
            self._note_faults(reader)

    def _read_pictures(self) -> Iterator[tuple[int, None, NDArray[np.uint8]]]:
        for index, held in enumerate(self._pictures):
            if self._wanted is None or index in self._wanted:
                picture = held if isinstance(held, np.ndarray) else read_image(held, trusted=isinstance(held, Path))
                yield index, None, picture

    def _note_faults(self, reader: Reader) -> None:
        info = reader.info
        damage = f" ({reader.damage})" if reader.damage else ""
        if not self.decoded:
            raise MediaError(f"{reader.name}: no frame could be decoded{damage}")
        if reader.note:
            self._remarks.append(reader.note)
        if info.declared > info.frames:
            self.faults.append(f"truncated: it holds {info.frames} of the {info.declared} frames that it declares")
        elif not info.declared and info.seconds and info.seconds > 1.1 * info.held_seconds + 0.5:
            self.faults.append(
                f"truncated: it holds {info.held_seconds:.1f} of the {info.seconds:.1f} seconds that it declares"
            )
        if self.decoded < (info.frames if self._wanted is None else max(self._wanted) + 1):
            self.faults.append(f"only {self.decoded} of {info.frames} frames could be decoded{damage}")
        elif reader.damage:
            self.faults.append(reader.damage)
        if info.variable_rate:
            self._remarks.append(VARIABLE_RATE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)


def _content(picture: Path | bytes | NDArray[np.uint8]) -> Path | bytes:
    return picture.tobytes() if isinstance(picture, np.ndarray) else picture


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
        kind = media_type(read_range(path, 0, HEAD)) or ""
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
