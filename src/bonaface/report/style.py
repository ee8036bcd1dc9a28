"""Colours, fonts and files of the report's figures: each is drawn once, on white, as SVG and as PNG."""

from __future__ import annotations

import base64
import io
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bonaface.types import CLASS_COLOURS

WIDTH = 4.3
"""Inches: on a phone, where a figure is about 330 pixels wide, its text is 11 pixels high."""

TEXT, MUTED, RULE = "#1b2026", "#56606b", "#d6dbe1"
BONA_FIDE, ATTACK = CLASS_COLOURS["bona_fide"], CLASS_COLOURS["attack"]

SERIES = (
    BONA_FIDE,
    ATTACK,
    "#2c9a7a",
    "#b0559b",
    "#8c7a1f",
    "#5a6fd6",
    "#c2515b",
    "#4b9aa8",
    "#8b6fb5",
    "#7c8790",
)
"""Colours of things without an order; each has a contrast of at least 3 on white."""

CLASS_STYLE = {"bona_fide": (BONA_FIDE, "o", "-"), "attack": (ATTACK, "^", "--")}
"""Colour, marker and line of each class: they differ in shape and dash too, for eyes and printers without colour."""

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": TEXT,
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10.5,
    "axes.unicode_minus": True,
    "figure.dpi": 72,
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "text.color": TEXT,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": TEXT,
    "xtick.labelsize": 10,
    "ytick.color": MUTED,
    "ytick.labelcolor": TEXT,
    "ytick.labelsize": 10,
}
_LONGEST = 40


@dataclass(frozen=True)
class Drawing:
    """A figure of the report: `name` is its file's stem, `alt` describes it in words, `uri` is its SVG as a data URI."""

    name: str
    title: str
    alt: str
    caption: str
    uri: str
    png: bytes


def draw(
    name: str,
    paint: Callable[[Figure], None],
    *,
    title: str,
    alt: str,
    caption: str = "",
    height: float = 3.9,
) -> Drawing:
    """Have `paint` fill a new figure of WIDTH by `height` inches, and keep it as SVG and PNG.

    The same input gives the same bytes: fixed identifiers, no date, and no user's matplotlib style.
    """
    with _painted(name, paint, (WIDTH, height)) as figure:
        svg = io.BytesIO()
        figure.savefig(
            svg, format="svg", facecolor="white", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
        png = _png(figure)
    return Drawing(name, title, alt, caption, as_uri(svg.getvalue(), "image/svg+xml"), png)


def png_of(name: str, paint: Callable[[Figure], None], *, size: tuple[float, float]) -> bytes:
    """Have `paint` fill a new figure of `size` inches, and return it as PNG."""
    with _painted(name, paint, size) as figure:
        return _png(figure)


def as_uri(content: bytes, media_type: str) -> str:
    """Return a picture's bytes as a data URI, which a page holds in itself."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


@contextmanager
def _painted(name: str, paint: Callable[[Figure], None], size: tuple[float, float]) -> Iterator[Figure]:
    with mpl.style.context(["default", {**_STYLE, "svg.hashsalt": name}]), warnings.catch_warnings():
        # A name in a script that the shipped font lacks is drawn as boxes in the PNG and as itself in the SVG.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        paint(figure)
        # Laid out once: the SVG and the PNG are then the same drawing, and the second costs half.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        yield figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=180, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def tidy(axes: Axes, *, x: str = "", y: str = "") -> None:
    """Label the axes and remove the tick marks."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.tick_params(length=0)


def legend(figure: Figure, axes: Axes) -> None:
    """Put the legend above the axes: two entries a line where they are short."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        columns = 2 if max(map(len, labels)) <= 18 else 1
        figure.legend(
            handles, labels, loc="outside upper left", ncols=columns, handlelength=2.2, columnspacing=1.4, borderpad=0.1
        )


def plain(text: object, *, longest: int = _LONGEST) -> str:
    """Return a name that a figure can show: no control characters, no leading underscore (which would hide it), not too long.

    >>> plain("_a" + chr(0) + "b")
    ' _a b'
    >>> plain("replay_ipad_pro_third_generation_with_glare_on_it", longest=20)
    'replay_ip…lare_on_it'
    """
    shown = "".join(" " if unicodedata.category(sign)[0] == "C" else sign for sign in str(text))
    if len(shown) > longest:
        head = (longest - 1) // 2
        shown = f"{shown[:head]}…{shown[head + 1 - longest :]}"
    return f" {shown}" if shown.startswith("_") else shown


def slug(text: str) -> str:
    """Return a name as a file name.

    >>> slug("Most wrong: attacks")
    'most_wrong__attacks'
    """
    return "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in text.lower())[:40]
