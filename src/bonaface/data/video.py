"""Read frames of a video by exact index, as a player shows them: turned, mirrored, square pixels, SDR light."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import threading
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.data.signatures import media_type
from bonaface.errors import MediaError

# What PyAV raises on damaged files, in addition to FFmpegError: not every FFmpeg code has a built-in counterpart.
_DAMAGE = (OSError, ValueError, LookupError, EOFError, ArithmeticError, MemoryError, RuntimeError)
MAX_PIXELS = 64_000_000
_LARGE = 9_000_000
_THREADS = 8
# Containers that hold their own pictures: a playlist under a video's name would read other files, or the network.
_CONTAINERS = (
    "mov,matroska,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,mxf,nut,dv,rm,h264,hevc,m4v,mjpeg,gif,jpeg_pipe,png_pipe"
)
# Formats in which an upload is accepted; otherwise FFmpeg would choose among hundreds.
_DEMUXERS = {"video/mp4": "mov", "video/quicktime": "mov", "video/webm": "matroska", "video/matroska": "matroska"}
# Containers whose packets have exact timestamps and key frame flags.
_SEEKABLE = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class VideoInfo:
    """Metadata of a video's container; `frames` counts its packets, which truncation makes fewer than `declared`.

    `held_seconds` is the time between the first and the last packet, `seconds` the declared duration if that is longer.
    """

    codec: str
    frames: int
    declared: int
    width: int = 0
    height: int = 0
    fps: float | None = None
    seconds: float | None = None
    held_seconds: float = 0.0
    variable_rate: bool = False


class VideoReader:
    """A video opened for one pass, from a file or, as MP4, MOV, WebM or Matroska, from bytes.

    Raises MediaError if there is no video that can be decoded. After iterating, `decoded` counts the frames up to the
    last one reached, `damage` says why decoding ended early, and `note` what could not be shown as a player does.
    """

    def __init__(self, source: Path | bytes) -> None:
        self._source = source
        self.name = "the video" if isinstance(source, bytes) else str(source)
        self._demuxer: str | None = None
        self.decoded = 0
        self.damage = ""
        self.note = ""
        if isinstance(source, bytes):
            self._demuxer = _DEMUXERS.get(media_type(source) or "")
            if self._demuxer is None:
                raise MediaError(f"{self.name}: not a video that can be read; expected MP4, MOV, WebM or Matroska")
        elif not source.is_file():
            raise MediaError(f"{source}: {'is a folder; expected a video' if source.is_dir() else 'no such file'}")
        elif source.stat().st_size == 0:
            raise MediaError(f"{source}: the file is empty")
        self._container: Any = None
        self._aperture = _clean_aperture(source)
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
            # "file:", or FFmpeg takes what is before a colon in a name for a protocol
            file = io.BytesIO(self._source) if isinstance(self._source, bytes) else f"file:{self.name}"
            self._container = av.open(
                file,
                mode="r",
                format=self._demuxer,
                options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"},
                metadata_errors="ignore",
            )
            cover = av.stream.Disposition.attached_pic  # the picture of a sound file
            streams = self._container.streams.video
            self._stream: Any = next((stream for stream in streams if not stream.disposition & cover), None)
        except (av.error.FFmpegError, *_DAMAGE) as error:
            raise MediaError(
                f"{self.name}: not a video that can be read, or cut off before its index ({_reason(error)})"
            ) from None
        if self._stream is None:
            self.close()
            raise MediaError(f"{self.name}: holds no video stream; expected a video")
        self._stream.thread_type = "AUTO"
        context = self._stream.codec_context
        if context is not None:
            # The pictures may be larger than the container says.
            context.options = {"max_pixels": str(MAX_PIXELS)}
            # Every thread holds frames of its own.
            context.thread_count = 1 if context.width * context.height > _LARGE else min(os.cpu_count() or 1, _THREADS)

    def _probe(self) -> VideoInfo:
        import av

        stream = self._stream
        context = stream.codec_context
        if context is None:
            raise MediaError(f"{self.name}: its codec is not known to FFmpeg; convert it to H.264")
        if context.width * context.height > MAX_PIXELS:
            raise MediaError(f"{self.name}: {context.width} x {context.height} is more pixels than are decoded")
        times, keys = array("q"), array("q")
        held = hidden = 0
        with contextlib.suppress(av.error.FFmpegError, *_DAMAGE):
            for packet in self._container.demux(stream):
                if packet.is_discard:  # cut off by an editor, but other frames are decoded from it
                    hidden += 1
                elif packet.size:
                    held += 1
                    if packet.pts is not None:
                        times.append(packet.pts)
                        if packet.is_keyframe:
                            keys.append(packet.pts)
        if not held + hidden:
            raise MediaError(f"{self.name}: holds no frame that can be read; it is damaged, or its index is too long")
        declared = max(int(stream.frames or 0) - hidden, 0)
        ordered = np.sort(np.array(times, dtype=np.int64))
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
        # Seeking gives the frames that counting gives only if each packet is one shown frame with a time of its own.
        exact = not hidden and len(times) == held > 0 and (ordered[1:] > ordered[:-1]).all() and ordered[0] in keys
        seekable = exact and self._container.format.name in _SEEKABLE
        self._shown = array("q", ordered.tobytes()) if seekable else array("q")
        self._keys = sorted(bisect_right(self._shown, key) - 1 for key in keys) if seekable else []
        self._open()
        return info

    def frames(
        self, wanted: set[int] | None, *, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, float | None, Picture]]:
        """Yield index, time in seconds and RGB picture of the wanted frames (None: all), in order.

        Decoding starts at the key frame before each wanted frame if the container's index is exact, else at the first
        frame. It stops after the last wanted frame, or as soon as `stop` returns True. Damage ends the video early.
        """
        import av

        left = None if wanted is None else sorted(wanted)
        try:
            if left and self._shown:
                for index, frame in self._sought(left, stop):
                    yield index, frame.time, self._shown_picture(frame)
                    left = [number for number in left if number > index]
            if left is None or (left and not stop()):
                for index, frame in self._counted(left, stop):
                    yield index, frame.time, self._shown_picture(frame)
        except (av.error.FFmpegError, *_DAMAGE) as error:
            self.damage = _reason(error)

    def _sought(self, wanted: list[int], stop: Callable[[], bool]) -> Iterator[tuple[int, Any]]:
        """The wanted frames by their times; ends before the first one whose time is not the index's."""
        import av

        place = -1
        with contextlib.suppress(av.error.FFmpegError, *_DAMAGE):
            decoder = self._container.decode(self._stream)
            for index in wanted:
                if index >= len(self._shown):
                    return
                key = self._keys[bisect_right(self._keys, index) - 1]
                if key > place + 1:
                    self._container.seek(self._shown[key], stream=self._stream, backward=True)
                    decoder = self._container.decode(self._stream)
                while place != index or place < 0:
                    frame = None if stop() else next(decoder, None)
                    if frame is None or frame.pts is None or frame.pts > self._shown[index]:
                        return
                    place = bisect_right(self._shown, frame.pts) - 1
                self.decoded = index + 1
                yield index, frame

    def _counted(self, wanted: list[int] | None, stop: Callable[[], bool]) -> Iterator[tuple[int, Any]]:
        self._open()
        self.decoded = 0
        chosen = None if wanted is None else set(wanted)
        for frame in self._container.decode(self._stream):
            index = self.decoded
            self.decoded += 1
            if chosen is None or index in chosen:
                yield index, frame
            if stop() or (wanted and index >= wanted[-1]):
                return

    def _shown_picture(self, frame: Any) -> Picture:
        """A decoded frame as RGB, as a player shows it."""
        kind = _light(frame)
        picture = _to_sdr(frame) if kind else None
        if kind and picture is None:
            self.note = f"{kind} video: its colours could not be mapped to BT.709"
        if picture is None:
            picture = frame.to_ndarray(format="rgb24")
        if self._aperture:
            picture = _cropped(picture, *self._aperture)
        aspect = self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio
        if aspect and aspect != 1:
            height, width = picture.shape[:2]
            shown = max(round(width * float(aspect)), 1)
            method = cv2.INTER_AREA if shown < width else cv2.INTER_LINEAR
            if shown * height <= MAX_PIXELS:
                picture = cv2.resize(picture, (shown, height), interpolation=method)
        return np.ascontiguousarray(_oriented(picture, frame))

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container = None


