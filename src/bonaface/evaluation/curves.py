"""The lines behind the plots, thinned so that a million scores stay a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.evaluation.arrays import Sample
from bonaface.evaluation.distributions import normal_quantile
from bonaface.evaluation.error_curve import Sweep, sweep

__all__ = ["ErrorCurves", "Histogram", "RocCurve", "Scale", "error_curves", "histogram", "roc"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Scale = Literal["logit", "score"]


@dataclass(frozen=True)
class RocCurve:
    """Points of a ROC, from rejecting everything to accepting everything; bona fide is positive.

    `fpr` is the share of attacks accepted (pooled FAR), `tpr` that of bona fide accepted, `apcer_max` that
    of the worst species at the same threshold. The DET curve is `fnr` over `fpr`. `threshold` is on `scale`.
    """

    fpr: Floats
    tpr: Floats
    apcer_max: Floats
    threshold: Floats
    scale: Scale
    bona_fide: int
    attacks: int

    @property
    def fnr(self) -> Floats:
        """Share of bona fide rejected."""
        return 1 - self.tpr


@dataclass(frozen=True)
class ErrorCurves:
    """Error rates along the threshold, ascending, on `scale`. Arrays of NaN for a class that is missing."""

    threshold: Floats
    far: Floats
    frr: Floats
    hter: Floats
    apcer_max: Floats
    species: dict[str, Floats]
    scale: Scale


@dataclass(frozen=True)
class Histogram:
    """Counts of bona fide and of attacks (all, and by species) in bins of `edges`, on `scale`.

    The outermost bins also hold what lies beyond them: `below` and `above` say how many that are.
    """

    edges: Floats
    bona_fide: Counts
    attacks: Counts
    species: dict[str, Counts]
    scale: Scale
    below: int = 0
    above: int = 0


def roc(presentations: pd.DataFrame, *, points: int = 2000) -> RocCurve | None:
    """The ROC (and DET) of scored presentations in at most `points` points; None where a class is missing."""
    sample = Sample.of(presentations)
    if not (sample.ok & sample.bona_fide).any() or not (sample.ok & ~sample.bona_fide).any():
        return None
    errors = sweep(sample)
    far, frr = errors.far, errors.frr
    attacks, bona_fide = int(errors.attacks.sum()), errors.bona_fide
    # Even along both drawings: the ROC's straight axes and the DET's, where rare errors have room.
    length = _travel(far) + _travel(frr)
    length += (_travel(_deviate(far, attacks)) + _travel(_deviate(frr, bona_fide))) / 4
    steps = _thin(length, points)[::-1]
    return RocCurve(
        fpr=far[steps],
        tpr=1 - frr[steps],
        apcer_max=errors.apcer_max[steps],
        threshold=_thresholds(errors)[steps],
        scale=_scale(errors),
        bona_fide=bona_fide,
        attacks=attacks,
    )


def error_curves(presentations: pd.DataFrame, *, points: int = 2000) -> ErrorCurves:
    """How FAR, FRR, HTER and each species' APCER move with the threshold, among scored presentations."""
    errors = sweep(Sample.of(presentations))
    at = _thresholds(errors)
    far, frr = errors.far, errors.frr
    length = _travel(np.nan_to_num(far)) + _travel(np.nan_to_num(frr)) + _travel(at) / max(at[-1] - at[0], 1e-300)
    steps = _thin(length, points)
    return ErrorCurves(
        threshold=at[steps],
        far=far[steps],
        frr=frr[steps],
        hter=(far[steps] + frr[steps]) / 2,
        apcer_max=errors.apcer_max[steps],
        species={
            name: accepted[steps] / total
            for name, accepted, total in zip(errors.species_names, errors.accepted, errors.attacks, strict=True)
        },
        scale=_scale(errors),
    )


def histogram(presentations: pd.DataFrame, *, bins: int = 60) -> Histogram:
    """Where the scores of bona fide and attack presentations lie.

    The bins span the middle 99 % of the scores, widened by half of that to either side, and no more than the
    scores: one absurd score of a foreign system does not squeeze all others into one bin.
    """
    sample = Sample.of(presentations)
    value = sample.value[sample.ok]
    if not len(value):
        value = np.zeros(1)
    inner = np.quantile(value, [0.005, 0.995])
    reach = (inner[1] - inner[0]) / 2
    low = max(float(value.min()), float(inner[0] - reach))
    high = min(float(value.max()), float(inner[1] + reach))
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)

    def count(which: NDArray[np.bool_]) -> Counts:
        return np.histogram(np.clip(sample.value[sample.ok & which], low, high), edges)[0].astype(np.int64)

    return Histogram(
        edges=edges,
        bona_fide=count(sample.bona_fide),
        attacks=count(~sample.bona_fide),
        species={name: count(sample.species == k) for k, name in enumerate(sample.species_names)},
        scale="logit" if sample.on_logits else "score",
        below=int((sample.value[sample.ok] < low).sum()),
        above=int((sample.value[sample.ok] > high).sum()),
    )


def _thresholds(errors: Sweep) -> Floats:
    """A threshold for every step: the lowest value that it accepts, and one beyond the highest."""
    last = len(errors.values)
    beyond = errors.threshold(last, last) if last else 0.0
    return np.append(errors.values, beyond)


def _scale(errors: Sweep) -> Scale:
    return "logit" if errors.on_logits else "score"


def _deviate(share: Floats, total: int) -> Floats:
    """The normal deviate of a share, as a DET axis has it; none and all stand half a presentation off the
    edge."""
    return normal_quantile(np.clip(share, 0.5 / total, 1 - 0.5 / total))


def _travel(curve: Floats) -> Floats:
    """How far a curve has moved up to each of its points."""
    return np.concatenate([[0.0], np.cumsum(np.abs(np.diff(curve)))])


def _thin(length: Floats, points: int) -> NDArray[np.intp]:
    """At most `points` indices, evenly spread along a growing length, both ends among them."""
    if len(length) <= points:
        return np.arange(len(length))
    wanted = np.linspace(0.0, float(length[-1]), points)
    return np.unique(np.concatenate([np.searchsorted(length, wanted[:-1]), [len(length) - 1]]))
