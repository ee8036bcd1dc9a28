"""Error-versus-discard curves: errors of the presentations that are kept while the worst by a quality measure are discarded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bonaface.evaluation.arrays import Bools, Floats, ScoreArrays
from bonaface.evaluation.error_curve import count_errors
from bonaface.evaluation.thresholds import accepts
from bonaface.types import QUALITY_COLUMNS, Quality, Threshold

MOST = 0.5
"""At most this share of the presentations is discarded."""
STEPS = 20
FEWEST = 20
"""With fewer scored presentations than this there is no curve."""

_LOW_IS_WORSE = {"sharpness", "luminance_mean", "face_size"}


@dataclass(frozen=True)
class Discarded:
    """Errors with a limit on a quality measure, as shares of the scored presentations.

    `share` is what the limit discards, `bona_fide` and `attacks` the discarded shares of each class. `far`, `frr`, `hter`
    (at the threshold) and `eer` are of those kept.
    """

    limit: str
    share: float
    bona_fide: float
    attacks: float
    far: float
    frr: float
    hter: float
    eer: float


@dataclass(frozen=True)
class DiscardCurve:
    """What limits on one quality measure discard, the first point without a limit."""

    name: str
    points: tuple[Discarded, ...]

    def at(self, share: float) -> Discarded | None:
        """Return the limit that discards about this share; None where no limit does, since many values are equal."""
        nearest = min(self.points[1:], key=lambda point: abs(point.share - share))
        return nearest if abs(nearest.share - share) <= MOST / STEPS else None


def discard_curves(presentations: pd.DataFrame, point: Threshold) -> tuple[DiscardCurve, ...]:
    """Return a curve for each measure that differs among presentations (see `scores.presentations`).

    Scored presentations count alone. Without the columns of quality, or without one of the classes, there is none.
    """
    arrays = ScoreArrays.from_table(presentations)
    accepted, undefined = accepts(arrays, point)
    if undefined:
        return ()
    curves = []
    for name, column in zip(Quality._fields, QUALITY_COLUMNS, strict=True):
        if column not in presentations:
            continue
        values = pd.to_numeric(presentations[column], errors="coerce").to_numpy(dtype=np.float64)
        known = arrays.ok & np.isfinite(values)
        if int(known.sum()) >= FEWEST:
            found = _curve(arrays.take(known), values[known], accepted[known], name)
            curves += [found] if len(found.points) > 1 else []
    return tuple(curves)


def _curve(arrays: ScoreArrays, values: Floats, accepted: Bools, name: str) -> DiscardCurve:
    low = name in _LOW_IS_WORSE
    points: dict[float, Discarded] = {}
    for aim in np.linspace(0, MOST, STEPS + 1).tolist():
        limit = float(f"{np.quantile(values, aim if low else 1 - aim):.3g}")  # as a person would write it
        kept = np.ones(len(values), dtype=bool)
        if aim:
            kept = values >= limit if low else values <= limit
        share = float((~kept).mean())
        both = arrays.bona_fide[kept].any() and not arrays.bona_fide[kept].all()
        if both and share <= MOST and share not in points:
            text = f"{name}{'>=' if low else '<='}{limit:g}" if aim else ""
            points[share] = _discarded(arrays, accepted, kept, text)
    return DiscardCurve(name, tuple(points.values()))


def _discarded(arrays: ScoreArrays, accepted: Bools, kept: Bools, limit: str) -> Discarded:
    bona_fide = arrays.bona_fide
    far, frr = float(accepted[kept & ~bona_fide].mean()), float((~accepted[kept & bona_fide]).mean())
    return Discarded(
        limit=limit,
        share=float((~kept).mean()),
        bona_fide=float((~kept[bona_fide]).mean()),
        attacks=float((~kept[~bona_fide]).mean()),
        far=far,
        frr=frr,
        hter=(far + frr) / 2,
        eer=count_errors(arrays.take(kept)).eer,
    )
