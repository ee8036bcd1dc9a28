"""Run a long job in parts on the workers of a Ray cluster, and go on where a worker or a node is lost.

Plain tasks are used, and not Ray Data: a part that ends its worker has to be tried again in pieces, and then without the
presentation that does it, which Ray Data cannot do.
"""

from __future__ import annotations

import os
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Generic, TypeVar

from bonaface.errors import BonafaceError, SettingsError, needs_extra, one_line

LOSSES = 2
"""A part that lost its worker so often is divided, and a single presentation is given up."""

CONNECT_SECONDS = 5.0

Part = TypeVar("Part", bound=Sized)


@dataclass
class _Task(Generic[Part]):
    name: str
    part: Part
    losses: int = 0


_made: dict[str, Callable[[str, Any], None]] = {}


def _run(release: str, make: Sequence[Any], name: str, part: Any) -> None:
    """Do a part in a worker process, which makes once what does the work."""
    import ray

    if version("bonaface") != release:
        raise BonafaceError(f"a node of the cluster has Bonaface {version('bonaface')}; expected {release}, as here")
    key = make[0].hex()
    if key not in _made:
        _made.clear()
        _made[key] = ray.get(make[0])()
    _made[key](name, part)


def run_on_ray(
    make: Callable[[], Callable[[str, Part], None]],
    parts: Iterable[tuple[str, Part]],
    *,
    divide: Callable[[Part], Iterable[Part]],
    lost: Callable[[str, Part], None],
    done: Callable[[int], None],
    address: str | None = None,
    workers: int | None = None,
) -> None:
    """Do named parts on a cluster's workers: `make` runs once in each, and what it returns is called with each part.

    A part whose worker is lost is tried again, the second time divided into single presentations; a single one that loses
    its worker twice is given to `lost`. `done` gets the number of presentations of each part that is complete. Without an
    address, that of the environment's RAY_ADDRESS or a cluster on this machine is used. Raises SettingsError where there is
    no cluster, and the BonafaceError of a part.
    """
    with _cluster(address, workers) as ray:
        shared = ray.put(make)
        run = ray.remote(num_cpus=1, max_retries=0)(_run)
        running: dict[Any, _Task[Part]] = {}
        again: deque[_Task[Part]] = deque()
        fresh = (_Task(name, part) for name, part in parts)
        while True:
            most = workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
            while len(running) < most and (task := again.popleft() if again else next(fresh, None)):
                running[run.remote(version("bonaface"), [shared], task.name, task.part)] = task
            if not running:
                return
            (ready,), _ = ray.wait(list(running), num_returns=1)
            task = running.pop(ready)
            if _completed(ray, ready):
                done(len(task.part))
                continue
            task.losses += 1
            if task.losses < LOSSES:
                again.append(task)
            elif len(task.part) > 1:
                singles = enumerate(divide(task.part))
                again.extend(_Task(f"{task.name}.{number:04d}", single) for number, single in singles)
            else:
                lost(task.name, task.part)
                done(1)


def _completed(ray: Any, result: Any) -> bool:
    """Whether a part was done; False where its worker was lost."""
    try:
        ray.get(result)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, BonafaceError):
            raise error.cause from None
        if isinstance(error.cause, ImportError):
            needed = f"Bonaface {version('bonaface')} with the same extras"
            raise BonafaceError(f"a node of the cluster lacks {one_line(error.cause)}; it needs {needed}") from None
        raise
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError):
        return False
    except ray.exceptions.RayError as error:
        raise BonafaceError(
            f"the cluster failed: {_last_line(error)}; complete parts are kept, and the same call does what is missing"
        ) from None
    return True


@contextmanager
def _cluster(address: str | None, workers: int | None) -> Iterator[Any]:
    """Connect to a cluster, or start one of this machine's cores, for the time of the block; keep a connection there is."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with needs_extra("--engine ray"):
        import ray
    if ray.is_initialized() and address is None:
        yield ray
        return
    named = address or os.environ.get("RAY_ADDRESS")
    cores = workers or os.cpu_count() or 1
    how = {"address": address} if named else {"address": "local", "num_cpus": cores, "include_dashboard": False}
    try:
        if named and re.fullmatch(r"[\w.-]+:\d+", named):
            host, _, port = named.partition(":")
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()  # Ray waits for minutes
        ray.init(log_to_driver=False, logging_level="ERROR", **how)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise SettingsError(
            f"no Ray cluster at {named or 'this machine'}: {_last_line(error)}; start one with `ray start`"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _last_line(error: object) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else error)
