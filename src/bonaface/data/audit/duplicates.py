"""Find presentations that show the same picture: re-encoded, resized, brightened, mirrored or cropped at the sides.

Each presentation is known by a few small grey views. A perceptual hash of 8 x 8 mean grey levels proposes pairs: one matrix
product compares the hash of every view with the hash that every other view would have after a crop. An ECC alignment
(`cv2.findTransformECC`; Evangelidis and Psarakis, PAMI 2008) then lays the two views over each other, and the pair is a
copy where their fine detail correlates.

Not found: crops beyond 15 % a side, rotations, added borders or text, a changed frame rate, trimmed videos, and frames taken
out of a video between its views.

Each bound was chosen on drawn persons (`benchmarks/audit.py --first 0`). On others (`--first 900000`) 97 of 100 planted copies
were found. 5 of 1.44 million pairs were taken for copies: one person in one place at two moments, each of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.types import counted

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]

Crop = tuple[float, float, float, float]
"""What is cut off at the left, top, right and bottom, as shares of the width and the height."""

CELLS = 8
"""Cells along a side of the hash, as in the usual 64-value perceptual hashes."""

CUTS = (0.0, 0.05, 0.1, 0.15)
"""Cuts that are tried at each side. Steps of 5 % leave every crop of up to 15 % within the reach of the alignment."""

ALIKE = 0.9
"""Least cosine of the hashes of a candidate pair. Of 120 copies cropped at random, the lowest had 0.96."""

SIDE = 160
"""Longer side of a view in pixels: large enough to see a head move, small enough for 6 ms a pair."""

SAME = 0.955
"""Least correlation of the fine detail of two aligned views. Of 100 copies 99 had 0.9566 or more; of the pairs that show one
place and person at two moments, three in 1.4 million had 0.9577 or more, all others 0.9527 or less."""


@dataclass(frozen=True)
class View:
    """A frame of a presentation: its index in the file, and its grey levels at a longer side of SIDE at most."""

    frame: int
    grey: Grey


@dataclass(frozen=True)
class Copy:
    """Two presentations, by position, that show the same picture.

    `frames` are the frames that were compared. `crop` is what the presentation `whole` (one of the two) shows beyond the other.
    `likeness` is the correlation of the aligned detail, from SAME to 1.
    """

    first: int
    second: int
    frames: tuple[int, int]
    mirrored: bool
    whole: int
    crop: Crop
    likeness: float


@dataclass(frozen=True)
class _Candidate:
    """The view `part` (presentation, view) may be `whole` after `crop`; `alike` is the cosine of the hashes."""

    part: tuple[int, int]
    whole: tuple[int, int]
    mirrored: bool
    crop: Crop
    alike: float


def shrink(picture: Grey, side: int) -> Grey:
    """Return a picture reduced to a longer side of `side` pixels; a smaller one is returned as it is."""
    height, width = picture.shape[:2]
    factor = max(height, width) / side
    if factor <= 1:
        return picture
    size = (max(round(width / factor), 1), max(round(height / factor), 1))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def find_copies(
    presentations: Sequence[Sequence[View]],
    *,
    compare: Callable[[int], NDArray[np.bool_]] | None = None,
    neighbours: int = 50,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Copy], int]:
    """Return the pairs of presentations that share a picture, by position, and how many presentations were crowded.

    `presentations` holds the views of each, one view of a still; two videos are compared view by view. `compare(i)` says
    with which others presentation `i` is compared, as a mask that is symmetric over all; by default with all. Of the views
    that look like one view, the `neighbours` most alike are aligned: a presentation is crowded if there were more. Time
    grows with the square of the presentations for a matrix product, and by about 6 ms of one core for each aligned pair.
    """
    candidates, crowded = _candidates(presentations, compare, neighbours)
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:  # OpenCV releases the interpreter lock
        verified = pool.map(lambda tried: _verified(tried, presentations), candidates)
        found = [copy for copy in counted(verified, progress, len(candidates)) if copy is not None]
    return found, crowded


def _candidates(
    presentations: Sequence[Sequence[View]], compare: Callable[[int], NDArray[np.bool_]] | None, neighbours: int
) -> tuple[list[list[_Candidate]], int]:
    """For each pair whose hashes are alike, the likeliest candidate of either orientation, the likelier one first."""
    places = [(position, index) for position, views in enumerate(presentations) for index in range(len(views))]
    if not places:
        return [], 0
    owner, number = np.array(places).T
    still = np.array([len(presentations[position]) == 1 for position in owner])
    plain = np.stack([_hashes(presentations[position][index].grey, ((0.0, 0.0),))[0] for position, index in places])
    known = np.concatenate([plain, _mirror(plain)]).T
    best: dict[tuple[int, int], dict[bool, _Candidate]] = {}
    crowded: set[int] = set()
    for here, (position, index) in enumerate(places):
        asked = owner != position
        if compare is not None:
            asked &= compare(position)[owner]
        if not still[here]:
            asked &= still | (number == index)
        product = _hashes(presentations[position][index].grey, _CUT_PAIRS) @ known
        alike = np.where(np.tile(asked, 2), product.max(axis=0), -1.0)
        columns = np.flatnonzero(alike >= ALIKE)
        if len(columns) > neighbours:
            crowded.add(position)
            columns = columns[np.argsort(-alike[columns], kind="stable")[:neighbours]]
        for column in columns.tolist():
            mirrored, there = divmod(column, len(places))
            left, top, right, bottom = _CROPS[int(product[:, column].argmax())]
            candidate = _Candidate(
                places[there], (position, index), bool(mirrored), (left, top, right, bottom), float(alike[column])
            )
            pair = (min(position, int(owner[there])), max(position, int(owner[there])))
            known_so_far = best.setdefault(pair, {}).get(bool(mirrored))
            if known_so_far is None or known_so_far.alike < candidate.alike:
                best[pair][bool(mirrored)] = candidate
    return [sorted(best[pair].values(), key=lambda tried: -tried.alike) for pair in sorted(best)], len(crowded)


def _verified(candidates: Sequence[_Candidate], presentations: Sequence[Sequence[View]]) -> Copy | None:
    """Return the copy if one of a pair's candidates is one; two videos must agree in all of their views."""
    for tried in candidates:
        parts, wholes = presentations[tried.part[0]], presentations[tried.whole[0]]
        if len(parts) > 1 and len(wholes) > 1:
            views = list(zip(parts, wholes, strict=False))
        else:
            views = [(parts[tried.part[1]], wholes[tried.whole[1]])]
        aligned = []
        for part, whole in views:
            found = _align(part.grey, whole.grey, tried)
            if found is None:
                break
            aligned.append(found)
        if len(aligned) < len(views):
            continue
        frames = (views[0][0].frame, views[0][1].frame)
        first, second = sorted((tried.part[0], tried.whole[0]))
        return Copy(
            first=first,
            second=second,
            frames=frames if first == tried.part[0] else frames[::-1],
            mirrored=tried.mirrored,
            whole=tried.whole[0],
            crop=aligned[0][1],
            likeness=round(min(likeness for likeness, _ in aligned), 4),
        )
    return None


