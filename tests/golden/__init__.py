"""Answers of an earlier state of the program, and how to compare with them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent


def assert_as_before(found: Any, name: str, *, rel: float = 1e-9) -> None:
    """Compare keys and values with a file of this folder, numbers to `rel` of their size.

    With BONAFACE_GOLDEN=1 in the environment the file is written instead.
    """
    file = FOLDER / name
    if os.environ.get("BONAFACE_GOLDEN"):
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    _compare(found, json.loads(file.read_text()), name, rel)


def _compare(found: Any, expected: Any, place: str, rel: float) -> None:
    assert type(found) is type(expected), place
    if isinstance(expected, dict):
        assert list(found) == list(expected), place
        for key, value in expected.items():
            _compare(found[key], value, f"{place}/{key}", rel)
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for number, value in enumerate(expected):
            _compare(found[number], value, f"{place}/{number}", rel)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=rel, abs=1e-12), place
    else:
        assert found == expected, place
