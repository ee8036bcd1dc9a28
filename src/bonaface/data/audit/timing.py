"""Which frames of two videos may be the same, when the one is a part of the other, or has fewer frames a second."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bonaface.data.audit.film import Film
from bonaface.data.audit.hashing import Crop, cells_of

__all__ = ["meetings"]

Floats = NDArray[np.float32]

MEETINGS = 6
ROUNDS = 3
CLEAR = 0.35
"""Most distance between frames that meet, as a share of that between frames that do not."""

NEAR = 0.4
"""Most distance between a picture and a frame that may be it, as a share of what is in either."""

ORDERED = 4
"""So many meetings, one after the other in both, speak for themselves."""


def meetings(part: Film, whole: Film, *, crop: Crop, mirrored: bool) -> list[tuple[int, tuple[int, ...]]]:
    """Frames of `part`, each with those of `whole` that may be the same picture, the likeliest first; empty where none may.

    `whole` is mirrored or not, and cut by `crop`, to lie over `part`.
    """
    tiny = whole.tiny[:, :, ::-1] if mirrored else whole.tiny
    first, second = _levelled(cells_of(part.tiny, (0, 0, 0, 0))), _levelled(cells_of(tiny, crop))
    if min(len(first), len(second)) == 1:
        return _of_picture(first, second, part, whole)
    distance = _distances(first, second)
    for _ in range(ROUNDS):
        mutual, there = _mutual(distance)
        # What cropping and coding do to a cell, they do in every frame.
        off = np.median(first[mutual] - second[there], axis=0)
        distance = _distances(first - off, second)
    mutual, there = _mutual(distance)
    near, far = distance[mutual, there], np.median(distance, axis=1)[mutual]
    chosen = [some[np.argmin(near[some])] for some in np.array_split(np.arange(len(mutual)), MEETINGS) if len(some)]
    in_order = len(chosen) >= ORDERED and bool((np.diff(there[chosen]) > 0).all())
    if not in_order and float(np.median(near / np.maximum(far, 1e-6))) > CLEAR:
        return []
    return [
        (int(mutual[at]) * part.step, _around(int(there[at]), whole)) for at in sorted(chosen, key=lambda at: near[at])
    ]


def _of_picture(first: Floats, second: Floats, part: Film, whole: Film) -> list[tuple[int, tuple[int, ...]]]:
    """A picture and the kept frames of a video that are nearest to it."""
    distance = _distances(first, second)
    order = np.argsort(distance, axis=None, kind="stable")[:MEETINGS]
    rows, columns = np.unravel_index(order, distance.shape)
    near = distance[rows, columns] <= NEAR * math.sqrt(first.shape[1])
    rows, columns = rows[near], columns[near]
    return [(int(row) * part.step, (int(column) * whole.step,)) for row, column in zip(rows, columns, strict=True)]


def _around(index: int, film: Film) -> tuple[int, ...]:
    """The frames that a kept one stands for: itself, and those around it that were not kept."""
    middle = index * film.step
    return tuple(frame for frame in range(middle - film.step + 1, middle + film.step) if frame >= 0)


def _levelled(cells: Floats) -> Floats:
    return np.asarray((cells - cells.mean()) / max(float(cells.std()), 1e-3), dtype=np.float32)


def _distances(first: Floats, second: Floats) -> Floats:
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :] - 2 * first @ second.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)), dtype=np.float32)


def _mutual(distance: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows whose nearest column has them nearest in turn, and those columns."""
    there, back = distance.argmin(axis=1), distance.argmin(axis=0)
    rows = np.flatnonzero(back[there] == np.arange(len(there)))
    return rows, there[rows]
