"""Format percentages, counts, intervals and thresholds for the report."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup, escape

from bonaface.evaluation.results import Figure, Rate
from bonaface.types import Threshold, percent

STATUS_NAMES = {
    "ok": "scored",
    "no_face": "no face found",
    "several_faces": "several faces",
    "too_small": "face too small",
    "low_quality": "quality too low",
    "unreadable": "file unreadable",
}


def number(value: float, *, places: int = 4) -> str:
    """Return a number to `places` places, in scientific notation outside 1e-4 to 1e6; a dash where it is undefined.

    >>> number(0.69318), number(float("-inf")), number(3.2e-7), number(-1234567.8)
    ('0.6932', '−∞', '3.2e−07', '−1.235e+06')
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    plain = value == 0 or 1e-4 <= abs(value) < 1e6
    return f"{value:.{places}f}".replace("-", "−") if plain else f"{value:.4g}".replace("-", "−")


def score(value: float) -> str:
    """Return a score or its threshold; a probability that would be rounded to 1 by its distance to it.

    >>> score(0.98765), score(0.9999993), score(1.0), score(12.5), score(2e-9)
    ('0.9877', '1 − 7e−07', '1.0000', '12.5000', '2e−09')
    """
    if 1 - 5e-5 <= value < 1:
        return f"1 − {1 - value:.2g}".replace("-", "−")
    return number(value)


def interval(measure: Rate | Figure, *, nats: bool = False) -> str:
    """Return the bounds of an interval, without the unit; empty if undefined.

    >>> interval(Rate(24, 449, 20, 0.035, 0.078))
    '3.50 to 7.80'
    """
    if math.isnan(measure.low) or math.isnan(measure.high):
        return ""
    if nats:
        return f"{number(measure.low)} to {number(measure.high)}"
    return f"{percent(measure.low, unit=False)} to {percent(measure.high, unit=False)}"


MEASURE_NAMES = {"hter": "HTER", "apcer_max": "APCER, worst species", "auc": "AUC"}
"""The name of each compared measure."""


def difference(value: float, measure: str) -> str:
    """A difference with its sign: in points of a percentage, or of the AUC.

    >>> difference(-0.0123, "hter"), difference(0.01, "auc")
    ('−1.23', '+0.0100')
    """
    if math.isnan(value):
        return "–"
    text = f"{value:+.4f}" if measure == "auc" else f"{100 * value:+.2f}"
    return text.replace("-", "−")


def reason_of(measure: Rate | Figure) -> str:
    """Return why a measure, or its interval, is undefined; empty if both are defined."""
    if not measure.defined:
        return f"undefined: {measure.reason}" if measure.reason else "undefined"
    return f"no interval: {measure.reason}" if measure.reason and math.isnan(measure.low) else ""


def criterion_words(criterion: str) -> str:
    """Return a criterion in words, however it was typed.

    >>> [criterion_words(criterion) for criterion in ("eer", "bpcer20", "APCER <= 0.01", "fixed=0.5")]
    ['EER', 'BPCER20', 'APCER ≤ 1 %', 'fixed at 0.5']
    """
    criterion = "".join(criterion.lower().split())
    if limit := re.fullmatch(r"(apcer|bpcer)<=([\d.eE+-]+)", criterion):
        return f"{limit[1].upper()} ≤ {100 * float(limit[2]):.4g} %"
    if criterion.startswith("fixed="):
        return f"fixed at {criterion.removeprefix('fixed=')}"
    return criterion.upper() if re.fullmatch(r"[a-z]+\d*", criterion) and criterion != "given" else criterion


def point_name(point: Threshold) -> str:
    """A short name of an operating point.

    >>> point_name(Threshold(0.7, None, "eer", {"split": "val"})), point_name(Threshold(0.5, 0.0, "fixed=0.5"))
    ('from validation (EER)', 'fixed at 0.5')
    """
    if point.criterion.startswith("fixed="):
        return criterion_words(point.criterion)
    split = str(point.chosen_on.get("split") or "")
    source = {"val": "validation", "": ""}.get(split, split)
    if source:
        return f"from {source} ({criterion_words(point.criterion)})"
    return "given" if point.criterion == "given" else criterion_words(point.criterion)


def chosen_words(point: Threshold) -> str:
    """One sentence on where a threshold came from."""
    if point.criterion.startswith("fixed="):
        return "Fixed beforehand, independent of the data."
    facts = point.chosen_on
    if not facts:
        return "Given by the caller; how it was chosen is not known."
    parts = [
        f"{int(facts[key]):,} {noun}"
        for key, noun in (
            ("presentations", "presentations"),
            ("bona_fide", "bona fide"),
            ("attacks", "attacks"),
            ("persons", "persons"),
            ("failed", "without a score"),
        )
        if isinstance(facts.get(key), int | float) and not (key == "failed" and not facts[key])
    ]
    split = str(facts.get("split") or "")
    where = {"val": "validation data", "": "data of no named split"}.get(split, f"the split “{split}”")
    sentence = f"Chosen by {criterion_words(point.criterion)} on {where}"
    sentence += f": {', '.join(parts)}" if parts else ""
    far, frr, widened = facts.get("far"), facts.get("frr"), facts.get("widened")
    if isinstance(widened, dict) and isinstance(widened.get("presentations"), int):
        sentence += f", and {widened['presentations']:,} simulated from them"
    if isinstance(far, int | float) and isinstance(frr, int | float):
        sentence += f". There, {percent(far)} of attacks are accepted and {percent(frr)} of bona fide refused"
    return sentence + "."


def capital(text: str) -> str:
    """The text with a capital letter at its start.

    >>> capital("a video (ROSE)")
    'A video (ROSE)'
    """
    return text[:1].upper() + text[1:]


def sentence(text: str, *, names: Collection[str] = ()) -> str:
    """A note as a sentence: a capital at its start, unless it starts with a name, and a stop at its end.

    `names` are those that look like words.

    >>> sentence("validation was too easy"), sentence("set/clip.mp4: truncated"), sentence("peer: saw all", names=["peer"])
    ('Validation was too easy.', 'set/clip.mp4: truncated.', 'peer: saw all.')
    """
    first = text.split(" ", 1)[0].rstrip(",:;")
    started = capital(text) if first.isalpha() and text.partition(": ")[0] not in names else text
    return started if started.endswith((".", "!", "?")) else f"{started}."


def soft(name: str) -> Markup:
    """A name, safe for HTML, that may break after each underscore and slash.

    >>> soft("a_b<i>")
    Markup('a_<wbr>b&lt;i&gt;')
    """
    return Markup(re.sub(r"([_/])", r"\1<wbr>", str(escape(name))))


def render(template: str, **content: Any) -> str:
    """Return one of the package's pages as HTML, with the page's style and the functions of this module."""
    return _environment().get_template(template).render(content)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bonaface.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style = resources.files("bonaface.report").joinpath("templates", "page.css").read_text(encoding="utf-8")
    for function in (
        *(percent, number, score, interval, reason_of, capital, sentence, soft),
        *(point_name, difference, chosen_words, criterion_words),
    ):
        environment.globals[function.__name__] = function
    environment.globals.update(style=Markup(style), status_names=STATUS_NAMES, measure_names=MEASURE_NAMES)
    return environment
