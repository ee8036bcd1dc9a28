"""The bounded queue: who gets in is answered, who does not is told so at once, also when the server goes."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from bonaface.runtime.pipeline import Pipeline, Source
from bonaface.runtime.server.app import create_app
from bonaface.runtime.server.desk import Desk
from bonaface.runtime.server.metrics import Metrics
from bonaface.runtime.server.settings import Limits, ServerSettings
from tests.runtime.server.conftest import encoded


class Slow:
    """A pipeline that takes its time, or fails, before the one it stands for."""

    def __init__(self, pipeline: Pipeline, seconds: float = 0.0, fault: Exception | None = None) -> None:
        self.bundle = pipeline.bundle
        self.batches: list[int] = []
        self._pipeline = pipeline
        self.seconds = seconds
        self.fault = fault

    def prepare(self, source, *, frames):
        time.sleep(self.seconds)
        return self._pipeline.prepare(source, frames=frames)

    def finish(self, ready, **options):
        self.batches.append(len(ready))
        if self.fault:
            raise self.fault
        return self._pipeline.finish(ready, **options)

    def run(self, crops):
        return self._pipeline.run(crops)


def client_of(app) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")


def post(client, content):
    return client.post("/v1/liveness", content=content, headers={"Content-Type": "image/jpeg"})


def test_a_full_queue_turns_away_and_what_it_took_is_answered(pipeline, jpeg):
    slow = Slow(pipeline)
    app = create_app(slow, ServerSettings(places=3, workers=1))  # type: ignore[arg-type]
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
    app.state.desk.close()


def test_a_full_queue_answers_before_the_body_is_read(servers, jpeg):
    server = servers("--places", "1")
    host, port = server.url.removeprefix("http://").split(":")
    head = b"POST /v1/liveness HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(
        jpeg
    )
    with socket.create_connection((host, int(port))) as first, socket.create_connection((host, int(port))) as second:
        first.sendall(head + jpeg[:-1])
        time.sleep(0.3)
        second.sendall(head)  # and nothing more
        second.settimeout(5)
        answer = second.recv(65536)
        assert b" 429 " in answer
        assert b"retry-after: " in answer
        first.sendall(jpeg[-1:])
        assert b" 200 " in first.recv(65536)
    # The connection that was turned away can be used again once its body has come.
    assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_who_goes_away_in_the_middle_of_a_body_takes_no_place_along(servers, jpeg):
    server = servers("--places", "2")
    host, port = server.url.removeprefix("http://").split(":")
    head = b"POST /v1/liveness HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(
        jpeg
    )
    for _ in range(10):
        with socket.create_connection((host, int(port))) as sock:
            sock.sendall(head + jpeg[:1000])
            time.sleep(0.05)
    time.sleep(0.2)
    with httpx.Client(base_url=server.url) as client:
        assert post(client, jpeg).status_code == 200
        assert "bonaface_inside 0.0" in client.get("/metrics").text
        assert 'bonaface_refusals_total{code="gone"} 10.0' in client.get("/metrics").text


def test_large_bodies_are_turned_away_before_they_fill_the_memory(pipeline):
    desk = Desk(pipeline, places=16, room=100, pixels=1e9, workers=1, metrics=Metrics("x", "0"))
    first = desk.enter(500)
    assert first is not None, "a body within the limit of one request always finds an empty server"
    assert desk.enter(1) is None
    first.leave()
    first.leave()
    several = [desk.enter(30) for _ in range(4)]
    assert [place is not None for place in several] == [True, True, True, False]
    desk.close()


def test_what_waits_together_goes_through_the_network_together(pipeline, jpeg):
    slow = Slow(pipeline)
    desk = Desk(slow, places=16, room=1_000_000_000, pixels=1e9, workers=4, metrics=Metrics("x", "0"))  # type: ignore[arg-type]
    slow.batches.clear()
    held = threading.Event()
    finish = slow.finish

    def waiting(ready, **options):
        held.wait(5)
        return finish(ready, **options)

    slow.finish = waiting  # type: ignore[method-assign]

    async def ask():
        places = [desk.enter() for _ in range(9)]
        asked = [desk.score(Source("x", jpeg), frames=1, place=place, before=lambda: 1.0) for place in places if place]
        threading.Timer(1.0, held.set).start()
        samples = await asyncio.gather(*asked)
        await asyncio.sleep(0.05)
        return samples

    samples = asyncio.run(ask())
    assert sum(slow.batches) == 9
    assert len(slow.batches) <= 3
    assert len({sample.frames[0].logit for sample in samples}) == 1
    assert desk.enter() is not None
    desk.close()


def test_who_waits_too_long_is_told_and_the_place_is_given_back(pipeline, jpeg):
    slow = Slow(pipeline)
    settings = ServerSettings(places=2, workers=1, limits=Limits(timeout=0.3))
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
    app.state.desk.close()


def test_a_fault_inside_is_told_without_its_reason_and_costs_no_place(pipeline, jpeg, caplog):
    slow = Slow(pipeline)
    app = create_app(slow, ServerSettings(places=2, workers=1))  # type: ignore[arg-type]
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
    app.state.desk.close()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_go_answers_what_it_took(servers, frames, end):
    server = servers("--places", "16", "--threads", "1")
    large = encoded(frames[0].repeat(4, axis=0).repeat(4, axis=1))
    limits = httpx.Limits(max_connections=20)
    with ThreadPoolExecutor(10) as pool, httpx.Client(base_url=server.url, timeout=60, limits=limits) as client:
        asked = [pool.submit(post, client, large) for _ in range(10)]
        while "bonaface_inside 10.0" not in httpx.get(f"{server.url}/metrics").text:
            if any(one.done() for one in asked):
                break
            time.sleep(0.02)
        server.process.send_signal(end)
        answers = [one.result() for one in asked]
    assert [answer.status_code for answer in answers] == [200] * 10
    assert server.process.wait(10) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
