from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import pytest

from bonaface import errors
from bonaface.errors import (
    BonafaceError,
    BonafaceWarning,
    MissingExtraError,
    OutputError,
    did_you_mean,
    format_list,
    reraise_os_error,
)


def test_every_error_is_in_the_drawn_tree():
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
    for kind in classes:
        assert issubclass(kind, BonafaceError | BonafaceWarning)
        assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("items", "limit", "text"),
    [([], 5, ""), (["a"], 5, "a"), (["a", "b"], 2, "a, b"), (["a", "b", "c"], 2, "a, b and 1 more")],
)
def test_few(items, limit, text):
    assert format_list(items, limit=limit) == text


def test_a_far_word_gets_no_hint():
    assert did_you_mean("zebra", ["epochs"]) == ""


def test_a_refused_write_is_one_line_that_names_the_file(tmp_path: Path):
    blocker = tmp_path / "file"
    blocker.write_text("x")
    with pytest.raises(OutputError) as caught, reraise_os_error(tmp_path):
        (blocker / "below").mkdir()
    assert "file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_extra_is_reported_from_worker():
    error = MissingExtraError("hdf5", needed_for="reading it")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
