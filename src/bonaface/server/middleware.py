"""What is settled before a request is read: who may ask, whether there is a place, and how every answer looks."""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bonaface.server.errors import Refusal
from bonaface.server.metrics import Metrics
from bonaface.server.request_queue import Desk
from bonaface.server.settings import ServerSettings

__all__ = ["HEADERS", "LIVENESS", "Gate", "key_fits", "refuse", "request_id_of"]

_LOGGER = logging.getLogger("bonaface.server")

LIVENESS = "/v1/liveness"
_LOCKED = ("/v1/", "/metrics")

HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
        b"media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]
"""What every answer says besides its own headers."""


class Gate:
    """Middleware. A request for a verdict that passes it holds a place, in `scope["state"]["place"]`."""

    def __init__(self, app: ASGIApp, *, desk: Desk, metrics: Metrics, settings: ServerSettings) -> None:
        self._app = app
        self._desk = desk
        self._metrics = metrics
        self._settings = settings
        self._key = settings.key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that cannot go further, or let it through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["request_id"] = uuid.uuid4().hex
        if scope["method"] == "HEAD":
            # The protocol sends no body in answer to the request that it knows.
            scope = {**scope, "method": "GET"}

        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._metrics.answered(message["status"])
                name = (b"x-request-id", state["request_id"].encode())
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS, name]}
            await send(message)

        try:
            headers = dict(scope["headers"])
            self._check_key(scope["path"], headers)
            if scope["path"] == LIVENESS and scope["method"] == "POST":
                length = self._length(headers.get(b"content-length", b""))
                if self._desk.closing:
                    raise Refusal("closing")
                place = self._desk.enter(length)
                if place is None:
                    raise Refusal("busy")
                state["place"] = place
        except Refusal as refusal:
            await refuse(refusal, state["request_id"], self._metrics, self._desk)(scope, receive, answer)
            return
        try:
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            self._metrics.refused("gone")
        except Exception:
            _LOGGER.exception("request %s failed", state["request_id"])
            if begun:
                raise
            await refuse(Refusal("internal"), state["request_id"], self._metrics, self._desk)(scope, receive, answer)

    def _check_key(self, path: str, headers: dict[bytes, bytes]) -> None:
        if path.startswith(_LOCKED) and not key_fits(self._key, headers):
            raise Refusal("unauthorized")

    def _length(self, announced: bytes) -> int:
        """Bytes that a body may have: what its header says, or the most that is read."""
        most = self._settings.limits.bytes
        length = int(announced) if announced.isdigit() else most
        if length > most:
            raise Refusal("too_large")
        return length


def key_fits(key: bytes, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request brings the key, as X-API-Key or as a bearer token; true where none is asked for."""
    if not key:
        return True
    given = headers.get(b"x-api-key", b"")
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if not given and scheme.lower() == b"bearer":
        given = token.strip()
    return secrets.compare_digest(given, key)


def refuse(refusal: Refusal, request_id: str, metrics: Metrics, desk: Desk) -> JSONResponse:
    """The answer to a request that gets no verdict."""
    metrics.refused(refusal.code)
    headers = refusal.headers
    if refusal.code in {"busy", "closing"}:
        headers["Retry-After"] = str(desk.retry_after())
    if refusal.code == "unauthorized":
        headers["WWW-Authenticate"] = "Bearer"
    if refusal.code == "too_slow":
        headers["Connection"] = "close"
    return JSONResponse(refusal.body(request_id), refusal.status, headers)


def request_id_of(scope: Scope) -> str:
    """The id that the gate gave a request."""
    return str(scope["state"]["request_id"])
