"""The bounded queue: threads that decode, find faces and run the network, and the counters that bound what waits."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from bonaface.data.images import encode_jpeg
from bonaface.data.sources import Source
from bonaface.data.video_process import start
from bonaface.inference.pipeline import Pipeline, Preprocessed
from bonaface.server.errors import ApiError
from bonaface.server.metrics import Metrics
from bonaface.server.settings import ServerSettings

T = TypeVar("T")
_BLANK = encode_jpeg(np.zeros((240, 320, 3), np.uint8))


@dataclass
class Slot:
    """What one request holds: the bytes of its body as they arrive, and a place in the queue once it is complete.

    Used from the event loop only.
    """

    queue: RequestQueue
    started: float = field(default_factory=time.perf_counter)
    bytes: int = 0
    running: bool = False
    """Whether a thread works for the request, and gives the slot back when it is done."""
    _entered: bool = False

    def add(self, count: int) -> None:
        """Count bytes that arrived. Raises ApiError where all open requests together hold too many."""
        queue = self.queue
        if queue.bytes > self.bytes and queue.bytes + count > queue.max_pending_bytes:
            raise ApiError("busy")
        self.bytes += count
        queue.bytes += count

    def enter(self) -> None:
        """Take a place. Raises ApiError where there is none."""
        if self.queue.full:
            raise ApiError("busy")
        self._entered = True
        self.queue.count(1)

    def leave(self) -> None:
        """Give everything back; a second call does nothing."""
        self.queue.bytes -= self.bytes
        self.bytes = 0
        if self._entered:
            self._entered = False
            self.queue.count(-1)


class RequestQueue:
    """Scores requests in threads, at most `max_concurrent` waiting or being worked on."""

    def __init__(self, pipeline: Pipeline, settings: ServerSettings, metrics: Metrics) -> None:
        self.pipeline = pipeline
        self.max_pending_bytes = settings.max_pending_bytes
        self.bytes = 0
        self.closing = False
        self._max_concurrent = settings.max_concurrent
        self._inside = 0
        self._metrics = metrics
        self._service = 0.05  # seconds a request takes, a moving average
        self._threads = settings.threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="bonaface-request")
        # Pictures of up to a thread's share of the pixels are decoded side by side, larger ones one at a time.
        self._share = settings.limits.pixels / self._threads
        self._large = threading.Lock()
        self._warm_up()

    @property
    def full(self) -> bool:
        """Whether every place is taken."""
        return self._inside >= self._max_concurrent

    def count(self, change: int) -> None:
        """Count places that are taken."""
        self._inside += change
        self._metrics.inside.set(self._inside)

    def retry_after(self) -> int:
        """Return the seconds until half of a full queue is done, between 1 and 60."""
        return min(max(math.ceil(self._max_concurrent * self._service / 2), 1), 60)

    async def run(self, slot: Slot, task: Callable[[], T]) -> T:
        """Run a task in a thread and return its result.

        Where the caller stops waiting, work that has begun is finished, and the slot is given back only then.
        """
        loop = asyncio.get_running_loop()
        work = self._pool.submit(self._work, task, time.perf_counter())
        slot.running = True
        work.add_done_callback(lambda _: loop.call_soon_threadsafe(slot.leave))
        return await asyncio.wrap_future(work)

    def decoding(self, pixels: float) -> AbstractContextManager[object]:
        """Return what bounds the memory while a picture of so many pixels is decoded."""
        return self._large if pixels > self._share else nullcontext()

    def close(self) -> None:
        """Finish what was accepted, and stop the threads."""
        self.closing = True
        self._pool.shutdown(wait=True)

    def _work(self, task: Callable[[], T], submitted: float) -> T:
        started = time.perf_counter()
        self._metrics.stage("queue", started - submitted)
        try:
            return task()
        finally:
            self._service += 0.1 * ((time.perf_counter() - started) / self._threads - self._service)

    def _warm_up(self) -> None:
        """Prepare a blank picture in every thread and run the network: libraries load parts of themselves on first use."""
        start(self._threads)
        together = threading.Barrier(self._threads)

        def preprocess() -> Preprocessed:
            together.wait()
            return self.pipeline.preprocess(Source("", _BLANK), frames=1)

        preprocessed = [self._pool.submit(preprocess) for _ in range(self._threads)]
        list(self.pipeline.infer([work.result() for work in preprocessed]))
        size = self.pipeline.bundle.card.input.size
        self.pipeline.run_network(np.zeros((1, size, size, 3), np.uint8))
