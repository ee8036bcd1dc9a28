"""How well scores are probabilities, and the line through the logits that makes them so.

Both classes, and all sources in each, weigh the same: how many attacks a set holds says nothing about how many a system
will meet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from bonaface.errors import ScoreTableError
from bonaface.evaluation.arrays import Bools, Floats

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Scores against outcomes, in bins of equal width.

    `score` and `share` are the mean score and the share of bona fide in each bin that is not empty, `count` its
    presentations, `ece` the expected calibration error and `brier` the Brier score, all with classes weighed alike.
    """

    score: Floats
    share: Floats
    count: NDArray[np.int64]
    ece: float
    brier: float


def reliability(scores: Floats, labels: Bools, *, bins: int = BINS) -> Reliability:
    """Compare scores in 0..1 with labels, True for bona fide. Raises ScoreTableError where a class is missing.

    The expected calibration error is that of Guo et al., On Calibration of Modern Neural Networks (2017), section 2.
    """
    weights = class_weights(labels)
    place = np.minimum((scores * bins).astype(int), bins - 1)
    mass = np.bincount(place, weights, bins)
    filled = mass > 0
    score = np.bincount(place, weights * scores, bins)[filled] / mass[filled]
    share = np.bincount(place, weights * labels, bins)[filled] / mass[filled]
    return Reliability(
        score=score,
        share=share,
        count=np.bincount(place, minlength=bins)[filled],
        ece=float((mass[filled] * np.abs(score - share)).sum()),
        brier=float((weights * (scores - labels) ** 2).sum()),
    )


def fit_scale_and_offset(
    logits: Floats, labels: Bools, sources: NDArray[np.generic] | None = None, *, presentations: int | None = None
) -> tuple[float, float]:
    """Return the scale > 0 and the offset with which `scale * logit + offset` is the logit of a probability.

    Both are fitted by maximum likelihood, towards the targets of Platt, Probabilistic Outputs for Support Vector Machines
    (1999): (n + 1) / (n + 2) and 1 / (n + 2) for n logits of a class. The scale is then lowered until 99 % of the logits
    lie within +-log(N + 1), the target of all N `presentations` (by default as many as logits; fewer where some were seen
    several times): so few cannot show rarer errors. Where attacks score higher on average no line helps, and the logits
    are standardised. Raises ScoreTableError where a class is missing.
    """
    weights = class_weights(labels, sources)
    targets = np.where(labels, (labels.sum() + 1) / (labels.sum() + 2), 1 / ((~labels).sum() + 2))
    centre, spread = float(np.median(logits)), float(logits.std()) or 1.0
    scaled = (logits - centre) / spread

    if (weights * scaled)[labels].sum() <= (weights * scaled)[~labels].sum():
        return 1 / spread, -centre / spread

    def loss(line: Floats) -> tuple[float, Floats]:
        values = np.exp(line[0]) * scaled + line[1]
        apart = weights * (expit(values) - targets)
        nats = float((weights * (np.logaddexp(0, values) - targets * values)).sum())
        return nats, np.array([(apart * np.exp(line[0]) * scaled).sum(), apart.sum()])

    log_scale, offset = minimize(loss, np.zeros(2), jac=True, method="BFGS").x
    values = np.exp(log_scale) * scaled + offset
    lowered = min(float(np.log((presentations or len(logits)) + 1) / np.quantile(np.abs(values), 0.99)), 1.0)
    scale = float(np.exp(log_scale)) / spread
    return lowered * scale, lowered * (float(offset) - scale * centre)


def class_weights(labels: Bools, sources: NDArray[np.generic] | None = None) -> Floats:
    """Return weights with the sum 1 in which both classes weigh alike, and in each class all sources that have it."""
    if labels.all() or not labels.any():
        raise ScoreTableError("calibration needs bona fide and attack presentations, but one class is missing")
    where = np.zeros(len(labels), dtype=int) if sources is None else np.unique(sources, return_inverse=True)[1]
    weights = np.zeros(len(labels))
    for label in (True, False):
        rows = labels == label
        counts = np.bincount(where[rows])
        weights[rows] = 0.5 / (counts[where[rows]] * (counts > 0).sum())
    return weights
