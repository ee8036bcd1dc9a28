"""Draw an audit as one HTML page without outside resources, with the frames of each pair side by side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from bonaface.data.audit.duplicates import SAME
from bonaface.data.audit.file_stats import PROPERTIES
from bonaface.data.audit.findings import Area, Audit
from bonaface.data.audit.leaks import SharedContent
from bonaface.data.frames import Frames
from bonaface.errors import MediaError
from bonaface.report.formatting import number, render
from bonaface.report.pictures import data_uri
from bonaface.report.tables import draw_interval

MOST_PAIRS = 60
MOST_ROWS = 200
_PICTURED = 30


_GROUPS: tuple[dict[str, Any], ...] = (
    {
        "level": "leak",
        "title": "The same content in two splits",
        "meaning": "The model is trained on content that it is later measured on, so error rates are too low.",
        "remedy": "Remove one presentation of each pair, or put both into one split. Two subjects in one picture: correct "
        "the subject first, then split again.",
    },
    {
        "level": "warning",
        "title": "The same content under two names",
        "meaning": "Within one split, or before any: one of the two subjects or labels is wrong.",
        "remedy": "Look at both, correct the wrong subject or label in the manifest, and remove one of the two.",
    },
    {
        "level": "remark",
        "title": "The same content twice",
        "meaning": "The same label and no known difference between the subjects: it is counted more than once.",
        "remedy": "Remove the repetition. If the subjects are unknown, remove it before you split, because a split may part "
        "the two.",
    },
)
"""Title, effect and remedy of the pairs of each level."""


def render_page(audit: Audit, *, faces: bool) -> str:
    """Return the page as HTML; without any picture of a person if `faces` is False."""
    flips = {}
    if "flip" in audit.manifest.table:
        flips = dict(zip(audit.manifest.table["path"], audit.manifest.table["flip"], strict=True))
    groups = []
    for group in _GROUPS:
        pairs = audit.of_level(group["level"])
        pictured = _PICTURED if faces and group["level"] != "remark" else 0
        shown = [
            (pair, _pictures(audit, pair, flips) if place < pictured else [])
            for place, pair in enumerate(pairs[:MOST_PAIRS])
        ]
        groups.append({**group, "count": len(pairs), "shown": shown})
    splits = [str(name) for name in audit.balance.columns[2:] if not str(name).endswith("_subjects")]
    return render(
        "audit.html.j2",
        audit=audit,
        groups=groups,
        splits=splits,
        faces=faces,
        balance=audit.balance.to_dict(orient="records"),
        bar=_bar,
        bounds=_bounds,
        most=MOST_ROWS,
        same=SAME,
        titles=PROPERTIES,
    )


def _pictures(audit: Audit, pair: SharedContent, flips: dict[str, str]) -> list[tuple[str, str]]:
    """Both frames as JPEGs in the page, each with its caption; a frame that can no longer be read is left out."""
    shown = []
    for path, frame in zip(pair.paths, pair.frames, strict=True):
        picture = _frame(audit, path, frame, flips.get(path, ""))
        if picture is not None:
            shown.append((f"frame {frame}", data_uri(picture, side=280)))
    return shown


def _frame(audit: Audit, path: str, frame: int, flip: str) -> NDArray[np.uint8] | None:
    try:
        with Frames(audit.manifest.root / path, choose=lambda *_: [frame], flip=flip) as frames:
            return next((each.image for each in frames), None)
    except MediaError:
        return None


def _bounds(area: Area) -> str:
    if math.isnan(area.low):
        return "–"
    return f"{number(area.low, places=3)} to {number(area.high, places=3)}"


def _bar(area: Area, marked: bool) -> Markup:
    """An AUC and its interval on a scale from 0.5 to 1: a triangle if it is marked, else a circle."""
    label = f"AUC {area.value:.3f}, 95 % interval {_bounds(area)}"
    return draw_interval(area.value, area.low, area.high, axis=(0.5, 1), triangle=marked, label=label)
