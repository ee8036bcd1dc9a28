"""The perceptual hash of a picture, as it is and as it would be after cuts at its sides."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["CELLS", "CROPS", "Crop", "cells_of", "hash_of", "hash_of_crops", "mirror"]

Floats = NDArray[np.float32]

Crop = tuple[float, float, float, float]
"""What is cut off at the left, top, right and bottom, as shares of the width and the height."""

CELLS = 8
CUTS = (0.0, 0.08, 0.16, 0.24)
MOST_CUT = 0.5
_PAIRS = tuple((low, high) for low in CUTS for high in CUTS if low + high < MOST_CUT)
CROPS: tuple[Crop, ...] = tuple((left, top, right, bottom) for top, bottom in _PAIRS for left, right in _PAIRS)
"""The cuts that are tried: up to a quarter off each side, the picture as it is first."""

FLAT = 3.0
"""A picture whose cells spread less than this many grey levels says nothing."""

_Cuts = tuple[tuple[float, float], ...]


def hash_of(grey: Floats) -> Floats | None:
    """The mean grey levels of 8 x 8 cells, centred and scaled to length one, `(64,)`; None for a flat picture."""
    found = _hashes(grey, ((0.0, 0.0),), ((0.0, 0.0),))
    return None if found is None else found[0]


def hash_of_crops(grey: Floats) -> Floats | None:
    """The hash of a picture after each of CROPS, `(256, 64)`, the first being the picture's own; None where it is flat."""
    return _hashes(grey, _PAIRS, _PAIRS)


def cells_of(greys: NDArray[np.uint8], crop: Crop) -> Floats:
    """Square pictures `(n, side, side)` after one cut, at their own size again, and flat: `(n, side^2)`."""
    side = greys.shape[1]
    left, top, right, bottom = crop
    rows, columns = _weights(side, ((top, bottom),), side), _weights(side, ((left, right),), side)
    return np.asarray(rows @ greys.astype(np.float32) @ columns.T, dtype=np.float32).reshape(len(greys), -1)


def mirror(hashed: Floats) -> Floats:
    """The hash of the mirrored picture."""
    return np.ascontiguousarray(hashed.reshape(CELLS, CELLS)[:, ::-1]).ravel()


def _hashes(grey: Floats, down: _Cuts, across: _Cuts) -> Floats | None:
    """The hash after every pair of cuts at top and bottom, with every pair at left and right."""
    rows, columns = _weights(grey.shape[0], down), _weights(grey.shape[1], across)
    levels = (rows @ grey @ columns.T).reshape(len(down), CELLS, len(across), CELLS)
    flat = levels.transpose(0, 2, 1, 3).reshape(len(down) * len(across), CELLS * CELLS)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    if length[0, 0] < FLAT * CELLS:
        return None
    return np.asarray(flat / np.maximum(length, 1e-6), dtype=np.float32)


@lru_cache(maxsize=256)
def _weights(length: int, cuts: _Cuts, cells: int = CELLS) -> Floats:
    """What each pixel of a side gives to each cell, for each pair of cuts at its ends: `(pairs * cells, length)`."""
    low, high = np.array(cuts, dtype=np.float64).T
    edges = (low[:, None] + np.linspace(0, 1, cells + 1) * (1 - low - high)[:, None]) * length
    pixel = np.arange(length)
    shared = np.minimum(edges[:, 1:, None], pixel + 1) - np.maximum(edges[:, :-1, None], pixel)
    shares = np.maximum(shared, 0) / (edges[:, 1] - edges[:, 0])[:, None, None]
    return np.asarray(shares.reshape(-1, length), dtype=np.float32)
