"""Recognise the type of a file by its first bytes, not by its name or a request's headers."""

from __future__ import annotations

HEAD = 512
"""So many bytes from a file's start are enough for `media_type`."""

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")
VIDEO_TYPES = ("video/mp4", "video/quicktime", "video/webm", "video/matroska")
"""Together with IMAGE_TYPES the types of uploads; more types are read from the user's own files."""

_STARTS = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
    (b"IIU\0", "image/raw"),
    (b"IIRO", "image/raw"),
    (b"IIRS", "image/raw"),
    (b"FUJIFILMCCD-RAW", "image/raw"),
    (b"\0\0\0\x0cjP  ", "image/jp2"),
    (b"\xff\x4f\xff\x51", "image/jp2"),
    (b"\xff\x0a", "image/jxl"),
    (b"\0\0\0\x0cJXL ", "image/jxl"),
    (b"8BPS", "image/psd"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/asf"),
    (b"FLV\x01", "video/flv"),
    (b"\0\0\x01\xba", "video/mpeg"),
    (b"\0\0\x01\xb3", "video/mpeg"),
    (b"\x06\x0e\x2b\x34", "video/mxf"),
    (b"\x89HDF\r\n\x1a\n", "video/hdf5"),
)
_RIFF = {b"WEBP": "image/webp", b"AVI ": "video/avi"}
# ISO base media files that are no video: pictures and sound in the same container.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "image/heic"),
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"jp2 ", b"jpx "), "image/jp2"),
    b"crx ": "image/raw",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"qt  ": "video/quicktime",
}
_QUICKTIME_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)


def media_type(head: bytes) -> str | None:
    """The type of a picture or a video (`image/...`, `video/...`) by the first HEAD bytes; None for anything else.

    >>> media_type(b"\\xff\\xd8\\xff\\xe0"), media_type(b"<svg")
    ('image/jpeg', None)
    """
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "image/bmp"
    if head.startswith(b"\x1aE\xdf\xa3"):
        # The document type is in the first element, which is a few dozen bytes long.
        return "video/webm" if b"webm" in head[:128] else "video/matroska" if b"matroska" in head[:128] else None
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[4:8] in _QUICKTIME_ATOMS:
        return "video/quicktime"
    # A transport stream, as it is or (Blu-ray, AVCHD) with four bytes before each packet.
    for first, step in ((0, 188), (4, 192)):
        if len(head) > first + 188 and set(head[first::step][:3]) == {0x47}:
            return "video/mp2t"
    # An Ogg stream may be sound alone: of video where its first page names Theora.
    return "video/ogg" if head[:4] == b"OggS" and b"theora" in head[:64] else None
