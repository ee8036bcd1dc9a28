"""The rows of the report's tables, and the interval drawings in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from bonaface.data.frame_folder import natural_order
from bonaface.evaluation.intervals import EXACT, STUDENT
from bonaface.evaluation.results import Evaluation, Figure, Measures, Rate
from bonaface.report.formatting import interval
from bonaface.types import percent

MOST_ROWS = 60
_METHODS = {
    EXACT: "exact bounds (Clopper-Pearson) over persons, for rates and their means",
    STUDENT: "Student’s t over persons, for areas and losses",
}


@dataclass(frozen=True)
class NoAnswer:
    """Presentations of one class without a score, and the class's error under both ways of counting them."""

    title: str
    total: int
    failed: int
    rate: Rate
    error: str
    reject: Rate
    exclude: Rate


def species_rows(measures: Measures) -> tuple[list[tuple[str, Rate, Rate]], int]:
    """Species with APCER and APNRR, the worst first, and how many more there are than a page shows."""
    ordered = sorted(
        measures.apcer,
        key=lambda name: (-np.nan_to_num(measures.apcer[name].value), -np.nan_to_num(measures.apcer[name].high), name),
    )
    rows = [(name, measures.apcer[name], measures.apnrr[name]) for name in ordered[:MOST_ROWS]]
    return rows, max(len(ordered) - MOST_ROWS, 0)


def group_rows(groups: Mapping[str, Measures]) -> tuple[list[tuple[str, Measures]], int]:
    """Groups by name, 2 before 10, or, of very many, those with the highest HTER; and how many more there are."""
    rows = sorted(groups.items(), key=lambda row: natural_order(row[0]))
    if len(rows) > MOST_ROWS:
        rows = sorted(rows, key=lambda row: -np.nan_to_num(row[1].hter.value))[:MOST_ROWS]
    return rows, max(len(groups) - MOST_ROWS, 0)


def no_answer(measures: Measures) -> list[NoAnswer]:
    """For each class that occurs: presentations without a score, and the error with them refused and left out."""
    counts = measures.counts
    accepted = sum(rate.errors for rate in measures.apcer.values())
    scored = sum(rate.total for rate in measures.apcer.values())
    refused = measures.bpcer
    rows = []
    if counts.bona_fide:
        reject = Rate(refused.errors + counts.failed_bona_fide, counts.bona_fide, 0)
        rows.append(
            NoAnswer(
                "bona fide", counts.bona_fide, counts.failed_bona_fide, measures.bpnrr, "refused (FRR)", reject, refused
            )
        )
    if counts.attacks:
        rate = Rate(counts.failed_attacks, counts.attacks, 0)
        reject = Rate(accepted, counts.attacks, 0)
        exclude = Rate(accepted, scored, 0, reason="no attack has a score")
        rows.append(NoAnswer("attacks", counts.attacks, counts.failed_attacks, rate, "accepted (FAR)", reject, exclude))
    return rows


def axis_end(rates: Iterable[Rate]) -> float:
    """A round share that holds every upper bound, for whiskers to be drawn on.

    >>> axis_end([Rate(1, 40, 9, 0.001, 0.13), Rate(0, 0, 0)])
    0.2
    """
    highest = np.nan_to_num([max(rate.value, rate.high) for rate in rates]).max(initial=0.0)
    return next((end for end in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if highest <= end), 1.0)


def whisker(rate: Rate, end: float, *, bona_fide: bool = False) -> Markup:
    """A rate and its interval as a small drawing from 0 to `end`: a circle for bona fide, a triangle for attacks."""
    bounds = interval(rate)
    label = percent(rate.value) + (f", 95 % interval {bounds} %" if bounds else "")
    return draw_interval(rate.value, rate.low, rate.high, axis=(0, end), triangle=not bona_fide, label=label)


def draw_interval(
    value: float, low: float, high: float, *, axis: tuple[float, float], triangle: bool, label: str
) -> Markup:
    """A value and its bounds on an axis as SVG: a circle or a triangle on a line; empty for NaN."""
    if math.isnan(value):
        return Markup("")

    def at(each: float) -> str:
        return f"{100 * min(max((each - axis[0]) / (axis[1] - axis[0]), 0), 1):.2f}%"

    line = ""
    if not math.isnan(low):
        line = f'<line class="reach" x1="{at(low)}" x2="{at(high)}" y1="50%" y2="50%"/>' + "".join(
            f'<line class="reach" x1="{at(end)}" x2="{at(end)}" y1="30%" y2="70%"/>' for end in (low, high)
        )
    mark = '<path d="M0 -5 4.8 4 -4.8 4z"/>' if triangle else '<circle r="4.2"/>'
    return Markup(
        f'<svg class="whisker {"attack" if triangle else "bona"}" role="img" aria-label="{label}">'
        f'<line class="axis" x1="0" x2="100%" y1="50%" y2="50%"/>{line}'
        f'<svg x="{at(value)}" y="50%" overflow="visible">{mark}</svg></svg>'
    )


def methods(evaluations: Mapping[str, Evaluation]) -> list[str]:
    """The ways in which the intervals of these evaluations were computed, each once."""
    found: dict[str, None] = {}
    for evaluation in evaluations.values():
        measured: list[Rate | Figure] = [evaluation.ranking.auc]
        for at in evaluation.at:
            measured += [at.far, at.frr, at.accuracy, at.bpcer, at.hter, at.acer_max, *at.apcer.values()]
        for measure in measured:
            if measure.method:
                found.setdefault(_METHODS[measure.method])
    return list(found)
