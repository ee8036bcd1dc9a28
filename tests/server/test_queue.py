"""The bounded queue: accepted requests are answered, others get 429 at once, also while the server shuts down."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from bonaface.inference.pipeline import Pipeline
from bonaface.server.app import create_app
from bonaface.server.request_queue import Slot
from bonaface.server.serve import listen
from bonaface.server.settings import Limits, ServerSettings
from tests.server.conftest import encoded


class Slow:
    """A pipeline that takes its time, or fails, before the one it stands for."""

    def __init__(self, pipeline: Pipeline, seconds: float = 0.0, fault: Exception | None = None) -> None:
        self.bundle, self.rules = pipeline.bundle, pipeline.rules
        self._pipeline = pipeline
        self.seconds = seconds
        self.fault = fault

    def preprocess(self, source, **options):
        time.sleep(self.seconds)
        return self._pipeline.preprocess(source, **options)

    def infer(self, ready, **options):
        if self.fault:
            raise self.fault
        return self._pipeline.infer(ready, **options)

    def run_network(self, crops):
        return self._pipeline.run_network(crops)


def client_of(app) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


def post(client, content):
    return client.post("/v1/liveness", content=content, headers={"Content-Type": "image/jpeg"})


def test_full_queue_answers_429_and_the_rest_200(pipeline, jpeg):
    slow = Slow(pipeline)
    app = create_app(slow, ServerSettings(max_concurrent=3, threads=1))  # type: ignore[arg-type]
    slow.seconds = 0.2

    async def ask():
        async with client_of(app) as client:
            answers = await asyncio.gather(*[post(client, jpeg) for _ in range(8)])
            again = await post(client, jpeg)
        return answers, again

    answers, again = asyncio.run(ask())
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 3 + [429] * 5
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["error"]["code"] == "busy"
            assert int(answer.headers["retry-after"]) >= 1
    assert again.status_code == 200
    app.state.queue.close()


def test_busy_is_answered_before_the_body_is_read(pipeline, jpeg):
    slow = Slow(pipeline)
    app = create_app(slow, ServerSettings(max_concurrent=1, threads=1))  # type: ignore[arg-type]
    slow.seconds = 0.5
    events: list[Any] = []

    async def receive():
        events.append("read")
        return {"type": "http.request", "body": jpeg, "more_body": False}

    async def send(message):
        events.append(message)

    async def ask():
        async with client_of(app) as client:
            first = asyncio.create_task(post(client, jpeg))
            while not app.state.queue.full:
                await asyncio.sleep(0.01)
            headers = [(b"content-type", b"image/jpeg"), (b"content-length", b"%d" % len(jpeg))]
            scope = {"type": "http", "method": "POST", "path": "/v1/liveness", "headers": headers, "query_string": b""}
            await app(scope, receive, send)
            return await first

    assert asyncio.run(ask()).status_code == 200
    assert events[0]["status"] == 429
    assert b"busy" in events[1]["body"]
    assert events[2] == "read"
    app.state.queue.close()


def head(length: int) -> bytes:
    """The head of a request."""
    lines = ["POST /v1/liveness HTTP/1.1", "Host: localhost", "Content-Type: image/jpeg", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


def test_slow_bodies_hold_no_place(servers, jpeg):
    server = servers("--max-concurrent", "2")
    with contextlib.ExitStack() as stack:
        for sent in (b"", jpeg[:-1]) * 20:
            stack.enter_context(server.connect()).sendall(head(len(jpeg)) + sent)
        time.sleep(0.3)
        with httpx.Client(base_url=server.url) as client:
            assert [post(client, jpeg).status_code for _ in range(3)] == [200] * 3


def test_idle_connections_leave_descriptors(servers, jpeg):
    server = servers(files=300)
    with contextlib.ExitStack() as stack:
        for _ in range(900):
            stack.enter_context(server.connect())
        with httpx.Client(base_url=server.url) as client:
            assert post(client, jpeg).status_code == 200
            assert client.get("/docs").status_code == 200
    assert server.stop() == 0
    printed = server.process.stdout.read()
    assert "connections are open, as many as fit; idle ones are closed" in printed
    assert printed.count("\n") < 5


def test_a_refused_request_leaves_the_connection_usable(servers, jpeg):
    server = servers("--max-body-mb", "0.5")
    with httpx.Client(base_url=server.url) as client:
        refused = client.post("/v1/liveness", content=b"{}" * 1000, headers={"Content-Type": "text/plain"})
        stream = refused.extensions["network_stream"]
        assert refused.status_code == 415
        again = post(client, jpeg)
        assert again.status_code == 200
        assert again.extensions["network_stream"] is stream


def accepted_from(listener: socket.socket) -> socket.socket:
    listener.setblocking(True)
    return listener.accept()[0]


def test_small_responses_are_not_delayed():
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        accepted_from(listener) as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_client_that_disconnects_frees_its_bytes(servers, jpeg):
    server = servers("--max-concurrent", "2")
    for _ in range(10):
        with server.connect() as sock:
            sock.sendall(head(len(jpeg)) + jpeg[:1000])
            time.sleep(0.05)
    time.sleep(0.2)
    with httpx.Client(base_url=server.url) as client:
        assert post(client, jpeg).status_code == 200
        assert "bonaface_inside 0.0" in client.get("/metrics").text
        assert 'bonaface_refusals_total{code="gone"} 10.0' in client.get("/metrics").text


def test_bytes_are_counted_as_they_arrive(pipeline, jpeg):
    settings = ServerSettings(threads=1, max_pending_bytes=2 * len(jpeg))
    app = create_app(pipeline, settings)
    queue = app.state.queue
    alone = Slot(queue)
    alone.add(5 * len(jpeg))  # one request within its own limit always fits
    alone.leave()
    alone.leave()
    assert queue.bytes == 0
    waiting = [Slot(queue), Slot(queue)]
    for slot in waiting:
        slot.add(len(jpeg) // 2 + 1)

    async def ask(body):
        async with client_of(app) as client:
            return await client.post("/v1/liveness", content=body, headers={"Content-Type": "image/jpeg"})

    async def pieces():
        yield jpeg[: len(jpeg) // 2]
        yield jpeg[len(jpeg) // 2 :]

    refused = asyncio.run(ask(pieces()))
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "busy")
    for slot in waiting:
        slot.leave()
    assert asyncio.run(ask(pieces())).status_code == 200
    assert queue.bytes == 0
    queue.close()


def test_timeout_gives_the_place_back(pipeline, jpeg):
    slow = Slow(pipeline)
    settings = ServerSettings(max_concurrent=2, threads=1, limits=Limits(timeout=0.3))
    app = create_app(slow, settings)  # type: ignore[arg-type]
    slow.seconds = 0.6

    async def ask():
        async with client_of(app) as client:
            late = await asyncio.gather(post(client, jpeg), post(client, jpeg))
            slow.seconds = 0.0
            await asyncio.sleep(1.0)
            return late, [await post(client, jpeg) for _ in range(3)]

    late, afterwards = asyncio.run(ask())
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in late] == [(504, "timeout")] * 2
    assert [answer.status_code for answer in afterwards] == [200] * 3
    app.state.queue.close()


def test_internal_error_hides_its_reason_and_frees_its_place(pipeline, jpeg, caplog):
    slow = Slow(pipeline)
    app = create_app(slow, ServerSettings(max_concurrent=2, threads=1))  # type: ignore[arg-type]
    slow.fault = RuntimeError("the secret inside")

    async def ask():
        async with client_of(app) as client:
            faulty = [await post(client, jpeg) for _ in range(5)]
            slow.fault = None
            return faulty, await post(client, jpeg)

    faulty, sound = asyncio.run(ask())
    for answer in faulty:
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
        assert "secret" not in answer.text
    assert faulty[0].headers["x-request-id"] in caplog.text
    assert "the secret inside" in caplog.text
    assert sound.status_code == 200
    app.state.queue.close()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_shutdown_answers_accepted_requests(servers, frames, end):
    server = servers("--max-concurrent", "16", "--threads", "1")
    large = encoded(frames[0].repeat(4, axis=0).repeat(4, axis=1))
    limits = httpx.Limits(max_connections=20)
    with ThreadPoolExecutor(10) as pool, httpx.Client(base_url=server.url, timeout=60, limits=limits) as client:
        asked = [pool.submit(post, client, large) for _ in range(10)]
        accepted = 0.0
        while accepted < 10:
            time.sleep(0.02)
            answered = sum(one.done() for one in asked)  # first: one that ends meanwhile is not counted twice
            inside = re.search(r"^bonaface_inside (\S+)$", httpx.get(f"{server.url}/metrics").text, re.MULTILINE)
            assert inside is not None
            accepted = answered + float(inside[1])
        server.process.send_signal(end)
        answers = [one.result() for one in asked]
    assert [answer.status_code for answer in answers] == [200] * 10
    assert server.process.wait(10) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
