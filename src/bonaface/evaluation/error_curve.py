"""The errors at every threshold that a set of scores can tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonaface.evaluation.arrays import Sample

__all__ = ["Sweep", "sweep"]


@dataclass(frozen=True)
class Sweep:
    """Counts of errors along the threshold.

    `values` are the distinct decision values, ascending, m of them. Step j of 0 ... m stands for all
    thresholds above value j-1 and up to value j, which decide alike: step 0 accepts everything, step m
    nothing. `accepted[k, j]` counts the attacks of species k that step j accepts, `rejected[j]` the bona
    fide that it rejects.
    """

    values: NDArray[np.float64]
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
    def far(self) -> NDArray[np.float64]:
        """Share of all attacks accepted, by step; NaN without attacks."""
        return _share(self.accepted.sum(axis=0), int(self.attacks.sum()))

    @property
    def frr(self) -> NDArray[np.float64]:
        """Share of bona fide rejected, by step; NaN without bona fide."""
        return _share(self.rejected, self.bona_fide)

    @property
    def apcer_max(self) -> NDArray[np.float64]:
        """APCER of the worst species, by step; NaN without attacks."""
        if not len(self.species_names):
            return np.full(len(self.rejected), np.nan)
        worst = np.zeros(len(self.rejected))
        for accepted, total in zip(self.accepted, self.attacks, strict=True):
            np.maximum(worst, accepted / total, out=worst)
        return worst

    def threshold(self, first: int, last: int) -> float:
        """The threshold in the middle of steps `first` to `last`; beyond the outermost value by a margin.

        The margin is one logit, or a hundredth of the range of a foreign system's scores, but never so little that it is
        lost in rounding.
        """
        lowest, highest = float(self.values[0]), float(self.values[-1])
        scale = max(abs(lowest), abs(highest), 1.0)
        margin = max(1.0 if self.on_logits else highest / 100 - lowest / 100, scale * 1e-9)
        low = float(self.values[first - 1]) if first else lowest - 2 * margin
        high = float(self.values[last]) if last < len(self.values) else highest + 2 * margin
        middle = low / 2 + high / 2
        return middle if low < middle <= high else high


def sweep(sample: Sample) -> Sweep:
    """Count the errors of the scored presentations at every step."""
    scored = sample.ok
    values, step = np.unique(sample.value[scored], return_inverse=True)
    bona_fide, species = sample.bona_fide[scored], sample.species[scored]
    present = [k for k in range(len(sample.species_names)) if (species == k).any()]
    rejected = np.zeros(len(values) + 1, dtype=np.int32)
    rejected[1:] = np.cumsum(np.bincount(step[bona_fide], minlength=len(values)))
    accepted = np.zeros((len(present), len(values) + 1), dtype=np.int32)
    for row, k in enumerate(present):
        below = np.cumsum(np.bincount(step[species == k], minlength=len(values)))
        accepted[row, 0] = total = int((species == k).sum())
        accepted[row, 1:] = total - below
    names = tuple(sample.species_names[k] for k in present)
    return Sweep(values, accepted, rejected, names, sample.on_logits)


def _share(count: NDArray[np.integer], total: int) -> NDArray[np.float64]:
    return count / total if total else np.full(len(count), np.nan)
