"""The errors at every threshold that a set of scores can tell apart, and the lines that a report draws of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bonaface.evaluation.arrays import Bools, Floats, ScoreArrays

Counts = NDArray[np.int64]
Scale = Literal["logit", "score"]


@dataclass(frozen=True)
class ErrorCounts:
    """Counts of errors along the threshold.

    `values` are the m distinct decision values, ascending. Step j of 0 ... m stands for all thresholds above value j-1
    and up to value j, which decide alike: step 0 accepts everything, step m nothing. `accepted[k, j]` counts the attacks
    of species k that step j accepts, `rejected[j]` the bona fide that it rejects.
    """

    values: Floats
    accepted: NDArray[np.int32]
    rejected: NDArray[np.int32]
    species_names: tuple[str, ...]
    on_logits: bool

    @property
    def attacks(self) -> NDArray[np.int32]:
        """Scored attacks of each species."""
        return self.accepted[:, 0]

    @property
    def bona_fide(self) -> int:
        """Scored bona fide presentations."""
        return int(self.rejected[-1])

    @property
    def far(self) -> Floats:
        """Share of all attacks accepted, by step; NaN without attacks."""
        return _share(self.accepted.sum(axis=0), int(self.attacks.sum()))

    @property
    def frr(self) -> Floats:
        """Share of bona fide rejected, by step; NaN without bona fide."""
        return _share(self.rejected, self.bona_fide)

    @property
    def apcer_max(self) -> Floats:
        """APCER of the worst species, by step; NaN without attacks."""
        if not len(self.species_names):
            return np.full(len(self.rejected), np.nan)
        worst = np.zeros(len(self.rejected))
        for accepted, total in zip(self.accepted, self.attacks, strict=True):
            np.maximum(worst, accepted / total, out=worst)
        return worst

    @property
    def scale(self) -> Scale:
        """What the decision values are."""
        return "logit" if self.on_logits else "score"

    def both(self) -> tuple[Counts, Counts]:
        """Return FAR and FRR by step as whole numbers over a common denominator, so that equal means equal."""
        accepted = self.accepted.sum(axis=0, dtype=np.int64) * self.bona_fide
        return accepted, self.rejected.astype(np.int64) * int(self.attacks.sum())

    def equal_error_steps(self) -> NDArray[np.intp]:
        """Return the steps where FAR and FRR are nearest to each other, of these the ones with the least of both."""
        accepted, rejected = self.both()
        apart, sums = np.abs(accepted - rejected), accepted + rejected
        nearest = np.flatnonzero(apart == apart.min())
        return np.asarray(nearest[sums[nearest] == sums[nearest].min()])

    @property
    def eer(self) -> float:
        """The mean of FAR and FRR where they are nearest to each other."""
        step = self.equal_error_steps()[0]
        return float(self.far[step] + self.frr[step]) / 2

    def threshold(self, first: int, last: int) -> float:
        """Return the threshold in the middle of steps `first` to `last`; beyond the outermost value by a margin.

        The margin is one logit, or a hundredth of the range of scores of unknown scale, and never so small that rounding
        removes it.
        """
        lowest, highest = float(self.values[0]), float(self.values[-1])
        scale = max(abs(lowest), abs(highest), 1.0)
        margin = max(1.0 if self.on_logits else highest / 100 - lowest / 100, scale * 1e-9)
        low = float(self.values[first - 1]) if first else lowest - 2 * margin
        high = float(self.values[last]) if last < len(self.values) else highest + 2 * margin
        middle = low / 2 + high / 2
        return middle if low < middle <= high else high


def count_errors(arrays: ScoreArrays) -> ErrorCounts:
    """Count the errors of the scored presentations at every step."""
    scored = arrays.ok
    values, step = np.unique(arrays.value[scored], return_inverse=True)
    bona_fide, species = arrays.bona_fide[scored], arrays.species[scored]
    present = [k for k in range(len(arrays.species_names)) if (species == k).any()]
    rejected = np.zeros(len(values) + 1, dtype=np.int32)
    rejected[1:] = np.cumsum(np.bincount(step[bona_fide], minlength=len(values)))
    accepted = np.zeros((len(present), len(values) + 1), dtype=np.int32)
    for row, k in enumerate(present):
        below = np.cumsum(np.bincount(step[species == k], minlength=len(values)))
        accepted[row, 0] = total = int((species == k).sum())
        accepted[row, 1:] = total - below
    names = tuple(arrays.species_names[k] for k in present)
    return ErrorCounts(values, accepted, rejected, names, arrays.on_logits)


@dataclass(frozen=True)
class RocCurve:
    """Points of a ROC, from rejecting everything to accepting everything; bona fide is positive.

    `fpr` is the share of attacks accepted (pooled FAR), `tpr` that of bona fide accepted, `apcer_max` that of the worst
    species at the same threshold. The DET curve is `fnr` over `fpr`. `threshold` is on `scale`.
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
    species: int
    scale: Scale


