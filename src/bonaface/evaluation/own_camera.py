"""Bona fide footage of one camera alone: a threshold for it, and how its scores differ from those of validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bonaface.errors import ScoreTableError
from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.intervals import TAIL, mean_influence, rate_interval, spread
from bonaface.evaluation.planning import plan
from bonaface.types import percent


def bona_fide_threshold(arrays: ScoreArrays, limit: float) -> tuple[float, list[str]]:
    """Return the highest threshold that refuses at most this share of bona fide presentations, and what it does not say.

    The threshold is the lowest score that is still accepted. Nothing is known of APCER. Raises ScoreTableError where the
    subjects are not known or fewer than two.
    """
    subjects = arrays.subjects_in(arrays.ok)
    if not arrays.subjects_known or subjects < 2:
        found = f"{subjects} subject with a score" if arrays.subjects_known else "subjects that are not known"
        raise ScoreTableError(
            f"a threshold from bona fide footage alone needs 2 or more known subjects, but this footage has {found}; "
            "record more persons, or name them in the manifest's column subject (bonaface data index --pattern)"
        )
    values = np.sort(arrays.value[arrays.ok])
    refused = math.floor(limit * len(values) + 1e-9)
    threshold = float(values[min(refused, len(values) - 1)])
    of = arrays.per_subject(arrays.ok)
    bound = rate_interval(arrays.per_subject(arrays.ok & (arrays.value < threshold)), of).high
    notes = [
        "chosen on bona fide presentations alone: it says nothing about how many attacks are accepted (APCER); measure that "
        "with attacks on this camera",
        f"with {subjects} subjects, BPCER is at most {percent(bound)} (upper bound at {100 * (1 - TAIL):g} %)",
    ]
    if bound > limit > 0:
        each = max(round(float(of[of > 0].mean())), 1)
        needed = plan(bpcer=limit, per_subject=each).needed["bpcer"][0]
        notes.append(
            f"to show a BPCER of {percent(limit)} takes {needed.subjects} subjects without an error, at {each} "
            "presentations each"
        )
    return threshold, notes


STATISTICS = ("bona_fide_mean", "bona_fide_sd", "attack_mean", "attack_sd")


def score_statistics(arrays: ScoreArrays) -> dict[str, float]:
    """Return mean and standard deviation of the logits of each class, as a bundle keeps them of its validation."""
    found: dict[str, float] = {}
    for name, which in (("bona_fide", arrays.bona_fide), ("attack", ~arrays.bona_fide)):
        values = np.sort(arrays.value[arrays.ok & which])  # sums then do not depend on the order of rows
        if len(values) < 2:
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            mean, sd = float(values.mean()), float(values.std(ddof=1))
        if math.isfinite(mean) and math.isfinite(sd):
            found |= {f"{name}_mean": mean, f"{name}_sd": sd}
    return found


def camera_shift(arrays: ScoreArrays, validation: Mapping[str, Any]) -> str:
    """Return in one sentence how bona fide logits differ from those of validation, with an interval over subjects.

    `validation` holds `score_statistics`; the sentence is empty where it does not.
    """
    mean, sd = validation.get("bona_fide_mean"), validation.get("bona_fide_sd")
    if mean is None or not sd:
        return ""
    which = arrays.ok & arrays.bona_fide
    of = arrays.per_subject(which)
    amount = arrays.per_subject(np.where(which, arrays.value, 0.0))
    value = float(amount.sum() / of.sum())
    found = spread(mean_influence(amount, of), int(np.count_nonzero(of)))
    half = found.reach if found.freedom > 0 else math.nan
    low, high = value - mean - half, value - mean + half
    own = float(arrays.value[which].std(ddof=1)) if which.sum() > 1 else math.nan
    figures = f"{value - mean:+.2f} ({low:+.2f} to {high:+.2f}) on average, spread {own:.2f} instead of {sd:.2f}"
    if math.isnan(half) or low <= 0 <= high:
        return f"bona fide logits do not differ clearly from those of the bundle's validation: {figures}"
    return f"this camera is not like those of the bundle's validation: its bona fide logits differ by {figures}"


def like_attacks(arrays: ScoreArrays, validation: Mapping[str, Any]) -> str:
    """Return a question where presentations labelled bona fide score like the attacks of validation, else an empty text."""
    live, attack = validation.get("bona_fide_mean"), validation.get("attack_mean")
    which = arrays.ok & arrays.bona_fide
    if live is None or attack is None or not which.any():
        return ""
    middle = float(np.median(arrays.value[which]))
    if abs(middle - attack) >= abs(middle - live) or middle >= live:
        return ""
    return (
        f"the presentations labelled bona fide score like attacks (median logit {middle:.2f}; in the bundle's validation "
        f"bona fide {live:.2f}, attacks {attack:.2f} on average): are they live persons?"
    )
