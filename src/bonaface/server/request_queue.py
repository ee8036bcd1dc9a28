"""The one queue between the requests and the network: bounded, worked off by threads, batched before the network.

There is no thread for the network alone: more threads than cores would push each other's data out of the caches, which
costs a sixth of the throughput. Whoever has prepared a request runs the network over what is ready; unless somebody does so
already, who then takes it along in the next batch.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from bonaface.data.images import encode_jpeg
from bonaface.data.sources import Source
from bonaface.inference.pipeline import BATCH, Pipeline, Prepared, Sample
from bonaface.server.metrics import Metrics

__all__ = ["Desk", "Place"]

_BLANK = encode_jpeg(np.zeros((240, 320, 3), np.uint8))


@dataclass
class Place:
    """A request's place in the queue, from its headers to its answer; given back once, however it ends."""

    _desk: Desk
    size: int = 0
    entered: float = field(default_factory=time.perf_counter)
    _held: bool = True

    def leave(self) -> None:
        """Give the place back."""
        if self._held:
            self._held = False
            self._desk.left(self)


class _Budget:
    """Lets threads through as long as what they hold together is within a budget; one alone always gets through."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._held = 0.0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: float) -> Iterator[None]:
        amount = min(amount, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._held + amount <= self._most)
            self._held += amount
        try:
            yield
        finally:
            with self._changed:
                self._held -= amount
                self._changed.notify_all()


@dataclass
class _Job:
    source: Source
    frames: int
    before: Callable[[], float]
    answer: Future[Sample] = field(default_factory=Future)
    submitted: float = field(default_factory=time.perf_counter)


class Desk:
    """Takes in at most `places` requests, of `room` bytes in all; more are turned away before anything of them is read.

    `workers` threads decode and find faces, at most `pixels` at once, and run the network, one of them at a time.
    """

    def __init__(
        self, pipeline: Pipeline, *, places: int, room: int, pixels: float, workers: int | None, metrics: Metrics
    ) -> None:
        self.pipeline = pipeline
        self.places = places
        self.room = room
        self.closing = False
        self._inside = 0
        self._bytes = 0
        self._service = 0.05
        self._decoding = _Budget(pixels)
        self._metrics = metrics
        self._workers = workers or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="bonaface-prepare")
        self._turn = threading.Lock()  # over the two that follow
        self._ready: deque[tuple[_Job, Prepared]] = deque()
        self._running = False
        self._warm()

    def enter(self, size: int = 0) -> Place | None:
        """A place for a body of `size` bytes, or None where there is none.

        Called from the event loop alone, like everything about places.
        """
        if not self.has_room(size):
            return None
        self._inside += 1
        self._bytes += size
        self._metrics.inside.set(self._inside)
        return Place(self, size)

    def has_room(self, size: int) -> bool:
        """Whether a body of `size` bytes would get a place."""
        return self._inside < self.places and not (self._inside and self._bytes + size > self.room)

    def left(self, place: Place) -> None:
        """A place became free."""
        self._inside -= 1
        self._bytes -= place.size
        self._metrics.inside.set(self._inside)

    def retry_after(self) -> int:
        """Seconds until half of the queue will be worked off, between 1 and 60."""
        return min(max(math.ceil(self.places * self._service / 2), 1), 60)

    async def score(self, source: Source, *, frames: int, place: Place, before: Callable[[], float]) -> Sample:
        """Score one presentation; `before` runs in the worker's thread first, and refuses it or tells its pixels.

        Where the caller stops waiting, work that has begun is finished, and only then the place given back.
        """
        loop = asyncio.get_running_loop()
        job = _Job(source, frames, before)
        job.answer.add_done_callback(lambda _: loop.call_soon_threadsafe(place.leave))
        self._pool.submit(self._work, job)
        return await asyncio.wrap_future(job.answer)

    def close(self) -> None:
        """Finish what was taken in, and stop the threads."""
        self.closing = True
        self._pool.shutdown(wait=True)

    def _warm(self) -> None:
        """Walk the whole way once in every thread, so that the first request need not wait for what is loaded late."""
        together = threading.Barrier(self._workers)

        def walk() -> Prepared:
            together.wait()
            return self.pipeline.prepare(Source("", _BLANK), frames=1)

        walks = [self._pool.submit(walk) for _ in range(self._workers)]
        list(self.pipeline.finish([walk.result() for walk in walks]))
        size = self.pipeline.bundle.card.input.size
        self.pipeline.run(np.zeros((1, size, size, 3), np.uint8))

    def _work(self, job: _Job) -> None:
        if job.answer.set_running_or_notify_cancel():
            self._prepare(job)
        while some := self._take():
            self._run_network(some)

    def _prepare(self, job: _Job) -> None:
        started = time.perf_counter()
        self._metrics.stage("queue", started - job.submitted)
        try:
            with self._decoding.hold(job.before()):
                prepared = self.pipeline.prepare(job.source, frames=job.frames)
        except Exception as error:
            job.answer.set_exception(error)
            return
        finally:
            spent = time.perf_counter() - started
            self._service += 0.1 * (spent / self._workers - self._service)
        with self._turn:
            self._ready.append((job, prepared))

    def _take(self) -> list[tuple[_Job, Prepared]]:
        """What is to go through the network now, by the thread that asks; empty where it has nothing to do there."""
        with self._turn:
            if self._running or not self._ready:
                return []
            some = [self._ready.popleft()]
            crops = len(some[0][1].crops)
            while self._ready and crops + len(self._ready[0][1].crops) <= BATCH:
                some.append(self._ready.popleft())
                crops += len(some[-1][1].crops)
            self._running = True
        return some

    def _run_network(self, some: list[tuple[_Job, Prepared]]) -> None:
        self._metrics.batch.observe(sum(len(prepared.crops) for _, prepared in some))
        try:
            samples = list(self.pipeline.finish([prepared for _, prepared in some]))
        except Exception as error:
            for job, _ in some:
                job.answer.set_exception(error)
        else:
            for (job, _), sample in zip(some, samples, strict=True):
                job.answer.set_result(sample)
        finally:
            with self._turn:
                self._running = False
