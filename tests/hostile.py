"""Containers written box by box, which declare what they do not hold."""

from __future__ import annotations

import struct


def box(kind: str, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind.encode() + body


def full(kind: str, *parts: bytes, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", flags), *parts)


def mp4_of_samples(samples: int, *, chunks: int = 1, size: int = 1, payload: int = 64, sides: int = 240) -> bytes:
    """An MP4 that declares `samples` samples of `size` bytes, in `chunks` chunks that all lie at one place."""
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 0x40000000)
    long = samples & 0x7FFFFFFF
    settings = bytes.fromhex("0142c00dffe100186742c00dda0f0a6840000003004000000c03c50aa801000468ce3c80")
    entry = box(
        "avc1",
        bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HHII", sides, sides, 0x480000, 0x480000),
        bytes(4) + struct.pack(">H", 1) + bytes(32) + struct.pack(">Hh", 24, -1),
        box("avcC", settings),
    )

    def head(at: int) -> bytes:
        table = box(
            "stbl",
            full("stsd", struct.pack(">I", 1), entry),
            full("stts", struct.pack(">III", 1, samples, 1)),
            full("stsc", struct.pack(">IIII", 1, 1, -(-samples // chunks), 1)),
            full("stsz", struct.pack(">II", size, samples)),
            full("stco", struct.pack(">I", chunks), struct.pack(">I", at) * chunks),
        )
        link = box("dinf", full("dref", struct.pack(">I", 1), full("url ", flags=1)))
        media = box(
            "mdia",
            full("mdhd", struct.pack(">IIIIHH", 0, 0, 1000, long, 0x55C4, 0)),
            full("hdlr", struct.pack(">I", 0), b"vide", bytes(13)),
            box("minf", full("vmhd", bytes(8), flags=1), link, table),
        )
        shape = struct.pack(">II", sides << 16, sides << 16)
        track = full("tkhd", struct.pack(">IIIII", 0, 0, 1, 0, long), bytes(16), matrix, shape, flags=3)
        movie = full(
            "mvhd", struct.pack(">IIIIiH", 0, 0, 1000, long, 65536, 256), bytes(10), matrix, bytes(24), b"\0\0\0\2"
        )
        start = box("ftyp", b"isom", struct.pack(">I", 512), b"isomavc1")
        return start + box("moov", movie, box("trak", track, media))

    return head(len(head(0)) + 8) + box("mdat", bytes(payload))
