"""Figures as files: one drawing becomes an SVG that follows the page's colours, and a PNG on white.

A figure is drawn once, in the colours of `Ink`. The SVG names them as CSS variables of the page (`var(--ink)`), so that
it is legible on white, on black and on paper; the PNG keeps them as they are.
"""

from __future__ import annotations

import io
import re
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

__all__ = ["CLASS_STYLE", "SERIES", "Drawing", "Ink", "draw", "plain", "png_of", "slug", "tidy"]


class Ink:
    """The colours that follow the page: the name in lower case is the CSS variable that the SVG uses."""

    INK = "#1b2026"
    MUTED = "#5b6570"
    RULE = "#d6dbe1"
    BONA = "#2f79c7"
    ATTACK = "#d06a12"


SERIES = ("#2f7fc9", "#d9731a", "#2c9a7a", "#b0559b", "#8c7a1f", "#5a6fd6", "#c2515b", "#4b9aa8", "#8b6fb5", "#7c8790")
"""Colours for things without an order. Each has a contrast of at least 3 on the light and on the dark page alike, since
points that were drawn as pixels cannot follow it."""

CLASS_STYLE = {"bona_fide": (Ink.BONA, "o", "-"), "attack": (Ink.ATTACK, "^", "--")}
"""Colour, marker and line of each class: they differ in shape and dash too, for eyes and printers without colour."""

_VARIABLES = {
    value: f"var(--{name.lower()})" for name, value in vars(Ink).items() if not name.startswith("_") and name.isupper()
}
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": Ink.MUTED,
    "axes.grid": True,
    "axes.labelcolor": Ink.INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "axes.unicode_minus": True,
    "figure.dpi": 72,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": Ink.RULE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "text.color": Ink.INK,
    "text.parse_math": False,
    "xtick.color": Ink.MUTED,
    "xtick.labelcolor": Ink.INK,
    "xtick.labelsize": 8.5,
    "ytick.color": Ink.MUTED,
    "ytick.labelcolor": Ink.INK,
    "ytick.labelsize": 8.5,
}
_LONGEST = 44


@dataclass(frozen=True)
class Drawing:
    """A figure of the report: `name` is its file's stem, `alt` says in words what it shows."""

    name: str
    title: str
    alt: str
    caption: str
    svg: str
    png: bytes

    @property
    def wide(self) -> bool:
        """Whether it takes the whole width of the page."""
        match = re.search(r'viewBox="0 0 ([\d.]+)', self.svg)
        return match is not None and float(match.group(1)) > 500


def draw(
    name: str,
    paint: Callable[[Figure], None],
    *,
    title: str,
    alt: str,
    caption: str = "",
    size: tuple[float, float] = (5.3, 3.9),
) -> Drawing:
    """Have `paint` fill a new figure of `size` inches, and keep it as SVG and PNG.

    The same input gives the same bytes: own identifiers, no date, and no user's matplotlib style.
    """
    with _house_style(name):
        figure = _painted(paint, size)
        svg = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(svg, format="svg", dpi=160, transparent=True, metadata=nothing)
        png = _png(figure)
    return Drawing(name, title, alt, caption, _inline(svg.getvalue(), name, alt), png)


def png_of(name: str, paint: Callable[[Figure], None], *, size: tuple[float, float]) -> bytes:
    """Have `paint` fill a new figure of `size` inches, and keep it as PNG alone."""
    with _house_style(name):
        return _png(_painted(paint, size))


@contextmanager
def _house_style(name: str) -> Iterator[None]:
    with mpl.style.context(["default", {**_STYLE, "svg.hashsalt": name}]), warnings.catch_warnings():
        # A name in a script that the shipped font lacks is drawn as boxes in the PNG and as itself in the SVG.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        yield


def _painted(paint: Callable[[Figure], None], size: tuple[float, float]) -> Figure:
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    paint(figure)
    # Laid out once: the SVG and the PNG are then the same drawing, and the second costs half.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def tidy(axes: Axes, *, x: str = "", y: str = "") -> None:
    """Label the axes and take away what says nothing."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.tick_params(length=0)


def plain(text: object, *, longest: int = _LONGEST) -> str:
    """A name as a figure can carry it: no control characters, no leading underscore (which would hide it), not too long.

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
    """A name as a file and as an identifier.

    >>> slug("Most wrong: attacks")
    'most_wrong__attacks'
    """
    return "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in text.lower())[:40]


def _inline(svg: str, name: str, alt: str) -> str:
    """The `<svg>` element alone, in the page's font and colours, with identifiers that no other figure has."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*;?", r"font-size: \1;", svg)
    svg = svg.replace("xlink:href=", "href=")
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", svg)
    svg = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r'(d="[^"]*?)"', lambda found: " ".join(found[1].split()) + '"', svg)
    svg = re.sub(r">\s+<(?!/?tspan)", "><", svg)
    view = re.search(r'viewBox="[^"]+"', svg)
    head = f'<svg {view.group() if view else ""} role="img" aria-label="{_attribute(alt)}">'
    return re.sub(r"^<svg[^>]*>", lambda _: head, svg)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
