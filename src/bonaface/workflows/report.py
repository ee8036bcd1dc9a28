"""A report on scores alone, whichever system gave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bonaface.data.manifest import Manifest, read_manifest
from bonaface.errors import ScoreTableError, SettingsError, few
from bonaface.evaluation.iso30107 import by_group, evaluate
from bonaface.evaluation.results import Evaluation, Policy
from bonaface.evaluation.scores import check_scores, join_manifest, presentations, read_raw_scores
from bonaface.evaluation.thresholds import OperatingPoint, choose_threshold, fixed_point, given_point
from bonaface.io import fresh_folder
from bonaface.report.page import ReportInput
from bonaface.report.page import write_report as write_page
from bonaface.types import FUSION_RULES, FusionRule, Status
from bonaface.workflows.assess import summary_of

__all__ = ["Reported", "evaluate_scores", "measured_and_validation", "operating_points", "score_table"]

MOST_GROUPS = 60


@dataclass(frozen=True)
class Reported:
    """What a score table says, and where the page lies."""

    evaluation: Evaluation
    path: Path
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """The figures as the published system prints them, each species, and where the report lies."""
        lines = [summary_of(self.evaluation, "presentations"), ""]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join([*lines, f"report: {self.path}"])


def evaluate_scores(
    scores: str | Path | pd.DataFrame,
    *,
    output: str | Path,
    validation: str | Path | pd.DataFrame | None = None,
    manifest: str | Path | Manifest | None = None,
    criterion: str = "eer",
    threshold: float | None = None,
    fusion: FusionRule | None = None,
    policy: Policy = "reject",
    by: Sequence[str] = (),
    title: str | None = None,
    allow_missing: bool = False,
) -> Reported:
    """Measure a score table and write a page, its figures as JSON and its drawings as PNG.

    The threshold is the one given, or the one that `criterion` picks on `validation` (or on the table's own rows of
    split val, which are then not evaluated); with neither, what needs no threshold is measured, and the fixed 0.5 where
    the scores are probabilities. `fusion` fuses frame scores anew; `by` names columns to break the errors down by.
    A foreign system's table needs `presentation` and `score` alone, with the `manifest` beside it.
    """
    rows, chosen_on, notes = measured_and_validation(
        scores, validation, manifest=manifest, fusion=fusion, allow_missing=allow_missing
    )
    points, told = operating_points(rows, chosen_on, criterion=criterion, threshold=threshold)
    notes += told
    evaluation = evaluate(rows, points, policy=policy)
    groups = {}
    for column in by:
        if column not in rows:
            raise SettingsError(f"no column {column!r} to break down by; known: {', '.join(map(str, rows.columns))}")
        if rows[column].nunique() > MOST_GROUPS:
            raise SettingsError(
                f"column {column!r} has {rows[column].nunique()} values; at most {MOST_GROUPS} are groups"
            )
        if points:
            groups[column] = by_group(rows, column, points[0], policy=policy)
    if by and not points:
        notes.append(f"no table by {few(by)}: the errors of a group need a threshold")
    systems = few(sorted({str(name) for name in rows["system"].unique()})) if "system" in rows else ""
    facts = (
        {"system": systems, "datasets": few(sorted({str(name) for name in rows["dataset"].unique()}))}
        if ("dataset" in rows)
        else {"system": systems}
    )
    found = tuple(dict.fromkeys([*notes, *(w for point in points for w in point.warnings), *evaluation.notes]))
    folder = fresh_folder(output, what="report")
    page = write_page(
        ReportInput(
            title=title or f"Liveness report{f': {systems}' if systems else ''}",
            evaluations={"presentations": evaluation},
            presentations={"presentations": rows},
            validation={} if chosen_on is None else {"presentations": chosen_on},
            notes=found,
            facts={name: value for name, value in facts.items() if value},
            groups=groups,
        ),
        folder,
        faces=False,
    )
    return Reported(evaluation, page, found)


def score_table(
    scores: str | Path | pd.DataFrame, *, manifest: str | Path | Manifest | None = None, allow_missing: bool = False
) -> pd.DataFrame:
    """A checked score table from a file or from memory, with the manifest's columns where one is given."""
    raw = scores if isinstance(scores, pd.DataFrame) else read_raw_scores(scores)
    name = "the scores" if isinstance(scores, pd.DataFrame) else str(scores)
    if manifest is None:
        if "label" not in raw.columns:
            found = ", ".join(map(str, raw.columns)) or "none"
            raise ScoreTableError(
                f"{name} has no column label; found: {found}; add one, or give the manifest that the presentations come from"
            )
        return check_scores(raw, name=name)
    table = (manifest if isinstance(manifest, Manifest) else read_manifest(manifest)).table
    return join_manifest(raw, table, missing="unreadable" if allow_missing else "refuse")


