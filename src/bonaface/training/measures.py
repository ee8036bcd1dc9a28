"""What a training epoch is measured by, on validation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def validation_measures(
    logits: NDArray[np.float64], labels: NDArray[np.bool_], *, simulated: NDArray[np.float64] | None = None
) -> dict[str, float]:
    """Return the loss in nats; accuracy, FAR and FRR at score 0.5; HTER at the threshold of equal error.

    `labels` are True for bona fide; each class must occur. With logits of `simulated` attacks, these count in the loss,
    in which each class then weighs half, and get a FAR of their own at score 0.5; other measures ignore them.
    """
    with np.errstate(invalid="ignore"):  # a logit that is not a number is reported by the loss that it gives
        losses = np.logaddexp(0, np.where(labels, -logits, logits))
        found = {
            "val_loss": float(losses.mean()),
            "val_accuracy": float(((logits >= 0) == labels).mean()),
            "val_far": float((logits[~labels] >= 0).mean()),
            "val_frr": float((logits[labels] < 0).mean()),
            "val_hter": _hter(np.sort(logits[labels]), np.sort(logits[~labels])),
        }
        if simulated is not None and len(simulated):
            # Each class weighs half, or more simulated attacks would favour whatever rejects more.
            attacks = np.concatenate([losses[~labels], np.logaddexp(0, simulated)])
            found["val_loss"] = float(np.mean([losses[labels].mean(), attacks.mean()]))
            found["val_simulated_far"] = float((simulated >= 0).mean())
    return found


def _hter(bona_fide: NDArray[np.float64], attacks: NDArray[np.float64]) -> float:
    """Return the HTER where FAR and FRR are nearest to each other; logits are sorted."""
    edges = np.append(np.unique(np.concatenate([bona_fide, attacks])), np.inf)
    rejected = np.searchsorted(bona_fide, edges)
    accepted = len(attacks) - np.searchsorted(attacks, edges)
    apart = np.abs(accepted * len(bona_fide) - rejected * len(attacks))
    nearest = apart == apart.min()
    return float(((accepted / len(attacks) + rejected / len(bona_fide)) / 2)[nearest].min())
