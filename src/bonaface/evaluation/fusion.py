"""From frames to presentations: the first frame's answer, or all frames' fused into one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.errors import ScoreTableError, SettingsError, few
from bonaface.evaluation.checking import text_column
from bonaface.types import FUSION_RULES, FusionRule, Status, probability

__all__ = ["Mode", "presentations"]

Mode = Literal["image", "video"]

_Floats = NDArray[np.float64]

# A row of the matrix holds a presentation's frames in order; arithmetic as in `verdicts.fuse`, to the bit.
_FUSE: dict[FusionRule, Callable[[_Floats], _Floats]] = {
    "mean": lambda values: values.mean(axis=1),
    "median": lambda values: np.asarray(np.median(values, axis=1)),
    "max_attack": lambda values: values.min(axis=1),
    "first": lambda values: values[:, 0],
}


def presentations(table: pd.DataFrame, *, mode: Mode = "video", rule: FusionRule | None = None) -> pd.DataFrame:
    """One row a presentation, in order of first appearance, with the same columns; `frame` is empty.

    `image` takes the first frame alone, and a failed first frame is a failed presentation. `video` takes the
    fused row where there is one; with a `rule`, or without a fused row, the frames that have a score are
    fused (`types.fuse`, on logits where the table has them, `mean` by default). A presentation fails if
    none of its frames has a score, with the status of its first frame, and where its fused row says that it
    failed (too few of its frames had a face). Expects a checked table (`check_scores`).
    """
    if rule is not None and rule not in FUSION_RULES:
        raise SettingsError(f"unknown fusion rule {rule!r}; known: {', '.join(FUSION_RULES)}")
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
        _need_frames(table, order, order_of_names, has_frames, first_row)
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
    return result


def _fuse_groups(
    code: NDArray[Any], values: NDArray[np.float64], rule: FusionRule
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Fuse runs of equal code (ascending), all presentations of equally many frames at once."""
    got, start, length = np.unique(code, return_index=True, return_counts=True)
    fused = np.empty(len(got), dtype=np.float64)
    for frames in np.unique(length):
        which = np.flatnonzero(length == frames)
        block = values[start[which][:, None] + np.arange(frames)]
        fused[which] = _FUSE[rule](block)
    return got, fused


def _need_frames(
    table: pd.DataFrame,
    order: NDArray[np.intp],
    names: Any,
    has_frames: NDArray[np.bool_],
    first_row: NDArray[np.intp],
) -> None:
    """A presentation with a fused score alone cannot say what its first frame gave."""
    status = text_column(table, "status")[order][first_row]
    bad = ~has_frames & (status == Status.OK)
    if bad.any():
        raise ScoreTableError(
            f"{int(bad.sum())} presentations have a fused score but no frame rows "
            f"({few(np.asarray(names)[bad], limit=2)}); what their first frame gave is not known: "
            "evaluate the fused scores (video) instead"
        )
