"""Read and write tables: manifests, score tables and lists of face boxes, as CSV, TSV, text or Parquet.

Every cell is read as text, so that `007` and `NA` stay what they are.
"""

from __future__ import annotations

import csv
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from bonaface.errors import InputError, ManifestError, OutputError, format_list, needs_extra, one_line
from bonaface.io import storage
from bonaface.io.files import write_bytes, write_text

if TYPE_CHECKING:
    import pandas as pd

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
_PARQUET = (".parquet", ".pq")
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers")
_SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
_BLOCK = 10_000


@dataclass(frozen=True)
class TextTable:
    """A table of text (`""` = absent) by column, with the places of its rows in the file.

    `lines` holds the line on which each row starts, counted from 1 as an editor does; None where the file has no lines.
    """

    name: str
    columns: dict[str, list[str]]
    lines: Sequence[int] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def places(self, rows: Sequence[int]) -> list[str]:
        """Return how to name rows (from 0) to the author of the file: `line 4`, or `row 3` for Parquet, from 1."""
        if self.lines is None:
            return [f"row {row + 1}" for row in rows]
        return [f"line {self.lines[row]}" for row in rows]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The table as a DataFrame of `str`."""
        import pandas as pd

        return pd.DataFrame(self.columns, dtype="str")


def read_table(path: str | Path, *, error: type[InputError] = InputError) -> TextTable:
    """Read a CSV, TSV, text or Parquet file as text.

    The separator (comma, semicolon or tab) is the one that divides the header line into most columns, or the one that
    a first line `sep=;` names. UTF-8 with or without a byte order mark and UTF-16 with one are read. Blanks around
    unquoted cells are dropped, and so are columns without a name and without a value, which separators at the end of
    lines leave. Raises `error` where the file is absent, of a different kind, empty or not a regular table;
    MissingExtraError for Parquet without pyarrow.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    expected = f"expected a table ({', '.join(TABLE_SUFFIXES)})"
    if suffix in _SPREADSHEETS:
        raise error(f"{path} is a spreadsheet: save its sheet as CSV UTF-8 and give that file")
    if suffix not in TABLE_SUFFIXES:
        raise error(f"{path} is not a table by its name: {expected}")
    if storage.is_remote(path):
        local = storage.local_copy(path, error=error)
        with storage.named_as(path, local):
            return replace(read_table(local, error=error), name=storage.shown(path))
    if path.is_dir():
        raise error(f"{path} is a folder: {expected}")
    if not path.is_file():
        raise error(f"no file at {path}: {expected}")
    if suffix in _PARQUET:
        return _read_parquet(path, error)
    try:
        raw = path.read_bytes()
    except OSError as failure:
        raise error(f"{path} cannot be read: {failure.strerror or failure}") from None
    return _read_text(_decoded(raw, path, error), path, error)


def relative_paths(names: Iterable[str], root: Path) -> list[str]:
    """Return absolute paths that lie below `root` relative to it; all other names as they are.

    >>> relative_paths(["/footage/live/a.mp4", "b.mp4", "/else/c.mp4"], Path("/footage"))
    ['live/a.mp4', 'b.mp4', '/else/c.mp4']
    """
    # `Path.resolve` would follow links, and both forms may be written in a table.
    folders = [storage.shown(root)] if storage.is_remote(root) else [os.path.abspath(root), os.path.realpath(root)]  # noqa: PTH100
    prefixes = tuple(f"{folder.replace(os.sep, '/').rstrip('/')}/" for folder in dict.fromkeys(folders))

    def relative(name: str) -> str:
        slashed = name.replace("\\", "/") if os.sep == "\\" else name
        for prefix in prefixes:
            if slashed.startswith(prefix):
                return slashed[len(prefix) :]
        return name

    return [relative(name) for name in names]


