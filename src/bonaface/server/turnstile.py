"""Turning away at next to no cost: what a full server spends on refusals, it takes from the requests that it accepted.

A request for a verdict that finds no place is answered from its first bytes, without a task, a parser or an application.
Only a request whose head is complete and plain is treated so; everything else goes the long way, and is refused there.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable
from typing import NamedTuple

from bonaface.server.errors import Refusal
from bonaface.server.metrics import Metrics
from bonaface.server.middleware import HEADERS, LIVENESS, key_fits
from bonaface.server.request_queue import Desk
from bonaface.server.settings import ServerSettings

__all__ = ["Turned", "Turnstile"]

_LINE = rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+:[\t \x21-\x7e\x80-\xff]*\r\n"
_REQUEST = re.compile(rb"POST %s HTTP/1\.1\r\n((?:%s){1,64})\r\n" % (re.escape(LIVENESS).encode(), _LINE))
_MOST = 16_384  # bytes of a head that are looked at
_UNUSUAL = {b"transfer-encoding", b"expect", b"upgrade", b"connection"}


class Turned(NamedTuple):
    """An answer, and how many bytes of the refused request's head and body it stands for."""

    answer: bytes
    length: int


class Turnstile:
    """Refuses what would find no place at the desk; called from the event loop alone."""

    def __init__(self, desk: Desk, metrics: Metrics, settings: ServerSettings) -> None:
        self._desk = desk
        self._metrics = metrics
        self._most = settings.limits.bytes
        self._key = settings.key.encode()
        self._fixed = b"".join(b"%s: %s\r\n" % header for header in HEADERS)

    def turn_away(self, data: bytes, default_headers: Iterable[tuple[bytes, bytes]]) -> Turned | None:
        """The refusal of the request that `data` begins with, or None where that has to go the long way."""
        desk = self._desk
        if desk.closing or desk.has_room(self._most):
            return None
        head = _REQUEST.match(data, 0, _MOST)
        if head is None:
            return None
        lines = [line.split(b":", 1) for line in head[1].split(b"\r\n")[:-1]]
        headers = {name.lower(): value.strip() for name, value in lines}
        length = headers.get(b"content-length", b"")
        if (
            len(headers) < len(lines)
            or not headers.keys().isdisjoint(_UNUSUAL)
            or b"host" not in headers
            or not (length.isdigit() and len(length) < 12)
            or int(length) > self._most
            or desk.has_room(int(length))
            or not key_fits(self._key, headers)
        ):
            return None
        self._metrics.refused("busy")
        self._metrics.answered(429)
        request_id = uuid.uuid4().hex
        body = json.dumps(Refusal("busy").body(request_id), separators=(",", ":")).encode()
        answer = (
            b"HTTP/1.1 429 Too Many Requests\r\n%scontent-length: %d\r\ncontent-type: application/json\r\n"
            b"retry-after: %d\r\n%sx-request-id: %s\r\n\r\n%s"
        ) % (
            b"".join(b"%s: %s\r\n" % header for header in default_headers),
            len(body),
            desk.retry_after(),
            self._fixed,
            request_id.encode(),
            body,
        )
        return Turned(answer, head.end() + int(length))
