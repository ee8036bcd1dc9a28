"""Uploads: read into memory and nowhere else, recognised by content, checked before they are decoded."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Literal, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from bonaface.data.frames import Frames, Media, kind_of
from bonaface.data.images import pixels_of
from bonaface.errors import MediaError
from bonaface.server.errors import ApiError
from bonaface.server.settings import Limits

FIELD = "file"
"""Name of the form field that holds a file; it may occur several times."""

JSON_FIELD = "images"
"""Name of the field that holds base64 texts in JSON."""

_DATA_URL = re.compile(r"^data:[^,]{0,100};base64,")
_REFERENCE_FRAMES = 8  # frames that a video decoder keeps at once
_FILE_TYPES = ("image/", "video/", "application/octet-stream")


class Upload(NamedTuple):
    """What is scored, and at which operating point of the bundle."""

    media: Media
    kind: Literal["image", "video"]
    files: int


async def read_upload(request: Request, limits: Limits, arrived: Callable[[int], None]) -> Upload:
    """Return the image, the images of a burst, or the video in a request's body; `arrived` is called with every count of bytes.

    Raises ApiError: too_large, too_slow, malformed, too_many_files, unknown_field, unsupported_request, empty,
    unsupported_format.
    """
    try:
        async with asyncio.timeout(limits.upload_seconds):
            files = await _read_files(request, limits, arrived)
    except TimeoutError:
        raise ApiError("too_slow", headers={"Connection": "close"}) from None
    if not files or not all(files):
        raise ApiError("empty")
    kinds = [kind_of(file) for file in files]
    if None in kinds:
        raise ApiError("unsupported_format")
    if len(files) == 1:
        return Upload(files[0], "image" if kinds[0] == "image" else "video", 1)
    if "video" in kinds:
        raise ApiError("too_many_files")
    return Upload(tuple(files), "video", len(files))


def check(upload: Upload, frames: Frames, limits: Limits) -> float:
    """Return how many pixels are held at once while an opened upload is decoded.

    Raises ApiError where its headers exceed a limit, or are damaged: too_many_pixels, too_long, unreadable.
    """
    if frames.video is not None:
        pixels = float(frames.video.width * frames.video.height)
        if pixels > min(limits.pixels, limits.video_pixels):
            raise ApiError("too_many_pixels")
        if (frames.video.seconds or 0) > limits.seconds or frames.video.frames > limits.video_frames:
            raise ApiError("too_long")
        if pixels * frames.video.frames > limits.video_work:
            raise ApiError("too_long")
        return pixels * _REFERENCE_FRAMES
    files = upload.media if isinstance(upload.media, tuple) else (upload.media,)
    try:
        pixels = max(pixels_of(file) for file in files if isinstance(file, bytes))
    except MediaError:
        raise ApiError("unreadable") from None
    if pixels > limits.pixels:
        raise ApiError("too_many_pixels")
    return pixels


async def _read_files(request: Request, limits: Limits, arrived: Callable[[int], None]) -> list[bytes]:
    kind = parse_options_header(request.headers.get("content-type", ""))[0].decode("latin-1")
    body = _bounded(request.stream(), limits.bytes, arrived)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise ApiError("unsupported_request")
    if kind == "multipart/form-data":
        return await _Form(request.headers, body, limits).files()
    if kind == "application/json":
        return await asyncio.to_thread(_from_json, b"".join([chunk async for chunk in body]), limits)
    if kind.startswith(_FILE_TYPES):
        return [b"".join([chunk async for chunk in body])]
    raise ApiError("unsupported_request")


def _from_json(body: bytes, limits: Limits) -> list[bytes]:
    """Return the files of `{"images": [base64, ...]}`, each with or without `data:image/jpeg;base64,` before it."""
    # Base64 holds none of these: more of them would be millions of objects.
    if body.count(b"{") + body.count(b"[") > 8:
        raise ApiError("malformed")
    if body.count(b",") > 2 * limits.files + 8:
        raise ApiError("too_many_files")
    try:
        given = json.loads(body)
        if not isinstance(given, dict):
            raise ValueError
        for name in given.keys() - {JSON_FIELD}:
            shown = name.encode("utf-8", "replace").decode()[:64]
            raise ApiError(
                "unknown_field", f"Unknown field {shown!r}; expected `{JSON_FIELD}`, a list of base64 texts."
            )
        images = given.get(JSON_FIELD, [])
        if not isinstance(images, list):
            raise ValueError
        if len(images) > limits.files:
            raise ApiError("too_many_files")
        return [base64.b64decode(_DATA_URL.sub("", text, count=1), validate=True) for text in images]
    except (ValueError, TypeError, RecursionError):
        raise ApiError("malformed") from None


async def _bounded(chunks: AsyncIterator[bytes], limit: int, arrived: Callable[[int], None]) -> AsyncIterator[bytes]:
    total = 0
    async for chunk in chunks:
        total += len(chunk)
        if total > limit:
            raise ApiError("too_large")
        arrived(len(chunk))
        yield chunk


class _Form(MultiPartParser):
    """A form whose parts all stay in memory; Starlette's own parser writes files over 1 MB to the disk."""

    def __init__(self, headers: Headers, body: AsyncIterator[bytes], limits: Limits) -> None:
        # A part without a filename is decoded to text: as Latin-1 that keeps every byte.
        latin = Headers({"content-type": f"{headers['content-type']}; charset=latin-1"})
        super().__init__(latin, body, max_part_size=limits.bytes)  # type: ignore[arg-type]
        self.spool_max_size = limits.bytes
        self._left = limits.files
        self._complete = False

    def on_part_begin(self) -> None:
        if not self._left:
            raise ApiError("too_many_files")
        self._left -= 1
        super().on_part_begin()

    def on_end(self) -> None:
        self._complete = True

    async def files(self) -> list[bytes]:
        """Return the content of every part. Raises ApiError."""
        try:
            form = await self.parse()
        except (MultiPartException, FormParserError):
            raise ApiError("malformed") from None
        if not self._complete:
            raise ApiError("malformed")
        try:
            return [await self._content(name, value) for name, value in form.multi_items()]
        finally:
            await form.close()

    async def _content(self, name: str, value: UploadFile | str) -> bytes:
        if name != FIELD:
            shown = name.encode("latin-1").decode("utf-8", "replace")[:64]
            raise ApiError("unknown_field", f"Unknown form field {shown!r}; expected `{FIELD}`, once for each file.")
        return await value.read() if isinstance(value, UploadFile) else value.encode("latin-1")
