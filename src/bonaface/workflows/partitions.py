"""Results of a long job as Parquet files, one a part: each is complete or absent, and is not computed again.

A file is named by the number of its part, by what was asked for and by its content, so that a part of a different job and one
that was changed are recognised.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bonaface.errors import BonafaceError, InputError, needs_extra
from bonaface.io import locked_folder, storage, write_bytes

_JOB = "_JOB-"
_NAME = re.compile(r"part-(\d{9}(?:\.\d{4})?)-([0-9a-f]{16})-([0-9a-f]{16})\.parquet")


@dataclass(frozen=True)
class Partitions:
    """The parts of one job in a folder; `key` says what was asked for, in 16 hex digits."""

    folder: Path
    key: str

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; in storage, which has no locks, for this job.

        Raises OutputError where another process writes there, InputError where another job does.
        """
        if storage.is_remote(self.folder):
            self.complete()
            mark = self.folder / f"{_JOB}{self.key}"
            write_bytes(mark, b"")
            try:
                self.complete()  # a job that began at the same moment sees this one, or is seen here
            except InputError:
                storage.remove(mark)
                raise
            try:
                yield
            except BaseException:
                with suppress(BonafaceError):  # storage that fails now must not hide what ended the job
                    if not self.complete():
                        storage.remove(mark)
                raise
        else:
            with locked_folder(self.folder, doing="writing"):
                yield

    def complete(self) -> dict[str, Path]:
        """Return the file of each part, or of each presentation of a part that was divided, in their order.

        Raises InputError where parts of a different job are there.
        """
        found = {}
        files = storage.listed(self.folder) if storage.is_remote(self.folder) else sorted(self.folder.glob("part-*"))
        for file in files:
            name = _NAME.fullmatch(file.name)
            key = name[2] if name else file.name.removeprefix(_JOB)
            if name is None and key == file.name:
                continue
            if key != self.key:
                raise InputError(
                    f"{storage.shown(self.folder)} holds parts of a different job (another bundle, manifest or option); name "
                    "another output, or remove it"
                )
            if name:
                found[name[1]] = file
        return dict(sorted(found.items()))

    def write(self, name: str, table: pd.DataFrame) -> None:
        """Write the rows of one part. Raises OutputError, MissingExtraError."""
        buffer = io.BytesIO()
        with needs_extra("writing Parquet"):
            table.to_parquet(buffer, engine="pyarrow", index=False)
        content = buffer.getvalue()
        write_bytes(self.folder / f"part-{name}-{self.key}-{_digest(content)}.parquet", content)

    def read(self) -> pd.DataFrame:
        """Return the rows of all parts, in their order. Raises InputError where a file was changed."""
        return pd.concat(list(self._tables()), ignore_index=True)

    def counts(self, column: str) -> dict[str, int]:
        """Return how often each value of a column occurs, one part in memory at a time."""
        found: Counter[str] = Counter()
        for table in self._tables():
            found.update(table[column].tolist())
        return dict(found)

    def remove(self) -> None:
        """Remove the folder."""
        if storage.is_remote(self.folder):
            storage.remove(self.folder)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _tables(self) -> Iterator[pd.DataFrame]:
        files = self.complete()
        for name, file in files.items():
            # A part that was divided, interrupted, and then done as a whole has both.
            if "." not in name or name.partition(".")[0] not in files:
                yield self._read(file)

    def _read(self, file: Path) -> pd.DataFrame:
        with storage.temporary_copy(file) as local:
            content = local.read_bytes()
        if _digest(content) not in file.name:
            raise InputError(
                f"{storage.shown(file)} was changed after it was written; remove it, and the same call computes it again"
            )
        return pd.read_parquet(io.BytesIO(content))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
