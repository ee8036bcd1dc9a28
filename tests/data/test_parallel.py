from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bonaface.data.parallel import in_processes

SCRIPT = """
import math
from bonaface.data.parallel import in_processes
print("begun")
print(sum(in_processes(math.sqrt, [1, 4, 9, 16], workers=2)))
"""

WAITING = """
from bonaface.data.parallel import in_processes
for pid in in_processes(eval, ["__import__('os').getpid()"] * 2, workers=1):
    print(pid, flush=True)
    input()
"""


def test_a_plain_script_needs_no_guard(tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["begun", "10.0"]


def test_answers_come_in_order_and_an_error_comes_through():
    assert list(in_processes(math.sqrt, range(5), workers=2)) == [math.sqrt(number) for number in range(5)]
    with pytest.raises(ValueError, match=r"math domain|nonnegative"):
        list(in_processes(math.sqrt, [4, -1, 9], workers=2))


def test_stopping_early_waits_for_nothing():
    answers = in_processes(math.sqrt, range(1000), workers=2)
    assert next(answers) == 0
    answers.close()


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is killed there as it is here")
def test_workers_of_a_killed_process_do_not_stay():
    with subprocess.Popen([sys.executable, "-c", WAITING], stdin=-1, stdout=-1, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(worker, 0)
        parent.kill()
    for _ in range(300):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its parent by half a minute")
