"""Figures of how well scores are probabilities, and of how a threshold was chosen."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bonaface.evaluation.error_curve import ErrorCurves
from bonaface.evaluation.probability_calibration import Reliability
from bonaface.report.figures import percent_axes, threshold_lines
from bonaface.report.style import ATTACK, BONA_FIDE, RULE, SERIES, Drawing, draw, legend, tidy
from bonaface.types import Threshold, percent


def reliability_figure(name: str, found: Reliability) -> Drawing:
    """The share of bona fide over the score, in bins; on the diagonal a score is a probability."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1, zorder=1)
        axes.plot(found.score, found.share, color=SERIES[0], marker="o", markersize=4, clip_on=False)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        percent_axes(axes, y=True)
        tidy(axes, x="mean score of the bin", y="bona fide in the bin")

    return draw(
        name,
        paint,
        title="Reliability",
        alt=f"Share of bona fide over the mean score in {len(found.count)} bins of scores",
        caption=f"Expected calibration error {percent(found.ece)}, Brier score {found.brier:.3f}, both classes weighed alike. "
        "Below the diagonal the scores promise too much.",
        height=3.8,
    )


def chosen_figure(name: str, validation: ErrorCurves, widened: ErrorCurves | None, point: Threshold) -> Drawing:
    """The errors on the presentations that chose the threshold, and on those simulated to widen them."""
    span = _same_errors(validation, point)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for curves, what, width in ((validation, "validation", 1.8), (widened, "widened", 0.9)):
            if curves is not None:
                dash = "-" if curves is validation else ":"
                axes.plot(
                    curves.threshold, curves.far, color=ATTACK, linestyle=dash, linewidth=width, label=f"FAR, {what}"
                )
                axes.plot(
                    curves.threshold, curves.frr, color=BONA_FIDE, linestyle=dash, linewidth=width, label=f"FRR, {what}"
                )
        if span is not None:
            axes.axvspan(*span, color=RULE, alpha=0.4, linewidth=0, label="as many errors on validation")
        threshold_lines(axes, [point], validation.scale)
        axes.set_ylim(0, 1)
        percent_axes(axes, y=True)
        tidy(axes, x=f"threshold ({validation.scale})", y="error rate")
        legend(figure, axes)

    caption = (
        "Validation and the simulated presentations that widen it are counted together. " if widened is not None else ""
    )
    if span is not None:
        caption += f"Between {span[0]:.3g} and {span[1]:.3g} the threshold makes as many errors on validation."
    return draw(
        name,
        paint,
        title="How the threshold was chosen",
        alt="Error rates over the threshold on the presentations that chose it",
        caption=caption,
    )


def _same_errors(curves: ErrorCurves, point: Threshold) -> tuple[float, float] | None:
    """Return the range around a threshold in which FAR and FRR stay as they are."""
    at = point.logit_threshold if curves.scale == "logit" else point.threshold
    finite = np.isfinite(curves.threshold)
    values, far, frr = curves.threshold[finite], curves.far[finite], curves.frr[finite]
    if at is None or len(values) < 2 or not np.isfinite([far, frr]).all():
        return None
    step = int(np.searchsorted(values, at))
    if step == len(values):
        return None
    other = np.flatnonzero((far != far[step]) | (frr != frr[step]))
    place = int(np.searchsorted(other, step))
    low = values[other[place - 1]] if place else values[0]
    high = values[other[place] - 1] if place < len(other) else values[-1]
    return (float(low), float(high)) if low < high else None
