"""The report: one self-contained HTML page, the same figures as JSON, and every drawing as a PNG."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from bonaface.errors import writing
from bonaface.evaluation.curves import error_curves, histogram, roc
from bonaface.evaluation.measures import Evaluation, Measures
from bonaface.evaluation.report import words
from bonaface.evaluation.report.figures import det_figure, error_figure, histogram_figure, roc_figure, species_figure
from bonaface.evaluation.report.ink import Drawing
from bonaface.evaluation.report.learning import embedding_figure, training_figure
from bonaface.evaluation.report.pictures import GALLERY_TITLES, GalleryItem, contact_sheet, data_uri

__all__ = ["ReportInput", "write_report"]

PARTS = ("report.html", "report.json", "figures")


@dataclass(frozen=True)
class ReportInput:
    """What a report shows; what is absent has no section.

    `evaluations` and `presentations` (one row a presentation) have the same keys: the ways in which presentations were
    judged, such as `one image`. `groups` maps a column to its values' measures. `facts` are printed as they are.
    """

    title: str
    evaluations: Mapping[str, Evaluation]
    presentations: Mapping[str, pd.DataFrame]
    notes: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Measures]] = field(default_factory=dict)
    history: pd.DataFrame | None = None
    embedding: pd.DataFrame | None = None
    gallery: Sequence[GalleryItem] = ()
    recipe: str = ""


def write_report(data: ReportInput, folder: Path, *, faces: bool = True) -> Path:
    """Write `report.html`, `report.json` and `figures/` into a folder, and give the page's path.

    With `faces=False` no picture of a presentation is in any of them. Raises OutputError.
    """
    drawings = _drawings(data)
    page = _render(data, drawings, faces=faces)
    figures = {f"{drawing.name}.png": drawing.png for group in drawings.values() for drawing in group}
    shown = [item for item in data.gallery if item.pictures()] if faces else []
    for group in dict.fromkeys(item.group for item in shown):
        figures[f"gallery-{group}.png"] = contact_sheet([item for item in shown if item.group == group])
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".report-", dir=folder))
        try:
            (fresh / "figures").mkdir()
            for name, content in figures.items():
                (fresh / "figures" / name).write_bytes(content)
            (fresh / "report.json").write_text(_json(data), encoding="utf-8")
            (fresh / "report.html").write_text(page, encoding="utf-8")
            for name in PARTS:
                if (folder / name).is_dir():
                    shutil.rmtree(folder / name)
                (fresh / name).replace(folder / name)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return folder / "report.html"


def _drawings(data: ReportInput) -> dict[str, list[Drawing]]:
    """The figures of each section, in order."""
    curves = {name: curve for name, rows in data.presentations.items() if (curve := roc(rows)) is not None}
    points = {name: evaluation.at for name, evaluation in data.evaluations.items()}
    errors: list[Drawing] = []
    if curves:
        marked = {name: points[name] for name in curves}
        errors = [roc_figure("roc", curves, marked), det_figure("det", curves, marked)]
    scores: list[Drawing] = []
    for number, (name, rows) in enumerate(data.presentations.items()):
        if not rows["score"].notna().any():
            continue
        own = [measures.point for measures in points[name]]
        stem = f"-{number}" if number else ""
        scores += [
            histogram_figure(f"histogram{stem}", rows, histogram(rows), own),
            error_figure(f"errors{stem}", error_curves(rows), own),
        ]
        species = species_figure(f"species{stem}", rows, own)
        scores += [species] if species is not None else []
    training = training_figure(data.history) if data.history is not None and len(data.history) else None
    maps = []
    if data.embedding is not None:
        columns = ["label", *(["species"] if data.embedding["species"].nunique() > 2 else [])]
        maps = [embedding_figure(data.embedding, column) for column in columns]
    return {"errors": errors, "scores": scores, "training": [training] if training else [], "maps": maps}


def _render(data: ReportInput, drawings: Mapping[str, Sequence[Drawing]], *, faces: bool) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bonaface.evaluation.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(
        percent=words.percent,
        number=words.number,
        interval=words.interval,
        point_name=words.point_name,
        chosen_words=words.chosen_words,
        status_name=lambda status: words.STATUS_NAMES.get(status, status),
    )
    groups: dict[str, list[dict[str, Any]]] = {}
    for item in data.gallery if faces else ():
        shown = [(caption, data_uri(picture)) for caption, picture in item.pictures()]
        groups.setdefault(item.group, []).append({"item": item, "pictures": shown})
    gallery = [(*GALLERY_TITLES.get(name, (name, "")), items) for name, items in groups.items()]
    return environment.get_template("page.html.j2").render(
        data=data, drawings=drawings, gallery=gallery, faces=faces, has_gallery=bool(data.gallery)
    )


def _json(data: ReportInput) -> str:
    content = {
        "title": data.title,
        "facts": dict(data.facts),
        "notes": list(data.notes),
        "evaluations": {name: evaluation.to_dict() for name, evaluation in data.evaluations.items()},
        "groups": {
            column: {value: measures.to_dict() for value, measures in values.items()}
            for column, values in data.groups.items()
        },
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"
