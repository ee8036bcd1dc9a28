"""Run the server: uvicorn, with a watch on connections that neither ask nor go, and an end that answers what it took."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from bonaface.errors import OutputError, SettingsError
from bonaface.inference.bundle import load_bundle
from bonaface.inference.pipeline import Pipeline
from bonaface.server.app import create_app
from bonaface.server.errors import Refusal
from bonaface.server.settings import ServerSettings
from bonaface.server.turnstile import Turnstile

__all__ = ["serve"]

IDLE_SECONDS = 10.0
"""A connection is closed where it has no request being answered for so long, even if bytes trickle in."""


def serve(
    bundle: str | Path,
    settings: ServerSettings,
    *,
    detector_weights: Path | None = None,
    variant: str | None = None,
    started: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve a bundle, or one of its variants, until SIGINT or SIGTERM; then answer what was taken in.

    `started` is given the address. Raises BundleError, SettingsError, and OutputError where the address is taken.
    """
    if bool(settings.certificate) != bool(settings.certificate_key):
        raise SettingsError("HTTPS needs both files: --certificate and --certificate-key")
    pipeline = Pipeline(
        load_bundle(bundle).use(variant),
        detector_weights=detector_weights,
        threads=settings.workers,
        faces=settings.faces,
    )
    app = create_app(pipeline, settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(settings.limits.timeout) + 5,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.certificate_key,
    )
    try:
        config.load()
    except OSError as error:
        raise SettingsError(
            f"the certificate and its key cannot be used: {error.strerror or error}; expected two PEM files that belong "
            "together, the key without a password"
        ) from None
    with _listening(settings.host, settings.port) as listener:
        _Server(config, app, started).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address, family=family, backlog=512)
    except (OSError, OverflowError) as error:
        raise OutputError(f"cannot listen at {host}:{port}: {getattr(error, 'strerror', None) or error}") from None
    # An answer goes out in two pieces: without this, which connections inherit, the second waits 40 ms for the first to be
    # acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: FastAPI, started: Callable[[str], None]) -> None:
        super().__init__(config)
        self._app = app
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            self._tell(f"{'https' if self.config.is_ssl else 'http'}://{f'[{host}]' if ':' in host else host}:{port}")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn would raise the signal again after a clean end, which would then not look like one.
        self._app.state.desk.closing = True
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


class _Protocol(H11Protocol):
    """HTTP/1.1 that closes connections that neither ask nor take their answers, complains in JSON, and refuses at once."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._turnstile: Turnstile = self.config.loaded_app.state.turnstile
        self._dropping = 0  # bytes still to come of a request that was turned away
        self._seen: object = self
        self._watch = self.loop.call_later(IDLE_SECONDS / 2, self._look)

    def data_received(self, data: bytes) -> None:
        while data:
            if self._dropping:
                dropped = min(self._dropping, len(data))
                self._dropping -= dropped
                data = data[dropped:]
                if not self._dropping:
                    self.on_response_complete()
                continue
            turned = self._turnstile.turn_away(data, self.server_state.default_headers) if self._between() else None
            if turned is None:
                super().data_received(data)
                return
            self._unset_keepalive_if_required()
            self.transport.write(turned.answer)
            self._dropping = turned.length
            self._seen = turned

    def _between(self) -> bool:
        """Whether the last request is answered, none has begun, and the client takes its answers."""
        idle = self.conn.our_state is h11.IDLE and self.conn.their_state is h11.IDLE
        return idle and not self.conn.trailing_data[0] and not self.flow.write_paused

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close the connection where no request has begun since the last look, and none is being answered.

        Nor is one where the answer waits for a client that does not read.
        """
        idle = self.cycle is None or self.cycle.response_complete or self.flow.write_paused
        if idle and self._seen is self.cycle:
            self.transport.abort()
            return
        self._seen = self.cycle if idle else self
        self._watch = self.loop.call_later(IDLE_SECONDS / 2, self._look)

    def send_400_response(self, msg: str) -> None:
        if self.cycle is not None:
            # A body that turned malformed: the request's own answer would come after this one.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._complain()
        self.transport.close()

    def _complain(self) -> None:
        body = json.dumps(Refusal("malformed").body("")).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
