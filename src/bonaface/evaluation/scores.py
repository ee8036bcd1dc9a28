"""The score table of any system, from which all measures are computed.

One row per frame, and one fused row per presentation (its `frame` is empty). A higher score is more bona fide. A
sample that got no score is a row with a status; a table that breaks a rule is refused with its rows named
(row 1 is the first below the header).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.choices import FusionRule, HigherIs
from bonaface.errors import ScoreTableError, SettingsError, format_list
from bonaface.evaluation.checking import SCORE_COLUMNS, check_scores, text_column
from bonaface.io import read_table, write_table
from bonaface.types import QUALITY_COLUMNS, Status, fuse_frames, probability

Mode = Literal["image", "video"]
Turned = Literal["", "1 - score", "-score"]


def read_scores(path: Path | str) -> pd.DataFrame:
    """Read and check a score table; numbers come back exactly as written.

    Args:
        path: the table: CSV, TSV, text or Parquet.

    Returns:
        The table, with every column of the format in its type.

    Raises:
        ScoreTableError: rows break a rule of the format, each named.

    Examples:
        ```python
        scores = bonaface.read_scores("scores.csv")
        print(scores.groupby("label")["score"].median())
        ```
    """
    table = read_table(path, error=ScoreTableError)
    return check_scores(table.frame, name=table.name, places=table.places)


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
    if "presentation" not in scores.columns:
        raise ScoreTableError(
            f"the scores have no column presentation; found: {', '.join(map(str, scores.columns)) or 'none'}"
        )
    names = text_column(scores, "presentation")
    facts = manifest.drop(columns=[column for column in SCORE_COLUMNS if column in manifest.columns])
    facts = facts.rename(columns={"path": "presentation"})
    strange = pd.unique(names[~pd.Index(names).isin(facts["presentation"])])
    if len(strange):
        raise ScoreTableError(
            f"{len(strange)} scored presentations are not in the manifest, such as {strange[0]}; the manifest has paths "
            f"such as {format_list(facts['presentation'], limit=1)}"
        )
    own = [column for column in scores.columns if column in SCORE_COLUMNS or column not in manifest.columns]
    joined = scores[own].assign(presentation=names).merge(facts, on="presentation", how="left")
    scored = facts["presentation"].isin(names)
    absent = facts[~scored & facts["split"].isin(facts.loc[scored, "split"])]
    if len(absent) and missing == "refuse":
        raise ScoreTableError(
            f"{len(absent)} presentations of the manifest have no score, such as {absent['presentation'].iloc[0]}; add a "
            f"row with a status ({', '.join(s for s in Status if s != Status.OK)}) for each, "
            "or have them counted as unreadable"
        )
    if len(absent):
        if "status" not in joined:
            joined["status"] = Status.OK.value
        joined = pd.concat([joined, absent.assign(status=Status.UNREADABLE.value)], ignore_index=True)
    return check_scores(joined)


def presentations(table: pd.DataFrame, *, mode: Mode = "video", rule: FusionRule | None = None) -> pd.DataFrame:
    """Return one row a presentation, in order of first appearance, with the same columns; `frame` is empty.

    `image` takes the first frame alone, and a failed first frame is a failed presentation. `video` takes the
    fused row where there is one; with a `rule`, or without a fused row, the frames that have a score are
    fused (`types.fuse`, on logits where the table has them, `mean` by default). A presentation fails if
    none of its frames has a score, with the status of its first frame, and where its fused row says that it
    failed (too few of its frames had a face). Expects a checked table (`check_scores`).
    """
    code, names = pd.factorize(text_column(table, "presentation"))
    frame = table["frame"].fillna(-1).to_numpy(dtype=np.int64)
    order = np.lexsort((frame, code))  # in frame order, a fused row (frame -1) before its frames
    table, code, frame = table.iloc[order], code[order], frame[order]
    ok = text_column(table, "status") == Status.OK
    first = np.flatnonzero(np.diff(code, prepend=-1))
    last = np.append(first[1:], len(table)) - 1
    is_fused, has_frames = frame[first] == -1, frame[last] >= 0
    first_frame = first + (is_fused & has_frames)
    if mode == "image":
        bad = ~has_frames & ok[first]
        if bad.any():
            raise ScoreTableError(
                f"{int(bad.sum())} presentations have a fused score but no frame rows "
                f"({format_list(names[bad], limit=2)}); what their first frame gave is not known: "
                "evaluate the fused scores (video) instead"
            )
        return _one_row_each(table, first_frame)
    fuse = has_frames & ~is_fused if rule is None else has_frames & ~(is_fused & ~ok[first])
    result = _one_row_each(table, np.where(fuse, first_frame, first))
    usable = ok & (frame >= 0) & fuse[code]
    on = "logit" if table["logit"][usable].notna().any() else "score"
    got, fused = _fuse_groups(code[usable], table[on].to_numpy(dtype=np.float64)[usable], rule or "mean")
    result.loc[fuse, ["logit", "score"]] = np.nan
    result.loc[got, on] = fused
    result.loc[got, "status"] = Status.OK.value
    if on == "logit":
        result.loc[got, "score"] = probability(fused)
    # The quality of a presentation is that of its fused row, the median over its frames.
    quality = [column for column in QUALITY_COLUMNS if column in table]
    result[quality] = _one_row_each(table, first)[quality]
    return result


def _one_row_each(table: pd.DataFrame, rows: NDArray[np.intp]) -> pd.DataFrame:
    """Return these rows, one a presentation, without the number of a frame."""
    return table.iloc[rows].reset_index(drop=True).assign(frame=pd.array([pd.NA] * len(rows), dtype="Int64"))


def oriented(table: pd.DataFrame, higher_is: HigherIs, *more: pd.Series) -> tuple[pd.DataFrame, Turned]:
    """Return a checked table in which a higher score is more bona fide, and what stands for a score that was not so.

    Logits change their sign; scores between 0 and 1, in this table and in `more`, are taken off 1, others change their
    sign. Raises SettingsError.
    """
    if higher_is == "bona_fide":
        return table, ""
    if higher_is != "attack":
        raise SettingsError(f"--higher-is {higher_is}: expected bona_fide or attack")
    logit = -table["logit"]
    if logit.notna().any():
        score = pd.Series(probability(logit.to_numpy(dtype=np.float64)), index=table.index)
        return table.assign(logit=logit, score=score), "1 - score"
    if all(scores.dropna().between(0, 1).all() for scores in (table["score"], *more)):
        return table.assign(score=1 - table["score"]), "1 - score"
    return table.assign(score=-table["score"]), "-score"


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


def _fuse_groups(
    code: NDArray[Any], values: NDArray[np.float64], rule: FusionRule
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Fuse runs of equal code (ascending), all presentations of equally many frames at once."""
    got, start, length = np.unique(code, return_index=True, return_counts=True)
    fused = np.empty(len(got), dtype=np.float64)
    for frames in np.unique(length):
        which = np.flatnonzero(length == frames)
        block = values[start[which][:, None] + np.arange(frames)]
        fused[which] = fuse_frames(block, rule)
    return got, fused
