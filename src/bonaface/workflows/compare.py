"""Systems side by side on the same presentations: which differences are real."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bonaface.data.manifest import Manifest
from bonaface.errors import SettingsError, few
from bonaface.evaluation.compare import Comparison, Mismatch
from bonaface.evaluation.compare import compare as compare_tables
from bonaface.evaluation.results import Policy, json_safe
from bonaface.evaluation.thresholds import OperatingPoint
from bonaface.io import fresh_folder, write_json
from bonaface.report.page import ReportInput
from bonaface.report.page import write_report as write_page
from bonaface.types import FusionRule
from bonaface.workflows.report import measured_and_validation, operating_points

__all__ = ["Compared", "compare"]

TITLES = {"hter": "HTER", "apcer_max": "APCER, worst species", "auc": "AUC"}


@dataclass(frozen=True)
class Compared:
    """A comparison of systems, and where its page lies (None where nothing was written)."""

    comparison: Comparison
    path: Path | None
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """Each system's figures, then every difference with its interval and whether it is real."""
        found = self.comparison
        lines = [f"{found.presentations} presentations of {found.persons} persons", ""]
        width = max(6, *(len(name) for name in found.evaluations))
        lines.append(
            f"{'system':<{width}}  {'threshold':>10}  {'HTER':>8}  {'APCER max':>10}  {'BPCER':>8}  {'AUC':>7}"
        )
        for name, evaluation in found.evaluations.items():
            at = evaluation.at[0]
            lines.append(
                f"{name:<{width}}  {at.point.threshold:>10.4g}  {_percent(at.hter.value)}  "
                f"{_percent(at.apcer_max.value, 10)}  {_percent(at.bpcer.value)}  {evaluation.ranking.auc.value:>7.4f}"
            )
        lines += ["", "differences (second minus first), paired over persons, with 95 % interval:"]
        for difference in found.differences:
            pair = f"{difference.first} → {difference.second}"
            what = f"  {TITLES[difference.measure]:<21} {pair}"
            if math.isnan(difference.p):
                lines.append(f"{what}: not known ({difference.reason})")
                continue
            scale, unit = (1, "") if difference.measure == "auc" else (100, " points")
            interval = f"{scale * difference.low:+.3g} to {scale * difference.high:+.3g}"
            verdict = f"real: {difference.better} is better" if difference.real else "may be chance"
            lines.append(
                f"{what}: {scale * difference.value:+.3g}{unit} ({interval}), p {difference.p_holm:.3g}: {verdict}"
            )
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join([*lines, *([f"report: {self.path}"] if self.path else [])])


def compare(
    scores: Mapping[str, str | Path | pd.DataFrame],
    *,
    output: str | Path | None = None,
    validation: Mapping[str, str | Path | pd.DataFrame] | None = None,
    thresholds: Mapping[str, float] | None = None,
    manifest: str | Path | Manifest | None = None,
    criterion: str = "eer",
    fusion: FusionRule | None = None,
    mismatch: Mismatch = "refuse",
    policy: Policy = "reject",
    allow_missing: bool = False,
) -> Compared:
    """Compare systems by their score tables, each at a threshold of its own that was chosen on validation.

    `scores`, `validation` and `thresholds` are by the systems' names. Without either a table's own rows of split val
    choose, else the fixed 0.5 where scores are probabilities. `mismatch="intersect"` compares what all were given.
    Writes a page, `comparison.json` and the figures where `output` is given. Raises ScoreTableError where the systems
    were given different presentations, or where one has no threshold.
    """
    for given, what in ((validation or {}, "validation"), (thresholds or {}, "threshold")):
        strange = [name for name in given if name not in scores]
        if strange:
            raise SettingsError(f"{what} of {few(strange)}, which is not compared; known: {', '.join(scores)}")
    tables: dict[str, pd.DataFrame] = {}
    chosen: dict[str, pd.DataFrame] = {}
    points: dict[str, OperatingPoint] = {}
    notes: list[str] = []
    for name, source in scores.items():
        tables[name], chosen_on, about = measured_and_validation(
            source, (validation or {}).get(name), manifest=manifest, fusion=fusion, allow_missing=allow_missing
        )
        if chosen_on is not None:
            chosen[name] = chosen_on
        found, told = operating_points(
            tables[name], chosen_on, criterion=criterion, threshold=(thresholds or {}).get(name)
        )
        if not found:
            raise SettingsError(
                f"{name} has no threshold: give its validation scores (--validation {name}=FILE) or its threshold "
                f"(--threshold {name}=VALUE)"
            )
        points[name] = found[0]
        notes += [f"{name}: {note}" for note in (*about, *told, *found[0].warnings)]
    comparison = compare_tables(tables, points, mismatch=mismatch, policy=policy)
    notes = list(dict.fromkeys([*notes, *comparison.notes]))
    if output is None:
        return Compared(comparison, None, tuple(notes))
    folder = fresh_folder(output, what="comparison")
    names = set.intersection(*(set(table["presentation"]) for table in tables.values()))
    page = write_page(
        ReportInput(
            title="Comparison of " + few(list(tables), limit=6),
            evaluations=comparison.evaluations,
            presentations={name: table[table["presentation"].isin(names)] for name, table in tables.items()},
            validation=chosen,
            notes=notes,
            facts={"presentations": f"{comparison.presentations} of {comparison.persons} persons"},
            differences=comparison.differences,
        ),
        folder,
        faces=False,
    )
    write_json(folder / "comparison.json", json_safe(comparison))
    return Compared(comparison, page, tuple(notes))


def _percent(value: float, width: int = 8) -> str:
    return f"{'–':>{width}}" if math.isnan(value) else f"{100 * value:>{width - 2}.2f} %"
