"""How well one column, or one cheap property of the files, alone would tell attacks from bona fide.

A model finds whatever tells them apart, so each is turned into a score as a model might, without ever judging a row by
itself: a number by its order, or by its eighth if that tells more; a name by how many of the other persons' presentations
of that name are attacks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.types import Label

__all__ = ["FOLDS", "Telling", "Trait", "left_out", "telling_values", "traits"]

Floats = NDArray[np.float64]

FOLDS = 5
_BINS = 8
_SMOOTHING = 2.0
_FEWEST_NUMBERS = 8
_RESTATE = ("path", "label", "species", "category", "subject_known", "protocol", "fold")


@dataclass(frozen=True, eq=False)
class Trait:
    """A column or a property, and its score for each presentation: higher is more bona fide, NaN where it has none.

    `how` is `order` (of a number), `range` (eighths of a number) or `value` (of a name); `direction` says in words which
    way it points. `values` are what it was made from, as text.
    """

    name: str
    source: str
    how: str
    direction: str
    score: Floats
    values: NDArray[np.object_]


@dataclass(frozen=True)
class Telling:
    """A value of a column that one class alone has: `count` of the class's `total` presentations, of `persons`."""

    column: str
    value: str
    label: str
    count: int
    total: int
    persons: int


def traits(table: pd.DataFrame, properties: pd.DataFrame) -> Iterator[Trait]:
    """Every column of a manifest's table that does not restate the label, then every property, that takes two values."""
    attack = (table["label"] == Label.ATTACK).to_numpy(dtype=bool)
    persons = pd.factorize(table["subject"])[0]
    skipped = left_out(table)
    for source, frame in (("column", table), ("file", properties)):
        for name in map(str, frame.columns):
            if source == "column" and name in skipped:
                continue
            alone = np.arange(len(table)) if source == "column" and name == "subject" else persons
            trait = _trait(name, source, frame[name], attack, alone)
            if trait is not None:
                yield trait


def left_out(table: pd.DataFrame) -> dict[str, str]:
    """The columns that are not asked, with the reason: they restate the label or the attack, or do not describe it."""
    skipped = dict.fromkeys(("label", "species", "category"), "restates the label")
    skipped |= {"path": "names the file", "subject_known": "says whether the person is known"}
    skipped |= dict.fromkeys(("protocol", "fold"), "describes the protocol")
    attack = (table["label"] == Label.ATTACK).to_numpy(dtype=bool)
    kinds = table["species"].where(attack, "")
    for name in map(str, table.columns):
        if name in skipped or name in {"subject", "dataset", "split"}:
            continue
        values = table[name].astype("str")
        there = (values != "").to_numpy()
        if attack.any() and not attack.all() and there.any() and not there[~attack].any():
            skipped[name] = "is empty on every bona fide presentation: it describes the attack"
        elif kinds.nunique() > 2 and values.nunique() == kinds.nunique() == _combinations(values, kinds):
            skipped[name] = "restates the species"
    return {name: reason for name, reason in skipped.items() if name in table.columns}


def telling_values(table: pd.DataFrame, *, fewest: int = 10, persons: int = 2) -> list[Telling]:
    """Values of columns that only one class has, the most frequent first: rules that a model need not look at a face for.

    Of at least `fewest` presentations and `persons` persons; columns that describe the person or the split are not asked.
    """
    attack = table["label"] == Label.ATTACK
    found = []
    for name in map(str, table.columns):
        if name in left_out(table) or name in {"subject", "split"}:
            continue
        if table[name].nunique() > max(len(table) / 10, 2):
            continue
        for value, rows in table.groupby(name, sort=True):
            labels = rows["label"].unique()
            who = rows["subject"].nunique()
            if len(labels) == 1 and len(rows) >= fewest and who >= persons and 0 < attack.sum() < len(table):
                total = int((table["label"] == labels[0]).sum())
                found.append(Telling(name, str(value), str(labels[0]), len(rows), total, who))
    return sorted(found, key=lambda each: (-each.count / each.total, each.column, each.value))


def _combinations(first: pd.Series, second: pd.Series) -> int:
    return len(pd.DataFrame({"first": first, "second": second}).drop_duplicates())


def _trait(
    name: str, source: str, column: pd.Series, attack: NDArray[np.bool_], persons: NDArray[np.intp]
) -> Trait | None:
    values = column.astype("str").where(column.notna(), "").replace("nan", "").to_numpy(dtype=object)
    there = np.asarray(values != "", dtype=bool)
    # A file without a property could not be read, which is told elsewhere; an empty cell of a column is a value.
    if len(set(values[there] if source == "file" else values)) < 2:
        return None
    numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=np.float64)
    if np.isfinite(numbers[there]).all() and len(set(numbers[there])) >= _FEWEST_NUMBERS:
        return _by_number(name, source, values, numbers, attack, persons)
    score, direction = _out_of_fold(values, attack, persons), _words(values, attack)
    if not _area(score, attack) > 0.5:
        # What one half of the persons teaches is wrong for the other: nobody learns from that.
        score, direction = np.full(len(values), 0.5), "says nothing about other persons"
    if source == "file":
        score = np.where(there, score, np.nan)
    return Trait(name, source, "value", direction, score, values)


