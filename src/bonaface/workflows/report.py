"""Report the error rates of any system from its score table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pandas as pd

from bonaface.choices import FusionRule, HigherIs, Policy, Profile
from bonaface.data.manifest import Manifest
from bonaface.errors import SettingsError, check_choice, did_you_mean, format_list
from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.checking import text_column
from bonaface.evaluation.discard import discard_curves
from bonaface.evaluation.iso30107 import by_group, evaluate_arrays
from bonaface.evaluation.results import Evaluation, Measures
from bonaface.evaluation.thresholds import parse_criterion
from bonaface.io import new_folder
from bonaface.report.iso_profile import IsoProfile, iso_profile
from bonaface.report.page import MOST_GROUPS, ReportInput, write_page
from bonaface.workflows.score_tables import ScoreReader, ScoreSource, inverted

_NAME = "presentations"


@dataclass(frozen=True)
class Reported:
    """The error rates of a score table, the path of the page, and the table of a profile where one was asked for."""

    evaluation: Evaluation
    path: Path
    notes: tuple[str, ...] = ()
    profile: IsoProfile | None = None


def report_scores(
    scores: ScoreSource,
    *,
    output: str | Path,
    validation: ScoreSource | None = None,
    manifest: str | Path | Manifest | None = None,
    mapping: Mapping[str, str] | None = None,
    higher_is: HigherIs = "bona_fide",
    criterion: str = "eer",
    threshold: float | None = None,
    fusion: FusionRule | None = None,
    policy: Policy = "reject",
    by: Sequence[str] = (),
    profile: Profile | None = None,
    title: str | None = None,
    allow_missing: bool = False,
) -> Reported:
    """Measure a score table of any system, and write a page, its figures as JSON and its drawings as PNG.

    The threshold is the one given, or the one that `criterion` picks on `validation` (or on the table's own rows of split
    val, which are then not evaluated). With neither, what needs no threshold is measured, and the fixed 0.5 where the scores
    are probabilities.

    Args:
        scores: the score table, or its path; with a manifest it needs the columns `presentation` and `score` alone.
        output: the folder to write.
        validation: the score table that chooses the threshold.
        manifest: the manifest that labels the presentations.
        mapping: what labels mean, as `{"0": "attack"}`.
        higher_is: what a higher score means, `bona_fide` or `attack`.
        criterion: `eer`, `hter`, `bpcer20`, `apcer<=0.01`, `bpcer<=0.05` or `fixed=0.5`.
        threshold: the threshold itself, on the scale of the scores.
        fusion: how the scores of frames are fused again, by default not.
        policy: presentations without a score count as rejected (`reject`) or are left out (`exclude`).
        by: columns to group the errors by.
        profile: `iso30107-3` for the table of the standard, with what it lacks.
        title: the title of the page.
        allow_missing: whether presentations of the manifest without a score count as unreadable.

    Returns:
        The evaluation, the path of the page, and the table of the profile.

    Raises:
        ScoreTableError: the table breaks a rule, or a presentation would choose the threshold that it is measured at.
        SettingsError: an option is not known.

    Examples:
        ```python
        reported = bonaface.report_scores("scores.csv", validation="val.csv", profile="iso30107-3", output="report")
        print(reported.evaluation.at[0].apcer_max, reported.path)
        ```
    """
    check_choice("policy", policy, get_args(Policy))
    check_choice("profile", profile, get_args(Profile))
    parse_criterion(criterion)
    with new_folder(output, what="report") as folder:
        reader = ScoreReader(manifest=manifest, mapping=mapping, fusion=fusion, allow_missing=allow_missing)
        given = reader.read(scores, validation, higher_is=higher_is)
        reader.refuse_unused()
        _check_columns(given.rows, by)
        points = given.thresholds(criterion=criterion, threshold=threshold)
        arrays = ScoreArrays.from_table(given.rows)
        evaluation = evaluate_arrays(arrays, points, policy=policy)
        notes = [*inverted(evaluation.ranking.auc), *given.notes]
        groups: dict[str, dict[str, Measures]] = {}
        if points:
            groups = {name: by_group(arrays, text_column(given.rows, name), points[0], policy=policy) for name in by}
        elif by:
            notes.append(f"no table by {format_list(by)}: the errors of a group need a threshold")
        notes += [warning for point in points for warning in point.warnings]
        found = tuple(dict.fromkeys([*notes, *evaluation.notes]))
        systems, datasets = (_named(given.rows, column) for column in ("system", "dataset"))
        validated = given.validation is not None
        rows = given.rows if given.validation is None else given.validation
        data = ReportInput(
            title=title or f"Liveness report{f': {systems}' if systems else ''}",
            evaluations={_NAME: evaluation},
            presentations={_NAME: arrays},
            validation={} if given.validation is None else {_NAME: ScoreArrays.from_table(given.validation)},
            notes=found,
            facts={name: value for name, value in (("system", systems), ("datasets", datasets)) if value},
            groups=groups,
            discards=discard_curves(rows, points[0]) if points else (),
            discards_on="validation" if validated else "the presentations of this report",
            profile=None if profile is None else iso_profile(given.rows, arrays, evaluation),
        )
        write_page(data, folder, faces=False)
    return Reported(evaluation, Path(output) / "report.html", found, data.profile)


def _check_columns(rows: pd.DataFrame, by: Sequence[str]) -> None:
    known = [str(name) for name in rows.columns]
    for column in by:
        if column not in rows:
            raise SettingsError(
                f"--by {column}: no such column{did_you_mean(column, known)}; expected one of {', '.join(known)}"
            )
        if rows[column].nunique() > MOST_GROUPS:
            raise SettingsError(
                f"--by {column}: the column has {rows[column].nunique():,} values; at most {MOST_GROUPS} are groups"
            )


def _named(rows: pd.DataFrame, column: str) -> str:
    return format_list(sorted({name for name in text_column(rows, column) if name}))