def _align(part: Grey, whole: Grey, tried: _Candidate) -> tuple[float, Crop] | None:
    """Return the correlation of the fine detail of two aligned views, and the crop that makes `part`; None below SAME.

    The part is brought to the scale of the whole, and to a quarter of it first: there a crop that is wrong by 5 % is in reach.
    """
    if tried.mirrored:
        part = np.ascontiguousarray(part[:, ::-1])
    left, top, right, bottom = tried.crop
    height, width = whole.shape
    warp: Any = None
    for factor in (4, 1):
        reduced = _resized(whole, width / factor, height / factor)
        rows, columns = reduced.shape
        laid = _resized(part, (1 - left - right) * columns, (1 - top - bottom) * rows)
        if warp is None:
            warp = np.array([[1, 0, left * columns], [0, 1, top * rows]], np.float32)
        else:  # the centre of the first 4 x 4 pixels is at 1.5
            warp[:, 2] = 4 * warp[:, 2] + 1.5 - warp[:, :2] @ np.array((1.5, 1.5), np.float32)
        try:
            _, warp = cv2.findTransformECC(laid, reduced, warp, cv2.MOTION_AFFINE, _STOP, None, 3)
        except cv2.error:  # the alignment does not converge
            return None
    rows, columns = laid.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = np.asarray(
        cv2.warpAffine(reduced, warp, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32
    )
    seen = _unclipped(laid) & _unclipped(warped)
    likeness = _correlation(_detail(laid)[seen], _detail(warped)[seen])
    if not likeness >= SAME or seen.mean() < 0.1:  # from less than a tenth of the picture nothing follows
        return None
    x0, y0, x1, y1 = (float(edge) for edge in (*warp[:, 2], *(warp @ np.array((columns - 1, rows - 1, 1)))))
    cut = (x0 / width, y0 / height, 1 - (x1 + 1) / width, 1 - (y1 + 1) / height)
    left, top, right, bottom = (round(min(max(share, 0.0), 1.0), 3) for share in cut)
    return likeness, (left, top, right, bottom)


_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
_Pairs = tuple[tuple[float, float], ...]

_CUT_PAIRS: _Pairs = tuple((low, high) for low in CUTS for high in CUTS)
_CROPS: tuple[Crop, ...] = tuple((left, top, right, bottom) for top, bottom in _CUT_PAIRS for left, right in _CUT_PAIRS)


def _hashes(grey: Grey, cuts: _Pairs) -> Floats:
    """Return the mean grey levels of 8 x 8 cells after every pair of cuts at top and bottom with every pair at left and right.

    `(cuts^2, 64)`, in the order of `_CROPS`, each centred and scaled to length one; zeros where the picture is flat.
    """
    rows, columns = _cell_weights(grey.shape[0], cuts), _cell_weights(grey.shape[1], cuts)
    levels = (rows @ grey.astype(np.float32) @ columns.T).reshape(len(cuts), CELLS, len(cuts), CELLS)
    flat = levels.transpose(0, 2, 1, 3).reshape(len(cuts) ** 2, CELLS * CELLS)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-3), dtype=np.float32)


