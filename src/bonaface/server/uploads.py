"""What a request sends, read into memory and nowhere else, and held against the limits before it is decoded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Literal, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from bonaface.data.frames import Media, kind_of
from bonaface.data.images import pixels_of
from bonaface.data.video import VideoReader
from bonaface.errors import MediaError
from bonaface.server.errors import Refusal
from bonaface.server.settings import Limits, ServerSettings

__all__ = ["FIELD", "Upload", "check", "read_files", "upload_of"]

FIELD = "file"
"""Name of the form field that holds a file; it may come several times."""

_REFERENCES = 8  # frames that a video decoder keeps, or the space of as many
_RAW = ("image/", "video/", "application/octet-stream")


class Upload(NamedTuple):
    """What is to be judged, and which operating point of the bundle judges it."""

    media: Media
    kind: Literal["image", "video"]


async def read_files(
    chunks: AsyncIterator[bytes], *, content_type: str, encoding: str, settings: ServerSettings
) -> list[bytes]:
    """The files in a body, whether it is one file as it is or a form of several.

    Raises Refusal: too_large, too_slow, malformed, too_many_files, unsupported_request.
    """
    kind, options = parse_options_header(content_type)
    if encoding not in {"", "identity"}:
        raise Refusal("unsupported_request")
    body = _in_time(_limited(chunks, settings.limits.bytes), settings)
    if kind == b"multipart/form-data":
        form = _Form(options.get(b"boundary", b""), limit=settings.limits.files)
        async for chunk in body:
            form.write(chunk)
        return form.files()
    if kind.decode("latin-1").startswith(_RAW):
        whole = bytearray()
        async for chunk in body:
            whole += chunk
        return [bytes(whole)]
    raise Refusal("unsupported_request")


def upload_of(files: list[bytes]) -> Upload:
    """Tell files apart by their content: one image, the images of a burst, or one video.

    Raises Refusal: empty, unsupported_format, too_many_files.
    """
    if not files or not all(files):
        raise Refusal("empty")
    kinds = [kind_of(file) for file in files]
    if None in kinds:
        raise Refusal("unsupported_format")
    if len(files) == 1:
        return Upload(files[0], "image" if kinds[0] == "image" else "video")
    if "video" in kinds:
        raise Refusal("too_many_files")
    return Upload(tuple(files), "video")


def check(media: Media, limits: Limits) -> float:
    """Hold what the headers say against the limits; how many pixels will be held at once to decode it.

    Raises Refusal: too_many_pixels, too_long, unreadable.
    """
    held = 0.0
    try:
        for content in media if isinstance(media, tuple) else (media,):
            assert isinstance(content, bytes)
            if kind_of(content) == "image":
                held = max(held, pixels_of(content))
                if held > limits.pixels:
                    raise Refusal("too_many_pixels")
                continue
            reader = VideoReader(content)
            reader.close()
            held = float(reader.info.width * reader.info.height)
            if held > min(limits.pixels, limits.video_pixels):
                raise Refusal("too_many_pixels")
            if (reader.info.seconds or 0) > limits.seconds or reader.info.frames > limits.frames:
                raise Refusal("too_long")
            if held * reader.info.frames > limits.video_work:
                raise Refusal("too_long")
            held *= _REFERENCES
    except MediaError:
        raise Refusal("unreadable") from None
    return held


async def _limited(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    total = 0
    async for chunk in chunks:
        total += len(chunk)
        if total > limit:
            raise Refusal("too_large")
        yield chunk


async def _in_time(chunks: AsyncIterator[bytes], settings: ServerSettings) -> AsyncIterator[bytes]:
    """The chunks, as long as they come at the rate that is asked for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.body_grace
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise Refusal("too_slow") from None
        if chunk is None:
            return
        deadline += len(chunk) / settings.body_rate
        yield chunk


class _Form:
    """The parts of a multipart form that is written to it, kept in memory."""

    def __init__(self, boundary: bytes, *, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytearray] = []
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._complete = False
        if not boundary:
            raise Refusal("malformed")
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._collector(0),
                    "on_header_value": self._collector(1),
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._check_name,
                    "on_part_data": lambda data, start, end: self._parts[-1].extend(data[start:end]),
                    "on_end": self._end,
                },
                max_header_count=8,
            )
        except FormParserError:
            raise Refusal("malformed") from None

    def write(self, chunk: bytes) -> None:
        """Parse a piece of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise Refusal("malformed") from None

    def files(self) -> list[bytes]:
        """The files, once the body has ended."""
        if not self._complete:
            raise Refusal("malformed")
        return [bytes(part) for part in self._parts]

    def _begin(self) -> None:
        if len(self._parts) == self._limit:
            raise Refusal("too_many_files")
        self._parts.append(bytearray())
        self._name = b""

    def _collector(self, which: int) -> Callable[[bytes, int, int], None]:
        return lambda data, start, end: self._header[which].extend(data[start:end])

    def _header_end(self) -> None:
        field, value = map(bytes, self._header)
        for part in self._header:
            part.clear()
        if field.lower() == b"content-disposition":
            self._name = parse_options_header(value)[1].get(b"name", b"")

    def _check_name(self) -> None:
        if self._name != FIELD.encode():
            raise Refusal("unsupported_request")

    def _end(self) -> None:
        self._complete = True
