"""The model card: a bundle's README, written from its `bundle.json` alone, so that the two cannot disagree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bonaface.inference.bundle_schema import BundleCard, OperatingPoint, VariantCard

__all__ = ["crop_line", "describe", "model_card"]

SPLITS = {"test": "the test split", "val": "the validation split, which also chose the thresholds"}
MEANINGS = {"logit": "the logit of bona fide", "probability": "the probability of bona fide"}
LIMITS = """\
It tells a living face from the kinds of attack that it was shown; the tables say which. Other attacks, cameras and
lighting give other error rates: measure them on your own footage before you rely on it. It judges pictures, not where
they came from: a recording fed in through a virtual camera is another problem. It compares no faces and knows no
persons. It is no means of deciding about a person alone."""


def model_card(card: BundleCard) -> str:
    """The README of a bundle, in Markdown."""
    parts = [
        f"# {card.name}",
        _opening(card),
        "## Use",
        _use(card),
        "## Measured",
        *_measured(card.results),
        "## Thresholds",
        "A score at or above the threshold is accepted as bona fide.",
        _thresholds(card),
    ]
    if card.variants:
        parts += ["## Variants", _variants(card.variants), *_about_variants(card.variants)]
    parts += ["## Input and output", _input(card), "## Where it comes from", _provenance(card), "## Limits", LIMITS]
    if card.notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in card.notes)]
    return "\n\n".join(parts) + "\n"


def describe(card: BundleCard) -> Iterator[str]:
    """The same in lines for a terminal, without what never changes."""
    yield f"network: {card.architecture}"
    yield f"input: {_input_line(card)}"
    yield f"crop: {crop_line(card)}"
    yield f"output: {_output_line(card)}"
    for kind, point in card.operating_points.items():
        yield f"{_kind(kind, point)}: {_threshold(point)}"
    if not card.operating_points:
        yield "thresholds: none was chosen on validation data; 0.5 is taken"
    for name, variant in card.variants.items():
        found = variant.comparison
        held = f", {found.changed} of {found.frames} frames change their verdict" if found else ""
        yield f"variant {name}: {variant.backend} {variant.precision}{held}"
    for kind in ("image", "video"):
        if kind in card.results:
            figures = card.results[kind]
            rates = [*(f"APCER {name} {_rate(rate)}" for name, rate in figures["apcer"].items())]
            yield f"measured on {card.results['split']}, {figures['title']}: " + "; ".join(
                [*rates, f"BPCER {_rate(figures['bpcer'])}"]
            )
    if card.licence:
        yield f"licence: {card.licence}"
    yield from (f"note: {note}" for note in card.notes)


def _opening(card: BundleCard) -> str:
    what = "A face liveness network (presentation attack detection): from a face crop, how surely it is bona fide."
    licence = f"Licence: {card.licence}." if card.licence else "No licence is stated."
    return f"{what} Architecture `{card.architecture}`, made {card.created}. {licence}"


def _use(card: BundleCard) -> str:
    lines = ["bonaface predict BUNDLE photo.jpg clip.mp4", "bonaface evaluate BUNDLE manifest.csv -o results"]
    lines += [f"bonaface evaluate BUNDLE manifest.csv -o results-{name} --variant {name}" for name in card.variants]
    return "\n".join(f"    {line}" for line in [*lines, "bonaface serve BUNDLE"])


def _measured(results: Mapping[str, Any]) -> Iterator[str]:
    kinds = [kind for kind in ("image", "video") if kind in results]
    if not kinds:
        yield "Nothing is known of its error rates: no evaluation stands behind this bundle."
        return
    yield f"On {SPLITS.get(results['split'], results['split'])}, at the thresholds below; 95 % intervals over persons."
    for kind in kinds:
        figures = results[kind]
        counts = figures["counts"]
        head = (
            f"{figures['title'].capitalize()}: {counts['bona_fide']} bona fide presentations and {counts['attacks']} "
            f"attacks of {counts['persons']} persons, {counts['failed_bona_fide'] + counts['failed_attacks']} without "
            "a score and counted as not accepted."
        )
        rows = [f"| APCER, {name} | {_rate(rate)} | {_interval(rate)} |" for name, rate in figures["apcer"].items()]
        for title, key in (("BPCER", "bpcer"), ("FAR, all attacks", "far"), ("FRR", "frr"), ("HTER", "hter")):
            rows.append(f"| {title} | {_rate(figures[key])} | {_interval(figures[key])} |")
        yield head
        yield "\n".join(["| error | rate | 95 % interval |", "| --- | --- | --- |", *rows])


def _thresholds(card: BundleCard) -> str:
    rows = []
    points = [("model.onnx", card.operating_points), *((n, v.operating_points) for n, v in card.variants.items())]
    for name, chosen in points:
        for kind, point in chosen.items():
            on = point.chosen_on
            errors = f"{100 * on['far']:.2f} % / {100 * on['frr']:.2f} %" if {"far", "frr"} <= set(on) else ""
            data = f"{on['presentations']} presentations of {on['split']}" if "presentations" in on else ""
            rows.append(
                f"| {name} | {_kind(kind, point)} | {point.threshold:.4f} | {point.criterion} | {data} | {errors} |"
            )
    if not rows:
        return "No validation data has chosen one: 0.5 is taken for an image and for a video."
    head = "| network | judged | threshold | criterion | chosen on | FAR / FRR there |"
    return "\n".join([head, "| --- | --- | --- | --- | --- | --- |", *rows])


def _variants(variants: Mapping[str, VariantCard]) -> str:
    rows = []
    for name, variant in variants.items():
        found = variant.comparison
        changed = f"{found.changed} of {found.frames} ({100 * found.changed / found.frames:.2f} %)" if found else ""
        furthest = f"{found.max_probability_difference:.2g}" if found else ""
        rows.append(f"| {name} | {variant.backend} | {variant.precision} | {changed} | {furthest} |")
    head = "| variant | runs on | precision | frames that change their verdict | largest change of a probability |"
    return "\n".join([head, "| --- | --- | --- | --- | --- |", *rows])


def _about_variants(variants: Mapping[str, VariantCard]) -> Iterator[str]:
    for name, variant in variants.items():
        told = []
        if variant.comparison:
            told.append(f"compared on {variant.comparison.what}")
        if variant.calibrated_on:
            told.append(f"calibrated on {variant.calibrated_on}")
        if variant.search:
            told.append(variant.search)
        if variant.left_alone:
            told.append(f"left in f32: {', '.join(f'`{layer}`' for layer in variant.left_alone)}")
        if told:
            yield f"{name}: {'; '.join(told)}."


def crop_line(card: BundleCard) -> str:
    """What part of a picture the network sees."""
    if card.detector.name != "whole_frame":
        return f"a square of {card.crop_scale:g} x the longer side of the face box, found by {card.detector.identity}"
    what = f"a square of {min(card.crop_scale, 1):g} x the frame's shorter side, from its middle"
    return f"the shorter side resized to {card.resize} pixels, then {what}" if card.resize else what


def _input(card: BundleCard) -> str:
    lines = [
        f"- `{card.input.name}`: {_input_line(card)}",
        f"- crop: {crop_line(card)}",
        f"- `{card.output.name}`: {_output_line(card)}",
    ]
    if card.output.embedding:
        lines.append(f"- `{card.output.embedding}`: the embedding before the logit")
    return "\n".join(lines)


def _input_line(card: BundleCard) -> str:
    given = card.input
    line = f"{given.size} x {given.size} pixels, {given.colour}, {given.layout}, {given.dtype}"
    if given.dtype == "float32":
        line += f", pixel / {given.divisor:g}"
        if set(given.mean) != {0.0} or set(given.std) != {1.0}:
            line += f", then (x - {_three(given.mean)}) / {_three(given.std)}"
    return line


def _output_line(card: BundleCard) -> str:
    return MEANINGS.get(card.output.meaning, f"{card.output.meaning} is bona fide")


def _provenance(card: BundleCard) -> str:
    told = [f"- {key}: {_told(value)}" for key, value in card.training.items() if value not in ("", {}, [], None)]
    return "\n".join(told) or "Nothing is known of its training."


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_told(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_told, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _kind(kind: str, point: OperatingPoint) -> str:
    return "one image" if kind == "image" else f"a video, {point.fusion} of {point.frames} frames"


def _threshold(point: OperatingPoint) -> str:
    return f"threshold {point.threshold:.4f} ({point.criterion})"


def _rate(rate: Mapping[str, Any]) -> str:
    if rate["value"] is None:
        return f"undefined ({rate['reason']})"
    counts = f" ({rate['errors']}/{rate['total']})" if "errors" in rate else ""
    return f"{100 * rate['value']:.2f} %{counts}"


def _interval(rate: Mapping[str, Any]) -> str:
    if rate["low"] is None or rate["high"] is None:
        return rate["reason"] or "none"
    return f"{100 * rate['low']:.2f} to {100 * rate['high']:.2f} %"


def _three(values: tuple[float, float, float]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else "[" + ", ".join(f"{value:g}" for value in values) + "]"
