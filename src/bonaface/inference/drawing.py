"""Draw the result of a frame onto its picture: the face's box, the outcome, the trace of scores."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from bonaface.types import CLASS_COLOURS, FrameScore, Label

_COLOURS = {label: ImageColor.getrgb(colour)[:3] for label, colour in CLASS_COLOURS.items()}
_MARKS = {
    "bona_fide": (((0.2, 0.5), (0.42, 0.75), (0.8, 0.25)),),
    "attack": (((0.22, 0.22), (0.78, 0.78)), ((0.22, 0.78), (0.78, 0.22))),
}
"""A tick and a cross in a square of side 1, so that the outcome does not depend on colour alone."""
_OTHER = (120, 120, 120)


def annotated(
    picture: NDArray[np.uint8],
    frame: FrameScore,
    *,
    threshold: float,
    title: str = "",
    trace: Sequence[float | None] = (),
) -> NDArray[np.uint8]:
    """Return a copy of an RGB picture with one frame's result; `trace` are the scores up to it, None for no score.

    Blue, a full line and a tick mean bona fide; orange, a broken line and a cross mean attack.
    """
    image = Image.fromarray(np.ascontiguousarray(picture))
    pen = ImageDraw.Draw(image, "RGBA")
    unit = max(min(image.size) / 480, 0.4)
    font = ImageFont.load_default(size=max(round(16 * unit), 10))
    outcome = frame.status.value
    if frame.score is not None:
        outcome = Label.BONA_FIDE.value if frame.score >= threshold else Label.ATTACK.value
    colour = _COLOURS.get(outcome, _OTHER)
    words = outcome.replace("_", " ") if frame.score is None else f"{outcome.replace('_', ' ')} {frame.score:.3f}"
    if frame.box is not None:
        x, y, w, h = frame.box
        _frame(pen, (x, y, x + w, y + h), colour, width=max(round(3 * unit), 2), broken=outcome != "bona_fide")
    head = f"{words}   threshold {threshold:.3f}" + (f"   {title}" if title else "")
    _label(pen, head, colour, font, pad=round(6 * unit), mark=_MARKS.get(outcome, ()))
    if trace:
        _trace(pen, image.size, trace, threshold, unit)
    return np.asarray(image, dtype=np.uint8)


def _frame(
    pen: ImageDraw.ImageDraw,
    corners: tuple[float, float, float, float],
    colour: tuple[int, int, int],
    *,
    width: int,
    broken: bool,
) -> None:
    left, top, right, bottom = corners
    if not broken:
        pen.rectangle(corners, outline=colour, width=width)
        return
    dash = max((right - left + bottom - top) / 24, 4)
    ends = [np.array(end) for end in ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))]
    for a, b in pairwise(ends):
        steps = max(int(np.linalg.norm(b - a) / dash), 1)
        for step in range(0, steps, 2):
            points = [tuple(map(float, a + (b - a) * share / steps)) for share in (step, min(step + 1, steps))]
            pen.line(points, fill=colour, width=width)


def _label(
    pen: ImageDraw.ImageDraw,
    text: str,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    *,
    pad: int,
    mark: Sequence[Sequence[tuple[float, float]]],
) -> None:
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    pen.rectangle((0, 0, right - left + 3 * pad + bottom, bottom - top + 2 * pad), fill=(0, 0, 0, 190))
    side = bottom - top
    pen.rectangle((pad, pad, pad + side, pad + side), fill=colour)
    for line in mark:
        pen.line(
            [(pad + x * side, pad + y * side) for x, y in line], fill=(255, 255, 255), width=max(round(side / 7), 1)
        )
    pen.text((2 * pad + bottom - top, pad - top), text, fill=(255, 255, 255), font=font)


def _trace(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], trace: Sequence[float | None], threshold: float, unit: float
) -> None:
    """Scores from 0 at the bottom to 1 at the top, the newest at the right, the threshold as a line."""
    width, height = size
    tall, pad = round(64 * unit), round(8 * unit)
    bottom, top = height - pad, height - pad - tall
    pen.rectangle((0, top - pad, width, height), fill=(0, 0, 0, 150))
    y = bottom - threshold * tall
    pen.line(((pad, y), (width - pad, y)), fill=(255, 255, 255, 160), width=1)
    step = (width - 2 * pad) / max(len(trace) - 1, 1)
    radius = max(1.6 * unit, 1.2)
    for number, score in enumerate(trace):
        if score is None:
            continue
        colour = _COLOURS["bona_fide" if score >= threshold else "attack"]
        x, y = pad + number * step, bottom - float(score) * tall
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
