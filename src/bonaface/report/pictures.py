"""Pictures of presentations: heat maps blended over crops, JPEGs inside the page, contact sheets and strips of frames."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from bonaface.report.style import MUTED, TEXT, as_uri, plain, png_of

SIDE = 224
INCHES = 1.75
"""Width of a frame in a strip."""
GAP = 8
QUALITY = 82

GALLERY_TITLES = {
    "wrong": ("Most wrong", "Decided wrongly, and farthest from the threshold: the first to look at."),
    "certain_bona_fide": ("Most certain: bona fide", "Bona fide presentations with the highest scores."),
    "certain_attack": ("Most certain: attacks", "Attacks with the lowest scores."),
    "failed": ("No answer", "Presentations without a score."),
}
"""Heading and one sentence of each group of the gallery; any other group has its name as the heading."""


@dataclass(frozen=True)
class GalleryItem:
    """One presentation that is shown: its crop, and where the network looked for either outcome.

    The crop is `(h, w, 3)` uint8 RGB, a heat map `(h, w)` float between 0 and 1. `accepted` is the decision, None without
    a score.
    """

    presentation: str
    label: str
    group: str
    crop: NDArray[np.uint8] | None = field(default=None, repr=False)
    bona_fide: NDArray[np.floating] | None = field(default=None, repr=False)
    attack: NDArray[np.floating] | None = field(default=None, repr=False)
    species: str = ""
    score: float | None = None
    threshold: float | None = None
    accepted: bool | None = None
    status: str = "ok"
    note: str = ""

    @property
    def right(self) -> bool | None:
        """Whether the decision was right; None without one."""
        return None if self.accepted is None else self.accepted == (self.label == "bona_fide")

    def pictures(self) -> list[tuple[str, NDArray[np.uint8]]]:
        """The pictures to show, each with its caption."""
        if self.crop is None:
            return []
        maps = (("speaks for bona fide", self.bona_fide), ("speaks for attack", self.attack))
        return [("the crop", self.crop), *((name, blend(self.crop, heat)) for name, heat in maps if heat is not None)]


def blend(crop: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A heat map of values between 0 and 1 over a crop: the hotter, the less of the crop shows through.

    The colour map rises in lightness alone, so it reads without colour too.
    """
    values = np.clip(np.nan_to_num(np.asarray(heat, dtype=np.float32)), 0, 1)
    colours = mpl.colormaps["inferno"](0.15 + 0.85 * values)[..., :3]
    alpha = 0.7 * values[..., None]
    grey = crop.astype(np.float32) / 255
    return np.asarray(np.rint(255 * ((1 - alpha) * grey + alpha * colours)), dtype=np.uint8)


def data_uri(picture: NDArray[np.uint8], *, side: int = SIDE) -> str:
    """A picture as a JPEG that lies in the page itself, its longer side at most `side` pixels."""
    image = Image.fromarray(np.ascontiguousarray(picture)).convert("RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=QUALITY, optimize=True)
    return as_uri(buffer.getvalue(), "image/jpeg")


def contact_sheet(items: Sequence[GalleryItem]) -> bytes:
    """All pictures of a group on one PNG, a row of at most three for each presentation, two presentations abreast."""
    shown = [item for item in items if item.pictures()]
    width, height = 3 * SIDE + 2 * GAP, SIDE + 58
    rows = max(-(-len(shown) // 2), 1)
    sheet = Image.new("RGB", (2 * width + 4 * GAP, rows * (height + GAP) + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 13)
    for index, item in enumerate(shown):
        left, top = GAP + (index % 2) * (width + 2 * GAP), GAP + (index // 2) * (height + GAP)
        for column, (caption, picture) in enumerate(item.pictures()):
            image = Image.fromarray(np.ascontiguousarray(picture)).convert("RGB")
            x = left + column * (SIDE + GAP)
            pen.text((x, top), caption, fill=MUTED, font=font)
            sheet.paste(ImageOps.contain(image, (SIDE, SIDE), Image.Resampling.LANCZOS), (x, top + 18))
        score = "no score" if item.score is None else f"score {item.score:.4f}"
        verdict = {True: "", False: ", decided wrongly", None: ""}[item.right]
        kind = plain(item.species or item.label.replace("_", " "), longest=36)
        name = plain(item.presentation, longest=70)
        pen.text((left, top + SIDE + 21), f"{kind}, {score}{verdict}\n{name}", fill=TEXT, font=font, spacing=2)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def strip(items: Sequence[GalleryItem], *, title: str, subtitle: str = "") -> bytes:
    """A PNG with a column per frame of one presentation: crop, what speaks for bona fide, what speaks for attack.

    `note` of an item is printed under its column next to the score, such as its time.
    """
    rows = max(len(item.pictures()) for item in items)

    def paint(figure: Figure) -> None:
        grid = figure.subplots(rows, len(items), squeeze=False)
        for axes in grid.flat:
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
        for column, item in enumerate(items):
            for row, (caption, picture) in enumerate(item.pictures()):
                axes = grid[row, column]
                axes.imshow(np.asarray(picture), interpolation="lanczos")
                if column == 0:
                    axes.set_ylabel(caption, fontsize=8)
            score = "no score" if item.score is None else f"score {item.score:.4f}"
            grid[rows - 1, column].set_xlabel(f"{score}\n{item.note}" if item.note else score, fontsize=8)
        figure.suptitle(plain(title, longest=60) + (f"\n{subtitle}" if subtitle else ""), fontsize=9.5)

    width = max(INCHES * len(items), 3.6) + 0.3
    return png_of("strip", paint, size=(width, INCHES * rows + 0.9))
