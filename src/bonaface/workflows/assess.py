"""Score tables and a bundle's thresholds give evaluations: one for single images, one for videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from bonaface.evaluation.iso30107 import evaluate, published_summary
from bonaface.evaluation.results import Evaluation, Measures
from bonaface.evaluation.scores import presentations
from bonaface.evaluation.thresholds import OperatingPoint, choose_threshold, fixed_point
from bonaface.inference import bundle_schema as bundles
from bonaface.inference.bundle import Bundle
from bonaface.types import FusionRule

__all__ = ["KINDS", "Assessment", "Kind", "assess", "choose_points", "rows_of", "summary_of"]

Kind = Literal["image", "video"]
KINDS: tuple[Kind, ...] = ("image", "video")
WHOSE = {"image": "one image", "video": "a video"}
TITLES = {"image": "one image (the first frame)", "video": "a video ({frames} frames, {fusion} of logits)"}


@dataclass(frozen=True)
class Assessment:
    """What a score table says of a system, for one image and for a video: at the bundle's threshold, then at 0.5."""

    evaluations: Mapping[Kind, Evaluation]
    titles: Mapping[Kind, str]
    notes: tuple[str, ...] = ()

    def measures(self, kind: Kind = "image", *, fixed: bool = False) -> Measures:
        """The measures of one kind, at the validation-chosen threshold or at the fixed 0.5."""
        at = self.evaluations[kind].at
        return at[-1] if fixed else at[0]

    def summary(self) -> str:
        """The published five lines for each kind and threshold, then the error of each species."""
        blocks = [summary_of(evaluation, self.titles[kind]) for kind, evaluation in self.evaluations.items()]
        notes = [f"note: {note}" for note in self.notes]
        return "\n\n".join([*blocks, *(["\n".join(notes)] if notes else [])])


def summary_of(evaluation: Evaluation, title: str) -> str:
    """The published five lines at each threshold, then the error of each species, in plain text."""
    blocks = []
    auc = f"  AUC: {evaluation.ranking.auc}"
    for measures in evaluation.at:
        head = f"{title}, threshold {measures.point.threshold:.4f} ({measures.point.criterion})"
        species = [f"  APCER {name}: {rate}" for name, rate in measures.apcer.items()]
        more = [f"  BPCER: {measures.bpcer}", auc]
        failed = measures.counts.failed_bona_fide + measures.counts.failed_attacks
        if failed:
            reasons = ", ".join(f"{count} {status}" for status, count in measures.counts.failures.items())
            counted = "counted as not accepted" if measures.policy == "reject" else "left out"
            more.append(f"  without a score: {failed} of {measures.counts.presentations} ({reasons}), {counted}")
        blocks.append("\n".join([head, published_summary(measures), *species, *more]))
    return "\n\n".join(blocks) if blocks else f"{title}, no threshold\n{auc}"


def rows_of(table: pd.DataFrame, point: bundles.OperatingPoint, kind: Kind) -> pd.DataFrame:
    """The row that decides each presentation: its first frame, or its fused frames."""
    return presentations(table, mode=kind, rule=None if kind == "image" else point.fusion)


def choose_points(
    validation: pd.DataFrame, *, criterion: str, frames: int, fusion: FusionRule
) -> dict[Kind, bundles.OperatingPoint]:
    """The thresholds for one image and for a video that the criterion picks on a validation score table."""
    points: dict[Kind, bundles.OperatingPoint] = {}
    for kind in KINDS:
        chosen = choose_threshold(
            presentations(validation, mode=kind, rule=None if kind == "image" else fusion), criterion
        )
        assert chosen.logit_threshold is not None  # our own tables have logits
        points[kind] = bundles.OperatingPoint(
            threshold=chosen.threshold,
            logit_threshold=chosen.logit_threshold,
            criterion=chosen.criterion,
            frames=1 if kind == "image" else frames,
            fusion="first" if kind == "image" else fusion,
            chosen_on=dict(chosen.chosen_on),
            warnings=chosen.warnings,
        )
    return points


def assess(
    table: pd.DataFrame,
    bundle: Bundle,
    *,
    intervals: bool = True,
    notes: tuple[str, ...] = (),
) -> Assessment:
    """Measure a score table at the bundle's operating points and at the fixed 0.5."""
    evaluations: dict[Kind, Evaluation] = {}
    titles: dict[Kind, str] = {}
    found = list(notes)
    for kind in KINDS:
        point = bundle.operating_point(kind)
        own = OperatingPoint(
            threshold=point.threshold,
            logit_threshold=point.logit_threshold,
            criterion=point.criterion,
            chosen_on=point.chosen_on,
            warnings=point.warnings,
        )
        points = [own] if point.criterion == "fixed=0.5" else [own, fixed_point(0.5)]
        evaluations[kind] = evaluate(rows_of(table, point, kind), points, intervals=intervals)
        titles[kind] = TITLES[kind].format(frames=point.frames, fusion=point.fusion)
        warnings = [f"threshold for {WHOSE[kind]}: {warning}" for warning in point.warnings]
        found += [note for note in (*warnings, *evaluations[kind].notes) if note not in found]
    return Assessment(evaluations, titles, tuple(found))