_HDR = {16: "HDR (PQ)", 18: "HDR (HLG)"}
_WIDE = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}


def _light(frame: Any) -> str:
    """Return the name of a colour space that a BT.709 screen does not show as it is: HDR or wide primaries (H.273 numbers)."""
    return _HDR.get(int(frame.color_trc or 0)) or _WIDE.get(int(frame.color_primaries or 0), "")


_converters = threading.local()


def _to_sdr(frame: Any) -> Picture | None:
    """Map a frame to BT.709 with FFmpeg's `scale` filter, None if FFmpeg cannot.

    The filter spends seconds on a colour table for its first frame, so each thread keeps the last one.
    """
    import av
    from av.filter import Graph

    shape = (frame.width, frame.height, frame.format.name, frame.color_trc, frame.color_primaries, frame.colorspace)
    try:
        if getattr(_converters, "shape", None) != shape:
            _converters.shape = None
            graph = Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format.name, time_base=frame.time_base
            )
            scale = graph.add("scale", "out_primaries=bt709:out_transfer=bt709:intent=relative_colorimetric")
            form, sink = graph.add("format", "rgb24"), graph.add("buffersink")
            source.link_to(scale)
            scale.link_to(form)
            form.link_to(sink)
            graph.configure()
            _converters.graph = graph
        _converters.graph.push(frame)
        picture: Picture = _converters.graph.pull().to_ndarray(format="rgb24")
    except (av.error.FFmpegError, *_DAMAGE):
        _converters.shape = None
        return None
    _converters.shape = shape
    return picture


