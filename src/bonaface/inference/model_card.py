"""The model card: a bundle's README, rendered from its `bundle.json` alone, so that the two cannot disagree."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from bonaface.data.cropping import MAX_ENLARGEMENT, default_min_face
from bonaface.inference.bundle_schema import BundleCard, EnsembleCard, OperatingPoint
from bonaface.types import percent

if TYPE_CHECKING:
    from jinja2 import Template

SPLITS = {"test": "the test split", "val": "the validation split, which also chose the thresholds"}


def model_card(card: BundleCard) -> str:
    """Return the README of a bundle, in Markdown."""
    return _template().render(card=card, splits=SPLITS)


def describe(card: BundleCard) -> Iterator[str]:
    """Yield what a bundle is in lines for a terminal, without what is the same for all."""
    yield f"network: {card.architecture}"
    yield f"input: {input_line(card)}"
    yield f"crop: {crop_line(card)}"
    yield f"output: {output_line(card)}"
    if card.ensemble:
        yield f"ensemble: {ensemble_line(card.ensemble)}"
    yield from limits_lines(card)
    for kind, point in card.operating_points.items():
        yield f"{point_line(kind, point)}: threshold {point.threshold:.4f} ({point.criterion})"
    if not card.operating_points:
        yield "thresholds: none was chosen on validation data; 0.5 is used"
    for name, variant in card.variants.items():
        found = variant.comparison
        changed = f", the verdict changes for {found.changed} of {found.frames} frames" if found else ""
        yield f"variant {name}: {variant.backend} {variant.precision}{changed}"
    for kind in ("image", "video"):
        figures = card.results.get(kind)
        if isinstance(figures, Mapping) and isinstance(apcer := figures.get("apcer"), Mapping):
            rates = [f"APCER {name} {rate_text(rate)}" for name, rate in apcer.items()]
            rates.append(f"BPCER {rate_text(figures.get('bpcer'))}")
            yield f"measured on {card.results.get('split')}, {figures.get('title')}: {'; '.join(rates)}"
    if card.licence:
        yield f"licence: {card.licence}"
    yield from (f"note: {note}" for note in card.notes)


def crop_line(card: BundleCard) -> str:
    """Return which part of a picture the network sees."""
    if card.detector.name != "whole_frame":
        return f"a square of {card.crop_scale:g} x the longer side of the face box, found by {card.detector.identity}"
    what = f"a square of {min(card.crop_scale, 1):g} x the frame's shorter side, from its middle"
    return f"the shorter side resized to {card.resize} pixels, then {what}" if card.resize else what


def input_line(card: BundleCard) -> str:
    """Return size, colour order, layout, type and range of the network's input."""
    given = card.input
    line = f"{given.size} x {given.size} pixels, {given.colour}, {given.layout}, {given.dtype}"
    if given.dtype != "uint8":
        line += f", pixel / {given.divisor:g}"
        if set(given.mean) != {0.0} or set(given.std) != {1.0}:
            line += f", then (x - {_three(given.mean)}) / {_three(given.std)}"
    return line


def limits_lines(card: BundleCard) -> Iterator[str]:
    """Yield the smallest face that is scored, and the limits on its quality."""
    if card.min_face is not None:
        yield f"smallest face: {card.min_face:g} pixels"
    else:
        min_face = math.ceil(default_min_face(scale=card.crop_scale, size=card.input.size))
        yield f"smallest face: {min_face} pixels, whose crop is enlarged {MAX_ENLARGEMENT} times"
    limits = ", ".join(f"{name} {limit}" for name, limit in card.quality.items())
    yield f"limits on quality: {limits or 'none'}"


def output_line(card: BundleCard) -> str:
    """Return what the network's output means."""
    known = {"logit": "the logit of bona fide", "probability": "the probability of bona fide"}
    return known.get(card.output.meaning, f"{card.output.meaning} is bona fide")


def ensemble_line(second: EnsembleCard) -> str:
    """Return what an ensemble's second network is, and what it sees."""
    return (
        f"{second.weight:.3g} times the logit of {second.name} (bundle {second.bundle}, "
        f"{second.licence or 'no licence stated'}) is added; its crop has scale {second.crop_scale:g} and "
        f"{second.input.size} x {second.input.size} pixels"
    )


def point_line(kind: str, point: OperatingPoint) -> str:
    """Return what an operating point scores."""
    return "one image" if kind == "image" else f"a video, {point.fusion} of {point.frames} frames"


def rate_text(rate: Any) -> str:
    """Return an error rate with its counts."""
    rate = rate if isinstance(rate, Mapping) else {}
    if not isinstance(rate.get("value"), (int, float)):
        return f"undefined ({rate.get('reason') or 'not measured'})"
    return percent(rate["value"]) + (f" ({rate['errors']}/{rate['total']})" if {"errors", "total"} <= set(rate) else "")


@cache
def _template() -> Template:
    from jinja2 import ChainableUndefined, Environment, PackageLoader  # slow to import, and not needed to score

    environment = Environment(
        loader=PackageLoader("bonaface.inference"),
        autoescape=False,
        undefined=ChainableUndefined,  # results come from a file
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": _percent, "rate": rate_text, "interval": _interval, "plain": _plain}
    environment.globals |= {
        "crop_line": crop_line,
        "ensemble_line": ensemble_line,
        "input_line": input_line,
        "limits_lines": limits_lines,
        "output_line": output_line,
        "point_line": point_line,
        "rates": _rates,
    }
    return environment.get_template("model_card.md.j2")


def _rates(figures: Any) -> Iterator[tuple[str, Any]]:
    """Yield the title of each error rate and the rate."""
    if isinstance(figures, Mapping):
        apcer = figures.get("apcer")
        yield from ((f"APCER, {name}", rate) for name, rate in (apcer.items() if isinstance(apcer, Mapping) else ()))
        for title, key in (("BPCER", "bpcer"), ("FAR, all attacks", "far"), ("FRR", "frr"), ("HTER", "hter")):
            yield title, figures.get(key)


def _interval(rate: Any) -> str:
    rate = rate if isinstance(rate, Mapping) else {}
    if not all(isinstance(rate.get(bound), (int, float)) for bound in ("low", "high")):
        return str(rate.get("reason") or "none")
    return f"{percent(rate['low'], unit=False)} to {percent(rate['high'])}"


def _percent(value: Any) -> str:
    return percent(value) if isinstance(value, (int, float)) else "unknown"


def _plain(value: Any) -> str:
    """Return nested values as text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _three(values: tuple[float, float, float]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else "[" + ", ".join(f"{value:g}" for value in values) + "]"
