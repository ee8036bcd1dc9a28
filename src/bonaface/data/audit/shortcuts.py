"""Find columns and file properties that separate attacks from bona fide presentations without a face.

A model learns whatever separates the classes. Each column or property becomes a score, as a model might use it: a number by
its order, or by its eighths if they separate better; a name by the share of attacks among other subjects' presentations
with that name (target encoding, out of fold by subject).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from bonaface.types import Label

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FOLDS = 5
BINS = 8
SMOOTHING = 2.0
"""A value counts as if so many more presentations had the share of attacks of all, as in scikit-learn's TargetEncoder."""

BETTER = 0.03
"""Eighths are used in place of the order if their AUC is better by so much: they have eight chances instead of one."""

FEWEST = 10
"""A value that only one class has is reported from so many presentations on."""

CAPTURE = ("width", "height", "pixels", "aspect", "codec", "suffix", "face_share")
"""Properties that say how the files of a dataset were made, not what they show."""


@dataclass(frozen=True, eq=False)
class Trait:
    """A column or a property with a score for each presentation: higher is more bona fide, NaN without a value.

    `how` is `order` (of a number), `range` (eighths of a number) or `value` (of a name). `direction` says which way it points.
    """

    name: str
    source: str
    how: str
    direction: str
    score: Floats


@dataclass(frozen=True)
class OneClassValue:
    """A value of a column that only one class has: `count` of the class's `total` presentations, of `subjects` subjects."""

    column: str
    value: str
    label: str
    count: int
    total: int
    subjects: int


@dataclass(frozen=True)
class DatasetBias:
    """A dataset that reveals the class: it has one class only, or its classes differ in how the files were made.

    `what` is `class` or one of CAPTURE, `direction` says how the classes differ, `auc` how well that separates them.
    """

    dataset: str
    what: str
    direction: str
    auc: float


def traits(table: pd.DataFrame, properties: pd.DataFrame) -> Iterator[Trait]:
    """Yield a trait for each column that does not restate the label and each property, if it takes two values."""
    attack = (table["label"] == Label.ATTACK).to_numpy(dtype=bool)
    if attack.all() or not attack.any():
        return
    by_subject = _folds(attack, pd.factorize(table["subject"])[0])
    by_row = _folds(attack, np.arange(len(table)))  # for the column of subjects itself
    skipped = left_out(table)
    for source, frame in (("column", table), ("file", properties)):
        for name in map(str, frame.columns):
            if source == "column" and name in skipped:
                continue
            folds = by_row if source == "column" and name == "subject" else by_subject
            trait = _trait(name, source, frame[name], attack, folds)
            if trait is not None:
                yield trait


def left_out(table: pd.DataFrame) -> dict[str, str]:
    """Return the columns that are not examined, with the reason: they restate the label or describe the attack."""
    skipped = dict.fromkeys(("label", "species", "category"), "restates the label")
    skipped |= {"path": "names the file", "subject_known": "says whether the subject is known"}
    skipped |= dict.fromkeys(("protocol", "fold"), "describes the protocol")
    attack = (table["label"] == Label.ATTACK).to_numpy(dtype=bool)
    kinds = table["species"].where(attack, "")
    for name in map(str, table.columns):
        if name in skipped or name in {"subject", "dataset", "split"}:
            continue
        values = table[name].astype("str")
        filled = (values != "").to_numpy()
        if attack.any() and not attack.all() and filled.any() and not filled[~attack].any():
            skipped[name] = "is empty on every bona fide presentation: it describes the attack"
        elif kinds.nunique() > 2 and values.nunique() == kinds.nunique() == len(set(zip(values, kinds, strict=True))):
            skipped[name] = "restates the species"
    return {name: reason for name, reason in skipped.items() if name in table.columns}


def one_class_values(table: pd.DataFrame) -> list[OneClassValue]:
    """Return the column values that only one class has, the most frequent first.

    Only those of at least FEWEST presentations and two subjects, in columns that name neither subject nor split.
    """
    attack = table["label"] == Label.ATTACK
    if attack.all() or not attack.any():
        return []
    found = []
    skipped = left_out(table)
    for name in map(str, table.columns):
        if name in skipped or name in {"subject", "split"} or table[name].nunique() > max(len(table) / 10, 2):
            continue
        for value, rows in table.groupby(name, sort=True):
            labels = rows["label"].unique()
            who = rows["subject"].nunique()
            if len(labels) == 1 and len(rows) >= FEWEST and who >= 2:
                total = int((table["label"] == labels[0]).sum())
                found.append(OneClassValue(name, str(value), str(labels[0]), len(rows), total, who))
    return sorted(found, key=lambda each: (-each.count / each.total, each.column, each.value))


