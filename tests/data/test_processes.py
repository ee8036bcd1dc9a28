from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from bonaface.data.processes import in_processes

SCRIPT = """
import math
from bonaface.data.processes import in_processes
print("begun")
print(sum(in_processes(math.sqrt, [1, 4, 9, 16], workers=2)))
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
