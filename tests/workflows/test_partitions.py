"""Parts of a long job: complete or absent, and of one job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bonaface.errors import InputError, OutputError
from bonaface.workflows.partitions import Partitions

FACES: dict[str, Any] = {"detector": "whole_frame"}


@pytest.fixture
def parts(tmp_path: Path) -> Partitions:
    parts = Partitions(tmp_path / "out.partitions", "0" * 16)
    for name, rows in (("000000000", [0, 1]), ("000000002.0000", [2]), ("000000002.0001", [3]), ("000000004", [4])):
        parts.write(name, pd.DataFrame({"row": rows}))
    return parts


def test_parts_are_read_in_order(parts: Partitions):
    assert parts.read()["row"].tolist() == [0, 1, 2, 3, 4]
    parts.write("000000002", pd.DataFrame({"row": [2, 3]}))
    assert parts.read()["row"].tolist() == [0, 1, 2, 3, 4]


def test_presentations_of_a_divided_part_count_once(parts: Partitions):
    parts.write("000000002", pd.DataFrame({"row": [2, 3]}))
    assert list(parts.counts("row").values()) == [1] * 5


def test_part_that_was_changed_is_refused(parts: Partitions):
    file = parts.complete()["000000004"]
    pd.DataFrame({"row": [5]}).to_parquet(file)
    with pytest.raises(InputError, match=r"part-000000004-.* was changed after it was written; remove it"):
        parts.read()


def test_parts_of_another_job_are_refused(parts: Partitions):
    with pytest.raises(InputError, match="holds parts of a different job"):
        Partitions(parts.folder, "1" * 16).complete()


def test_two_jobs_do_not_write_into_one_output(parts: Partitions):
    with parts.locked(), pytest.raises(OutputError, match="another process is writing in"), parts.locked():
        pass


def test_two_jobs_do_not_write_into_one_output_in_storage():
    folder = Path("memory://jobs/verdicts")
    first, other = Partitions(folder, "0" * 16), Partitions(folder, "1" * 16)
    with first.locked():
        with pytest.raises(InputError, match="holds parts of a different job"), other.locked():
            pass
        with Partitions(folder, first.key).locked():  # the same parts, as after a job that was killed
            first.write("000000000", pd.DataFrame({"row": [0]}))
    assert list(first.complete()) == ["000000000"]


def test_error_of_a_job_is_not_hidden_by_storage_that_fails_too(monkeypatch: pytest.MonkeyPatch):
    job = Partitions(Path("memory://hidden/verdicts"), "0" * 16)

    def unreachable(_: Path) -> None:
        raise InputError("storage cannot be read")

    def interrupted() -> None:
        monkeypatch.setattr("bonaface.workflows.partitions.storage.listed", unreachable)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), job.locked():
        interrupted()


def test_job_in_storage_that_failed_before_its_first_part_leaves_no_mark():
    folder = Path("memory://failed/verdicts")
    with pytest.raises(ValueError, match="wrong"), Partitions(folder, "0" * 16).locked():
        raise ValueError("wrong")
    with Partitions(folder, "1" * 16).locked():
        pass
