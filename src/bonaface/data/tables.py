"""Tables as files: CSV or Parquet, read as text with the line of each row, written whole or not at all."""

from __future__ import annotations

import csv
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from bonaface.errors import ManifestError, MissingExtraError, OutputError, few

__all__ = ["TABLE_SUFFIXES", "TextTable", "as_text", "read_table", "remove_file", "write_bytes", "write_table"]

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")


class TextTable:
    """A table of strings (`""` = absent), and how to name its rows to the person who wrote it."""

    def __init__(self, frame: pd.DataFrame, *, name: str, raw: bytes | None = None) -> None:
        self.frame = frame
        self.name = name
        self._raw = raw

    def places(self, rows: Sequence[int]) -> list[str]:
        """`line 4` for rows of a CSV file, as an editor counts; `row 3` for any other table; both from 1."""
        if self._raw is not None:
            with suppress(csv.Error, IndexError):
                lines = _first_lines(self._raw)
                return [f"line {lines[row + 1]}" for row in rows]
        return [f"row {row + 1}" for row in rows]


def read_table(path: Path) -> TextTable:
    """A CSV, TSV or Parquet file as text.

    Raises ManifestError where the file is absent, of another kind, empty, not UTF-8, or not a regular table;
    MissingExtraError for Parquet without pyarrow.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise ManifestError(f"{path} is no table by its name: expected a file ending in {', '.join(TABLE_SUFFIXES)}")
    if path.is_dir():
        raise ManifestError(f"{path} is a folder: expected a table ({', '.join(TABLE_SUFFIXES)})")
    if not path.is_file():
        raise ManifestError(f"no file at {path}: expected a table ({', '.join(TABLE_SUFFIXES)})")
    return _read_parquet(path) if suffix == ".parquet" else _read_csv(path)


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy with every cell as `str`: absent values become `""`, 3.0 in a column with gaps becomes `3`.

    Raises ManifestError for text that UTF-8 cannot hold.
    """
    columns = {str(name): _text(frame[name]) for name in frame.columns}
    try:
        return pd.DataFrame(columns, index=range(len(frame)), dtype="str")
    except UnicodeEncodeError:
        bad = ((row + 1, value) for cells in columns.values() for row, value in enumerate(cells))
        row, value = next((row, value) for row, value in bad if not _is_utf8(value))
        raise ManifestError(f"a character that UTF-8 has not in row {row} ({value!r})") from None


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write CSV, TSV or Parquet by suffix, whole or not at all. Raises OutputError, MissingExtraError."""
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise OutputError(f"{path} cannot be written: a table's name ends in {', '.join(TABLE_SUFFIXES)}")
    if suffix == ".parquet":
        _require_pyarrow(f"writing {path.name}")
        buffer = io.BytesIO()
        frame.to_parquet(buffer, engine="pyarrow", index=False)
        write_bytes(buffer.getvalue(), path)
    else:
        text = frame.to_csv(index=False, sep="\t" if suffix == ".tsv" else ",", lineterminator="\n")
        write_bytes(text.encode(), path)


def write_bytes(content: bytes, path: Path) -> None:
    """Write a file beside its place and move it there: it is never seen half-written. Raises OutputError."""
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        os.replace(temporary, path)  # noqa: PTH105 (Path.replace is the same call)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None


def remove_file(path: Path) -> None:
    """Remove a file, if it is there. Raises OutputError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be removed: {error.strerror or error}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(column: pd.Series) -> list[str]:
    absent = column.isna().to_numpy()
    values = column.to_numpy(dtype=object)
    whole = pd.api.types.is_float_dtype(column.dtype) and bool((column.dropna() % 1 == 0).all())
    write: Callable[[object], str] = (lambda value: str(int(value))) if whole else str  # type: ignore[call-overload]
    if pd.api.types.is_bool_dtype(column.dtype):
        write = lambda value: "true" if value else "false"  # noqa: E731
    return ["" if gone else write(value) for value, gone in zip(values, absent, strict=True)]


def _read_csv(path: Path) -> TextTable:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or error}") from None
    _refuse_what_is_not_text(raw, path)
    separator = _separator(raw, path)
    header = next(csv.reader(io.StringIO(_first_line(raw)), delimiter=separator), [])
    names = [name.strip() for name in header]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ManifestError(f"{path} has the column {few(map(repr, repeated))} more than once: rename or remove one")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.BytesIO(raw),
                sep=separator,
                dtype=str,
                keep_default_na=False,
                na_filter=False,
                index_col=False,
                encoding="utf-8-sig",
            )
    except pd.errors.EmptyDataError:
        raise ManifestError(f"{path} is empty: expected a table with a header line") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        raise ManifestError(f"{path} is not a regular table: {reason}") from None
    if len(names) == len(frame.columns):
        frame.columns = pd.Index(names)
    return TextTable(frame, name=str(path), raw=raw)


def _read_parquet(path: Path) -> TextTable:
    _require_pyarrow(f"reading {path.name}")
    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())}") from None
    return TextTable(as_text(frame), name=str(path))


def _require_pyarrow(needed_for: str) -> None:
    if find_spec("pyarrow") is None:
        raise MissingExtraError("parquet", needed_for=needed_for)


def _refuse_what_is_not_text(raw: bytes, path: Path) -> None:
    if not raw.strip():
        raise ManifestError(f"{path} is empty: expected a table with a header line")
    nul = raw.find(b"\0")
    if nul >= 0:
        line = raw.count(b"\n", 0, nul) + 1
        raise ManifestError(f"{path} holds a NUL byte in line {line}: expected a CSV table in UTF-8")
    try:
        raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ManifestError(
            f"{path} is not UTF-8 (byte 0x{raw[error.start]:02x} in line {line}): save it as CSV in UTF-8"
        ) from None


def _first_line(raw: bytes) -> str:
    lines = raw[:65536].decode("utf-8-sig", errors="ignore").splitlines()
    return next((line for line in lines if line.strip()), "")


def _separator(raw: bytes, path: Path) -> str:
    """A tab in `.tsv`, else whichever of comma, semicolon and tab the header line has most of."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    line = _first_line(raw)
    return max(",;\t", key=line.count)


def _first_lines(raw: bytes) -> list[int]:
    """The line on which each record starts, header first; blank lines are no records."""
    text = raw.decode("utf-8-sig")
    reader = csv.reader(io.StringIO(text, newline=""))
    starts, before = [], 0
    for record in reader:
        if any(cell.strip() for cell in record) or len(record) > 1:
            starts.append(before + 1)
        before = reader.line_num
    return starts
