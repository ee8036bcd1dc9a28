"""What an upload holds, told by its first bytes: names and headers of a request are not believed."""

from __future__ import annotations

__all__ = ["IMAGE_TYPES", "VIDEO_TYPES", "media_type"]

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")
VIDEO_TYPES = ("video/mp4", "video/quicktime", "video/webm")

# ISO base media files that are no video: pictures and sound in the same container.
_OTHER_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1", b"jpx ", b"crx ", b"M4A ")
_QUICKTIME_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def media_type(content: bytes) -> str | None:
    """One of IMAGE_TYPES or VIDEO_TYPES; None for everything else.

    >>> media_type(b"\\xff\\xd8\\xff\\xe0"), media_type(b"<svg")
    ('image/jpeg', None)
    """
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content.startswith(b"\x1aE\xdf\xa3"):
        # The document type stands within the first element, which is a few dozen bytes long.
        return "video/webm" if b"webm" in content[:128] else None
    atom = content[4:8]
    if atom == b"ftyp":
        brand = content[8:12]
        if brand in _OTHER_BRANDS:
            return None
        return "video/quicktime" if brand == b"qt  " else "video/mp4"
    return "video/quicktime" if atom in _QUICKTIME_ATOMS else None
