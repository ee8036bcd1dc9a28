"""Sources by address: files over http(s), network cameras over rtsp(s), and addresses as text without their secrets."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from bonaface.errors import MediaError, one_line
from bonaface.io.storage import without_passwords

WAIT_SECONDS = 10.0
"""Seconds without an answer after which a connection is given up."""
DOWNLOAD_SECONDS = 120.0
MAX_BYTES = 1_000_000_000
"""Bounds of one download."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_QUERY = re.compile(r"[?#].*", re.DOTALL)


def scheme_of(source: object) -> str:
    """Return the scheme of an address in lower case, "" for what is not an address.

    >>> scheme_of("RTSP://camera/live"), scheme_of("c:/clip.mp4"), scheme_of(0)
    ('rtsp', '', '')
    """
    found = _SCHEME.match(source) if isinstance(source, str) else None
    return found[1].lower() if found else ""


def shown(address: str) -> str:
    """Return an address without user name, password and query, which may hold a key.

    >>> shown("https://me:secret@host/a.jpg?key=1")
    'https://host/a.jpg'
    """
    return _QUERY.sub("", without_passwords(address))


def download(address: str) -> Path:
    """Return the path of a file fetched over http(s), alone in a new temporary folder that the caller removes.

    Raises MediaError, which names the address without its secrets, where it cannot be fetched within the bounds.
    """
    import requests
    from urllib3.exceptions import HTTPError

    name = shown(address)
    folder = Path(tempfile.mkdtemp(prefix="bonaface-"))
    try:
        # The suffix says what a file is where its content does not.
        target = folder / f"file{re.sub(r'[^.a-zA-Z0-9]', '', PurePosixPath(urlsplit(address).path).suffix)[:8]}"
        with requests.get(address, stream=True, timeout=WAIT_SECONDS) as answer:
            _check(name, answer.status_code, answer.headers.get("Content-Type", ""))
            end, size = time.monotonic() + DOWNLOAD_SECONDS, 0
            with target.open("wb") as file:
                # read1 returns what has arrived, so that the time is looked at however slowly it comes.
                while chunk := answer.raw.read1(1 << 16, decode_content=True):
                    size += file.write(chunk)
                    if size > MAX_BYTES:
                        what = f"longer than the {MAX_BYTES // 1_000_000} MB that are fetched"
                        raise MediaError(f"{name}: {what}; download it first")
                    if time.monotonic() > end:
                        what = f"not complete within {DOWNLOAD_SECONDS:.0f} seconds"
                        raise MediaError(f"{name}: {what}; download it first")
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, requests.RequestException | HTTPError | ValueError | OSError):
            raise MediaError(f"{name}: {why_it_failed(error, seconds=WAIT_SECONDS)}") from None
        raise
    return target


def _check(name: str, status: int, content: str) -> None:
    if status != HTTPStatus.OK:
        phrase = HTTPStatus(status).phrase if status in list(HTTPStatus) else "unknown"
        raise MediaError(f"{name}: the server answered {status} ({phrase}); expected a file")
    if content.startswith("multipart/x-mixed-replace"):
        raise MediaError(f"{name}: a stream without end; expected a file, or the camera's rtsp:// address")


def why_it_failed(error: Exception, *, seconds: float) -> str:
    """Return why a file could not be fetched; `seconds` is how long an answer was waited for."""
    from requests import exceptions
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    answer = getattr(error, "response", None)
    if answer is not None and not answer.ok:
        return f"the server answered {answer.status_code} {answer.reason}"
    if isinstance(error, exceptions.SSLError):
        return "no connection: the server's certificate cannot be verified"
    if isinstance(error, exceptions.TooManyRedirects):
        return "the server redirects without end"
    if isinstance(error, exceptions.ConnectionError | exceptions.Timeout | ReadTimeoutError):
        return f"no connection to the server, or no answer within {seconds:.0f} seconds; check the address"
    if isinstance(error, HTTPError | exceptions.ChunkedEncodingError):
        return "the connection broke before the file was complete"
    if isinstance(error, OSError) and not isinstance(error, exceptions.RequestException):
        return f"it cannot be stored while it is read ({error.strerror or error})"
    if isinstance(error, exceptions.InvalidSchema | exceptions.InvalidProxyURL):
        return one_line(error)
    return "not a valid address; expected one such as https://host/file.mp4"
