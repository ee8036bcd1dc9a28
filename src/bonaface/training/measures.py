"""What a training epoch is measured by, on validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def validation_measures(
    logits: Floats,
    labels: Bools,
    *,
    simulated: Bools | None = None,
    sources: NDArray[np.int64] | None = None,
    source_names: Sequence[str] = (),
) -> dict[str, float]:
    """Return the loss in nats; accuracy, FAR and FRR at score 0.5; HTER at the threshold of equal error.

    `labels` are True for bona fide; each class must occur. `simulated` marks attacks that were simulated: they count in
    the loss, in which each class then weighs half, and get a FAR of their own; other measures ignore them. With several
    `sources`, indices of `source_names`, loss and HTER are the means over the sources, which are listed too
    (`val_loss/NAME`): each weighs the same, however many presentations it has. A source with one class has no HTER.
    """
    simulated = np.zeros(len(labels), dtype=bool) if simulated is None else simulated
    real, real_labels = logits[~simulated], labels[~simulated]
    with np.errstate(invalid="ignore"):  # a logit that is not a number is reported by the loss that it gives
        losses = np.logaddexp(0, np.where(labels, -logits, logits))
        found = {
            "val_loss": _loss(losses, labels, simulated),
            "val_accuracy": float(((real >= 0) == real_labels).mean()),
            "val_far": float((real[~real_labels] >= 0).mean()),
            "val_frr": float((real[real_labels] < 0).mean()),
            "val_hter": _hter(real[real_labels], real[~real_labels]),
        }
        if simulated.any():
            found["val_simulated_far"] = float((logits[simulated] >= 0).mean())
    present = [] if sources is None else np.unique(sources).tolist()
    if sources is None or len(present) < 2:
        return found
    for source in present:
        of = sources == source
        found[f"val_loss/{source_names[source]}"] = _loss(losses[of], labels[of], simulated[of])
        bona_fide, attacks = logits[of & labels], logits[of & ~labels & ~simulated]
        if len(bona_fide) and len(attacks):
            found[f"val_hter/{source_names[source]}"] = _hter(bona_fide, attacks)
    for measure in ("val_loss", "val_hter"):
        if each := [value for name, value in found.items() if name.startswith(f"{measure}/")]:
            found[measure] = float(np.mean(each))
    return found


def _loss(losses: Floats, labels: Bools, simulated: Bools) -> float:
    if not simulated.any():
        return float(losses.mean())
    # Each class weighs half, or more simulated attacks would favour whatever rejects more.
    return float(np.mean([losses[labels].mean(), losses[~labels].mean()]))


def _hter(bona_fide: Floats, attacks: Floats) -> float:
    """Return the HTER where FAR and FRR are nearest to each other."""
    bona_fide, attacks = np.sort(bona_fide), np.sort(attacks)
    edges = np.append(np.unique(np.concatenate([bona_fide, attacks])), np.inf)
    rejected = np.searchsorted(bona_fide, edges)
    accepted = len(attacks) - np.searchsorted(attacks, edges)
    apart = np.abs(accepted * len(bona_fide) - rejected * len(attacks))
    nearest = apart == apart.min()
    return float(((accepted / len(attacks) + rejected / len(bona_fide)) / 2)[nearest].min())
