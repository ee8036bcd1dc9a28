"""The area under the ROC curve as what it is: the share of (bona fide, attack) pairs in the right order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bonaface.evaluation.arrays import Sample
from bonaface.evaluation.intervals import Estimate, Resampling, freedom

__all__ = ["auc_estimate", "pair_matrix"]

Floats = NDArray[np.float64]

# Rows a bin: fewer make the products between bins dearer, more the pairs inside a bin.
_BIN = 128
_BINS_AT_ONCE = 1024


def auc_estimate(sample: Sample, resampling: Resampling) -> Estimate | None:
    """The AUC of scored presentations, equal scores counting half; None where a class is missing. All of it
    exact."""
    bona_fide, attack = sample.ok & sample.bona_fide, sample.ok & ~sample.bona_fide
    if not bona_fide.any() or not attack.any():
        return None
    pairs = pair_matrix(sample.value[sample.ok], bona_fide[sample.ok], resampling.unit[sample.ok], resampling.units)
    accepted, rejected = resampling.per_unit(bona_fide), resampling.per_unit(attack)
    total = accepted.sum() * rejected.sum()
    value = float(pairs.sum() / total)
    influence = (pairs.sum(axis=1) - value * accepted * rejected.sum()) / total
    influence += (pairs.sum(axis=0) - value * accepted.sum() * rejected) / total
    replicates = np.empty(0)
    if resampling.weights is not None:
        weights = resampling.weights
        drawn = (weights @ accepted) * (weights @ rejected)
        right = np.einsum("ru,ru->r", weights @ pairs, weights)
        replicates = np.divide(right, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0)
    estimate = resampling.estimate(value, influence, replicates, bona_fide, attack)
    return _widen(estimate, pairs, accepted, rejected)


def _widen(estimate: Estimate, pairs: Floats, bona_fide: Floats, attacks: Floats) -> Estimate:
    """The estimate with the variance by leaving out one person at a time, where that is the larger.

    With few persons and an area near 1 both variances tend to be too small; the larger of them covers best.
    """
    left = (bona_fide.sum() - bona_fide) * (attacks.sum() - attacks)
    if estimate.variance <= 0 or not left.all():
        return estimate
    without = (pairs.sum() - pairs.sum(axis=0) - pairs.sum(axis=1) + np.diag(pairs)) / left
    squares = (without - without.mean()) ** 2
    units = len(squares)
    return estimate._replace(
        variance=max(estimate.variance, float(squares.sum()) * (units - 1) / units),
        freedom=min(estimate.freedom, freedom(squares, units)),
    )


def pair_matrix(
    value: NDArray[np.float64], bona_fide: NDArray[np.bool_], unit: NDArray[np.intp], units: int
) -> NDArray[np.float64]:
    """How often a bona fide presentation of unit g (row) lies above an attack of unit h (column), a tie
    being a half.

    Exact in O(n log n + n x bin + units² x n / bin): sorted rows go into bins, whole bins are compared by a
    matrix product, rows of one bin pair by pair; a value shared by more rows than a bin holds is a bin by
    itself.
    """
    bins, tied = _bins(value)
    order = np.argsort(bins, kind="stable")
    value, bona_fide, unit, bins = value[order], bona_fide[order], unit[order], bins[order]
    pairs = np.zeros((units, units))
    below = np.zeros(units)
    edges = np.searchsorted(bins, np.arange(len(tied) + 1))
    for first in range(0, len(tied), _BINS_AT_ONCE):
        last = min(first + _BINS_AT_ONCE, len(tied))
        rows = slice(edges[first], edges[last])
        cell = (bins[rows] - first) * units + unit[rows]
        shape = (last - first, units)
        above = np.bincount(cell[bona_fide[rows]], minlength=shape[0] * units).reshape(shape).astype(np.float64)
        attacks = np.bincount(cell[~bona_fide[rows]], minlength=shape[0] * units).reshape(shape)
        upto = below + np.cumsum(attacks, axis=0)
        lower = upto - attacks
        lower[tied[first:last]] += attacks[tied[first:last]] / 2
        pairs += above.T @ lower
        below = upto[-1]
    flat = pairs.reshape(-1)
    for start, stop in zip(edges[:-1][~tied], edges[1:][~tied], strict=True):
        mine = bona_fide[start:stop]
        if mine.any() and not mine.all():
            high, low = value[start:stop][mine], value[start:stop][~mine]
            right = (high[:, None] > low) + 0.5 * (high[:, None] == low)
            cells = unit[start:stop][mine][:, None] * units + unit[start:stop][~mine]
            np.add.at(flat, cells.ravel(), right.ravel())
    return pairs


def _bins(value: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """A bin for each row, ascending with its value, and which bins hold one value alone."""
    _, index, counts = np.unique(value, return_inverse=True, return_counts=True)
    large = counts > _BIN
    small_before = np.concatenate([[0], np.cumsum(np.where(large, 0, counts))[:-1]])
    large_before: NDArray[np.intp] = np.cumsum(large) - large
    raw = small_before // _BIN + 2 * large_before + large
    _, dense = np.unique(raw, return_inverse=True)
    tied = np.zeros(int(dense[-1]) + 1, dtype=bool)
    tied[dense[large]] = True
    return dense[index].astype(np.intp), tied
