"""The bounded queue: who gets in is answered, who does not is told so at once, also when the server goes."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from bonaface.data.sources import Source
from bonaface.inference.pipeline import Pipeline
from bonaface.server.app import create_app
from bonaface.server.metrics import Metrics
from bonaface.server.request_queue import Desk
from bonaface.server.serve import _listening
from bonaface.server.settings import Limits, ServerSettings
from tests.server.conftest import encoded


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
    server = servers("--max-concurrent", "1")
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


def asking(jpeg: bytes, *lines: bytes, length: int | None = None) -> bytes:
    """A request's head, with further lines in it."""
    length = len(jpeg) if length is None else length
    headers = [b"Host: x", b"Content-Type: image/jpeg", b"Content-Length: %d" % length, *lines]
    return b"POST /v1/liveness HTTP/1.1\r\n%s\r\n\r\n" % b"\r\n".join(headers)


def answers_of(sock: socket.socket, number: int) -> list[bytes]:
    """That many answers from a connection, in the order in which they come."""
    sock.settimeout(10)
    found = []
    with sock.makefile("rb") as file:
        for _ in range(number):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = file.readline()
                assert line, head
                head += line
            _, _, length = head.lower().partition(b"content-length: ")
            found.append(head + file.read(int(length.split(b"\r\n")[0]) if length else -1))
    return found


def test_refused_connections_stay_usable_and_their_answers_look_like_every_other(servers, jpeg):
    server = servers("--max-concurrent", "1")
    address = server.url.removeprefix("http://").split(":")
    address = (address[0], int(address[1]))
    head = asking(jpeg)
    with socket.create_connection(address) as first, socket.create_connection(address) as second:
        first.sendall(head + jpeg[:-1])
        time.sleep(0.3)
        # Bodies in pieces of every kind, two requests in one piece, and one that goes the long way (a chunked body).
        second.sendall(head + jpeg + head + jpeg[:100])
        time.sleep(0.1)
        second.sendall(jpeg[100:-7])
        time.sleep(0.1)
        chunked = b"POST /v1/liveness HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        second.sendall(jpeg[-7:] + chunked + b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        fast, again, slow, ready = answers_of(second, 4)
        assert [answer.split()[1] for answer in (fast, again, slow, ready)] == [b"429", b"429", b"429", b"200"]

        def names(answer: bytes) -> list[bytes]:
            lines = answer.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
            return sorted(line.split(b":")[0].lower() for line in lines)

        assert names(fast) == names(slow)
        for answer in (fast, again, slow):
            error = json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]
            assert error["code"] == "busy"
            assert b"x-request-id: " + error["request_id"].encode() in answer
        first.sendall(jpeg[-1:])
        assert answers_of(first, 1)[0].split()[1] == b"200"
        second.sendall(head + jpeg)
        assert answers_of(second, 1)[0].split()[1] == b"200"
    metrics = httpx.get(f"{server.url}/metrics").text
    assert 'bonaface_requests_total{status="429"} 3.0' in metrics
    assert 'bonaface_refusals_total{code="busy"} 3.0' in metrics


def test_a_full_server_still_tells_who_may_not_ask_and_what_is_too_large(servers, jpeg, tmp_path):
    key = tmp_path / "key"
    key.write_text("sixteen-characters-at-least")
    server = servers("--max-concurrent", "1", "--key-file", str(key))
    host, port = server.url.removeprefix("http://").split(":")
    right = b"X-API-Key: " + key.read_bytes()
    cases = [
        (asking(jpeg, right), b"429"),
        (asking(jpeg, b"Authorization: Bearer " + key.read_bytes()), b"429"),
        (asking(jpeg), b"401"),
        (asking(jpeg, b"X-API-Key: sixteen-characters-at-most"), b"401"),
        (asking(jpeg, right, length=17_000_000), b"413"),
        (asking(jpeg, right, b"Content-Length: 5"), b"400"),
        (asking(jpeg, right).replace(b"Host: x\r\n", b""), b"400"),
        (asking(jpeg, right, b"Expect: 100-continue"), b"429"),
    ]
    with socket.create_connection((host, int(port))) as first:
        first.sendall(asking(jpeg, right) + jpeg[:-1])
        time.sleep(0.3)
        for request, status in cases:
            with socket.create_connection((host, int(port))) as second:
                second.sendall(request)
                assert answers_of(second, 1)[0].split()[1] == status, request


def test_the_second_piece_of_an_answer_does_not_wait_for_the_first_to_be_acknowledged():
    with (
        _listening("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as taken,
    ):
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_who_goes_away_in_the_middle_of_a_body_takes_no_place_along(servers, jpeg):
    server = servers("--max-concurrent", "2")
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
    server = servers("--max-concurrent", "16", "--threads", "1")
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
