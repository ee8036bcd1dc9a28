"""The report: one self-contained HTML page, the same figures as JSON, and every drawing as a PNG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.compare import Difference
from bonaface.evaluation.discard import DiscardCurve
from bonaface.evaluation.error_curve import (
    ErrorCurves,
    Histogram,
    RocCurve,
    count_errors,
    error_curves,
    histogram,
    roc,
)
from bonaface.evaluation.probability_calibration import Reliability, reliability
from bonaface.evaluation.results import Evaluation, Measures
from bonaface.io import json_safe, write_bytes, write_json, write_text
from bonaface.report.calibration_figures import chosen_figure, reliability_figure
from bonaface.report.figures import (
    det_figure,
    discard_figure,
    error_figure,
    histogram_figure,
    roc_figure,
    species_figure,
)
from bonaface.report.formatting import capital, render, sentence
from bonaface.report.iso_profile import IsoProfile
from bonaface.report.pictures import GALLERY_TITLES, GalleryItem, contact_sheet, data_uri
from bonaface.report.style import Drawing, slug
from bonaface.report.tables import axis_end, group_rows, methods, no_answer, species_rows, whisker
from bonaface.report.training_figures import embedding_figure, training_figure

MOST_GROUPS = 60
"""A column with more values than this is not used for grouping."""


@dataclass(frozen=True)
class ReportInput:
    """The content of a report; absent parts have no section.

    `evaluations` and `presentations` have the same keys: the ways in which presentations were scored, such as `one
    image`. `validation` has some of these keys: the presentations that chose the thresholds. `groups` maps a column to
    its values' measures. `facts` are printed as they are. `notes` are caveats,
    printed first. `differences` are those of the systems, where the ways are systems. `profile` is the table
    of ISO/IEC 30107-3. `discards` are the errors while presentations of low quality are discarded,
    `discards_on` says of which presentations.
    """

    title: str
    evaluations: Mapping[str, Evaluation]
    presentations: Mapping[str, ScoreArrays]
    notes: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Measures]] = field(default_factory=dict)
    history: pd.DataFrame | None = None
    embedding: pd.DataFrame | None = None
    gallery: Sequence[GalleryItem] = ()
    recipe: str = ""
    validation: Mapping[str, ScoreArrays] = field(default_factory=dict)
    widened: Mapping[str, ScoreArrays] = field(default_factory=dict)
    differences: Sequence[Difference] = ()
    profile: IsoProfile | None = None
    discards: Sequence[DiscardCurve] = ()
    discards_on: str = ""


@dataclass(frozen=True)
class _Lines:
    """The curves of one kind of scoring."""

    roc: RocCurve | None
    errors: ErrorCurves
    histogram: Histogram
    reliability: Reliability | None


def _lines(arrays: ScoreArrays) -> _Lines:
    errors = count_errors(arrays)
    known = None
    if arrays.on_logits and len(np.unique(arrays.bona_fide[arrays.ok])) == 2:
        known = reliability(arrays.score[arrays.ok], arrays.bona_fide[arrays.ok])
    return _Lines(roc(errors), error_curves(errors), histogram(arrays), known)


def write_page(data: ReportInput, folder: Path, *, faces: bool = True) -> None:
    """Write `report.html`, `report.json` and `figures/` into an empty folder.

    With `faces=False` none of them has a picture of a presentation. The same input gives the same bytes. Raises
    OutputError.
    """
    lines = {name: _lines(arrays) for name, arrays in data.presentations.items() if arrays.ok.any()}
    drawings = _drawings(data, lines)
    figures = {f"{drawing.name}.png": drawing.png for group in drawings.values() for drawing in group}
    shown = [item for item in data.gallery if item.pictures()] if faces else []
    for group in dict.fromkeys(item.group for item in shown):
        figures[f"gallery_{slug(group)}.png"] = contact_sheet([item for item in shown if item.group == group])
    content = {**_content(data, lines, faces=faces), "figures": sorted(f"figures/{name}" for name in figures)}
    for name, picture in figures.items():
        write_bytes(folder / "figures" / name, picture)
    write_json(folder / "report.json", content)
    write_text(folder / "report.html", _render(data, drawings, faces=faces))


def _drawings(data: ReportInput, lines: Mapping[str, _Lines]) -> dict[str, list[Drawing]]:
    """The figures of each section, in order."""
    curves = {name: line.roc for name, line in lines.items() if line.roc is not None}
    drawn: dict[str, list[Drawing]] = {"errors": [], "training": [], "maps": []}
    if curves:
        marked = {name: data.evaluations[name].at for name in curves}
        drawn["errors"] = [roc_figure("roc", curves, marked), det_figure("det", curves, marked)]
    for number, (name, line) in enumerate(lines.items(), start=1):
        arrays = data.presentations[name]
        points = [measures.point for measures in data.evaluations[name].at]
        stem = f"_{number}" if len(data.presentations) > 1 else ""
        found = [histogram_figure(f"histogram{stem}", arrays, line.histogram, points)]
        species = species_figure(f"species{stem}", arrays, points)
        found += [species] if species is not None else []
        found.append(error_figure(f"errors{stem}", line.errors, points))
        if line.reliability is not None:
            found.append(reliability_figure(f"reliability{stem}", line.reliability))
        validation = data.validation.get(name)
        if validation is not None and validation.ok.any():
            counts = histogram(validation)
            title = "Scores on validation"
            found.append(histogram_figure(f"validation{stem}", validation, counts, points[:1], title=title))
            chosen, widened = error_curves(count_errors(validation)), data.widened.get(name)
            wide = None if widened is None else error_curves(count_errors(widened))
            found.append(chosen_figure(f"chosen{stem}", chosen, wide, points[0]))
        drawn[f"scores/{name}"] = found
    drawn["discards"] = [discard_figure("discards", data.discards)] if data.discards else []
    training = training_figure(data.history) if data.history is not None and len(data.history) else None
    drawn["training"] = [training] if training else []
    if data.embedding is not None and len(data.embedding):
        wanted = [column for column in ("label", "species") if column in data.embedding]
        columns = [column for column in wanted if column == "label" or data.embedding[column].nunique() > 2]
        drawn["maps"] = [embedding_figure(data.embedding, column) for column in columns]
    return drawn


def _render(data: ReportInput, drawings: Mapping[str, Sequence[Drawing]], *, faces: bool) -> str:
    groups: dict[str, list[dict[str, Any]]] = {}
    for item in data.gallery:
        shown = [(caption, data_uri(picture)) for caption, picture in item.pictures()] if faces else []
        groups.setdefault(item.group, []).append({"item": item, "pictures": shown})
    gallery = [(*GALLERY_TITLES.get(name, (name, "")), items) for name, items in groups.items()]
    has_maps = any(item.bona_fide is not None or item.attack is not None for item in data.gallery)
    # Names of compared systems are kept as given; names of kinds are capitalised.
    heading = str if data.differences else capital
    names = tuple(data.evaluations) if data.differences else ()
    return render(
        "page.html.j2",
        data=data,
        drawings=drawings,
        gallery=gallery,
        faces=faces,
        has_maps=has_maps,
        heading=heading,
        sentence=partial(sentence, names=names),
        species_rows=species_rows,
        group_rows=group_rows,
        no_answer=no_answer,
        axis_end=axis_end,
        whisker=whisker,
        methods=methods,
        shares=(0.05, 0.1, 0.2),
    )


def _content(data: ReportInput, lines: Mapping[str, _Lines], *, faces: bool) -> dict[str, Any]:
    """Every figure of the page, and the lines behind its drawings, safe for JSON."""
    return {
        "title": data.title,
        "faces": faces,
        "facts": {str(name): str(value) for name, value in data.facts.items()},
        "notes": [str(note) for note in data.notes],
        "evaluations": json_safe(data.evaluations),
        "groups": json_safe(data.groups),
        "curves": {name: _line_content(line) for name, line in lines.items()},
        "history": [] if data.history is None else _records(data.history),
        "embedding": [] if data.embedding is None else _records(data.embedding),
        "gallery": [
            {
                "presentation": item.presentation,
                "group": item.group,
                "label": item.label,
                "species": item.species,
                "score": None if item.score is None else json_safe(item.score),
                "accepted": item.accepted,
                "right": item.right,
                "status": item.status,
            }
            for item in data.gallery
        ],
        "recipe": data.recipe,
        "differences": json_safe(list(data.differences)),
        "profile": json_safe(data.profile),
        "discards": json_safe(list(data.discards)),
    }


def _line_content(line: _Lines) -> dict[str, Any]:
    content = {
        "histogram": _columns(line.histogram, "edges", "bona_fide", "attacks"),
        "errors": _columns(line.errors, "threshold", "far", "frr", "hter", "apcer_max"),
    }
    content["histogram"]["species"] = {name: counts.tolist() for name, counts in line.histogram.species.items()}
    if line.reliability is not None:
        found = line.reliability
        content["reliability"] = {
            "ece": found.ece,
            "brier": found.brier,
            **{name: getattr(found, name).tolist() for name in ("score", "share", "count")},
        }
    if line.roc is not None:
        content["roc"] = _columns(line.roc, "threshold", "fpr", "tpr", "apcer_max")
    return content


def _columns(curve: Histogram | ErrorCurves | RocCurve, *names: str) -> dict[str, Any]:
    return {"scale": curve.scale, **{name: json_safe(getattr(curve, name).tolist()) for name in names}}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows
