"""Run the server: uvicorn with a bound on its connections, and a shutdown that answers what was accepted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI

from bonaface.errors import OutputError, SettingsError
from bonaface.server.app import create_app
from bonaface.server.settings import ServerSettings
from bonaface.workflows.model import load

_LOGGER = logging.getLogger("bonaface.server")
_BACKLOG = 128
_OTHER_FILES = 64
"""Descriptors that are left for files and the decision log."""
_IDLE_SECONDS = 0.25
"""With all connections taken, one that was idle for so long is closed for another."""
_HANDSHAKE_SECONDS = 10.0


def serve(
    bundle: str | Path,
    settings: ServerSettings,
    *,
    detector_weights: Path | None = None,
    variant: str | None = None,
    started: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve a bundle, or one of its variants, until SIGINT or SIGTERM; then answer the requests that were accepted.

    `started` is called with the address. Raises BundleError, SettingsError, and OutputError where the address is taken.
    """
    if bool(settings.certificate) != bool(settings.certificate_key):
        raise SettingsError("HTTPS needs two files: --certificate and --certificate-key")
    model = load(
        bundle,
        variant=variant,
        faces=settings.faces,
        detector_weights=detector_weights,
        threads=settings.threads,
        min_face=settings.min_face,
        quality=settings.quality,
    )
    app = create_app(model.pipeline, settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_level="critical",  # failed requests are logged by the middleware
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
    with listen(settings.host, settings.port) as listener:
        _Server(config, app, started).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises OutputError where the address is taken or not of this machine."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address, family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise OutputError(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}") from None
    # A response is written in two pieces. Without this option, which connections inherit, the second waits up to 40 ms for
    # the first to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    return listener


def _max_connections() -> int:
    """Return how many connections fit below the limit of open files of this process."""
    try:
        import resource
    except ImportError:  # Windows, where sockets are not files
        return 1_000
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 10_000 if soft == resource.RLIM_INFINITY else max(min(soft, 10_000) - _OTHER_FILES, 16)


class _Server(uvicorn.Server):
    """uvicorn, with a bound on open connections.

    It accepts connections itself: without a free descriptor asyncio logs a traceback for every connection that waits, and
    uvicorn never closes one on which nothing was sent.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, started: Callable[[str], None]) -> None:
        super().__init__(config)
        self._app = app
        self._report = started
        self._max_connections = _max_connections()
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: set[Any] = set()
        self._warned = -60.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_log_one_line)
        await super().startup(sockets=[])
        for listener in sockets or []:
            self._start(self._accept(listener))
            host, port = listener.getsockname()[:2]
            self._report(f"{'https' if self.config.is_ssl else 'http'}://{f'[{host}]' if ':' in host else host}:{port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in self._tasks:
            task.cancel()
        await super().shutdown(sockets=sockets)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while len(self.server_state.connections) + len(self._tasks) > self._max_connections:
                self._close_idle()
                await asyncio.sleep(_IDLE_SECONDS)
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                _LOGGER.warning("a connection cannot be accepted: %s", error)
                await asyncio.sleep(_IDLE_SECONDS)
                continue
            self._start(self._take(connection))

    async def _take(self, connection: socket.socket) -> None:
        """Give a connection to uvicorn."""
        timeout = _HANDSHAKE_SECONDS if self.config.is_ssl else None
        with contextlib.suppress(OSError):  # the client has gone, or speaks no TLS
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self.config.http_protocol_class(  # type: ignore[call-arg]
                    config=self.config, server_state=self.server_state, app_state=self.lifespan.state
                ),
                connection,
                ssl=self.config.ssl,
                ssl_handshake_timeout=timeout,
            )

    def _close_idle(self) -> None:
        """Close connections that are idle since the last call; as at uvicorn's shutdown, others close after a response."""
        if time.monotonic() - self._warned > 60:
            self._warned = time.monotonic()
            _LOGGER.warning("%d connections are open, as many as fit; idle ones are closed", self._max_connections)
        for connection in self._seen & self.server_state.connections:
            with contextlib.suppress(h11.LocalProtocolError):
                connection.shutdown()
        self._seen = set(self.server_state.connections)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn would raise the signal again after a clean shutdown, which would then look like a crash.
        self._app.state.queue.closing = True
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def _log_one_line(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what asyncio would log with a traceback, such as a client's protocol error after its response."""
    _LOGGER.warning("%s: %r", context["message"], context.get("exception"))