def decimal_comma(text: str) -> bool:
    """Return whether a text is a number only if its comma is read as a decimal point.

    >>> decimal_comma("0,53"), decimal_comma("-1,5e-3"), decimal_comma("0.53"), decimal_comma("a,b")
    (True, True, False, False)
    """
    return re.fullmatch(r"\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*", text) is not None


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write CSV, TSV or Parquet by suffix; float64 is written exactly. Raises OutputError, MissingExtraError."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise OutputError(f"cannot write {storage.shown(path)}: a table's name ends in {', '.join(TABLE_SUFFIXES)}")
    if suffix in _PARQUET:
        with needs_extra(f"writing {path.name}"):
            import pyarrow as pa  # noqa: F401 (pandas says less about its absence)
        buffer = io.BytesIO()
        frame.to_parquet(buffer, engine="pyarrow", index=False)
        write_bytes(path, buffer.getvalue())
        return
    # A reader drops blanks around cells that are not quoted.
    words = (frame[name].unique() for name in frame.columns if frame[name].dtype.kind not in "biuf")
    blank = any(isinstance(word, str) and word != word.strip() for column in words for word in column)
    text = frame.to_csv(
        index=False,
        sep="," if suffix == ".csv" else "\t",
        lineterminator="\n",
        quoting=csv.QUOTE_NONNUMERIC if blank else csv.QUOTE_MINIMAL,
    )
    write_text(path, text)


def text_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a copy with every cell as text (`as_text`). Raises ManifestError for text that UTF-8 cannot hold."""
    import pandas as pd

    columns = {}
    for name in frame.columns:
        absent = frame[name].isna().tolist()
        values = zip(frame[name].tolist(), absent, strict=True)
        columns[str(name)] = cells = as_text(None if gone else value for value, gone in values)
        bad = next((row for row, cell in enumerate(cells) if not is_utf8(cell)), None)
        if bad is not None:
            raise ManifestError(f"invalid UTF-8 in row {bad + 1} ({cells[bad]!r})")
    return pd.DataFrame(columns, index=range(len(frame)), dtype="str")


def as_text(values: Iterable[object]) -> list[str]:
    """Return values of one column as text: absent ones become `""`, 3.0 in a column of whole numbers `3`.

    >>> as_text([1.0, None, 3.0]), as_text([0.5, float("nan")]), as_text([True, False])
    (['1', '', '3'], ['0.5', ''], ['true', 'false'])
    """
    values = [None if value is None or value != value else value for value in values]  # noqa: PLR0124 (NaN, NaT)
    numbers = [value for value in values if value is not None]
    if numbers and all(isinstance(value, float) and value.is_integer() for value in numbers):
        return ["" if value is None else str(int(value)) for value in values]  # type: ignore[call-overload]
    return ["" if value is None else str(value).lower() if isinstance(value, bool) else str(value) for value in values]


def _read_text(text: str, path: Path, error: type[InputError]) -> TextTable:
    given = re.match(r'"?sep=(.)"?[ ,;\t]*(\r\n|\r|\n)', text, re.IGNORECASE)
    if given:
        text = text[given.end() :]
    start = 1 if given else 0
    separator = given[1] if given else _separator(text, path)
    if plain := _read_plain(text, separator, start):
        names, columns, starts = plain
        return TextTable(str(path), _named(names, columns, path, error), starts)
    starts = []
    try:
        records = _records(text, separator, start)
        names = [cell.strip() for cell in next((cells for _, cells in records if any(cells)), ())]
        if not names:
            raise error(f"{path} is empty: expected a table with a header line")
        columns = [[] for _ in names]
        while block := list(islice(records, _BLOCK)):
            starts += [line for line, _ in block]
            rows = [_fitted(cells, len(names), line, path, separator, error) for line, cells in block]
            for column, found in zip(columns, zip(*rows, strict=True), strict=True):
                column.extend(map(sys.intern, found))
    except csv.Error as failure:
        unclosed = str(failure).startswith(("unexpected end", "field larger"))
        reason = "a quote is not closed" if unclosed else str(failure)
        raise error(f"{path} is not a regular table: {reason} (after line {(starts or [start + 1])[-1]})") from None
    return TextTable(str(path), _named(names, columns, path, error), starts)


def _read_plain(text: str, separator: str, start: int) -> tuple[list[str], list[list[str]], list[int]] | None:
    """Return names, columns and line numbers of a table without quotes and with equally long rows, else None.

    Four times as fast as the csv module.
    """
    if '"' in text or not text.strip():
        return None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    starts = [place for place, line in enumerate(lines) if separator in line or line.strip()]
    kept = [lines[place] for place in starts]
    width = kept[0].count(separator) + 1
    names = [cell.strip() for cell in kept[0].split(separator)]
    if not any(names) or any(line.count(separator) != width - 1 for line in kept):
        return None
    columns: list[list[str]] = [[] for _ in names]
    for first in range(1, len(kept), _BLOCK):
        cells = separator.join(kept[first : first + _BLOCK]).split(separator)
        for number, column in enumerate(columns):
            # Equal cells share one text: most columns hold few different ones.
            column.extend(map(sys.intern, map(str.strip, cells[number::width])))
    return names, columns, [start + place + 1 for place in starts[1:]]


def _records(text: str, separator: str, start: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line and the cells of each record that is not blank; unquoted cells without outer blanks."""
    quoted = False

    def watched() -> Iterator[str]:
        nonlocal quoted
        for line in io.StringIO(text, newline=""):
            quoted = quoted or '"' in line
            yield line

    reader = csv.reader(watched(), delimiter=separator, skipinitialspace=True, strict=True)
    before = 0
    for cells in reader:
        # Where a line has quotes, the blanks inside them belong to the cell.
        found = cells if quoted else [cell.strip() for cell in cells]
        if len(found) > 1 or any(found):
            yield start + before + 1, found
        before, quoted = reader.line_num, False


