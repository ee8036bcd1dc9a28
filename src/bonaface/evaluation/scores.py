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

from bonaface.choices import FUSION_RULES, FusionRule, HigherIs
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


def presentations(table: pd.DataFrame, *, mode: Mode = "video", rule: FusionRule | None = None) -> pd.DataFrame:
    """Return one row a presentation, in order of first appearance, with the same columns; `frame` is empty.

    `image` takes the first frame alone, and a failed first frame is a failed presentation. `video` takes the
    fused row where there is one; with a `rule`, or without a fused row, the frames that have a score are
    fused (`types.fuse`, on logits where the table has them, `mean` by default). A presentation fails if
    none of its frames has a score, with the status of its first frame, and where its fused row says that it
    failed (too few of its frames had a face). Expects a checked table (`check_scores`).
    """
    if rule is not None and rule not in FUSION_RULES:
        raise SettingsError(f"unknown fusion rule {rule!r} (--fusion); known: {', '.join(FUSION_RULES)}")
    names = text_column(table, "presentation")
    code, order_of_names = pd.factorize(names)
    count = len(order_of_names)
    # In frame order, a fused row (frame -1) before its frames.
    frame = table["frame"].fillna(-1).to_numpy(dtype=np.int64)
    order = np.lexsort((frame, code))
    code, frame = code[order], frame[order]
    first_row = np.searchsorted(code, np.arange(count))
    is_fused = frame == -1
    has_fused = is_fused[first_row] if count else np.zeros(0, dtype=bool)
    last_row = np.searchsorted(code, np.arange(count), side="right") - 1
    has_frames = frame[last_row] >= 0

    # The row that stands for the presentation: its fused row, or its first frame.
    row = first_row.copy()
    if mode == "image":
        bad = ~has_frames & (text_column(table, "status")[order][first_row] == Status.OK)
        if bad.any():
            raise ScoreTableError(
                f"{int(bad.sum())} presentations have a fused score but no frame rows "
                f"({format_list(np.asarray(order_of_names)[bad], limit=2)}); what their first frame gave is not known: "
                "evaluate the fused scores (video) instead"
            )
        row = np.where(has_fused & has_frames, first_row + 1, first_row)
        fuse = np.zeros(count, dtype=bool)
    elif mode == "video":
        failed = has_fused & (text_column(table, "status")[order][first_row] != Status.OK)
        fuse = has_frames & ~failed if rule is not None else has_frames & ~has_fused
        row = np.where(fuse & has_fused, first_row + 1, first_row)
    else:
        raise SettingsError(f"unknown mode {mode!r}; known: image, video")

    result = table.iloc[order[row]].reset_index(drop=True)
    result["frame"] = pd.array([pd.NA] * count, dtype="Int64")
    if fuse.any():
        values = {column: result[column].to_numpy(dtype=np.float64, copy=True) for column in ("logit", "score")}
        status = text_column(result, "status").copy()
        usable = (text_column(table, "status")[order] == Status.OK) & ~is_fused & fuse[code]
        logits = table["logit"].to_numpy(dtype=np.float64)[order]
        on = "logit" if bool((usable & ~np.isnan(logits)).any()) else "score"
        source = logits if on == "logit" else table["score"].to_numpy(dtype=np.float64)[order]
        got, fused = _fuse_groups(code[usable], source[usable], rule or "mean")
        for value in values.values():
            value[fuse] = np.nan
        values[on][got] = fused
        if on == "logit":
            values["score"][got] = probability(fused)
        status[got] = Status.OK.value
        result = result.assign(**values, status=status)
        # The quality of a presentation is that of its fused row, the median over its frames.
        for column in (column for column in QUALITY_COLUMNS if column in table):
            of_first = table[column].iloc[order[first_row]].set_axis(result.index)
            result[column] = result[column].where(~(fuse & has_fused), of_first)
    return result


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


def _absent(manifest: pd.DataFrame, at: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows of the manifest without a score, in the splits that were scored at all."""
    scored = np.zeros(len(manifest), dtype=bool)
    scored[at] = True
    if "split" in manifest.columns:
        split = text_column(manifest, "split")
        scored |= ~np.isin(split, np.unique(split[scored]))
    return np.flatnonzero(~scored)


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
