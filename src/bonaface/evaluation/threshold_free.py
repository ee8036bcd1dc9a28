"""The measures that need no threshold fixed beforehand, or choose it on the very scores that they measure."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.auc import auc
from bonaface.evaluation.error_curve import ErrorCounts, count_errors
from bonaface.evaluation.results import AtRate, Figure, Ranking, Rate
from bonaface.types import probability

CHOSEN_HERE = "threshold chosen on the scores that are measured"


class _Target(NamedTuple):
    name: str
    title: str
    of: Literal["frr", "apcer_max", "tpr"]  # the rate that is reported
    under: Literal["apcer_max", "frr", "far"]  # the rate that is kept at its limit
    limit: float


_APCER = "APCER of the worst species"
_TARGETS = (
    _Target("bpcer10", f"BPCER where {_APCER} is at most 10 %", "frr", "apcer_max", 1 / 10),
    _Target("bpcer20", f"BPCER where {_APCER} is at most 5 %", "frr", "apcer_max", 1 / 20),
    _Target("bpcer100", f"BPCER where {_APCER} is at most 1 %", "frr", "apcer_max", 1 / 100),
    _Target("apcer_at_bpcer_1", f"{_APCER} where BPCER is at most 1 %", "apcer_max", "frr", 0.01),
    _Target("apcer_at_bpcer_5", f"{_APCER} where BPCER is at most 5 %", "apcer_max", "frr", 0.05),
    _Target("tpr_at_fpr_1e-2", "bona fide accepted where at most 1 % of attacks are", "tpr", "far", 1e-2),
    _Target("tpr_at_fpr_5e-3", "bona fide accepted where at most 0.5 % of attacks are", "tpr", "far", 5e-3),
    _Target("tpr_at_fpr_1e-3", "bona fide accepted where at most 0.1 % of attacks are", "tpr", "far", 1e-3),
)


def rank(arrays: ScoreArrays) -> Ranking:
    """Measure the order of the scores."""
    scored = {"bona fide": arrays.ok & arrays.bona_fide, "attack": arrays.ok & ~arrays.bona_fide}
    missing = [title for title, which in scored.items() if not which.any()]
    if missing:
        reason = f"no {' and no '.join(missing)} presentation has a score"
        undefined = Figure(math.nan, reason=reason)
        at = {t.name: AtRate(t.name, t.title, Rate(0, 0, 0, reason=reason), math.nan, CHOSEN_HERE) for t in _TARGETS}
        return Ranking(undefined, undefined, math.nan, at)
    errors = count_errors(arrays)
    step = int(errors.equal_error_steps()[0])
    return Ranking(
        auc=auc(arrays),
        eer=Figure(errors.eer, arrays.subjects, reason=CHOSEN_HERE, note=CHOSEN_HERE),
        eer_threshold=_score(arrays, errors.threshold(step, step)),
        at={target.name: _at(target, arrays, errors) for target in _TARGETS},
    )


def _at(target: _Target, arrays: ScoreArrays, errors: ErrorCounts) -> AtRate:
    under = {"apcer_max": errors.apcer_max, "frr": errors.frr, "far": errors.far}[target.under]
    # the first step that accepts few enough attacks, or the last that rejects few enough bona fide
    meets = under <= target.limit
    step = int(np.flatnonzero(meets)[-1] if target.under == "frr" else np.argmax(meets))
    accepted = arrays.ok & (arrays.value >= np.append(errors.values, np.inf)[step])
    note = CHOSEN_HERE
    if target.of == "apcer_max":
        shares = errors.accepted[:, step] / errors.attacks
        worst = errors.species_names[int(np.argmax(shares))]
        of = arrays.ok & (arrays.species == arrays.species_names.index(worst))
        hit = accepted
        note += f"; worst species: {worst}"
    else:
        of = arrays.ok & arrays.bona_fide
        hit = accepted if target.of == "tpr" else ~accepted
    resolved = errors.bona_fide if target.under == "frr" else int(errors.attacks.sum())
    if target.under == "apcer_max":
        resolved = int(errors.attacks.min())
    if resolved * target.limit < 1 - 1e-9:
        note += f"; {resolved} presentations cannot resolve {100 * target.limit:g} %: the limit is 0 errors"
    rate = Rate(int((hit & of).sum()), int(of.sum()), arrays.subjects_in(of), reason=CHOSEN_HERE)
    return AtRate(target.name, target.title, rate, _score(arrays, errors.threshold(step, step)), note)


def _score(arrays: ScoreArrays, value: float) -> float:
    return float(probability(value)) if arrays.on_logits else value
