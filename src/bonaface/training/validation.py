"""What a training epoch is measured by, on validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bonaface.evaluation.arrays import Bools, Floats, binary_cross_entropy
from bonaface.evaluation.probability_calibration import class_weights


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
    `sources`, indices of `source_names`, each class weighs half of the loss, and each source that has it the same share of
    that; HTER is the mean over the sources with both classes. `val_loss/NAME` and `val_hter/NAME` are those of one source.
    """
    simulated = np.zeros(len(labels), dtype=bool) if simulated is None else simulated
    real, real_labels = logits[~simulated], labels[~simulated]
    with np.errstate(invalid="ignore"):  # a logit that is not a number is reported by the loss that it gives
        losses = binary_cross_entropy(logits, labels)
        found = {
            # Half for each class where attacks were simulated: more of these would favour whatever rejects more.
            "val_loss": float((class_weights(labels) * losses).sum() if simulated.any() else losses.mean()),
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
        own = losses[of]
        found[f"val_loss/{source_names[source]}"] = float(
            np.mean([own[labels[of] == label].mean() for label in np.unique(labels[of])])
        )
        bona_fide, attacks = logits[of & labels], logits[of & ~labels & ~simulated]
        if len(bona_fide) and len(attacks):
            found[f"val_hter/{source_names[source]}"] = _hter(bona_fide, attacks)
    found["val_loss"] = float((class_weights(labels, sources) * losses).sum())
    if each := [value for name, value in found.items() if name.startswith("val_hter/")]:
        found["val_hter"] = float(np.mean(each))
    return found


def _hter(bona_fide: Floats, attacks: Floats) -> float:
    """Return the HTER where FAR and FRR are nearest to each other."""
    bona_fide, attacks = np.sort(bona_fide), np.sort(attacks)
    edges = np.append(np.unique(np.concatenate([bona_fide, attacks])), np.inf)
    rejected = np.searchsorted(bona_fide, edges)
    accepted = len(attacks) - np.searchsorted(attacks, edges)
    apart = np.abs(accepted * len(bona_fide) - rejected * len(attacks))
    nearest = apart == apart.min()
    return float(((accepted / len(attacks) + rejected / len(bona_fide)) / 2)[nearest].min())
