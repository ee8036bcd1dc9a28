"""Figures of scores: ROC, DET, histogram, errors along the threshold, and scores by species."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter
from numpy.typing import NDArray
from scipy import special

from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.discard import DiscardCurve
from bonaface.evaluation.error_curve import ErrorCurves, Histogram, RocCurve
from bonaface.evaluation.results import Measures
from bonaface.report.formatting import point_name
from bonaface.report.style import (
    ATTACK,
    BONA_FIDE,
    CLASS_STYLE,
    MUTED,
    RULE,
    SERIES,
    TEXT,
    Drawing,
    draw,
    legend,
    plain,
    tidy,
)
from bonaface.types import Threshold

POINT_MARKS = ("o", "D", "s", "v")
POINT_LINES = ("-", ":", "-.", "--")
SYSTEM_LINES = ("-", "--", "-.", ":")
MOST_SPECIES = 24
_DET_TICKS = np.array([0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9])


def roc_figure(name: str, curves: Mapping[str, RocCurve], points: Mapping[str, Sequence[Measures]]) -> Drawing:
    """Bona fide accepted over attacks accepted, one line a system, its operating points marked."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1, zorder=1)
        for title, curve, style, marks in _systems(curves, points):
            axes.plot(curve.fpr, curve.tpr, **style, label=plain(title), clip_on=False, zorder=2)
            for mark, far, frr in marks:
                _mark(axes, far, 1 - frr, mark, style["color"])
        axes.set(xlim=(0, 1), ylim=(0, 1))
        percent_axes(axes, x=True, y=True)
        tidy(axes, x="attacks accepted (FAR)", y="bona fide accepted")
        _legend_of_points(figure, axes, points)

    return draw(
        name,
        paint,
        title="ROC",
        alt="ROC curve: share of bona fide presentations accepted over share of attacks accepted, for "
        + ", ".join(curves),
        caption="The nearer to the upper left corner, the better. Presentations without a score are left out.",
    )


def det_figure(name: str, curves: Mapping[str, RocCurve], points: Mapping[str, Sequence[Measures]]) -> Drawing:
    """The detection error trade-off on normal-deviate axes: all attacks together, and the worst species."""
    smallest = min(0.5 / max(curve.attacks, curve.bona_fide, 1) for curve in curves.values())
    floor = float(np.clip(smallest, 5e-5, 0.02))

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        top, worst = 0.5, False
        for title, curve, style, marks in _systems(curves, points):
            refused = _deviate(curve.fnr, floor)
            axes.plot(_deviate(curve.fpr, floor), refused, **style, label=plain(title))
            if not np.allclose(curve.apcer_max, curve.fpr, equal_nan=True):
                axes.plot(_deviate(curve.apcer_max, floor), refused, **style, linewidth=0.9)
                worst = True
            for mark, far, frr in marks:
                x, y = _deviate(np.array([far, frr]), floor).tolist()
                _mark(axes, x, y, mark, style["color"])
                top = max([top, *(rate for rate in (far, frr) if np.isfinite(rate))])
        ticks = _DET_TICKS[(floor <= _DET_TICKS) & (min(top * 1.2, 0.95) >= _DET_TICKS)]
        limits = (special.ndtri(floor), special.ndtri(min(top * 1.2, 0.95)))
        labels = [f"{100 * tick:g}" for tick in ticks]
        axes.set(xlim=limits, ylim=limits)
        axes.set_xticks(special.ndtri(ticks), labels)
        axes.set_yticks(special.ndtri(ticks), labels)
        tidy(axes, x="attacks accepted, %", y="bona fide refused, %")
        if worst:
            axes.plot([], [], color=MUTED, linewidth=0.9, label="thin: the worst species")
        _legend_of_points(figure, axes, points)

    return draw(
        name,
        paint,
        title="DET",
        alt="Detection error trade-off: bona fide refused over attacks accepted, on normal-deviate axes, for "
        + ", ".join(curves),
        caption="The nearer to the lower left corner, the better. A line along an edge has no error there at all.",
    )


