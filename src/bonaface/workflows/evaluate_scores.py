"""Measure the scores of any system that lie in arrays."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.choices import HigherIs
from bonaface.data.datasets.label_names import ATTACK, BONA_FIDE, UNDERSTOOD, Kind, kind_of_word
from bonaface.errors import ScoreTableError, SettingsError, format_list
from bonaface.evaluation.checking import check_scores
from bonaface.evaluation.iso30107 import evaluate
from bonaface.evaluation.results import Evaluation
from bonaface.evaluation.scores import oriented
from bonaface.evaluation.threshold_free import CHOSEN_HERE
from bonaface.evaluation.thresholds import choose_threshold, parse_criterion
from bonaface.workflows.score_tables import Measurable, inverted, shared_subjects


def evaluate_scores(
    scores: Any,
    labels: Any,
    *,
    species: Any = None,
    subjects: Any = None,
    criterion: str = "eer",
    threshold: float | None = None,
    validation: Sequence[Any] | None = None,
    higher_is: HigherIs = "bona_fide",
) -> Evaluation:
    """Measure the scores of any system, one presentation an element, and return its rates, counts and intervals.

    All sequences are one-dimensional, of one length, and are matched by position: lists, arrays, Series. Scores may have
    any scale; where all of them lie between 0 and 1, `criterion="fixed=0.5"` takes them for probabilities. A presentation
    that got no score belongs into a score table, with its status: see `bonaface.report_scores`.

    Args:
        scores: finite numbers; a higher one is more bona fide, unless `higher_is` says `attack`.
        labels: 1, True or a word such as `bona_fide` or `live`; 0, False or a word such as `attack`, `spoof` or `print`.
            A word that names a species is that species.
        species: the species of each attack; what it holds for bona fide presentations is ignored.
        subjects: the subject of each presentation. Without it each presentation counts as a subject of its own, so the
            intervals are too narrow.
        criterion: how the threshold is chosen: `eer`, `hter`, `bpcer20`, `apcer<=0.01`, `bpcer<=0.05` or `fixed=0.5`.
        threshold: the threshold itself, on the scale of the scores, in place of a criterion.
        validation: the sequences that choose the threshold: `(scores, labels)`, then, if known, `species` and `subjects`.
            Without it the threshold is chosen on what is measured; its rates then have no interval.
        higher_is: what a higher score means, `bona_fide` or `attack`.

    Returns:
        The evaluation: `counts`, `ranking` (AUC, EER) and the rates at the threshold in `at[0]`.

    Raises:
        ScoreTableError: a sequence has a wrong shape or an unusable element, or a class that the criterion needs is missing.
        SettingsError: the criterion, the threshold or `higher_is` is not known.

    Examples:
        >>> import bonaface
        >>> found = bonaface.evaluate_scores(
        ...     [0.9, 0.7, 0.4, 0.2], [1, 1, 0, 0], subjects=["ann", "ben", "ann", "ben"], threshold=0.5
        ... )
        >>> print(found.at[0].bpcer, "at most", round(found.at[0].bpcer.high, 2))
        0.00 % (0/2) at most 0.84
        >>> print(found.at[0].apcer["unspecified"])
        0.00 % (0/2)
    """
    name, _ = parse_criterion(criterion)
    if threshold is not None and validation is not None:
        raise SettingsError("both threshold and validation were given; validation would choose a different threshold")
    if validation is not None and not (isinstance(validation, list | tuple) and 2 <= len(validation) <= 4):
        what = (
            f"holds {len(validation)} sequences" if isinstance(validation, list | tuple) else f"is {validation!r:.40}"
        )
        raise ScoreTableError(f"validation {what}; expected (scores, labels), then species and subjects if known")
    table = _table("", scores, labels, species, subjects)
    other = None if validation is None else _table("validation ", *validation)
    table, turned = oriented(table, higher_is, *([] if other is None else [other["score"]]))
    notes = [f"a higher score means attack here: {turned} was measured in place of the score"] if turned else []
    if other is not None:
        other = oriented(other, higher_is, table["score"])[0]
        notes += shared_subjects(table, other)
    if other is None and threshold is None and name != "fixed":
        points = [choose_threshold(table, criterion)]
    else:
        points = Measurable(table, other, notes, turned).thresholds(criterion=criterion, threshold=threshold)
    found = evaluate(table, points)
    if any(rate.reason == CHOSEN_HERE for at in found.at for rate in (at.far, at.frr)):
        notes.append(f"{CHOSEN_HERE}: its rates are too good; give validation=(scores, labels) or threshold=")
    notes += [*inverted(found.ranking.auc), *(warning for point in points for warning in point.warnings)]
    return replace(found, notes=tuple(dict.fromkeys([*notes, *found.notes])))


def _table(what: str, scores: Any, labels: Any, species: Any = None, subjects: Any = None) -> pd.DataFrame:
    """Return a checked score table of sequences; `what` precedes their names in errors."""
    values = _numbers(f"{what}scores", scores)
    kinds = _kinds(f"{what}labels", labels, values.size)
    given = [""] * values.size if species is None else _texts(f"{what}species", species, values.size)
    return check_scores(
        pd.DataFrame(
            {
                "presentation": [str(index) for index in range(values.size)],
                "score": values,
                "label": [str(kind.label) for kind in kinds],
                "species": [text or kind.species for text, kind in zip(given, kinds, strict=True)],
                "subject": "" if subjects is None else _texts(f"{what}subjects", subjects, values.size),
            }
        )
    )


def _one_dimension(what: str, given: Any, length: int | None = None) -> NDArray[Any]:
    """Return a sequence as an array of objects of one dimension; of `length` elements where the scores have as many."""
    if isinstance(given, str | bytes | dict) or given is None or not hasattr(given, "__len__"):
        raise ScoreTableError(f"{what}: got {type(given).__name__}; expected a list, an array or a Series")
    try:
        found = np.asarray(given)
    except ValueError:
        raise ScoreTableError(f"{what}: its elements differ in length; expected one value a presentation") from None
    if found.ndim != 1:
        raise ScoreTableError(
            f"{what} have the shape {found.shape}; expected one dimension with one value a presentation, such as "
            "one column of an array"
        )
    if not len(found):
        raise ScoreTableError(f"{what} are empty; expected at least one presentation")
    if length is not None and len(found) != length:
        raise ScoreTableError(f"{what} has {len(found)} elements but there are {length} scores; expected as many")
    # A list of words and numbers became text in `found`.
    return np.array(given, dtype=object) if isinstance(given, list | tuple) else found.astype(object)


def _numbers(what: str, given: Any) -> NDArray[np.float64]:
    values = _one_dimension(what, given)
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        wrong = next((index for index, value in enumerate(values) if not _is_number(value)), 0)
        raise ScoreTableError(f"{what}[{wrong}] is {values[wrong]!r}; expected a number") from None
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise ScoreTableError(
            f"{what}: {len(bad)} of {len(numbers)} are NaN or infinite (index {format_list(bad)}); expected finite "
            "numbers: a presentation without a score belongs into a score table, with its status (bonaface.report_scores)"
        )
    return numbers


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _kinds(what: str, given: Any, length: int) -> list[Kind]:
    values = _one_dimension(what, given, length)
    words = functools.cache(kind_of_word)
    kinds = []
    for index, value in enumerate(values):
        kind = words(value) if isinstance(value, str) else _NUMBERS.get(value) if isinstance(value, Hashable) else None
        if kind is None:
            raise ScoreTableError(
                f"{what}[{index}] is {value!r}; expected 1 or True for bona fide and 0 or False for an attack, or a "
                f"word ({UNDERSTOOD}); for words of your own pass a comparison, such as words == 'mine'"
            )
        kinds.append(kind)
    return kinds


_NUMBERS: dict[Any, Kind] = {1: BONA_FIDE, 0: ATTACK}
"""What a number, or the truth value that equals it, means as a label."""


def _texts(what: str, given: Any, length: int) -> list[str]:
    values = _one_dimension(what, given, length)
    return ["" if pd.isna(value) else str(value) for value in values]