@lru_cache(maxsize=256)
def _cell_weights(length: int, cuts: _Pairs) -> Floats:
    """Return the weight of each pixel of a side in each cell, for each pair of cuts at its ends: `(cuts * cells, length)`."""
    low, high = np.array(cuts, dtype=np.float64).T
    edges = (low[:, None] + np.linspace(0, 1, CELLS + 1) * (1 - low - high)[:, None]) * length
    pixel = np.arange(length)
    shared = np.minimum(edges[:, 1:, None], pixel + 1) - np.maximum(edges[:, :-1, None], pixel)
    shares = np.maximum(shared, 0) / (edges[:, 1] - edges[:, 0])[:, None, None]
    return np.asarray(shares.reshape(-1, length), dtype=np.float32)


def _mirror(hashes: Floats) -> Floats:
    """Return the hashes of the mirrored pictures."""
    return hashes.reshape(-1, CELLS, CELLS)[:, :, ::-1].reshape(len(hashes), -1)


def _resized(grey: Grey, width: float, height: float) -> Floats:
    size = (max(round(width), 8), max(round(height), 8))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _detail(grey: Floats) -> Floats:
    """Return the detail finer than a few pixels: it moves with a head and does not depend on brightness or contrast."""
    return np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), 2.0), dtype=np.float32)


def _unclipped(grey: Floats) -> NDArray[np.bool_]:
    """Return where a picture is not saturated white: detail is lost there, and the border of such an area is not detail."""
    return np.asarray(cv2.dilate(grey, np.ones((5, 5), np.uint8)) < 250)


def _correlation(one: Floats, other: Floats) -> float:
    """Return Pearson's correlation of two pictures; NaN if one is flat."""
    one, other = one - one.mean(), other - other.mean()
    length = math.sqrt(float((one * one).sum()) * float((other * other).sum()))
    return float((one * other).sum()) / length if length else math.nan
