"""Decode pictures to upright RGB under limits; write JPEGs for the crop store."""

from __future__ import annotations

import contextlib
import io
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bonaface.data.signatures import HEAD, media_type
from bonaface.errors import MediaError, one_line

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"),
        # HEIC needs an extra; the others are not decoded, and are refused by name.
        *(".heic", ".heif", ".jp2", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw"),
    }
)
"""Suffixes of pictures, whether they are decoded or not."""

MAX_PIXELS = 50_000_000
"""Pictures of more pixels are refused before they are decoded, except JPEG, which decodes at a fraction of its size."""

MAX_JPEG_PIXELS = 400_000_000
"""JPEGs of more pixels are refused; up to here they are decoded at a half, a quarter or an eighth of their size."""

MAX_BYTES = 128 * 1024 * 1024
"""A longer file is refused unread."""

_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
_TRUSTED_FORMATS = {
    **_FORMATS,
    "image/bmp": "BMP",
    "image/gif": "GIF",
    "image/tiff": "TIFF",
    "image/avif": "AVIF",
    "image/heic": "HEIF",
}
_ORIENTATION = 0x0112

_MAX_SCANS = 64
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL, _END, _SCAN, _BARE = {0xC0, 0xC1}, 0xD9, 0xDA, {0x01, 0xD8}

_BAND = 64  # rows

# warnings.catch_warnings changes the whole process: threads must not interleave in it.
_HEADER_LOCK = threading.Lock()


def read_image(source: Path | str | bytes, *, trusted: bool = False) -> NDArray[np.uint8]:
    """Return the picture as RGB, (height, width, 3), turned upright by its EXIF orientation.

    JPEG, PNG and WebP are read, whatever the suffix says; if the source is `trusted` (a file of the user's, not an
    upload) also BMP, GIF, TIFF, AVIF and, with the extra `heif`, HEIC. 16-bit grey is scaled, transparency is laid over
    white, and of an animation the first frame is taken. A JPEG of more than MAX_PIXELS is decoded at a fraction of its
    size. Raises MediaError.
    """
    name = "the image" if isinstance(source, bytes) else str(source)
    try:
        with _opened(source, name) as file:
            return _decode(file, formats=_TRUSTED_FORMATS if trusted else _FORMATS)
    except _Refused as refusal:
        raise MediaError(f"{name}: {refusal}") from None
    except MemoryError:
        raise MediaError(f"{name}: too large for the memory of this machine") from None


def pixels_of(content: bytes) -> int:
    """Return the number of pixels that the header of a JPEG, PNG or WebP declares. Raises MediaError."""
    try:
        with _header_of(io.BytesIO(content), _FORMATS) as image:
            return int(image.size[0] * image.size[1])
    except _Refused as refusal:
        raise MediaError(f"the image: {refusal}") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged data
        raise MediaError(f"the image: damaged: {one_line(error)}") from None


def pixels_of_picture(image: Image.Image) -> NDArray[np.uint8]:
    """Return a Pillow image as `read_image` would its file: RGB (height, width, 3), upright. Raises MediaError."""
    try:
        return np.ascontiguousarray(_upright(_to_rgb(image), _orientation(image)))
    except Exception as error:  # Pillow decodes late, and its decoders raise nearly anything on damaged data
        raise MediaError(f"the picture cannot be decoded: {one_line(error)}") from None


def encode_jpeg(image: NDArray[np.uint8], *, quality: int = 95) -> bytes:
    """A JPEG of an RGB image, without chroma subsampling."""
    import cv2

    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR), options)
    return bytes(data)


class _Refused(Exception):
    """The reason why a picture is refused."""


def _opened(source: Path | str | bytes, name: str) -> IO[bytes]:
    file: IO[bytes]
    try:
        if isinstance(source, bytes):
            size, file = len(source), io.BytesIO(source)
        elif Path(source).is_dir():
            raise MediaError(f"{name}: is a folder; expected an image")
        else:
            size, file = Path(source).stat().st_size, Path(source).open("rb")  # noqa: SIM115
    except FileNotFoundError:
        raise MediaError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:
        raise MediaError(f"{name}: {getattr(error, 'strerror', None) or error}") from None
    if 0 < size <= MAX_BYTES:
        return file
    file.close()
    if size == 0:
        raise _Refused("the file is empty")
    raise _Refused(f"{size / 1e6:.0f} MB is longer than the {MAX_BYTES // 1_000_000} MB that are read")


