"""Check the rules of a score table when it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.errors import ScoreTableError, did_you_mean, format_list
from bonaface.io import decimal_comma
from bonaface.types import UNSPECIFIED, Label, Status, probability

SCORE_COLUMNS = ("presentation", "frame", "logit", "score", "status", "system")
# A score rounded to float32 or to six places still matches its logit.
_SCORE_TOLERANCE = 1e-6

Bools = NDArray[np.bool_]


def check_scores(
    table: pd.DataFrame,
    *,
    name: str = "score table",
    places: Callable[[Sequence[int]], list[str]] | None = None,
) -> pd.DataFrame:
    """Return the table with every column of the format in its type.

    Only `presentation`, `label` and one of `score` and `logit` are required. Without logits the scores are those of a
    different system and may be any real numbers. Further columns are carried as they are. `places` names rows (from 0)
    in errors, by default `row 1` for the first. Raises ScoreTableError with the bad rows.
    """
    _need_columns(table, name)
    faults: list[str] = []
    names = text_column(table, "presentation")
    rows = len(table)

    def fault(what: str, bad: Bools, shown: Callable[[int], str] | None = None) -> None:
        at = np.flatnonzero(bad)
        if len(at):
            first = at[:1000].tolist()
            rows_named = places(first) if places else [f"row {i + 1}" for i in first]
            words = [shown(i) if shown else names[i] or "unnamed" for i in first]
            listed = format_list([f"{place} ({word})" for place, word in zip(rows_named, words, strict=True)], limit=4)
            more = f" of {len(at)}" if len(at) > 1000 else ""
            faults.append(f"{what}: {listed}{more}")

    def quoted(values: NDArray[Any]) -> Callable[[int], str]:
        return lambda i: f"{names[i]}: {str(values[i])!r}"

    fault("no presentation named", names == "")
    label = text_column(table, "label")
    known = [str(item) for item in Label]
    fault("label missing", label == "")
    fault(f"label is not one of {', '.join(known)}", (label != "") & ~np.isin(label, known), quoted(label))

    status = text_column(table, "status", default=Status.OK)
    status = np.where(status == "", str(Status.OK), status)
    unknown = ~np.isin(status, [str(item) for item in Status])
    fault(f"status is not one of {', '.join(Status)}", unknown, quoted(status))
    ok = status == Status.OK

    frame, bad_frame = _numbers(table, "frame")
    bad_frame |= ~np.isnan(frame) & ~((frame >= 0) & (frame < 2**53) & (frame == np.floor(frame)))
    fault("frame is not a whole number from 0", bad_frame)
    frame = np.where(bad_frame, np.nan, frame)

    logit, bad_logit = _numbers(table, "logit")
    score, bad_score = _numbers(table, "score")
    comma = {"logit": _decimal_commas(table, "logit", bad_logit), "score": _decimal_commas(table, "score", bad_score)}
    for column, rows_with in comma.items():
        what = f"{column} has a decimal comma; write a point, as in 0.5"
        fault(what, rows_with, quoted(text_column(table, column)))
    has_logits = bool((ok & (~np.isnan(logit) | bad_logit)).any())
    if has_logits:
        fault("logit is not a number though status is ok", ok & ~np.isfinite(logit) & ~comma["logit"])
        if "score" not in table.columns:
            score = np.asarray(probability(logit))
    fault("score is not a number though status is ok", ok & ~np.isfinite(score) & ~comma["score"])
    fault(
        "score given though status says that the sample failed",
        ~ok & ~unknown & (~np.isnan(score) | ~np.isnan(logit)),
    )
    fault("neither a number nor empty", ~ok & ((bad_logit & ~comma["logit"]) | (bad_score & ~comma["score"])))
    if has_logits:
        both = ok & np.isfinite(logit) & np.isfinite(score)
        apart = both & (np.abs(score - probability(np.where(both, logit, 0.0))) > _SCORE_TOLERANCE)
        fault("score is not the probability of its logit", apart)

    code, _ = pd.factorize(names)
    key = pd.DataFrame({"code": code, "frame": np.where(np.isnan(frame), -1, frame)})
    fault(
        "repeated (presentation, frame)",
        np.asarray(key.duplicated(keep="first")) & ~bad_frame & (names != ""),
    )
    first = np.unique(code, return_index=True)[1]
    for column in ("label", "species", "subject"):
        values = label if column == "label" else text_column(table, column)
        fault(f"one presentation with two values of {column}", values != values[first[code]])

    if faults:
        raise ScoreTableError(f"{name}: {'; '.join(faults)}; nothing was computed, correct the table")

    species = text_column(table, "species")
    attack = label == Label.ATTACK
    columns: dict[str, Any] = {
        "presentation": names,
        "frame": pd.array(np.where(np.isnan(frame), 0, frame).astype(np.int64), dtype="Int64"),
        "logit": logit,
        "score": score,
        "status": status,
        "system": text_column(table, "system"),
        "label": label,
        "species": np.where(attack & (species == ""), UNSPECIFIED, species),
    }
    columns["frame"][np.isnan(frame)] = pd.NA
    for column in ("subject", "dataset", "split"):
        columns[column] = text_column(table, column)
    for column in table.columns:
        if column not in columns:
            columns[column] = table[column].to_numpy() if rows else table[column]
    return pd.DataFrame(columns)


def text_column(table: pd.DataFrame, column: str, *, default: str = "") -> NDArray[Any]:
    """Return a column as plain strings, empty where absent; all `default` if there is no such column."""
    if column not in table.columns:
        return np.full(len(table), str(default), dtype=object)
    # By distinct value: equal texts share one object, and a million rows cost little.
    code, distinct = pd.factorize(table[column], use_na_sentinel=True)
    texts = np.append(np.asarray(distinct, dtype=object), "")
    if {type(text) for text in texts} != {str}:
        texts = np.array([str(text) for text in texts], dtype=object)
    return texts[code]


def _need_columns(table: pd.DataFrame, name: str) -> None:
    found = [str(column) for column in table.columns]
    wanted = {"presentation": {"presentation"}, "label": {"label"}, "score or logit": {"score", "logit"}}
    missing = [title for title, columns in wanted.items() if not columns & set(found)]
    if missing:
        hint = did_you_mean(missing[0], found)
        join = "; join the scores to their manifest for the labels" if missing == ["label"] else ""
        raise ScoreTableError(
            f"{name} has no column {', '.join(missing)}{hint}; found: {', '.join(found) or 'none'}{join}"
        )
    twice = [column for column in found if found.count(column) > 1]
    if twice:
        raise ScoreTableError(f"{name} has the column {twice[0]} twice; rename one")
    if len(table) == 0:
        raise ScoreTableError(f"{name} holds no rows; expected one for each presentation")


def _numbers(table: pd.DataFrame, column: str) -> tuple[NDArray[np.float64], Bools]:
    """Return a column in float64 (NaN where empty), and where it holds a text that is not a number."""
    rows = len(table)
    bad = np.zeros(rows, dtype=bool)
    if column not in table.columns:
        return np.full(rows, np.nan), bad
    values = table[column]
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values.to_numpy(dtype=np.float64, na_value=np.nan, copy=True), bad
    # float() reads back exactly what repr wrote; pandas' own fast parser is off by a bit now and then.
    texts = text_column(table, column)
    texts[texts == ""] = "nan"
    try:
        return texts.astype(np.float64), bad
    except ValueError:
        pass
    numbers = np.full(rows, np.nan)
    for i, text in enumerate(texts):
        try:
            numbers[i] = float(text)
        except ValueError:
            bad[i] = True
    return numbers, bad


def _decimal_commas(table: pd.DataFrame, column: str, bad: Bools) -> Bools:
    """Where a cell that is not a number would be one with a point for its comma."""
    found = np.zeros(len(table), dtype=bool)
    if bad.any():
        found[bad] = [decimal_comma(text) for text in text_column(table, column)[bad]]
    return found
