"""Files that a sender should not send, each made from bytes up."""

from __future__ import annotations

import io
import random
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

__all__ = [
    "animated",
    "bit_flipped",
    "bomb_png",
    "cmyk_jpeg",
    "grey16_png",
    "many_scans_jpeg",
    "patched",
    "rotated_mp4",
    "sound",
    "turned_jpeg",
    "video",
    "with_duration",
]


def bomb_png(side: int = 20_000) -> bytes:
    """A PNG of one bit a pixel, all zero: 48 KB that stand for 400 million pixels."""
    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    data = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


def bit_flipped(content: bytes, seed: int, flips: int = 8) -> bytes:
    rng = random.Random(seed)
    changed = bytearray(content)
    for _ in range(flips):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def grey16_png(frame: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray((frame.mean(axis=2) * 257).astype(np.uint16)).save(file, "PNG")
    return file.getvalue()


def cmyk_jpeg(frame: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).convert("CMYK").save(file, "JPEG", quality=95)
    return file.getvalue()


def many_scans_jpeg(frame: np.ndarray, passes: int) -> bytes:
    """A progressive JPEG whose last scan, of some 50 bytes, comes again and again: each goes over the whole picture."""
    file = io.BytesIO()
    Image.fromarray(np.full(frame.shape[:2], 128, np.uint8)).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    tables = content.rindex(b"\xff\xc4", 0, content.rindex(b"\xff\xda"))
    return content[:-2] + content[tables:-2] * passes + content[-2:]


def animated(frames: list[np.ndarray], form: str) -> bytes:
    file = io.BytesIO()
    first, *others = [Image.fromarray(frame) for frame in frames]
    first.save(file, form, save_all=True, append_images=others, duration=50)
    return file.getvalue()


def turned_jpeg(frame: np.ndarray, orientation: int) -> bytes:
    """The frame stored so that a viewer that heeds `orientation` shows it upright."""
    undo = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }[orientation]
    image = Image.fromarray(frame)
    for step in undo:
        image = image.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def video(
    frames: list[np.ndarray], suffix: str = "mp4", *, codec: str = "libx264", fps: float = 15, seconds: float = 0.0
) -> bytes:
    """The frames as a video, over and over until `seconds` are full."""
    file = io.BytesIO()
    with av.open(file, "w", format=suffix) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for number in range(max(len(frames), round(seconds * fps))):
            picture = av.VideoFrame.from_ndarray(frames[number % len(frames)], format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return file.getvalue()


def sound(suffix: str, codec: str) -> bytes:
    """Half a second of silence and no picture."""
    file = io.BytesIO()
    with av.open(file, "w", format=suffix) as container:
        stream = container.add_stream(codec, rate=48_000)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        for number in range(25):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts = 48_000, number * 960
            container.mux(stream.encode(silence))
        container.mux(stream.encode())
    return file.getvalue()


def patched(content: bytes, atom: bytes, offset: int, value: bytes) -> bytes:
    """An MP4 with `value` written `offset` bytes after the name of an atom."""
    place = content.index(atom) + 4 + offset
    return content[:place] + value + content[place + len(value) :]


def with_duration(content: bytes, seconds: int) -> bytes:
    """An MP4 whose track says that it lasts `seconds`."""
    place = content.index(b"mdhd") + 4
    (scale,) = struct.unpack(">I", content[place + 12 : place + 16])
    return patched(content, b"mdhd", 16, struct.pack(">I", scale * seconds))


def rotated_mp4(frames: list[np.ndarray]) -> bytes:
    """Frames stored lying, with the note that a player should turn them by a quarter clockwise."""
    lying = [np.ascontiguousarray(np.rot90(frame)) for frame in frames]
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    return patched(video(lying), b"tkhd", 40, matrix)


def save(content: bytes, path: Path) -> Path:
    path.write_bytes(content)
    return path
