"""Pictures from anywhere, decoded to upright RGB under limits; and the JPEG writer of the crop store."""

from __future__ import annotations

import contextlib
import io
import math
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bonaface.data.signatures import HEAD, media_type
from bonaface.errors import MediaError

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"),
        # Not decoded yet, and refused by name: better than passed over.
        *(".heic", ".heif", ".avif", ".tif", ".tiff", ".jp2", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw"),
    }
)
"""Suffixes of pictures, whether they are decoded or not."""

MAX_PIXELS = 50_000_000
"""More pixels than this are refused before they are decoded."""

MAX_BYTES = 128 * 1024 * 1024
"""A longer file is refused unread."""

_FORMATS = ("JPEG", "PNG", "WEBP")
_TRUSTED_FORMATS = (*_FORMATS, "BMP")
_ORIENTATION = 0x0112

_MAX_SCANS = 64
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL, _END, _SCAN, _BARE = {0xC0, 0xC1}, 0xD9, 0xDA, {0x01, 0xD8}

_BAND = 64  # rows

# warnings.catch_warnings changes the whole process: threads must not interleave in it.
_HEADER_LOCK = threading.Lock()


def read_image(source: Path | str | bytes, *, trusted: bool = False) -> NDArray[np.uint8]:
    """The picture as RGB, (height, width, 3), turned upright by its EXIF orientation.

    JPEG, PNG and WebP are read, whatever the suffix says; BMP too where the source is `trusted` (a dataset, not an
    upload). 16-bit grey is scaled, transparency is laid over white, of an animation the first frame is taken.
    Raises MediaError.
    """
    name = "the image" if isinstance(source, bytes) else str(source)
    try:
        with _opened(source, name) as file:
            return _decode(file, formats=_TRUSTED_FORMATS if trusted else _FORMATS)
    except _Refused as refusal:
        raise MediaError(f"{name}: {refusal}") from None
    except MemoryError:
        raise MediaError(f"{name}: too large for the memory of this machine") from None


def pixels_of(content: bytes) -> float:
    """How many pixels a JPEG, PNG or WebP says it has, from its header; infinite where Pillow takes it for a bomb.

    Raises MediaError.
    """
    try:
        with _HEADER_LOCK, _bombs_refused(), Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            return float(image.size[0] * image.size[1])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return math.inf
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged data
        raise MediaError(f"the image: {_fault(error, _FORMATS, content[:HEAD])}") from None


def pixels_of_picture(image: Image.Image) -> NDArray[np.uint8]:
    """Return a Pillow image as `read_image` would its file: RGB (height, width, 3), upright. Raises MediaError."""
    try:
        return np.ascontiguousarray(_upright(_to_rgb(image), _orientation(image)))
    except Exception as error:  # Pillow decodes late, and its decoders raise nearly anything on damaged data
        raise MediaError(f"the picture cannot be decoded: {' '.join(str(error).split())}") from None


def encode_jpeg(image: NDArray[np.uint8], *, quality: int = 95) -> bytes:
    """A JPEG of an RGB image, without chroma subsampling."""
    import cv2

    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR), options)
    return bytes(data)


class _Refused(Exception):
    """Why a picture is not taken."""


def _opened(source: Path | str | bytes, name: str) -> IO[bytes]:
    if isinstance(source, bytes):
        size, file = len(source), io.BytesIO(source)
        return _sized(file, size)
    path = Path(source)
    try:
        if path.is_dir():
            raise MediaError(f"{name}: is a folder; expected an image")
        return _sized(path.open("rb"), path.stat().st_size)
    except FileNotFoundError:
        raise MediaError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:
        raise MediaError(f"{name}: {getattr(error, 'strerror', None) or error}") from None


def _sized(file: IO[bytes], size: int) -> IO[bytes]:
    if 0 < size <= MAX_BYTES:
        return file
    file.close()
    if size == 0:
        raise _Refused("the file is empty")
    raise _Refused(f"{size / 1e6:.0f} MB is longer than the {MAX_BYTES // 1_000_000} MB that are read")


def _decode(file: IO[bytes], *, formats: tuple[str, ...]) -> NDArray[np.uint8]:
    with contextlib.ExitStack() as stack:
        try:
            with _HEADER_LOCK, _bombs_refused():
                image = stack.enter_context(Image.open(file, formats=formats))
                orientation = _orientation(image)
            _check_pixels(image)
            if image.format in {"JPEG", "MPO"}:
                _check_scans(file)
            pixels = _to_rgb(image)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise _Refused(f"more than the {MAX_PIXELS // 1_000_000} million pixels that are decoded") from None
        except (_Refused, MemoryError):
            raise
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged data
            file.seek(0)
            raise _Refused(_fault(error, formats, file.read(HEAD))) from None
    return np.ascontiguousarray(_upright(pixels, orientation))


@contextlib.contextmanager
def _bombs_refused() -> Iterator[None]:
    """Errors of Pillow's warnings of size; its others are of damage beside the picture, such as in its EXIF block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _check_pixels(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _Refused(f"{width} x {height} is more than the {MAX_PIXELS // 1_000_000} million pixels that are decoded")


def _check_scans(file: IO[bytes]) -> None:
    """Refuse a JPEG that passes over the picture again and again: a pass of 50 bytes costs as much as the whole picture."""
    place = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(place)
    components, sequential, scans, at = 0, False, 0, 0
    while (found := _MARKER.search(data, at)) and (marker := found[1][0]) != _END:
        at = found.end()
        if marker in _BARE:
            continue
        segment = data[at : at + 8]
        if marker in _FRAME_HEADERS and len(segment) == 8:
            components, sequential = segment[7], marker in _SEQUENTIAL
        if marker == _SCAN and len(segment) == 8:
            scans += 1
            if sequential and segment[2] >= components:
                return
            if scans > _MAX_SCANS:
                raise _Refused(f"a JPEG of more than {_MAX_SCANS} scans; expected no more than encoders make")
        at += int.from_bytes(segment[:2], "big")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block is no reason to lose the picture
        return 1


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16") or image.mode == "I":
        # convert("RGB") would clip at 255 instead of scaling
        grey = np.asarray(image).astype(np.uint32)
        grey8 = ((np.minimum(grey, 65535) + 128) // 257).astype(np.uint8)
        return np.repeat(grey8[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return _pixels(image if image.mode == "RGB" else image.convert("RGB"))


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of an RGB image, band by band: Pillow's copy of a large one in a piece takes twice as long."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _BAND):
        pixels[top : top + _BAND] = np.asarray(image.crop((0, top, width, min(top + _BAND, height))))
    return pixels


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if 5 <= orientation <= 8:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return pixels


def _fault(error: Exception, formats: tuple[str, ...], head: bytes) -> str:
    if isinstance(error, UnidentifiedImageError):
        expected = f"expected {', '.join(formats[:-1])} or {formats[-1]}"
        kind = media_type(head) or ""
        name = kind.partition("/")[2].upper()
        if kind.startswith("image/") and name not in formats:
            return f"a picture in the format {name}, which is not read; {expected}: convert it"
        return f"not an image that can be read; {expected}"
    return f"damaged: {' '.join(str(error).split()) or type(error).__name__}"
