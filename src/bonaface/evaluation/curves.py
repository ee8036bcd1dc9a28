"""The lines behind the plots, thinned so that a million scores stay a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["ErrorCurves", "Histogram", "RocCurve", "error_curves", "histogram", "roc"]


@dataclass(frozen=True)
class RocCurve:
    """Points of a ROC, from rejecting everything to accepting everything; bona fide is positive.

    `fpr` is the share of attacks accepted (pooled FAR), `tpr` that of bona fide accepted, `apcer_max` that
    of the worst species at the same threshold. The DET curve is `fnr = 1 - tpr` over `fpr`. `threshold` is
    on `scale`.
    """

    fpr: NDArray[np.float64]
    tpr: NDArray[np.float64]
    apcer_max: NDArray[np.float64]
    threshold: NDArray[np.float64]
    scale: str  # "logit" or "score"
    bona_fide: int
    attacks: int

    @property
    def fnr(self) -> NDArray[np.float64]:
        """Share of bona fide rejected."""
        return 1 - self.tpr


@dataclass(frozen=True)
class ErrorCurves:
    """Error rates along the threshold, ascending, on `scale`. Arrays of NaN for a class that is missing."""

    threshold: NDArray[np.float64]
    far: NDArray[np.float64]
    frr: NDArray[np.float64]
    hter: NDArray[np.float64]
    apcer_max: NDArray[np.float64]
    species: dict[str, NDArray[np.float64]]
    scale: str


@dataclass(frozen=True)
class Histogram:
    """Counts of bona fide and of attacks (all, and by species) in bins of `edges`, on `scale`."""

    edges: NDArray[np.float64]
    bona_fide: NDArray[np.int64]
    attacks: NDArray[np.int64]
    species: dict[str, NDArray[np.int64]]
    scale: str


def roc(presentations: pd.DataFrame, *, points: int = 2000) -> RocCurve | None:
    """The ROC (and DET) of scored presentations in at most `points` points; None where a class is missing."""
    raise NotImplementedError


def error_curves(presentations: pd.DataFrame, *, points: int = 2000) -> ErrorCurves:
    """How FAR, FRR, HTER and each species' APCER move with the threshold."""
    raise NotImplementedError


def histogram(presentations: pd.DataFrame, *, bins: int = 60) -> Histogram:
    """Where the scores of bona fide and attack presentations lie."""
    raise NotImplementedError
