"""Operating points: the threshold is chosen on validation by a criterion, and then applied as it is.

Decisions are taken on logits where a table has them. The logistic function rounds every logit above 37 to the score 1.0,
and neighbouring logits share a score long before that. So `score >= threshold` decides as `logit >= logit_threshold` only
where no score lies within rounding of the threshold; a warning counts those that do.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd

from bonaface.errors import ScoreTableError, SettingsError, did_you_mean
from bonaface.evaluation.arrays import Bools, ScoreArrays
from bonaface.evaluation.checking import text_column
from bonaface.evaluation.error_curve import ErrorCounts, count_errors
from bonaface.evaluation.own_camera import bona_fide_threshold, score_statistics
from bonaface.evaluation.scores import digest
from bonaface.types import Threshold, logit, probability

CRITERIA = ("eer", "hter", "bpcer10", "bpcer20", "bpcer100", "apcer<=X", "bpcer<=X", "fixed=X")
"""What `choose_threshold` understands, X being a share such as 0.01."""

ON_TRAINING = "the threshold was chosen on training data, whose errors are smaller than those to come"
NEEDS_LOGITS = "the scores are not known to be probabilities, which this threshold is about"


def choose_threshold(
    validation: pd.DataFrame,
    criterion: str = "eer",
    *,
    arrays: ScoreArrays | None = None,
    widened: pd.DataFrame | None = None,
) -> Threshold:
    """Return the operating point that a criterion (see `CRITERIA`) picks on validation presentations.

    `eer`: FAR and FRR nearest to each other; `hter`: their mean smallest; `bpcerN`: APCER of the worst species at most
    1/N, with the least BPCER; `apcer<=X` likewise; `bpcer<=X`: BPCER at most X, with the least APCER of the worst species;
    it takes bona fide presentations alone too, and then says nothing of APCER.
    Of thresholds that do equally well the middle is taken, in logits. `widened` presentations, such as simulated attacks,
    are counted with those of validation, as species of their own. Failed presentations are left out
    and counted in `chosen_on`. Raises ScoreTableError where a class is missing or the table holds test data,
    SettingsError for an unknown criterion.
    """
    name, limit = parse_criterion(criterion)
    if name == "fixed":
        return fixed_point(limit)
    split = sorted({str(item) for item in pd.unique(text_column(validation, "split"))} - {""})
    if "test" in split:
        raise ScoreTableError("thresholds are chosen on validation, but this table holds the split test; leave it out")
    arrays = arrays or ScoreArrays.from_table(validation)
    scored = {
        "bona fide": int((arrays.ok & arrays.bona_fide).sum()),
        "attack": int((arrays.ok & ~arrays.bona_fide).sum()),
    }
    alone = name == "bpcer<=" and scored["bona fide"] and not scored["attack"]
    for missing in (title for title, count in scored.items() if not count and not alone):
        raise ScoreTableError(
            f"criterion {criterion} needs bona fide and attack presentations with scores; validation has "
            f"{scored['bona fide']} bona fide and {scored['attack']} attacks: "
            f"add {missing} presentations"
            f"{', or use bpcer<=0.05, which takes bona fide alone' if missing == 'attack' else ' or use fixed=0.5'}"
        )
    real = count_errors(arrays)
    if alone:
        value, warnings = bona_fide_threshold(arrays, limit)
        rates = {"frr": _rates(real, value)["frr"]}
    else:
        every = validation if widened is None else pd.concat([validation, widened], ignore_index=True)
        errors = real if widened is None else count_errors(ScoreArrays.from_table(every))
        value = errors.threshold(*_steps(errors, name, limit))
        rates = _rates(real, value)
        step = int(np.searchsorted(real.values, value))
        warnings = _warnings(real, step, name, limit, widened=widened is not None)
    threshold = float(probability(value)) if arrays.on_logits else value
    if arrays.on_logits and (apart := rounded_apart(arrays, threshold, value)):
        warnings.append(f"{apart} validation scores lie within rounding of {threshold!r}: decide on logits")
    if "train" in split:
        warnings.append(ON_TRAINING)
    chosen_on = {
        "split": "+".join(split),
        "presentations": len(arrays),
        "persons": arrays.subjects,
        "persons_known": arrays.subjects_known,
        "bona_fide": scored["bona fide"],
        "attacks": scored["attack"],
        "failed": int((~arrays.ok).sum()),
        **(score_statistics(arrays) if arrays.on_logits else {}),
        **rates,
        "digest": digest(validation),
    }
    if widened is not None:
        wide = count_errors(ScoreArrays.from_table(widened))
        chosen_on["widened"] = {"presentations": len(widened), **_rates(wide, value)}
    return Threshold(threshold, value if arrays.on_logits else None, criterion, chosen_on, tuple(warnings))


def _rates(errors: ErrorCounts, threshold: float) -> dict[str, float]:
    step = int(np.searchsorted(errors.values, threshold))
    return {
        "far": float(errors.far[step]),
        "frr": float(errors.frr[step]),
        "apcer_max": float(errors.apcer_max[step]),
    }


def fixed_point(score: float = 0.5) -> Threshold:
    """Return a threshold on the probability, fixed before any data was seen.

    >>> fixed_point().logit_threshold
    0.0
    """
    if not 0 < score < 1:
        raise SettingsError(f"fixed={score:g} is not a probability between 0 and 1; such as fixed=0.5")
    return Threshold(float(score), logit(score), f"fixed={score:g}")


def given_point(threshold: float, *, criterion: str = "given") -> Threshold:
    """Return a threshold that the caller chose, on the scale of the scores."""
    if not isinstance(threshold, int | float | np.number) or not math.isfinite(threshold):
        raise SettingsError(f"the threshold {threshold} is not a number; give one on the scale of the scores")
    return Threshold(float(threshold), None, criterion)


def accepts(arrays: ScoreArrays, point: Threshold) -> tuple[Bools, str]:
    """Return which presentations are accepted (never a failed one), and why that is undefined, else an empty text."""
    if point.logit_threshold is not None and not arrays.on_logits:
        return np.zeros(len(arrays), dtype=bool), NEEDS_LOGITS
    if point.logit_threshold is not None:
        return arrays.ok & (arrays.value >= point.logit_threshold), ""
    return arrays.ok & (arrays.score >= point.threshold), ""


def rounded_apart(arrays: ScoreArrays, threshold: float, logit_threshold: float) -> int:
    """Count the presentations that the score decides otherwise than the logit, by the rounding of float64."""
    return int(((arrays.score >= threshold) != (arrays.value >= logit_threshold))[arrays.ok].sum())


def parse_criterion(criterion: str) -> tuple[str, float]:
    """Return the criterion's name and its limit: `bpcer20` is `apcer<=0.05`. Raises SettingsError."""
    text = criterion.strip().lower().replace(" ", "")
    if text in {"eer", "hter"}:
        return text, math.nan
    if match := re.fullmatch(r"bpcer([1-9]\d*)", text):
        return "apcer<=", 1 / int(match[1])
    if match := re.fullmatch(r"(apcer<=|bpcer<=|fixed=)([0-9.e+-]+)", text):
        try:
            limit = float(match[2])
        except ValueError:
            limit = math.nan
        if 0 <= limit <= 1:
            return match[1].removesuffix("=") if match[1] == "fixed=" else match[1], limit
        raise SettingsError(f"criterion {criterion!r}: {match[2]} is not a share between 0 and 1, such as 0.01")
    raise SettingsError(f"unknown criterion {criterion!r}{did_you_mean(text, CRITERIA)}; known: {', '.join(CRITERIA)}")


