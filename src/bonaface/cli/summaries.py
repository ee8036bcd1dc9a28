"""Results of the measuring commands, as text for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bonaface.evaluation.results import Evaluation
    from bonaface.types import Threshold
    from bonaface.workflows.assess import Assessment
    from bonaface.workflows.compare import Compared
    from bonaface.workflows.demo import Demonstrated
    from bonaface.workflows.evaluate import Evaluated
    from bonaface.workflows.report import Reported
    from bonaface.workflows.train import Run


def evaluated(result: Evaluated) -> str:
    """Return the error rates of an evaluation, and where scores and report are."""
    return f"{assessed(result.assessment)}\nscores: {result.path / 'scores.csv'}\nreport: {result.report}"


def reported(result: Reported) -> str:
    """Return the error rates of a score table, and where the report is."""
    return "\n".join(
        [_measured(result.evaluation, "presentations"), "", *_noted(result.notes), f"report: {result.path}"]
    )


def trained(run: Run) -> str:
    """Return the error rates of a training's test split, and where bundle and report are."""
    if run.stopped == "interrupted":
        return f"interrupted; resume with the same command and --resume\nrun: {run.path}"
    known = run.assessment.notes if run.assessment else ()
    lines = [assessed(run.assessment)] if run.assessment else []
    lines += _noted([note for note in run.notes if note not in known])
    return "\n".join([*lines, f"bundle: {run.bundle}", f"report: {run.report}"])


def demonstrated(result: Demonstrated) -> str:
    """Return the demo's error rates, where everything is, and what to do next."""
    if result.run.bundle is None:
        return f"interrupted; the same command starts the demo again\ndemo: {result.path}"
    bundle, manifest = result.path / "run" / "bundle", result.path / "manifest.csv"
    return "\n".join(
        [
            trained(result.run),
            f"pictures: {result.path / 'explain'}",
            f"map: {result.path / 'embed' / 'embedding.png'}",
            "",
            "On your own videos, in folders such as live/PERSON/ and print/PERSON/:",
            "  bonaface data index FOOTAGE -o manifest.csv",
            "  bonaface data split manifest.csv",
            "  bonaface train default data.manifest=manifest.csv -o run",
            f"Or score more with this bundle: bonaface evaluate {bundle} {manifest} -o scores",
        ]
    )


def assessed(assessment: Assessment) -> str:
    """Return the error rates of each kind at each threshold, and the notes."""
    blocks = [_measured(evaluation, assessment.titles[kind]) for kind, evaluation in assessment.evaluations.items()]
    return "\n\n".join([*blocks, *(["\n".join(_noted(assessment.notes))] if assessment.notes else [])])


def compared(result: Compared) -> str:
    """Return each system's figures, then every difference with its interval and whether it is real."""
    from bonaface.report.formatting import difference as points
    from bonaface.report.formatting import measure_name, number, percent, score

    found = result.comparison
    width = max(6, *(len(name) for name in found.evaluations))
    lines = [f"{found.presentations} presentations of {found.persons} persons", ""]
    lines.append(f"{'system':<{width}}  {'threshold':>12}  {'HTER':>8}  {'APCER max':>10}  {'BPCER':>8}  {'AUC':>7}")
    for name, evaluation in found.evaluations.items():
        at = evaluation.at[0]
        lines.append(
            f"{name:<{width}}  {score(at.point.threshold):>12}  {percent(at.hter.value):>8}  "
            f"{percent(at.apcer_max.value):>10}  {percent(at.bpcer.value):>8}  {number(evaluation.ranking.auc.value):>7}"
        )
    lines += ["", "differences (second minus first), paired over persons, with 95 % interval:"]
    for item in found.differences:
        what = f"  {measure_name(item.measure):<21} {item.first} → {item.second}"
        if math.isnan(item.p):
            lines.append(f"{what}: not known ({item.reason})")
            continue
        unit = "" if item.measure == "auc" else " points"
        interval = f"{points(item.low, item.measure)} to {points(item.high, item.measure)}"
        verdict = f"real: {item.better} is better" if item.real else "may be chance"
        lines.append(f"{what}: {points(item.value, item.measure)}{unit} ({interval}), p {item.p_holm:.3g}: {verdict}")
    lines += _noted(result.notes)
    return "\n".join([*lines, *([f"report: {result.path}"] if result.path else [])])


def threshold(point: Threshold) -> str:
    """Return a threshold and its criterion; its logit too where the probability alone says little.

    >>> from bonaface.types import Threshold
    >>> threshold(Threshold(0.4892, -0.0432, "eer")), threshold(Threshold(0.9999939, 12.0, "eer"))
    ('threshold 0.4892 (eer)', 'threshold 1 − 6.1e−06, logit 12.000 (eer)')
    """
    from bonaface.report.formatting import number, score

    shown = score(point.threshold)
    saturated = point.logit_threshold is not None and not 1e-4 <= point.threshold < 1 - 1e-4
    logit = (
        f", logit {number(point.logit_threshold, places=3)}" if saturated and point.logit_threshold is not None else ""
    )
    return f"threshold {shown}{logit} ({point.criterion})"


def _measured(evaluation: Evaluation, title: str) -> str:
    """The five lines of the published baseline at each threshold, then the errors of each species."""
    from bonaface.evaluation.iso30107 import published_summary

    blocks = []
    auc = f"  AUC: {evaluation.ranking.auc}"
    for measures in evaluation.at:
        species = [f"  APCER {name}: {rate}" for name, rate in measures.apcer.items()]
        more = [f"  BPCER: {measures.bpcer}", auc]
        failed = measures.counts.failed_bona_fide + measures.counts.failed_attacks
        if failed:
            reasons = ", ".join(f"{count} {status}" for status, count in measures.counts.failures.items())
            counted = "counted as not accepted" if measures.policy == "reject" else "left out"
            more.append(f"  without a score: {failed} of {measures.counts.presentations} ({reasons}), {counted}")
        head = f"{title}, {threshold(measures.point)}"
        blocks.append("\n".join([head, published_summary(measures), *species, *more]))
    return "\n\n".join(blocks) if blocks else f"{title}, no threshold\n{auc}"


def _noted(notes: Sequence[str]) -> list[str]:
    return [f"note: {note}" for note in notes]
