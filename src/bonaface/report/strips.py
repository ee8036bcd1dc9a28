"""Pictures for a single presentation: its frames side by side, each over its heat maps, the score under it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from bonaface.report.pictures import GalleryItem
from bonaface.report.style import plain, png_of

INCHES = 1.75


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
