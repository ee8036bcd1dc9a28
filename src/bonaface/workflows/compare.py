"""Compare systems on the same presentations and test the differences."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pandas as pd

from bonaface.choices import FusionRule, HigherIs, Policy
from bonaface.data.manifest import Manifest
from bonaface.errors import SettingsError, check_choice, format_list
from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.compare import Comparison, Mismatch
from bonaface.evaluation.compare import compare as compare_tables
from bonaface.evaluation.thresholds import parse_criterion
from bonaface.io import json_safe, new_folder, write_json
from bonaface.report.page import ReportInput, write_page
from bonaface.types import Threshold
from bonaface.workflows.score_tables import ScoreReader, ScoreSource, inverted


@dataclass(frozen=True)
class Compared:
    """A comparison of systems, and the path of its page (None if nothing was written)."""

    comparison: Comparison
    path: Path | None
    notes: tuple[str, ...] = ()


def compare(
    scores: Mapping[str, ScoreSource],
    *,
    output: str | Path | None = None,
    validation: Mapping[str, ScoreSource] | None = None,
    thresholds: Mapping[str, float] | None = None,
    manifest: str | Path | Manifest | None = None,
    mapping: Mapping[str, str] | None = None,
    higher_is: HigherIs | Mapping[str, HigherIs] = "bona_fide",
    criterion: str = "eer",
    fusion: FusionRule | None = None,
    mismatch: Mismatch = "refuse",
    policy: Policy = "reject",
    allow_missing: bool = False,
) -> Compared:
    """Compare systems by their score tables, each at its own threshold chosen on validation.

    Without validation or threshold a table's own rows of split val choose, else the fixed 0.5 where scores are probabilities.

    Args:
        scores: score tables, or their paths, by the systems' names.
        output: the folder for a page, `comparison.json` and the figures.
        validation: score tables that choose the thresholds, by the systems' names.
        thresholds: thresholds, by the systems' names.
        manifest: the manifest that labels the presentations.
        mapping: what labels mean, as `{"0": "attack"}`.
        higher_is: what a higher score means, `bona_fide` or `attack`; of all systems, or by their names.
        criterion: how thresholds are chosen on validation.
        fusion: how the scores of frames are fused again, by default not.
        mismatch: `intersect` compares the presentations that all systems have; `refuse` raises where they differ.
        policy: presentations without a score count as rejected (`reject`) or are left out (`exclude`).
        allow_missing: whether presentations of the manifest without a score count as unreadable.

    Returns:
        Each system's evaluation, and the differences with their intervals and p-values.

    Raises:
        ScoreTableError: the systems were given different presentations.
        SettingsError: a system has no threshold, or an option is not known.

    Examples:
        ```python
        found = bonaface.compare({"ours": "scores.csv", "theirs": "other-scores.csv"}, thresholds={"ours": 0.5, "theirs": 0.4})
        for difference in found.comparison.differences:
            print(difference.measure, difference.value, difference.real)
        ```
    """
    turned = higher_is if isinstance(higher_is, Mapping) else dict.fromkeys(scores, higher_is)
    for given, option in ((validation, "--validation"), (thresholds, "--threshold"), (turned, "--higher-is")):
        strange = [name for name in given or {} if name not in scores]
        if strange:
            raise SettingsError(
                f"{option} names {format_list(strange)}, which is not compared; known: {', '.join(scores)}"
            )
    check_choice("policy", policy, get_args(Policy))
    parse_criterion(criterion)
    with new_folder(output, what="comparison") if output is not None else nullcontext() as folder:
        reader = ScoreReader(manifest=manifest, mapping=mapping, fusion=fusion, allow_missing=allow_missing)
        tables: dict[str, pd.DataFrame] = {}
        chosen: dict[str, ScoreArrays] = {}
        points: dict[str, Threshold] = {}
        notes: list[str] = []
        for name, source in scores.items():
            found = reader.read(source, (validation or {}).get(name), higher_is=turned.get(name, "bona_fide"))
            at = found.thresholds(criterion=criterion, threshold=(thresholds or {}).get(name))
            if not at:
                raise SettingsError(
                    f"{name} has no threshold: give its validation scores (--validation {name}=FILE) or its threshold "
                    f"(--threshold {name}=VALUE)"
                )
            tables[name], points[name] = found.rows, at[0]
            if found.validation is not None:
                chosen[name] = ScoreArrays.from_table(found.validation)
            notes += [f"{name}: {note}" for note in (*found.notes, *at[0].warnings)]
        reader.refuse_unused()
        comparison = compare_tables(tables, points, mismatch=mismatch, policy=policy)
        for name, evaluation in comparison.evaluations.items():
            notes[:0] = [f"{name}: {note}" for note in inverted(evaluation.ranking.auc)]
        notes = list(dict.fromkeys([*notes, *comparison.notes]))
        if folder is None:
            return Compared(comparison, None, tuple(notes))
        names = set.intersection(*(set(table["presentation"]) for table in tables.values()))
        data = ReportInput(
            title="Comparison of " + format_list(list(tables), limit=6),
            evaluations=comparison.evaluations,
            presentations={
                name: ScoreArrays.from_table(table[table["presentation"].isin(names)]) for name, table in tables.items()
            },
            validation=chosen,
            notes=notes,
            facts={"presentations": f"{comparison.presentations} of {comparison.persons} persons"},
            differences=comparison.differences,
        )
        write_page(data, folder, faces=False)
        write_json(folder / "comparison.json", json_safe(comparison))
    assert output is not None
    return Compared(comparison, Path(output) / "report.html", tuple(notes))
