"""Figures of the training history, and of the embedding."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator, PercentFormatter

from bonaface.report.style import BONA_FIDE, MUTED, RULE, SERIES, TEXT, Drawing, draw, legend, plain, slug, tidy

MOST_COLOURS = 10
MOST_MARKED_EPOCHS = 40
MOST_VECTOR_POINTS = 1200
_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", ">", "h")
_LOSSES = {
    "train_loss": ("training", MUTED, "--", "s"),
    "val_loss": ("validation", BONA_FIDE, "-", "o"),
}


def training_figure(history: pd.DataFrame) -> Drawing | None:
    """Loss, validation error and learning rate over the epochs; None where the history has none of them.

    `history` has a row an epoch: `epoch` and any of `train_loss`, `val_loss`, `val_hter` (a share), `lr`; with several
    sources `val_loss/NAME` of each.
    """
    panels = [
        kind
        for kind, columns in {"loss": [*_LOSSES], "hter": ["val_hter"], "lr": ["lr"]}.items()
        if any(column in history and history[column].notna().any() for column in columns)
    ]
    if not panels or "epoch" not in history:
        return None
    best = None
    if "val_loss" in history and history["val_loss"].notna().any():
        best = float(history["epoch"].iloc[int(np.nanargmin(history["val_loss"].to_numpy(dtype=float)))])
    sources = [str(name) for name in history if str(name).startswith("val_loss/")]
    simulated = ", simulated attacks included" if "val_simulated_far" in history else ""

    def line(axes: Axes, column: str, *, marker: str, **style: Any) -> None:
        known = history.loc[history[column].notna(), ["epoch", column]].to_numpy(dtype=np.float64)
        marker = marker if len(known) <= MOST_MARKED_EPOCHS else ""
        axes.plot(known[:, 0], known[:, 1], marker=marker, markersize=3.5, **style)

    def paint(figure: Figure) -> None:
        rows = figure.subplots(
            len(panels), 1, sharex=True, squeeze=False, height_ratios=[2 if p == "loss" else 1 for p in panels]
        )[:, 0]
        for axes, kind in zip(rows, panels, strict=True):
            if kind == "loss":
                for column, (title, colour, dash, marker) in _LOSSES.items():
                    if column in history and history[column].notna().any():
                        more = simulated if column == "val_loss" else ""
                        line(axes, column, color=colour, linestyle=dash, marker=marker, label=title + more)
                for column, colour in zip(sources, cycle(SERIES[1:]), strict=False):
                    label = plain(f"validation, {column.partition('/')[2]}", longest=32)
                    line(axes, column, color=colour, linestyle=":", marker="", label=label)
                axes.set_ylim(bottom=0)
                tidy(axes, y="loss, nats")
            elif kind == "hter":
                line(axes, "val_hter", color=BONA_FIDE, marker="o")
                axes.set_ylim(bottom=0)
                axes.yaxis.set_major_formatter(PercentFormatter(1.0))
                tidy(axes, y="validation HTER")
            else:
                line(axes, "lr", color=MUTED, marker="", drawstyle="steps-mid")
                axes.set_yscale("log")
                # The log scale's own labels are formulas, and text in our figures is never parsed as one.
                axes.yaxis.set_major_formatter(LogFormatter(labelOnlyBase=True))
                axes.yaxis.set_minor_formatter(LogFormatter())
                tidy(axes, y="learning rate")
            if best is not None:
                axes.axvline(best, color=TEXT, linewidth=1, linestyle=":", label=f"lowest validation loss ({best:g})")
        rows[-1].set_xlabel("epoch")
        rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        legend(figure, rows[0])

    return draw(
        "training",
        paint,
        title="Training",
        alt=f"Training over {len(history)} epochs: " + ", ".join(panels),
        caption="Validation loss that rises while training loss falls means overfitting.",
        height=1.8 + 1.3 * len(panels),
    )


def embedding_figure(frame: pd.DataFrame, by: str) -> Drawing:
    """t-SNE coordinates coloured by a column; classes by blue circles and orange triangles, others by colour and shape.

    `frame` has `x`, `y` and the column. Beyond ten values the rarest are drawn together.
    """
    values = frame[by].astype("str").where(frame[by].notna(), "")
    if by == "species" and "label" in frame:
        values = values.where(frame["label"] != "bona_fide", "bona_fide")
    styles = _styles(values, by)
    pixels = len(frame) > MOST_VECTOR_POINTS

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        size = float(np.clip(9000 / max(len(frame), 1), 3, 24))
        for value, (title, colour, marker) in styles.items():
            chosen = (
                values == value if value is not None else ~values.isin([name for name in styles if name is not None])
            )
            axes.scatter(
                frame.loc[chosen, "x"],
                frame.loc[chosen, "y"],
                s=size,
                c=colour,
                marker=marker,
                linewidths=0,
                alpha=0.75,
                rasterized=pixels,
                label=plain(f"{title} ({int(chosen.sum()):,})", longest=32),
            )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(False)
        axes.set_aspect("equal", adjustable="datalim")
        for spine in axes.spines.values():
            spine.set_visible(True)
            spine.set_color(RULE)
        names = figure.legend(loc="outside upper left", ncols=1 + (len(styles) > 5), handletextpad=0.2, borderpad=0.1)
        for handle in names.legend_handles:
            if handle is not None:
                handle.set(sizes=[28], alpha=1, rasterized=False)

    return draw(
        f"tsne_{slug(by)}",
        paint,
        title=f"Embedding by {'class' if by == 'label' else plain(by)}",
        alt=f"t-SNE of {len(frame):,} embeddings, coloured by {'class' if by == 'label' else by}",
        caption="t-SNE keeps neighbours together; distances between groups, and their sizes, mean nothing.",
        height=4.6,
    )


def _styles(values: pd.Series[str], by: str) -> Mapping[str | None, tuple[str, str, str]]:
    """Title, colour and marker of each value; the key None stands for all the rest."""
    counts = values.value_counts()
    ordered = sorted(counts.index, key=lambda value: (-int(counts[value]), value))
    if by == "label":
        ordered = sorted(counts.index, reverse=True)
    styles: dict[str | None, tuple[str, str, str]] = {}
    kept = ordered if len(ordered) <= MOST_COLOURS else ordered[: MOST_COLOURS - 1]
    looks = cycle(zip(SERIES, _MARKERS, strict=True))
    fixed = {"bona_fide": ("bona fide", *next(looks))} if by in {"label", "species"} else {}
    for value in kept:
        styles[value] = fixed[value] if value in fixed else (value or "(empty)", *next(looks))
    if len(kept) < len(ordered):
        styles[None] = (f"{len(ordered) - len(kept)} others", SERIES[-1], ".")
    return styles