def measured_and_validation(
    scores: str | Path | pd.DataFrame,
    validation: str | Path | pd.DataFrame | None,
    *,
    manifest: str | Path | Manifest | None = None,
    fusion: FusionRule | None = None,
    allow_missing: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame | None, list[str]]:
    """Presentations to measure, those that may choose the threshold, and what a reader must know of either.

    Without `validation` a table's own rows of split val choose, and are not measured; nor are its rows of split train
    where it has a test split. Raises ScoreTableError where a presentation would choose the threshold it is measured at.
    """
    table = score_table(scores, manifest=manifest, allow_missing=allow_missing)
    split = table["split"].astype(str)
    other = None if validation is None else score_table(validation, manifest=manifest, allow_missing=True)
    if other is None and (split == "val").any() and (split != "val").any():
        other = table[split == "val"]
        table = table[split != "val"]
        split = table["split"].astype(str)
    notes = []
    trained = split == "train"
    if trained.any() and (split == "test").any():
        notes.append(f"{table.loc[trained, 'presentation'].nunique():,} presentations of split train are not measured")
        table, split = table[~trained], split[~trained]
    notes += [
        f"these figures include presentations of the {name} split: they may be too good"
        for name in ("train", "val")
        if (split == name).any()
    ]
    rows = fused(table, fusion)
    chosen_on = None if other is None else fused(other, fusion)
    if chosen_on is not None:
        notes += _apart(rows, chosen_on)
    return rows, chosen_on, notes


def _apart(rows: pd.DataFrame, validation: pd.DataFrame) -> list[str]:
    """Refuse presentations that stand on both sides, and say so of persons who do."""
    keys = ["presentation", "label", "species", "subject", "dataset", "split", "status", "logit", "score"]
    named = rows["presentation"].isin(validation["presentation"])
    both = rows.loc[named, keys].merge(validation[keys], on=keys)["presentation"]
    # Two folders may use the same file names for other footage: then some of these differ in what they hold.
    if len(both) and len(both) == named.sum():
        raise ScoreTableError(
            f"{len(both)} presentations would choose the threshold and be measured at it, such as {both.iloc[0]}; leave "
            "them out of the scores or of the validation scores"
        )
    persons = set(rows["subject"]) & set(validation["subject"]) - {""}
    if not persons:
        return []
    return [f"{len(persons)} persons are in validation and in what is measured, such as {min(persons)}"]


def fused(table: pd.DataFrame, rule: FusionRule | None) -> pd.DataFrame:
    """One row a presentation."""
    if rule is not None and rule not in FUSION_RULES:
        raise SettingsError(f"unknown fusion rule {rule!r}; known: {', '.join(FUSION_RULES)}")
    return presentations(table, mode="video", rule=rule)


def operating_points(
    rows: pd.DataFrame, validation: pd.DataFrame | None, *, criterion: str, threshold: float | None
) -> tuple[list[OperatingPoint], list[str]]:
    """The thresholds to measure at, never chosen on what is measured, and what a reader must know of them."""
    if threshold is not None:
        return [given_point(threshold)], []
    scored = rows[rows["status"] == Status.OK.value]
    # Of a foreign system's scores nobody knows that they are probabilities; those between 0 and 1 may be taken for them.
    alike = not scored["logit"].notna().any() and bool(scored["score"].between(0, 1).all())
    if criterion.strip().lower().startswith("fixed"):
        point = choose_threshold(rows, criterion)
        return [given_point(point.threshold, criterion=point.criterion) if alike else point], []
    if validation is not None:
        return [choose_threshold(validation, criterion)], []
    if not alike and not scored["logit"].notna().any():
        return [], ["no threshold: give validation scores, or the threshold itself; what needs one is left out"]
    note = "no validation scores were given: errors are told at the fixed threshold 0.5 alone"
    return [given_point(0.5, criterion="fixed=0.5") if alike else fixed_point(0.5)], [note]