@dataclass(frozen=True)
class Histogram:
    """Counts of bona fide and of attacks (all, and by species) in bins of `edges`, on `scale`.

    The outermost bins also hold what lies beyond them.
    """

    edges: Floats
    bona_fide: Counts
    attacks: Counts
    species: dict[str, Counts]
    scale: Scale


def roc(errors: ErrorCounts, *, points: int = 600) -> RocCurve | None:
    """Return the ROC (and DET) in at most `points` points; None where a class is missing."""
    attacks, bona_fide = int(errors.attacks.sum()), errors.bona_fide
    if not attacks or not bona_fide:
        return None
    far, frr = errors.far, errors.frr
    # Even along both drawings: the ROC's straight axes and the DET's, where rare errors have space.
    length = _travel(far) + _travel(frr)
    length += (_travel(_deviate(far, attacks)) + _travel(_deviate(frr, bona_fide))) / 4
    steps = _thin(length, points)[::-1]
    return RocCurve(
        fpr=far[steps],
        tpr=1 - frr[steps],
        apcer_max=errors.apcer_max[steps],
        threshold=_thresholds(errors)[steps],
        scale=errors.scale,
        bona_fide=bona_fide,
        attacks=attacks,
    )


def error_curves(errors: ErrorCounts, *, points: int = 600) -> ErrorCurves:
    """Return FAR, FRR, HTER and the worst species' APCER along the threshold, in at most `points` points."""
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
        species=len(errors.species_names),
        scale=errors.scale,
    )


def histogram(arrays: ScoreArrays, *, bins: int = 60) -> Histogram:
    """Count where the scores of bona fide and attack presentations lie.

    The bins span the middle 99 % of the scores, widened by half of that to either side, and no more than the scores: one
    absurd score does not squeeze all others into one bin.
    """
    value = arrays.value[arrays.ok]
    if not len(value):
        value = np.zeros(1)
    inner = np.quantile(value, [0.005, 0.995])
    reach = (inner[1] - inner[0]) / 2
    low = max(float(value.min()), float(inner[0] - reach))
    high = min(float(value.max()), float(inner[1] + reach))
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)

    def count(which: Bools) -> Counts:
        return np.histogram(np.clip(arrays.value[arrays.ok & which], low, high), edges)[0].astype(np.int64)

    return Histogram(
        edges=edges,
        bona_fide=count(arrays.bona_fide),
        attacks=count(~arrays.bona_fide),
        species={name: count(arrays.species == k) for k, name in enumerate(arrays.species_names)},
        scale="logit" if arrays.on_logits else "score",
    )


def _share(count: NDArray[np.integer], total: int) -> Floats:
    return count / total if total else np.full(len(count), np.nan)


def _thresholds(errors: ErrorCounts) -> Floats:
    """Return a threshold for every step: the lowest value that it accepts, and one beyond the highest."""
    last = len(errors.values)
    beyond = errors.threshold(last, last) if last else 0.0
    return np.append(errors.values, beyond)


def _deviate(share: Floats, total: int) -> Floats:
    """Return the normal deviate of a share, as on a DET axis; 0 and 1 lie half a presentation inside."""
    return np.asarray(special.ndtri(np.clip(share, 0.5 / total, 1 - 0.5 / total)))


def _travel(curve: Floats) -> Floats:
    """Return the length of a curve up to each of its points."""
    return np.concatenate([[0.0], np.cumsum(np.abs(np.diff(curve)))])


def _thin(length: Floats, points: int) -> NDArray[np.intp]:
    """Return at most `points` indices, evenly spread along a growing length, both ends among them."""
    if len(length) <= points:
        return np.arange(len(length))
    wanted = np.linspace(0.0, float(length[-1]), points)
    return np.unique(np.concatenate([np.searchsorted(length, wanted[:-1]), [len(length) - 1]]))
