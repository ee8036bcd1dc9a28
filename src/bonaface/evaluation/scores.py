"""The score table: the seam between a system, ours or another, and its evaluation.

One row a frame, and one fused row a presentation (its `frame` is empty). A higher score is more bona fide. A
sample that got no score is a row with a status; a table that breaks a rule is refused with its rows named
(row 1 is the first below the header).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.errors import ScoreTableError
from bonaface.evaluation.checking import SCORE_COLUMNS, check_scores, text_column
from bonaface.evaluation.fusion import presentations
from bonaface.io import read_table, write_table
from bonaface.types import Status

__all__ = [
    "SCORE_COLUMNS",
    "check_scores",
    "digest",
    "join_manifest",
    "presentations",
    "read_raw_scores",
    "read_scores",
    "write_scores",
]


def read_scores(path: Path | str) -> pd.DataFrame:
    """Read and check a score table from CSV, TSV, text or Parquet; numbers come back exactly as written."""
    table = read_table(path, error=ScoreTableError)
    return check_scores(table.frame, name=table.name, places=table.places)


def read_raw_scores(path: Path | str) -> pd.DataFrame:
    """Read a table as it lies in the file, unchecked: what a different system wrote, for `join_manifest`."""
    return read_table(path, error=ScoreTableError).frame


def write_scores(table: pd.DataFrame, path: Path | str) -> None:
    """Write a score table, checked, as CSV, TSV or Parquet by suffix; float64 survives exactly. Raises OutputError."""
    write_table(check_scores(table), path)


def join_manifest(
    scores: pd.DataFrame, manifest: pd.DataFrame, *, missing: Literal["refuse", "unreadable"] = "refuse"
) -> pd.DataFrame:
    """A foreign system's scores (`presentation`, `score`: any real numbers) with the manifest's columns.

    Every presentation of the splits that occur must have a score or a status: `missing="unreadable"` adds
    the absent ones as failed samples instead of refusing, so that they are counted. Raises ScoreTableError.
    """
    for column, of, what in (("presentation", scores, "the scores"), ("path", manifest, "the manifest")):
        if column not in of.columns:
            raise ScoreTableError(f"{what} have no column {column}; found: {', '.join(map(str, of.columns)) or 'none'}")
    names = text_column(scores, "presentation")
    known = pd.Index(text_column(manifest, "path"))
    if not known.is_unique:
        raise ScoreTableError(f"the manifest names {known[known.duplicated()][0]} twice; a path may occur once")
    at = known.get_indexer(pd.Index(names))
    if (at < 0).any():
        strange = pd.unique(names[at < 0])
        example = f"; the manifest has paths such as {known[0]}" if len(known) else "; the manifest is empty"
        raise ScoreTableError(
            f"{len(strange)} scored presentations are not in the manifest, such as {strange[0]}{example}"
        )
    own = [column for column in scores.columns if column in SCORE_COLUMNS or column not in manifest.columns]
    left = scores[own].reset_index(drop=True)
    right = manifest.drop(columns=["path", *(c for c in SCORE_COLUMNS if c in manifest.columns)])
    joined = pd.concat([left, right.iloc[at].reset_index(drop=True)], axis=1)
    absent = _absent(manifest, at)
    if len(absent) and missing == "refuse":
        raise ScoreTableError(
            f"{len(absent)} presentations of the manifest have no score, such as {known[absent[0]]}; add a "
            f"row with a status ({', '.join(s for s in Status if s != Status.OK)}) for each, "
            "or have them counted as unreadable"
        )
    if len(absent):
        status = joined["status"] if "status" in joined else pd.Series(Status.OK.value, index=joined.index)
        joined["status"] = status
        failed = right.iloc[absent].assign(presentation=known[absent], status=Status.UNREADABLE.value)
        joined = pd.concat([joined, failed.reset_index(drop=True)], ignore_index=True)
    return check_scores(joined)


def digest(table: pd.DataFrame) -> str:
    """SHA-256 over presentations, persons, labels, statuses and scores, whatever the order of the rows."""
    names = text_column(table, "presentation")
    frames = table["frame"].fillna(-1).to_numpy(dtype=np.int64) if "frame" in table else np.full(len(table), -1)
    order = np.lexsort((frames, pd.factorize(names, sort=True)[0]))
    total = hashlib.sha256()
    for column in ("presentation", "label", "status", "species", "subject"):
        if column in table:
            total.update("\n".join(text_column(table, column)[order].tolist()).encode())
        total.update(f"\0{column}\0".encode())
    total.update(frames[order].astype("<i8").tobytes())
    for column in ("logit", "score"):
        values = table[column].to_numpy(dtype=np.float64)[order]
        total.update(np.where(np.isnan(values), np.nan, values + 0.0).astype("<f8").tobytes())
    return total.hexdigest()


def _absent(manifest: pd.DataFrame, at: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows of the manifest without a score, in the splits that were scored at all."""
    scored = np.zeros(len(manifest), dtype=bool)
    scored[at] = True
    if "split" in manifest.columns:
        split = text_column(manifest, "split")
        scored |= ~np.isin(split, np.unique(split[scored]))
    return np.flatnonzero(~scored)