def _oriented(picture: Picture, frame: Any) -> Picture:
    """Apply the display matrix of a frame: quarter turns and mirroring; other angles are rounded to quarter turns."""
    from av.sidedata.sidedata import Type

    found = frame.side_data.get(Type.DISPLAYMATRIX)
    if found is None:
        return picture
    # (x, y) is shown at (a x + c y, b x + d y); the rows of the matrix are (a, b, u), (c, d, v), (x, y, w).
    a, b, _, c, d, *_ = np.frombuffer(bytes(found), dtype=np.int32, count=9).astype(float)
    if abs(a) + abs(d) < abs(b) + abs(c):
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _cropped(picture: Picture, width: int, height: int, left: float, top: float) -> Picture:
    """Cut a clean aperture out of a picture; `left` and `top` are its centre's distance from the picture's centre."""
    rows, columns = picture.shape[:2]
    x, y = round((columns - width) / 2 + left), round((rows - height) / 2 + top)
    if x < 0 or y < 0 or x + width > columns or y + height > rows:
        return picture
    return picture[y : y + height, x : x + width]


# Where `clap` is in an MP4: the boxes around it, and how many bytes come before the boxes inside each.
_TO_APERTURE = (("moov", 0), ("trak", 0), ("mdia", 0), ("minf", 0), ("stbl", 0), ("stsd", 8), ("", 78), ("clap", 0))


def _clean_aperture(source: Path | bytes) -> tuple[int, int, float, float] | None:
    """Return width, height and offset of an MP4's clean aperture (ISO/IEC 14496-12), which FFmpeg does not apply."""
    with (
        contextlib.suppress(OSError, struct.error, ZeroDivisionError),
        io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file,
    ):
        places = [(0, file.seek(0, io.SEEK_END))]
        for kind, skip in _TO_APERTURE:
            places = [(start + skip, end) for place in places for start, end in _boxes(file, *place, kind.encode())]
        for start, _ in places:
            file.seek(start)
            values = struct.unpack(">8i", file.read(32))
            width, height, left, top = (values[i] / values[i + 1] for i in (0, 2, 4, 6))
            return round(width), round(height), left, top
    return None


def _boxes(file: IO[bytes], start: int, end: int, wanted: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of the content of each box of a kind (any, if empty) at one level of an MP4."""
    for _ in range(1000):
        file.seek(start)
        head = file.read(16)
        if start + 8 > end or len(head) < 8:
            return
        size, kind, skip = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, skip = int.from_bytes(head[8:], "big"), 16
        size = end - start if size == 0 else size
        if size < skip:
            return
        if not wanted or kind == wanted:
            yield start + skip, min(start + size, end)
        start += size


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[:120] or type(error).__name__