def _by_number(
    name: str,
    source: str,
    values: NDArray[np.object_],
    numbers: Floats,
    attack: NDArray[np.bool_],
    persons: NDArray[np.intp],
) -> Trait:
    """The order of a number, absent ones apart; or its eighths, where attacks lie at both ends or in the middle."""
    area = _area(numbers, attack)
    score = -numbers if area < 0.5 else numbers
    direction = "attacks have less" if area >= 0.5 else "attacks have more"
    edges = np.unique(np.nanquantile(numbers, np.linspace(0, 1, _BINS + 1)[1:-1]))
    bins = np.where(np.isfinite(numbers), np.searchsorted(edges, numbers, side="right").astype(str), "")
    binned = _out_of_fold(bins.astype(object), attack, persons)
    gap = bool(np.isnan(numbers).any())
    if gap or _area(binned, attack) > max(area, 1 - area) + 0.03:
        where = "some have none" if gap else "attacks lie in other ranges"
        if _area(binned, attack) > max(area, 1 - area) + 0.03 or math.isnan(area):
            return Trait(name, source, "range", where, binned, values)
    return Trait(name, source, "order", direction, score, values)


def _area(score: Floats, attack: NDArray[np.bool_]) -> float:
    """AUC with bona fide as the higher class, over the rows with a score; NaN where a class is missing."""
    there = np.isfinite(score)
    if not attack[there].any() or attack[there].all():
        return math.nan
    # Wilcoxon's rank sum: how many of the pairs of an attack and a bona fide stand in order.
    bona_fide = ~attack[there]
    count = int(bona_fide.sum())
    above = _ranks(score[there])[bona_fide].sum() - count * (count + 1) / 2
    return float(above / (count * (len(bona_fide) - count)))


def _ranks(values: Floats) -> Floats:
    """From 1 on; equal values share the mean of theirs."""
    return np.asarray(pd.Series(values).rank(), dtype=np.float64)


def _out_of_fold(values: NDArray[np.object_], attack: NDArray[np.bool_], persons: NDArray[np.intp]) -> Floats:
    """How rarely a value is an attack among the other folds' persons, as a rank within the row's own fold.

    A rank, since the folds' own shares of attacks would else order the folds, and against the label at that: many values
    that say nothing would seem to tell the classes apart.
    """
    fold = _folds(persons, attack)
    codes, _ = pd.factorize(values)
    score = np.full(len(values), 0.5)
    for held in np.unique(fold):
        rest, own = fold != held, fold == held
        if not rest.any():
            continue
        counts = np.bincount(codes[rest], minlength=codes.max() + 1)
        attacks = np.bincount(codes[rest], weights=attack[rest], minlength=codes.max() + 1)
        prior = float(attack[rest].mean())
        rate = (attacks + _SMOOTHING * prior) / (counts + _SMOOTHING)
        score[own] = _ranks(-rate[codes[own]]) / (np.count_nonzero(own) + 1)
    return score


def _folds(persons: NDArray[np.intp], attack: NDArray[np.bool_]) -> NDArray[np.intp]:
    """A fold for each row, persons kept whole, each fold with both classes as nearly as persons allow."""
    count = int(persons.max()) + 1
    rows = np.bincount(persons, minlength=count)
    attacks = np.bincount(persons, weights=attack, minlength=count)
    # Persons of like mixture are dealt out in turn, so that no fold gets one class alone where that can be helped.
    order = np.lexsort((np.arange(count), -rows, attacks / np.maximum(rows, 1)))
    fold = np.empty(count, dtype=np.intp)
    fold[order] = np.arange(count) % min(FOLDS, count)
    return fold[persons]


def _words(values: NDArray[np.object_], attack: NDArray[np.bool_], *, most: int = 2) -> str:
    """The values with the highest and the lowest share of attacks."""
    shares: Mapping[str, tuple[float, int]] = {
        str(value): (float(attack[values == value].mean()), int((values == value).sum()))
        for value in pd.unique(values)[:200]
    }
    ordered = sorted(shares, key=lambda value: (-shares[value][0], -shares[value][1], value))
    shown = ordered if len(ordered) <= most else [ordered[0], ordered[-1]]
    return ", ".join(
        f"{value.removesuffix('.0') or '(none)'}: {100 * shares[value][0]:.0f} % attacks" for value in shown
    )
