"""Collect what is wrong with the rows of a table, each kind of fault once, with the rows that have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.errors import format_list

Rows = NDArray[np.bool_]
RowNamer = Callable[[Sequence[int]], list[str]]


class RowProblems:
    """Collect faults by kind, each with its rows."""

    def __init__(self, name_rows: RowNamer) -> None:
        self.found: list[str] = []
        self._name_rows = name_rows

    def add(self, what: str, rows: pd.Series | Rows, *, values: pd.Series | None = None) -> None:
        positions = np.flatnonzero(np.asarray(rows, dtype=bool))
        if len(positions) == 0:
            return
        named = self._name_rows(positions.tolist())
        if values is not None:
            bad = values.iloc[positions].tolist()
            named = [f"{name} ({value!r})" for name, value in zip(named, bad, strict=True)]
        self.found.append(f"{what} in {format_list(named, limit=10)}")


def row_numbers(rows: Sequence[int]) -> list[str]:
    """Return how rows of a table in memory are named, from 1."""
    return [f"row {row + 1}" for row in rows]
