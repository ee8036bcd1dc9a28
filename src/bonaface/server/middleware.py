"""ASGI middleware: host check, API key, 429 before the body is read, response headers, errors as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import uuid
from collections.abc import Mapping

import h11
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bonaface.server.errors import ApiError
from bonaface.server.metrics import Metrics
from bonaface.server.request_queue import RequestQueue
from bonaface.server.settings import ServerSettings

_LOGGER = logging.getLogger("bonaface.server")

LIVENESS, FACE = "/v1/liveness", "/v1/face"
_LOCKED = ("/v1/", "/metrics")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::\d{1,5})?")
_DRAIN_BYTES, _DRAIN_SECONDS = 256 << 20, 10.0
"""How much of a refused body is read and dropped: a client that is still sending would see a reset, not the error."""

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
"""Headers of every response."""


class Middleware:
    """Refuses a request before its body is read where that can be decided, and turns every error into JSON."""

    def __init__(self, app: ASGIApp, *, queue: RequestQueue, metrics: Metrics, settings: ServerSettings) -> None:
        self._app = app
        self._queue = queue
        self._metrics = metrics
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is refused, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        exchange = _Exchange(receive, send, headers, request_id, self._metrics, self._settings.limits.bytes)
        try:
            self._check(scope, headers)
            await self._app(scope, exchange.receive, exchange.send)
        except ApiError as error:
            if error.code == "too_slow":
                exchange.drains = False
            await self.error_response(error, request_id)(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            self._metrics.refusals.labels("gone").inc()
        except Exception:
            _LOGGER.exception("request %s failed", request_id)
            if exchange.begun:
                raise
            await self.error_response(ApiError("internal"), request_id)(scope, exchange.receive, exchange.send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Raise ApiError for what is refused by its headers."""
        if "content-length" in headers and "transfer-encoding" in headers:
            raise ApiError("ambiguous_length", headers={"Connection": "close"})
        if "host" in headers:
            host = _HOST.fullmatch(headers["host"])
            if host is None or not self._settings.allows_host(host["ipv6"] or host["name"]):
                raise ApiError("unknown_host")
        if scope["path"].startswith(_LOCKED) and not key_fits(self._settings.key, headers):
            raise ApiError("unauthorized", headers={"WWW-Authenticate": "Bearer"})
        if scope["path"] in {LIVENESS, FACE} and scope["method"] == "POST":
            if self._queue.closing:
                raise ApiError("closing")
            if _declared_bytes(headers) > self._settings.limits.bytes:
                raise ApiError("too_large")
            if self._queue.full:
                raise ApiError("busy")

    def error_response(self, error: ApiError, request_id: str) -> JSONResponse:
        """Count an error and return its response."""
        self._metrics.refusals.labels(error.code).inc()
        if error.code in {"busy", "closing"}:
            error.headers["Retry-After"] = str(self._queue.retry_after())
        return JSONResponse(error.body(request_id), error.status, error.headers)


class _Exchange:
    """One request and its response: adds headers, and reads on where a response is ready before the body has ended."""

    def __init__(
        self, receive: Receive, send: Send, headers: Headers, request_id: str, metrics: Metrics, max_bytes: int
    ) -> None:
        self._receive = receive
        self._send = send
        self._metrics = metrics
        self._request_id = request_id.encode()
        self._unbounded = "transfer-encoding" in headers or _declared_bytes(headers) > max_bytes
        self._ended = not self._unbounded and not _declared_bytes(headers)
        self._waits = "expect" in headers  # for 100 Continue: sends no body before it
        self.drains = True
        self.begun = False

    async def receive(self) -> Message:
        """Return the next message of the request."""
        self._waits = False
        message = await self._receive()
        self._ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the response; its last one after what the client still sends was read and dropped."""
        if message["type"] == "http.response.start":
            self.begun = True
            self._metrics.requests.labels(str(message["status"])).inc()
            more = [*HEADERS, (b"x-request-id", self._request_id)]
            if not self._ended and (self._unbounded or self._waits):
                more.append((b"connection", b"close"))
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        elif self.drains and not self._ended and not self._waits and not message.get("more_body", False):
            await self._write({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body"}
        await self._write(message)

    async def _write(self, message: Message) -> None:
        try:
            await self._send(message)
        except h11.LocalProtocolError:  # the body turned malformed, and uvicorn has answered 400 and closed
            raise ClientDisconnect from None

    async def _drain(self) -> None:
        left = _DRAIN_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while left > 0 and not self._ended:
                    left -= len((await self.receive()).get("body", b""))


def _declared_bytes(headers: Headers) -> int:
    declared = headers.get("content-length", "")
    return int(declared) if declared.isdigit() else 0


def key_fits(key: str, headers: Mapping[str, str]) -> bool:
    """Return whether a request carries the key, as X-API-Key or as a bearer token; True where none is required."""
    if not key:
        return True
    given = headers.get("x-api-key", "")
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if not given and scheme.lower() == "bearer":
        given = token.strip()
    return secrets.compare_digest(given.encode("latin-1"), key.encode())