def dataset_biases(table: pd.DataFrame, properties: pd.DataFrame, *, least: float) -> list[DatasetBias]:
    """Return what reveals the class within each dataset: one class only, or a CAPTURE property with an AUC of `least`.

    A dataset with one class only is reported if there is another dataset: then the dataset itself predicts the class.
    """
    found = []
    datasets = table.groupby("dataset", sort=True)
    for name, rows in datasets:
        labels = rows["label"].unique()
        if len(labels) == 1:
            if datasets.ngroups > 1:
                found.append(DatasetBias(str(name), "class", f"only {labels[0].replace('_', ' ')} presentations", 1.0))
            continue
        attack = (rows["label"] == Label.ATTACK).to_numpy(dtype=bool)
        folds = _folds(attack, pd.factorize(rows["subject"])[0])
        for what in CAPTURE:
            trait = _trait(what, "file", properties.loc[rows.index, what], attack, folds)
            area = math.nan if trait is None else auc_of(trait.score, attack)
            if trait is not None and area >= least:
                found.append(DatasetBias(str(name), what, trait.direction, area))
    return found


def auc_of(score: Floats, attack: Bools) -> float:
    """Return the AUC of a score that is higher for bona fide, over the rows that have one; NaN where a class has none."""
    there = np.isfinite(score)
    if not attack[there].any() or attack[there].all():
        return math.nan
    return float(roc_auc_score(~attack[there], score[there]))


def _trait(name: str, source: str, column: pd.Series, attack: Bools, folds: NDArray[np.intp]) -> Trait | None:
    values = column.astype("str").where(column.notna(), "").replace("nan", "")
    filled = (values != "").to_numpy(dtype=bool)
    # A file without a property could not be read, which is reported elsewhere; an empty cell of a column is a value.
    if (values[filled] if source == "file" else values).nunique() < 2:
        return None
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
    if np.isfinite(numbers[filled]).all() and len(np.unique(numbers[filled])) >= BINS:
        return _by_number(name, source, numbers, attack, folds)
    score, direction = _out_of_fold(values, attack, folds), _words(values, attack)
    if not auc_of(score, attack) > 0.5:  # what it says of some subjects is wrong for others
        score, direction = np.full(len(values), 0.5), "says nothing about other subjects"
    return Trait(name, source, "value", direction, np.where(filled, score, np.nan) if source == "file" else score)


def _by_number(name: str, source: str, numbers: Floats, attack: Bools, folds: NDArray[np.intp]) -> Trait:
    """The order of a number; or its eighths, if attacks lie at both ends or in the middle or have no value."""
    area = auc_of(numbers, attack)
    more = area < 0.5
    eighths = pd.qcut(numbers, BINS, labels=False, duplicates="drop")
    binned = _out_of_fold(pd.Series(eighths).fillna(-1), attack, folds)
    if not auc_of(binned, attack) <= max(area, 1 - area) + BETTER:  # NaN where a class has no values
        where = "some have none" if np.isnan(numbers).any() else "attacks lie in other ranges"
        return Trait(name, source, "range", where, binned)
    return Trait(name, source, "order", f"attacks have {'more' if more else 'less'}", -numbers if more else numbers)


def _folds(attack: Bools, subject: NDArray[np.intp]) -> NDArray[np.intp]:
    """A fold for each row, subjects kept whole, the classes shared out as evenly as subjects allow."""
    classes = pd.crosstab(subject, attack)
    splits = min(FOLDS, len(classes), int(attack.sum()), int((~attack).sum()))
    fold = np.zeros(len(attack), dtype=np.intp)
    if splits > 1:
        for number, (_, rows) in enumerate(StratifiedGroupKFold(splits).split(attack, attack, subject)):
            fold[rows] = number
    return fold


def _out_of_fold(values: pd.Series, attack: Bools, folds: NDArray[np.intp]) -> Floats:
    """How rarely a value is an attack among the subjects of other folds, as a rank within the row's own fold.

    Without the rank, the folds' own shares of attacks would order the folds, and against the label: an uninformative
    column would have an AUC below 0.5.
    """
    score = np.full(len(values), 0.5)
    codes = pd.factorize(values)[0]
    for fold in np.unique(folds):
        own, rest = folds == fold, folds != fold
        if not rest.any():
            continue
        prior = attack[rest].mean()
        count, attacks = (np.bincount(codes[rest], some, codes.max() + 1) for some in (None, attack[rest]))
        rate = (attacks + SMOOTHING * prior) / (count + SMOOTHING)
        score[own] = pd.Series(-rate[codes[own]]).rank(pct=True)
    return score


def _words(values: pd.Series, attack: Bools) -> str:
    """The values with the highest and the lowest share of attacks."""
    shares = pd.Series(attack).groupby(values.to_numpy()).agg(["mean", "size"])
    ordered = shares.sort_values(["mean", "size"], ascending=[False, False], kind="stable")
    shown = ordered if len(ordered) <= 2 else ordered.iloc[[0, -1]]
    return ", ".join(
        f"{str(value).removesuffix('.0') or '(none)'}: {100 * share:.0f} % attacks"
        for value, share in shown["mean"].items()
    )
