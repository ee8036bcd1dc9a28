"""A map over worker processes, on joblib."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import cv2

from bonaface.errors import BonafaceError, BonafaceWarning

with warnings.catch_warnings():  # joblib warns where there are no semaphores; parallel_map says it in its own words
    warnings.simplefilter("ignore")
    import joblib

IDLE_SECONDS = 30
"""A worker without a job ends after so long; one whose parent was killed within half a minute more, by loky's rules."""

Job = TypeVar("Job")
Result = TypeVar("Result")


def parallel_map(
    function: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int | None = None
) -> Generator[Result, None, None]:
    """Yield `function(job)` for each job, in order, from `workers` processes (by default one per core).

    Works without an `if __name__ == "__main__"` guard. One worker, or a system that cannot start processes, means this
    process; the latter gives a BonafaceWarning. Jobs that have not begun are dropped when the caller stops or a job
    raises. Raises BonafaceError where a worker was killed from outside.
    """
    if workers != 1 and len(jobs) > 1 and joblib.effective_n_jobs(2) == 1:
        _warn("no semaphores; is /dev/shm mounted and writable?")
        workers = 1
    workers = min(workers or joblib.cpu_count(), len(jobs))
    if workers <= 1:
        yield from map(function, jobs)
        return
    pool = joblib.Parallel(
        workers, return_as="generator", max_nbytes=None, idle_worker_timeout=IDLE_SECONDS, backend="loky"
    )
    here = None
    with suppress(OSError):  # the folder may be gone
        here = Path.cwd()
    try:
        results = pool(joblib.delayed(_run)(function, job, here) for job in jobs)
    except OSError as error:
        _warn(error.strerror or str(error))
        yield from map(function, jobs)
        return
    try:
        for result in results:  # noqa: UP028 (`yield from` would close them outside the filter below)
            yield result
    except BrokenProcessPool:
        raise BonafaceError(
            "a worker process was killed, probably out of memory; run again with fewer workers; finished work is kept"
        ) from None
    finally:
        with warnings.catch_warnings():  # joblib warns of results that the caller does not want
            warnings.simplefilter("ignore")
            results.close()


def _run(function: Callable[[Job], Result], job: Job, folder: Path | None) -> Result:
    if folder:
        with suppress(OSError):
            os.chdir(folder)  # a worker that idled keeps the folder that it was started in
    cv2.setNumThreads(1)  # the workers share the cores
    return function(job)


def _warn(reason: str) -> None:
    warnings.warn(
        f"worker processes cannot be started ({reason}); working in one process", BonafaceWarning, stacklevel=3
    )