def histogram_figure(
    name: str,
    arrays: ScoreArrays,
    histogram: Histogram,
    points: Sequence[Threshold],
    *,
    title: str = "Scores",
) -> Drawing:
    """Where the scores of both classes lie, as shares of the class; on the logit scale, and as probabilities."""
    both = arrays.on_logits

    def paint(figure: Figure) -> None:
        panels = figure.subplots(2 if both else 1, 1, squeeze=False)[:, 0]
        classes = {"bona_fide": histogram.bona_fide, "attack": histogram.attacks}
        _bars(panels[0], histogram.edges, classes)
        threshold_lines(panels[0], points, histogram.scale)
        panels[0].set_ylim(bottom=0)
        percent_axes(panels[0], y=True)
        tidy(panels[0], x=histogram.scale, y="share of class")
        if both:
            edges = np.linspace(0, 1, 51)
            of_class = {"bona_fide": arrays.ok & arrays.bona_fide, "attack": arrays.ok & ~arrays.bona_fide}
            counts = {label: np.histogram(arrays.score[which], bins=edges)[0] for label, which in of_class.items()}
            _bars(panels[1], edges, counts)
            threshold_lines(panels[1], points, "score")
            panels[1].set_yscale("log")
            panels[1].yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
            panels[1].minorticks_off()
            tidy(panels[1], x="score (probability of bona fide)", y="share, log axis")
        legend(figure, panels[0])

    return draw(
        name,
        paint,
        title=title,
        alt="Histogram of the scores of bona fide and attack presentations, with the thresholds marked",
        caption="What lies right of a threshold is accepted."
        + (" Probabilities pile up at both ends, so the upper panel has the logits." if both else ""),
        height=5.0 if both else 3.8,
    )


def error_figure(name: str, curves: ErrorCurves, points: Sequence[Threshold]) -> Drawing:
    """How the errors move with the threshold."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        lines = [
            (curves.far, "attacks accepted (FAR)", ATTACK, "--", 1.8),
            (curves.apcer_max, "worst species (APCER)", ATTACK, "-.", 0.9),
            (curves.frr, "bona fide refused (FRR)", BONA_FIDE, "-", 1.8),
            (curves.hter, "their mean (HTER)", MUTED, "-", 1.2),
        ]
        for rate, title, colour, dash, width in lines:
            if np.isfinite(rate).any() and (curves.species > 1 or rate is not curves.apcer_max):
                axes.plot(curves.threshold, rate, color=colour, linestyle=dash, linewidth=width, label=title)
        threshold_lines(axes, points, curves.scale)
        axes.set_ylim(0, 1)
        finite = curves.threshold[np.isfinite(curves.threshold)]
        if finite.size > 1 and finite[0] < finite[-1]:
            axes.set_xlim(finite[0], finite[-1])
        percent_axes(axes, y=True)
        tidy(axes, x=f"threshold ({curves.scale})", y="error rate")
        legend(figure, axes)

    return draw(
        name,
        paint,
        title="Errors along the threshold",
        alt="Error rates over the threshold: attacks accepted fall, bona fide refused rise; thresholds in use are marked",
        caption="A steep crossing near the threshold means that a small shift of the scores costs much.",
    )


def discard_figure(name: str, curves: Sequence[DiscardCurve]) -> Drawing:
    """HTER of the presentations that are kept, over the share that is discarded, one line a quality measure."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, curve in enumerate(curves):
            axes.plot(
                [point.share for point in curve.points],
                [point.hter for point in curve.points],
                color=SERIES[index % len(SERIES)],
                linestyle=SYSTEM_LINES[index % 4],
                label=curve.name.replace("_", " "),
            )
        axes.set_xlim(0, 0.5)
        axes.set_ylim(bottom=0)
        percent_axes(axes, x=True, y=True)
        tidy(axes, x="discarded, the worst first", y="HTER of the others")
        legend(figure, axes)

    return draw(
        name,
        paint,
        title="Errors while low quality is discarded",
        alt="HTER of the presentations that are kept over the share discarded by quality, for "
        + ", ".join(curve.name for curve in curves),
        caption="A limit helps where its line falls; a flat line costs bona fide presentations for nothing.",
        height=4.6,
    )


