"""Worker processes that a plain script can start, with or without an `if __name__ == "__main__"` guard."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, TypeVar

from bonaface.errors import BonafaceError

__all__ = ["in_processes", "worker_pool"]

_Job = TypeVar("_Job")
_Answer = TypeVar("_Answer")
_lock = threading.Lock()


class _Process(SpawnProcess):
    """A fresh interpreter that does not run the caller's script again: our jobs lie in modules that can be imported."""

    def run(self) -> None:
        """Work until the pool is closed, or the process that opened it is gone."""
        threading.Thread(target=_end_with_parent, daemon=True).start()
        super().run()

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        with _lock, _hidden_script():
            return SpawnProcess._Popen(process_obj)


class _Context(SpawnContext):
    Process = _Process


def worker_pool(workers: int | None = None, **options: Any) -> ProcessPoolExecutor:
    """A pool of `workers` fresh processes, by default one per core, safe beside threads and on every system."""
    return ProcessPoolExecutor(workers or os.cpu_count() or 1, mp_context=_Context(), **options)


def in_processes(
    function: Callable[[_Job], _Answer], jobs: Iterable[_Job], *, workers: int | None = None, **options: Any
) -> Generator[_Answer, None, None]:
    """What an importable function gives for each job, in order; what has not begun is dropped when the caller stops.

    Raises BonafaceError where a worker was killed from outside, as systems do that run out of memory.
    """
    with worker_pool(workers, **options) as pool:
        try:
            yield from pool.map(function, jobs)
        except BrokenProcessPool:
            raise BonafaceError(
                "a worker process was killed, most likely for want of memory; run again with fewer workers, what is "
                "done is kept"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """End this process when its parent was killed, which had no chance to: it would wait for jobs, and hold its memory."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _hidden_script() -> Iterator[None]:
    """An empty `__main__` while a process starts: Python would else import the caller's script in it."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