def _decode(file: IO[bytes], *, formats: Mapping[str, str]) -> NDArray[np.uint8]:
    try:
        with _header_of(file, formats) as image:
            _check_size(image)
            if image.format in {"JPEG", "MPO"} and formats is _FORMATS:
                _check_scans(file)
            if image.format == "PNG":
                _check_sums(file)
                image.load()
                with _HEADER_LOCK, warnings.catch_warnings():
                    _read_exif(image)
            orientation = _orientation(image)
            pixels = _to_rgb(image)
    except (_Refused, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged data
        raise _Refused(f"damaged: {one_line(error)}") from None
    return np.ascontiguousarray(_upright(pixels, orientation))


@contextlib.contextmanager
def _header_of(file: IO[bytes], formats: Mapping[str, str]) -> Iterator[Image.Image]:
    """Open a picture with the one decoder that its first bytes ask for, without Pillow's own limit of pixels."""
    kind = media_type(file.read(HEAD)) or ""
    file.seek(0)
    name = formats.get(kind)
    if name is None or (name == "HEIF" and not _has_heif()):
        raise _Refused(_refusal(kind, formats))
    with _HEADER_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about damage next to the picture
        Image.preinit()
        if name not in Image.OPEN:
            Image.init()
        image = Image.OPEN[name][0](file, "")
        # The EXIF block of a PNG may follow the pixels: Pillow would decode them, whatever their number.
        if image.format != "PNG":
            _read_exif(image)
    with image:
        yield image


def _read_exif(image: Image.Image) -> None:
    """Read the EXIF block without a word on its damage, which is no reason to lose the picture."""
    warnings.simplefilter("ignore")
    with contextlib.suppress(Exception):
        image.getexif()


@cache
def _has_heif() -> bool:
    try:
        import pi_heif
    except ModuleNotFoundError:
        return False
    pi_heif.register_heif_opener()
    return True


def _check_size(image: Image.Image) -> None:
    """Refuse a picture of too many pixels; make Pillow decode a large JPEG at a fraction of its size."""
    width, height = image.size
    if width * height <= MAX_PIXELS:
        return
    most = MAX_PIXELS
    # A progressive JPEG is held in memory whole before it is shrunk.
    if image.format in {"JPEG", "MPO"} and not image.info.get("progressive"):
        most = MAX_JPEG_PIXELS
        fraction = next((part for part in (2, 4, 8) if width * height <= MAX_PIXELS * part**2), None)
        if fraction is not None and width * height <= most:
            image.draft("RGB", (width // fraction, height // fraction))
            return
    raise _Refused(f"{width} x {height} is more than the {most // 1_000_000} million pixels that are decoded")


def _check_sums(file: IO[bytes]) -> None:
    """Refuse a PNG with a wrong checksum: Pillow decodes what it finds and says nothing."""
    place = file.tell()
    file.seek(0)
    Image.OPEN["PNG"][0](file, "").verify()
    file.seek(place)


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
    if image.mode == "F":
        raise _Refused("its pixels are floating-point numbers of an unknown range; save it with 8 bits")
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


def _refusal(kind: str, formats: Mapping[str, str]) -> str:
    *most, last = formats.values()
    expected = f"expected {', '.join(most)} or {last}"
    name = kind.partition("/")[2].upper()
    if kind == "image/heic" and kind in formats:
        extra = 'the extra `heif` (in a clone: pip install ".[heif]")'
        return f"a picture in the format {name}, which needs {extra}, or convert it to JPEG"
    if kind.startswith("image/"):
        return f"a picture in the format {name}, which is not read; {expected}: convert it"
    return f"not an image that can be read; {expected}"
