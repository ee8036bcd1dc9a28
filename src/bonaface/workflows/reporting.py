"""Puts a report together from what the rooms know: figures, pictures that explain, the map of embeddings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from bonaface.data.manifest import Manifest
from bonaface.errors import InputError, MissingExtraError
from bonaface.evaluation.iso30107 import by_group
from bonaface.evaluation.results import Measures
from bonaface.evaluation.thresholds import OperatingPoint
from bonaface.inference.bundle import Bundle
from bonaface.inference.model_card import crop_line
from bonaface.inference.scoring import Scored
from bonaface.report.page import ReportInput
from bonaface.report.page import write_report as write_page
from bonaface.workflows.assess import Assessment, rows_of
from bonaface.workflows.embed import map_of
from bonaface.workflows.explain import Explainer, gallery
from bonaface.workflows.prepare import counts_line

__all__ = ["write_report"]

PER_GROUP = 6
MOST_FILE_NOTES = 10
MOST_GROUPS = 60
"""A column of more values than this is not a grouping but a name."""
_TOLD_ELSEWHERE = {"path", "label", "species", "category", "split", "protocol", "fold"}
SPLITS = {
    "test": "the test split",
    "val": "the validation split",
    "train": "the train split",
    "all": "all presentations",
}


def write_report(
    folder: Path,
    bundle: Bundle,
    assessment: Assessment,
    scored: Scored,
    manifest: Manifest,
    *,
    split: str,
    history: pd.DataFrame | None = None,
    recipe: str = "",
    faces: bool = True,
    detector_weights: Path | None = None,
    detector: str | None = None,
    validation: pd.DataFrame | None = None,
) -> Path:
    """Write the report of one scored manifest; what cannot be shown is left out with a note that says why."""
    notes = list(assessment.notes)
    point = bundle.operating_point("video")
    explainer = None
    try:
        explainer = Explainer(bundle) if faces else None
    except (InputError, MissingExtraError) as error:
        notes.append(f"no Grad-CAM: {error}")
    items = gallery(
        bundle,
        manifest,
        rows_of(scored.table, point, "video"),
        point=point,
        count=PER_GROUP,
        detector_weights=detector_weights,
        detector=detector,
        explainer=explainer,
    )
    embedding = None
    if bundle.card.output.embedding is not None:
        try:
            embedding = map_of(scored)
        except (InputError, MissingExtraError) as error:
            notes.append(f"no map of embeddings: {error}")
    told = [f"{name}: {note}" for name, note in scored.notes.items()]
    notes += told[:MOST_FILE_NOTES]
    if len(told) > MOST_FILE_NOTES:
        notes.append(
            f"{len(told) - MOST_FILE_NOTES} more files with a note like these; `bonaface data crop` lists them all"
        )
    card = bundle.card
    facts = {
        "system": f"{bundle.title}, bundle {bundle.id}",
        "evaluated on": f"{SPLITS[split]}: {counts_line(manifest)}",
        "datasets": ", ".join(sorted(set(manifest.table["dataset"]))),
        "manifest": manifest.digest[:16],
        "network": f"{card.architecture}, input {card.input.size} x {card.input.size}",
        "crop": crop_line(card),
        "face detector": card.detector.identity,
        "made": card.created,
    }
    presentations = {kind: rows_of(scored.table, bundle.operating_point(kind), kind) for kind in assessment.evaluations}
    data = ReportInput(
        title=f"Liveness report: {card.name}",
        evaluations={assessment.titles[kind]: found for kind, found in assessment.evaluations.items()},
        presentations={assessment.titles[kind]: rows for kind, rows in presentations.items()},
        validation={
            assessment.titles[kind]: rows_of(validation, bundle.operating_point(kind), kind)
            for kind in (assessment.evaluations if validation is not None else ())
            if validation is not None
        },
        groups=groups_of(
            presentations["video"], [str(name) for name in manifest.table], assessment.evaluations["video"].at[0].point
        ),
        notes=list(dict.fromkeys(notes)),
        facts=facts,
        history=history,
        embedding=embedding,
        gallery=items,
        recipe=recipe,
    )
    return write_page(data, folder, faces=faces)


def groups_of(rows: pd.DataFrame, described: Iterable[str], point: OperatingPoint) -> dict[str, dict[str, Measures]]:
    """The measures by person, device, session and whatever else a manifest's columns, `described`, tell."""
    columns = [name for name in described if name in rows and name not in _TOLD_ELSEWHERE]
    found = {name: rows[name].nunique() for name in columns}
    return {
        name: by_group(rows, name, point)
        for name in columns
        if 2 <= found[name] <= MOST_GROUPS and found[name] < len(rows)
    }