def species_figure(name: str, arrays: ScoreArrays, points: Sequence[Threshold]) -> Drawing | None:
    """The scores of bona fide and of each species, those nearest to acceptance on top; None if nothing was scored."""
    if not arrays.ok.any():
        return None
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    attacks = []
    for number, species in enumerate(arrays.species_names):
        values = arrays.value[arrays.ok & (arrays.species == number)]
        if len(values):
            attacks.append((f"{plain(species, longest=24)} ({len(values):,})", np.quantile(values, levels), "attack"))
    attacks.sort(key=lambda row: -row[1][4])
    rows = attacks[:MOST_SPECIES]
    bona = arrays.value[arrays.ok & arrays.bona_fide]
    if len(bona):
        rows.insert(0, (f"bona fide ({len(bona):,})", np.quantile(bona, levels), "bona_fide"))
    scale = "logit" if arrays.on_logits else "score"

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for row, (_, spread, label) in enumerate(rows):
            colour, marker, _ = CLASS_STYLE[label]
            axes.plot(spread[[0, 4]], [row, row], color=colour, linewidth=1, solid_capstyle="butt")
            axes.plot(spread[[1, 3]], [row, row], color=colour, linewidth=5, solid_capstyle="butt", alpha=0.75)
            axes.plot(spread[2], row, marker=marker, color=TEXT, markersize=4.5, linestyle="")
        threshold_lines(axes, points, scale)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(False, axis="y")
        tidy(axes, x=scale)
        legend(figure, axes)

    left_out = len(attacks) - MOST_SPECIES
    return draw(
        name,
        paint,
        title="Scores by species",
        alt="Median, middle half and middle 90 % of the scores of bona fide and of each attack species, thresholds marked",
        caption="Mark: median; thick: middle half; thin: middle 90 %. In brackets: scored presentations."
        + (f" The {left_out} species farthest from acceptance are not drawn." if left_out > 0 else ""),
        height=1.8 + 0.3 * max(len(rows), 4),
    )


def _systems(
    curves: Mapping[str, RocCurve], points: Mapping[str, Sequence[Measures]]
) -> Iterator[tuple[str, RocCurve, dict[str, Any], list[tuple[str, float, float]]]]:
    """Yield each system with its curve, the style of its line, and its operating points: mark, FAR and FRR."""
    for index, (title, curve) in enumerate(curves.items()):
        style = {"color": SERIES[index % len(SERIES)], "linestyle": SYSTEM_LINES[index % 4]}
        measured = zip(POINT_MARKS * 4, points.get(title, ()), strict=False)
        yield title, curve, style, [(mark, *_scored_rates(measures)) for mark, measures in measured]


def _scored_rates(measures: Measures) -> tuple[float, float]:
    """FAR and FRR over scored presentations, which is what the curves are made of."""
    accepted = sum(rate.errors for rate in measures.apcer.values())
    attacks = sum(rate.total for rate in measures.apcer.values())
    return (accepted / attacks if attacks else np.nan), measures.bpcer.value


def _deviate(rates: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    return special.ndtri(np.clip(rates, floor, 1 - floor))


def _mark(axes: Axes, x: float, y: float, mark: str, colour: str) -> None:
    if np.isfinite(x) and np.isfinite(y):
        axes.plot(x, y, mark, color=colour, markersize=7, markeredgecolor=TEXT, clip_on=False, zorder=5)


def _bars(axes: Axes, edges: NDArray[np.float64], classes: Mapping[str, NDArray[np.int64]]) -> None:
    for label, counts in classes.items():
        total = int(counts.sum())
        if total:
            colour, _, dash = CLASS_STYLE[label]
            shares = counts / total
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.22, linewidth=0)
            title = f"{'bona fide' if label == 'bona_fide' else 'attack'} ({total:,})"
            axes.stairs(shares, edges, color=colour, linestyle=dash, linewidth=1.4, label=title)
    if edges.size > 1 and edges[0] < edges[-1]:
        axes.set_xlim(edges[0], edges[-1])


def threshold_lines(axes: Axes, points: Sequence[Threshold], scale: str) -> None:
    for dash, point in zip(POINT_LINES * 4, points, strict=False):
        value = point.logit_threshold if scale == "logit" else point.threshold
        if value is not None and np.isfinite(value):
            axes.axvline(value, color=TEXT, linewidth=1.1, linestyle=dash, label=plain(point_name(point)))


def percent_axes(axes: Axes, *, x: bool = False, y: bool = False) -> None:
    for axis, wanted in ((axes.xaxis, x), (axes.yaxis, y)):
        if wanted:
            axis.set_major_formatter(PercentFormatter(1.0, symbol="%"))


def _legend_of_points(figure: Figure, axes: Axes, points: Mapping[str, Sequence[Measures]]) -> None:
    """Put the legend above the axes, with the mark of each operating point."""
    marks: dict[str, str] = {}
    for measured in points.values():
        for mark, measures in zip(POINT_MARKS * 4, measured, strict=False):
            marks.setdefault(plain(point_name(measures.point)), mark)
    for title, mark in marks.items():
        axes.plot([], [], mark, color=MUTED, markeredgecolor=TEXT, label=title)
    legend(figure, axes)
