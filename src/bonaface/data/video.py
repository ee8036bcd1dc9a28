"""Frames of a video, decoded once and in order: exact indexes, upright, and honest about what was missing."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonaface.data.signatures import media_type
from bonaface.errors import MediaError

__all__ = ["VideoInfo", "VideoReader"]

# What PyAV raises on damaged files, beside the FFmpegError that not all of FFmpeg's codes have a built-in cousin for.
_DAMAGE = (OSError, ValueError, LookupError, EOFError, ArithmeticError, MemoryError, RuntimeError)
MAX_PIXELS = 64_000_000
# Containers that hold their own pictures: a playlist under a video's name would read other files, or the network.
_CONTAINERS = (
    "mov,matroska,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,mxf,nut,dv,rm,h264,hevc,m4v,mjpeg,gif,jpeg_pipe,png_pipe"
)
# What FFmpeg may take bytes from outside for: it would otherwise guess among hundreds of formats.
_DEMUXERS = {"video/mp4": "mov", "video/quicktime": "mov", "video/webm": "matroska"}


@dataclass(frozen=True)
class VideoInfo:
    """What a video's container says of it; `frames` counts its packets, which truncation makes fewer than `declared`.

    `held_seconds` lie between its first and last packet, `seconds` are what it declares where that is more.
    """

    width: int
    height: int
    fps: float | None
    seconds: float | None
    codec: str
    frames: int
    declared: int
    held_seconds: float
    variable_rate: bool


class VideoReader:
    """A video opened for one pass, from a file or, as MP4, MOV or WebM, from bytes.

    Raises MediaError where it holds no video that can be decoded.
    """

    def __init__(self, source: Path | bytes) -> None:
        self._source = source
        self.name = "the video" if isinstance(source, bytes) else str(source)
        self._demuxer: str | None = None
        self.decoded = 0
        self.damage = ""
        if isinstance(source, bytes):
            self._demuxer = _DEMUXERS.get(media_type(source) or "")
            if self._demuxer is None:
                raise MediaError(f"{self.name}: not a video that can be read; expected MP4, MOV or WebM")
        elif not source.is_file():
            raise MediaError(f"{source}: {'is a folder; expected a video' if source.is_dir() else 'no such file'}")
        elif source.stat().st_size == 0:
            raise MediaError(f"{source}: the file is empty")
        self._container: Any = None
        self._open()
        try:
            self.info = self._probe()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        import av

        self.close()
        try:
            # "file:", else FFmpeg takes what stands before a colon in a name for a protocol
            file = io.BytesIO(self._source) if isinstance(self._source, bytes) else f"file:{self.name}"
            self._container = av.open(
                file,
                mode="r",
                format=self._demuxer,
                options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"},
                metadata_errors="ignore",
            )
            self._stream: Any = next(filter(_moves, self._container.streams.video), None)
        except (av.error.FFmpegError, *_DAMAGE) as error:
            reason = "truncated: its index, which is written last, is missing" if self._ends_early() else _reason(error)
            raise MediaError(f"{self.name}: not a video that can be read ({reason})") from None
        if self._stream is None:
            self.close()
            raise MediaError(f"{self.name}: holds no video stream; expected a video")
        self._stream.thread_type = "AUTO"
        if self._stream.codec_context is not None:
            # The pictures may be larger than the container says.
            self._stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}

    def _ends_early(self) -> bool:
        """Whether an MP4 or MOV ends within one of its boxes, before any with its index."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.suppress(OSError))
            source = self._source
            file = stack.enter_context(io.BytesIO(source) if isinstance(source, bytes) else source.open("rb"))
            end, place, boxes = file.seek(0, os.SEEK_END), 0, 0
            while file.seek(place) + 8 <= end:
                size, kind = int.from_bytes(file.read(4), "big"), file.read(4)
                if size == 1:
                    size = int.from_bytes(file.read(8), "big")
                if kind == b"moov" or size < 8 or (boxes == 0 and kind != b"ftyp"):
                    return False
                place, boxes = place + size, boxes + 1
            return boxes > 0
        return False

    def _probe(self) -> VideoInfo:
        import av

        stream = self._stream
        context = stream.codec_context
        if context is None:
            raise MediaError(f"{self.name}: its codec is not known to FFmpeg; convert it to H.264")
        if context.width * context.height > MAX_PIXELS:
            raise MediaError(f"{self.name}: {context.width} x {context.height} is more pixels than are decoded")
        times: list[int] = []
        held = hidden = 0
        with contextlib.suppress(av.error.FFmpegError, *_DAMAGE):
            for packet in self._container.demux(stream):
                if packet.is_discard:  # cut off by an editor, who left the frames that others are decoded from
                    hidden += 1
                elif packet.size:
                    held += 1
                    times += [] if packet.pts is None else [packet.pts]
        declared = max(int(stream.frames or 0) - hidden, 0)
        ordered = np.sort(np.asarray(times, dtype=np.float64))
        steps = (ordered[1:] - ordered[:-1])[:-1] if len(times) == held > 3 else np.empty(0)
        base = float(stream.time_base) if stream.time_base else 0.0
        typical = np.float64(np.median(steps)) if len(steps) else np.float64(0)
        held_seconds = float(ordered[-1] - ordered[0]) * base if times else 0.0
        declared_seconds = float(stream.duration or 0) * base or float(self._container.duration or 0) / 1e6
        info = VideoInfo(
            width=context.width,
            height=context.height,
            fps=float(stream.average_rate) if stream.average_rate else None,
            seconds=max(declared_seconds, held_seconds) or None,
            codec=context.name,
            frames=held or declared,
            declared=declared,
            held_seconds=held_seconds,
            # A step of a millisecond is a container's rounding, not another rate.
            variable_rate=bool(
                len(steps) and (np.abs(steps - typical) * base > max(0.25 * typical * base, 0.002)).any()
            ),
        )
        self._open()
        return info

    def frames(
        self, wanted: set[int] | None, *, flip: str = "", stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, float | None, NDArray[np.uint8]]]:
        """Index, time in seconds and upright RGB picture of the wanted frames (None: all), in order.

        Decoding stops after the last wanted one, and as soon as `stop` says so. Damage ends the video early: see
        `decoded` and `damage`.
        """
        import av

        last = max(wanted) if wanted else None
        decoder = self._container.decode(self._stream)
        while not stop():
            try:
                frame = next(decoder, None)
                if frame is None:
                    return
                index, picture = self.decoded, None
                if wanted is None or index in wanted:
                    picture = _upright(frame.to_ndarray(format="rgb24"), int(frame.rotation), flip)
                time = frame.time
            except (av.error.FFmpegError, *_DAMAGE) as error:
                self.damage = _reason(error)
                return
            self.decoded += 1
            if picture is not None:
                yield index, time, picture
            if last is not None and index >= last:
                return

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container = None


def _moves(stream: Any) -> bool:
    """False for the cover picture of a sound file."""
    import av

    return not stream.disposition & av.stream.Disposition.attached_pic


def _upright(picture: NDArray[np.uint8], rotation: int, flip: str) -> NDArray[np.uint8]:
    """`rotation` in degrees counter-clockwise as FFmpeg's display matrix has it; may be negative."""
    turned = np.rot90(picture, k=round(rotation / 90) % 4)
    if flip == "vertical":
        turned = turned[::-1]
    return np.ascontiguousarray(turned)


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[:120] or type(error).__name__
