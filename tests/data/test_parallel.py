from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import pytest

from bonaface.data.parallel import parallel_map
from bonaface.errors import BonafaceError, BonafaceWarning

pytestmark = pytest.mark.slow
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

SCRIPT = """
import math
from bonaface.data.parallel import parallel_map
print("begun")
print(sum(parallel_map(math.sqrt, [1, 4, 9, 16], workers=2)))
"""

LONG = """
import time
from bonaface.data.parallel import parallel_map
jobs = ["__import__('os').getpid()"] * 2 + ["__import__('time').sleep(3600)"] * 2
for pid in parallel_map(eval, jobs, workers=2):
    print(pid, flush=True)
"""

IDLE = """
from bonaface.data import parallel
from bonaface.data.parallel import parallel_map
parallel.IDLE_SECONDS = 1
for pid in parallel_map(eval, ["__import__('os').getpid()"] * 2, workers=2):
    print(pid, flush=True)
input()
"""

NO_SEMAPHORES = """
import _multiprocessing, math
def refuse(*args, **options): raise FileNotFoundError(2, "No such file or directory")
_multiprocessing.SemLock = refuse
import sys, warnings
from bonaface.cli.output import print_warnings
print_warnings()
from bonaface.data.parallel import parallel_map
print(sum(parallel_map(math.sqrt, [1, 4, 9, 16])))
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").is_file() or Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def wait_for_end(pids: set[int], *, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.2)
    return False


def test_a_plain_script_needs_no_guard(tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["begun", "10.0"]
    assert done.stderr == ""


@pytest.mark.parametrize("workers", [1, 2, None])
def test_results_in_order_and_errors_raised(workers: int | None):
    assert list(parallel_map(math.sqrt, range(5), workers=workers)) == [math.sqrt(number) for number in range(5)]
    assert list(parallel_map(math.sqrt, [], workers=workers)) == []
    with pytest.raises(ValueError, match=r"math domain|nonnegative"):
        list(parallel_map(math.sqrt, [4, -1, 9], workers=workers))


def test_closing_early_drops_the_rest():
    started = time.monotonic()
    results = parallel_map(time.sleep, [0.0, *[30.0] * 50], workers=2)
    next(results)
    results.close()
    assert time.monotonic() - started < 25


def test_worker_killed_says_what_to_do():
    with pytest.raises(
        BonafaceError, match=r"probably out of memory; run again with fewer workers; finished work is kept"
    ):
        list(parallel_map(eval, [f"__import__('os').kill(__import__('os').getpid(), {int(signal.SIGKILL)})"] * 2))
    assert list(parallel_map(math.sqrt, [4, 9], workers=2)) == [2, 3]


@posix
def test_no_semaphores_means_one_process_and_a_note():
    done = subprocess.run([sys.executable, "-c", NO_SEMAPHORES], capture_output=True, text=True, check=True)
    assert done.stdout == "10.0\n"
    assert done.stderr.count("\n") == 1
    assert "/dev/shm" in done.stderr
    assert "in one process" in done.stderr


def test_no_processes_means_one_process_and_a_note(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(joblib.Parallel, "__call__", refuse)
    with pytest.warns(BonafaceWarning, match="Resource temporarily unavailable.* in one process"):
        assert list(parallel_map(math.sqrt, [4, 9], workers=2)) == [2, 3]


@posix
@pytest.mark.parametrize("whole_group", [True, False])
def test_ctrl_c_ends_the_workers(whole_group: bool):
    with subprocess.Popen(
        [sys.executable, "-c", LONG], stdout=-1, stderr=-1, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        pids = {int(parent.stdout.readline()) for _ in range(2)}
        time.sleep(1)
        if whole_group:  # as a terminal does
            os.killpg(parent.pid, signal.SIGINT)
        else:
            parent.send_signal(signal.SIGINT)
        parent.communicate(timeout=60)
    assert wait_for_end(pids, seconds=20)


@posix
def test_workers_of_a_killed_process_end_when_idle():
    with subprocess.Popen([sys.executable, "-c", IDLE], stdin=-1, stdout=-1, text=True) as parent:
        assert parent.stdout is not None
        pids = {int(parent.stdout.readline()) for _ in range(2)}
        parent.kill()
    assert wait_for_end(pids, seconds=60)


def test_idle_workers_follow_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    jobs = ["__import__('os').getcwd()"] * 4
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert set(parallel_map(eval, jobs, workers=2)) == {str((tmp_path / name).resolve())}


@posix
def test_a_working_directory_that_is_gone_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert list(parallel_map(abs, [-1, -2, -3], workers=2)) == [1, 2, 3]