def _fitted(cells: list[str], width: int, line: int, path: Path, separator: str, error: type[InputError]) -> list[str]:
    """A row of exactly `width` cells: missing ones at its end are empty, further ones must be."""
    if len(cells) == width:
        return cells
    if len(cells) < width:
        return cells + [""] * (width - len(cells))
    if any(cells[width:]):
        digits = (pair for pair in pairwise(cells) if all(part.isdigit() for part in pair))
        comma = next(digits, None) if separator == "," else None
        hint = f"; if {comma[0]},{comma[1]} is one number, write {comma[0]}.{comma[1]}" if comma else ""
        raise error(
            f"{path} is not a regular table: line {line} has {len(cells)} cells, the header {width}; quote a cell that "
            f"holds {_SEPARATORS.get(separator, repr(separator))}{hint}"
        )
    return cells[:width]


def _named(names: list[str], columns: list[list[str]], path: Path, error: type[InputError]) -> dict[str, list[str]]:
    """Columns by name; one without a name keeps its number, and goes where it is empty."""
    found: dict[str, list[str]] = {}
    repeated: list[str] = []
    for number, (name, cells) in enumerate(zip(names, columns, strict=True), start=1):
        if not name and not any(cells):
            continue
        key = name or f"column {number}"
        repeated += [key] if key in found else []
        found[key] = cells
    if repeated:
        raise error(f"{path} has the column {format_list(map(repr, repeated))} more than once: rename or remove one")
    return found


def _separator(text: str, path: Path) -> str:
    """The separator that divides the header line into most columns; where none does, that of the suffix."""
    header = next((line for line in re.split(r"[\r\n]+", text[:65536]) if line.strip()), "")

    def count(separator: str) -> int:
        try:
            return len(next(csv.reader([header], delimiter=separator, skipinitialspace=True), []))
        except csv.Error:
            return 0

    return max("\t,;" if path.suffix.lower() == ".tsv" else ",;\t", key=count)


def _decoded(raw: bytes, path: Path, error: type[InputError]) -> str:
    if raw.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise error(
            f"{path} is a spreadsheet or an archive, but its suffix says otherwise: save the sheet as CSV UTF-8"
        )
    if raw.startswith(b"PAR1"):
        raise error(f"{path} holds Parquet, but its suffix says otherwise: rename it to {path.stem}.parquet")
    wide = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as failure:
        line = raw.count(b"\n", 0, failure.start) + 1
        kind = "damaged UTF-16" if wide else "not UTF-8"
        raise error(
            f"{path} is {kind} (byte 0x{raw[failure.start]:02x} in line {line}): save it as CSV in UTF-8"
        ) from None
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        raise error(f"{path} holds a NUL byte in line {line}: expected text; save it as CSV in UTF-8")
    if not text.strip():
        raise error(f"{path} is empty: expected a table with a header line")
    return text


def _read_parquet(path: Path, error: type[InputError]) -> TextTable:
    with needs_extra(f"reading {path.name}"):
        from pyarrow import ArrowException, parquet

    try:
        table = parquet.read_table(path)
    except (OSError, ValueError, ArrowException) as failure:
        raise error(f"{path} cannot be read as Parquet: {one_line(failure)}") from None
    # pandas keeps the names of its rows as such a column.
    table = table.drop_columns([name for name in table.column_names if re.fullmatch(r"__index_level_\d+__", name)])
    names = [str(name) for name in table.column_names]
    columns = [as_text(column.to_pylist()) for column in table.columns]
    return TextTable(str(path), _named(names, columns, path, error))


def is_utf8(text: str) -> bool:
    """Return whether text can be written as UTF-8; a file name in other bytes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