def _steps(errors: ErrorCounts, name: str, limit: float) -> tuple[int, int]:
    """Return the first and last of the steps that fulfil the criterion best."""
    if name == "eer":
        last = int(errors.equal_error_steps()[-1])
        return last, last
    if name == "hter":
        accepted, rejected = errors.both()
        apart, sums = np.abs(accepted - rejected), accepted + rejected
        best = np.flatnonzero(sums == sums.min())
        first = last = int(best[apart[best] == apart[best].min()][-1])
        while first > 0 and sums[first - 1] == sums[last]:
            first -= 1
        while last + 1 < len(sums) and sums[last + 1] == sums[first]:
            last += 1
        return first, last
    if name == "apcer<=":
        least = int(np.argmax(errors.apcer_max <= limit))
        # At the same BPCER the strictest: rejecting further attacks costs nothing there.
        step = int(np.searchsorted(errors.rejected, errors.rejected[least], side="right")) - 1
        return step, step
    most = int(np.flatnonzero(errors.frr <= limit)[-1])
    worst = errors.apcer_max
    step = int(np.argmax(worst == worst[most]))
    return step, step


def _warnings(errors: ErrorCounts, step: int, name: str, limit: float, *, widened: bool) -> list[str]:
    warnings = []
    wrong = errors.accepted.sum(axis=0, dtype=np.int64) + errors.rejected
    if not wrong.min():
        gap = int(np.argmin(wrong))
        low, high = errors.values[gap - 1], errors.values[gap]
        what = "logits" if errors.on_logits else "scores"
        how = "simulated presentations decided" if widened else "the middle was taken"
        warnings.append(
            f"validation separates perfectly: every threshold between the {what} {low:.4g} and {high:.4g} is "
            f"without error, and {how}. Validation is too easy to tell how the threshold does on harder "
            "data: add attacks, devices, light and persons that the system will meet, and choose again (bundle calibrate)"
        )
    if step in (0, len(errors.values)):
        warnings.append(f"the threshold {'accepts' if step == 0 else 'rejects'} every validation presentation")
    if name == "apcer<=" and 0 < limit < 1:
        needed = math.ceil(1 / limit - 1e-9)
        few = [k for k, n in zip(errors.species_names, errors.attacks, strict=True) if n < needed]
        if few:
            warnings.append(
                f"{len(few)} of {len(errors.species_names)} species have fewer than {needed} presentations "
                f"in validation, such as {few[0]}: too few to tell an APCER of {100 * limit:g} %"
            )
    return warnings
