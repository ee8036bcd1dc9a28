"""The audit as one HTML page without outside resources, with the offending frames side by side."""

from __future__ import annotations

import math
from importlib import resources
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from bonaface.data.audit.film import pictures_of
from bonaface.data.audit.leaks import Shared
from bonaface.evaluation.rates import Figure
from bonaface.report.formatting import number, sentence, soft
from bonaface.report.pictures import data_uri

if TYPE_CHECKING:
    from bonaface.workflows.audit import Audit

__all__ = ["render_page"]

MOST_PAIRS = 60
MOST_ROWS = 200
_PICTURED = 30


def render_page(audit: Audit, *, faces: bool) -> str:
    """The page; without any picture of a person where `faces` is False."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bonaface.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style = resources.files("bonaface.report").joinpath("templates", "page.css").read_text(encoding="utf-8")
    environment.globals.update(
        style=Markup(style), bar=_bar, number=number, sentence=sentence, soft=soft, bounds=_bounds, most=MOST_ROWS
    )
    flips = {}
    if "flip" in audit.manifest.table:
        flips = dict(zip(audit.manifest.table["path"], audit.manifest.table["flip"], strict=True))
    groups = []
    for level, title, lede in (
        ("leak", "The same content in two splits", "A model has seen these before it is measured on them."),
        (
            "warning",
            "The same content under two names",
            "Within one split, or before any: one of the two persons or labels is wrong.",
        ),
        (
            "remark",
            "The same content twice",
            "Same person, same class, same split: it counts more than once, and that is all.",
        ),
    ):
        pairs = audit.of_level(level)
        pictured = _PICTURED if faces and level != "remark" else 0
        shown = [
            (pair, _pictures(audit, pair, flips) if place < pictured else [])
            for place, pair in enumerate(pairs[:MOST_PAIRS])
        ]
        groups.append({"level": level, "title": title, "lede": lede, "count": len(pairs), "shown": shown})
    splits = [str(name) for name in audit.balance.columns[2:] if not str(name).endswith("_persons")]
    return environment.get_template("audit.html.j2").render(
        audit=audit, groups=groups, splits=splits, faces=faces, balance=audit.balance.to_dict(orient="records")
    )


def _pictures(audit: Audit, pair: Shared, flips: dict[str, str]) -> list[tuple[str, str]]:
    """Both frames as JPEGs in the page, each with its caption; one that cannot be read any more is left out."""
    shown = []
    for path, frame in zip(pair.paths, pair.frames, strict=True):
        for _, picture in pictures_of(audit.manifest.root / path, {frame}, flip=flips.get(path, "")):
            shown.append((f"frame {frame}", data_uri(picture, side=280)))
    return shown


def _bounds(figure: Figure) -> str:
    if math.isnan(figure.low):
        return "–"
    return f"{number(figure.low, places=3)} to {number(figure.high, places=3)}"


def _bar(figure: Figure, marked: bool) -> Markup:
    """An AUC and its interval on a scale from 0.5 to 1: a triangle where it is marked, else a circle."""
    if not figure.defined:
        return Markup("")

    def at(value: float) -> float:
        return 100 * min(max(2 * value - 1, 0), 1)

    line = ""
    if not math.isnan(figure.low):
        low, high = at(figure.low), at(figure.high)
        line = f'<line class="reach" x1="{low:.2f}%" x2="{high:.2f}%" y1="50%" y2="50%"/>'
    mark = '<path d="M0 -5 4.8 4 -4.8 4z"/>' if marked else '<circle r="4.2"/>'
    label = f"AUC {figure.value:.3f}, 95 % interval {_bounds(figure)}"
    return Markup(
        f'<svg class="whisker {"attack" if marked else "bona"}" role="img" aria-label="{label}">'
        f'<line class="axis" x1="0" x2="100%" y1="50%" y2="50%"/>{line}'
        f'<svg x="{at(figure.value):.2f}%" y="50%" overflow="visible">{mark}</svg></svg>'
    )
