"""Whether two pictures are one: laid over each other, nothing may be left that has moved.

Two takes of one person before one wall agree nearly everywhere: a correlation over the picture hardly tells them from a
copy. But a living head, or a hand that holds a sheet, never stands twice in the same place. So the second picture is laid
over the first by one affine map, and then every block of the first is asked how far its content still has to be moved to
meet the second, by Lucas and Kanade's equations. In a copy that is a tenth of a pixel everywhere, however it was coded,
resized, cropped or mirrored, since codecs and resampling change what edges look like but not where they are. In another
take it is a pixel and more wherever something lives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.data.audit.hashing import Crop

__all__ = ["Overlay", "closer", "overlay"]

Grey = NDArray[np.float32]
Matrix = NDArray[np.float32]

COARSE, FINE = 32, 160
"""Longer side of the first picture, in pixels, where the map is found roughly, and where it is refined and judged."""

BLUR = 1.5
BLOCK = 12
TEXTURE, FAINT = 1.0, 0.5
"""Mean squared gradient (grey levels a pixel) that a block needs for its motion to be seen; and in the darker copy itself."""

LEAST_BLOCKS = 12
LEAST_TEXTURED = 0.12
COARSE_CORRELATION, ALIGNED = 0.97, 0.95
CORRELATION = (0.995, 0.97)
STILL = ((0.38, 0.60), (0.45, 0.80))
"""Least correlation, and most pixels (of FINE) that 90 % and 97 % of the textured blocks may be away from where a copy has
them: where both pictures are large enough to be judged finely, and where one is small, so that its copies are coarse."""

SLACK, FIRM = 0.3, 9.0
"""Added to each block's mean squared gradient: a little, since across an edge's own direction nothing can be seen; and so
much that strong edges alone tell, which neither codecs nor noise move."""

RETONED = 0.001
"""Where undoing other tones makes the correlation larger by this, the map is refined again without them."""

_TONES = 32
CLIPPED = (4.0, 251.0)
"""Beyond these grey levels a brighter or darker copy has lost what the other shows."""

FINE_VIEW = 180
MOST_SHEAR = 0.04
COVERED = 0.9


@dataclass(frozen=True)
class Overlay:
    """How the second picture lies over the first.

    `moved` are the 90 % and 97 % quantiles of the blocks' remaining motion, in pixels at a long side of 160, and `edges`
    is the 97 % quantile by the strong edges alone. `crop` is what of the second lies outside the first: shares of its width
    and height at the left, top, right and bottom, after mirroring. `textured` is the share of blocks that could be judged,
    `small` whether one of the pictures is a small one, `retoned` whether another tone curve lies between them: more than the
    gain by which a camera follows the light.
    """

    moved: tuple[float, float]
    edges: float
    correlation: float
    textured: float
    crop: Crop
    small: bool
    retoned: bool

    @property
    def share(self) -> float:
        """How far they are moved, as a share of what copies may be."""
        near, far = STILL[self.small]
        return max(self.moved[0] / near, self.moved[1] / far)

    def within(self, share: float) -> bool:
        """Whether the two are copies of one picture, with no more than this share of the motion that copies may have."""
        return self.share <= share and self.correlation >= CORRELATION[self.small]

    @property
    def same(self) -> bool:
        """Whether the two are copies of one picture."""
        return self.within(1.0)


def overlay(first: Grey, second: Grey, crop: Crop, *, mirrored: bool) -> Overlay | None:
    """Lay `second`, mirrored or not and then cut by about `crop`, over `first`; both grey, 0 to 255.

    None where no affine map brings them together, or where there is too little in them to tell.
    """
    if mirrored:
        second = np.ascontiguousarray(second[:, ::-1])
    rough = _fitted(first, second, crop, COARSE)
    start = _start(rough[1], crop)
    matrix, correlation = _refined(*rough, start, blur=3, steps=15)
    if correlation < COARSE_CORRELATION:
        # So few pixels may lead it astray from where it stood well.
        matrix, correlation = start, _correlation(*rough, start)
    if correlation < COARSE_CORRELATION:
        return None
    return _overlaid(first, second, crop, matrix, rough[0].shape, (FINE,))


def closer(first: Grey, second: Grey, crop: Crop, *, mirrored: bool, side: int) -> Overlay | None:
    """The same at a long side of `side` pixels, or FINE if that is more, where the crop is well known."""
    if mirrored:
        second = np.ascontiguousarray(second[:, ::-1])
    whole, held = _fitted(first, second, crop, FINE)
    sides = (FINE, side) if side > FINE else (FINE,)
    return _overlaid(first, second, crop, _start(held, crop), whole.shape, sides)


def _overlaid(
    first: Grey, second: Grey, crop: Crop, matrix: Matrix, shape: tuple[int, ...], sides: tuple[int, ...]
) -> Overlay | None:
    """The map refined at one size after another, and judged at the last; `shape` is the size at which it is known."""
    for side in sides:
        whole, held = _fitted(first, second, crop, side)
        matrix, correlation = _refined_in_tone(whole, held, _rescaled(matrix, shape, whole.shape))
        if correlation < ALIGNED or not _upright(matrix):
            return None
        shape = whole.shape
    small = min(max(first.shape), max(second.shape)) < FINE_VIEW
    return _judged(whole, held, matrix, small=small)


def _fitted(first: Grey, second: Grey, crop: Crop, side: int) -> tuple[Grey, Grey]:
    """Both pictures at the size at which what they share has the same number of pixels, the first `side` long."""
    height, width = first.shape
    factor = side / max(height, width)
    height, width = max(round(height * factor), 8), max(round(width * factor), 8)
    left, top, right, bottom = crop
    return (
        _resized(first, width, height),
        _resized(second, round(width / (1 - left - right)), round(height / (1 - top - bottom))),
    )


def _resized(picture: Grey, width: int, height: int) -> Grey:
    shrinks = width * height < picture.size
    way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=way), dtype=np.float32)


def _start(second: Grey, crop: Crop) -> Matrix:
    return np.array([[1, 0, crop[0] * second.shape[1]], [0, 1, crop[1] * second.shape[0]]], dtype=np.float32)


def _rescaled(matrix: Matrix, before: tuple[int, ...], after: tuple[int, ...]) -> Matrix:
    """The map between pictures that are larger by one factor; pixel centres stay pixel centres."""
    factor = np.array([after[1] / before[1], after[0] / before[0]])
    linear = matrix[:, :2] * factor[:, None] / factor[None, :]
    centre = (matrix[:, 2] + matrix[:, :2] @ (0.5 / factor - 0.5) + 0.5) * factor - 0.5
    shift = centre - linear @ np.zeros(2)
    return np.column_stack([linear, shift]).astype(np.float32)


def _refined(first: Grey, second: Grey, matrix: Matrix, *, blur: int, steps: int) -> tuple[Matrix, float]:
    """The affine map with the highest correlation near `matrix`; a correlation of -1 where there is none.

    `blur` is the side of the Gaussian that both are blurred by, in pixels. Within half of it from its edges the blurred
    first picture lacks what the second goes on with, which would pull a crop's map aside: these pixels are left out.
    """
    until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, steps, 1e-4)
    edge = blur // 2
    inner, outer = (cv2.GaussianBlur(picture, (blur, blur), 0) for picture in (first, second))
    inner = np.ascontiguousarray(inner[edge:-edge, edge:-edge])
    mask = np.full(second.shape, 255, np.uint8)
    try:
        _, found = cv2.findTransformECC(inner, outer, _shifted(matrix, edge), cv2.MOTION_AFFINE, until, mask, 1)
    except cv2.error:
        return matrix, -1.0
    found = _shifted(np.asarray(found, dtype=np.float32), -edge)
    return found, _correlation(first, second, found)


def _refined_in_tone(first: Grey, second: Grey, matrix: Matrix) -> tuple[Matrix, float]:
    """The same at a fine size; and where other tones have pulled the map aside, once more with these undone."""
    matrix, correlation = _refined(first, second, matrix, blur=5, steps=25)
    if correlation < ALIGNED or _alike(first, _laid(second, matrix, first.shape)) >= correlation - RETONED:
        return matrix, correlation
    again = _refined(first, _toned_as(second, matrix, first), matrix, blur=5, steps=25)
    return max((matrix, correlation), again, key=lambda fitted: fitted[1])


def _shifted(matrix: Matrix, by: int) -> Matrix:
    """The map of a first picture that begins so many pixels further right and down."""
    return np.column_stack([matrix[:, :2], matrix @ np.array([by, by, 1])]).astype(np.float32)


def _correlation(first: Grey, second: Grey, matrix: Matrix) -> float:
    return _alike(first, _toned(_laid(second, matrix, first.shape), first))


def _laid(second: Grey, matrix: Matrix, shape: tuple[int, ...]) -> Grey:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(second, matrix, shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(laid, dtype=np.float32)


def _alike(first: Grey, second: Grey) -> float:
    one, other = first - first.mean(), second - second.mean()
    return float((one * other).sum() / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-6))


def _toned_as(second: Grey, matrix: Matrix, first: Grey) -> Grey:
    """The second picture in the tones of the first that it is laid over by `matrix`."""
    return _toned(_laid(second, matrix, first.shape), first, of=second)


def _toned(picture: Grey, like: Grey, inside: NDArray[np.bool_] | None = None, *, of: Grey | None = None) -> Grey:
    """The picture in the tones of another that it lies on, by one rising curve: undoes brightness, contrast and gamma.

    `of` is another picture of the same tones, to be changed in its place.
    """
    own, other = (picture.ravel(), like.ravel()) if inside is None else (picture[inside], like[inside])
    level = np.clip(own * (_TONES / 256), 0, _TONES - 1).astype(np.intp)
    count = np.bincount(level, minlength=_TONES)
    known = count > 0
    at, mean = (np.bincount(level, weights=grey, minlength=_TONES)[known] / count[known] for grey in (own, other))
    rising = _rising(mean, count[known])
    return np.interp(picture if of is None else of, at, rising).astype(np.float32)


def _rising(means: NDArray[np.float64], weights: NDArray[np.intp]) -> NDArray[np.float64]:
    """The nearest values that never fall: neighbours that do are pooled, as often as there are such."""
    pools: list[tuple[float, int, int]] = []  # mean, weight, how many
    for mean, weight in zip(means.tolist(), weights.tolist(), strict=True):
        pool = (mean, weight, 1)
        while pools and pools[-1][0] >= pool[0]:
            before = pools.pop()
            both = before[1] + pool[1]
            pool = ((before[0] * before[1] + pool[0] * pool[1]) / both, both, before[2] + pool[2])
        pools.append(pool)
    return np.repeat([mean for mean, _, _ in pools], [size for _, _, size in pools])


def _upright(matrix: Matrix) -> bool:
    """Whether the map is the resizing and shifting that copies are made by, and little else."""
    across, down = float(matrix[0, 0]), float(matrix[1, 1])
    return abs(matrix[0, 1]) < MOST_SHEAR and abs(matrix[1, 0]) < MOST_SHEAR and min(across, down) > 0.5


def _judged(first: Grey, second: Grey, matrix: Matrix, *, small: bool) -> Overlay | None:
    height, width = first.shape
    laid = _laid(second, matrix, first.shape)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    held = cv2.warpAffine(np.ones_like(second), matrix, (width, height), flags=flags)
    inside = cv2.erode((held > 0.999).astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1) > 0
    if inside.mean() < COVERED:
        return None
    low, high = CLIPPED
    clipped = (np.minimum(first, laid) <= low) | (np.maximum(first, laid) >= high)
    inside &= cv2.dilate(clipped.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    if not inside.any():
        return None
    scale = max(first.shape) / FINE
    pictures = (first, laid, _toned(laid, first, inside))
    blurred, faintest, toned = (_blurred(picture, BLUR * math.sqrt(scale)) for picture in pictures)
    correlation = _alike(blurred[inside], toned[inside])
    retoned = _alike(blurred[inside], faintest[inside]) < correlation - RETONED
    moved, firm, textured = _motion(blurred, toned, inside, faintest=faintest, scale=scale)
    if len(moved) < LEAST_BLOCKS or textured < LEAST_TEXTURED:
        return None
    near, far = np.quantile(moved, (0.90, 0.97))
    outside = _outside(first, second, matrix)
    edges = float(np.quantile(firm, 0.97))
    return Overlay((float(near), float(far)), edges, correlation, textured, outside, small, retoned)


def _motion(
    first: Grey, second: Grey, inside: NDArray[np.bool_], *, faintest: Grey, scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """How far the content of each textured block is from where the second has it, in pixels; the same by strong edges alone;
    and the share of those blocks.

    `faintest` is the second before its tones were changed: what was hardly to be seen in it has become noise. The pictures
    are `scale` times larger than FINE, but pixels of FINE are meant.
    """
    deviation = float(second[inside].std())
    gain = float(first[inside].std()) / deviation if deviation > 1e-3 else 0.0
    second = (second - second[inside].mean()) * gain + first[inside].mean()
    weight = inside.astype(np.float32)
    right, down = _gradient(np.asarray((first + second) / 2, dtype=np.float32), scale)
    across, upright = _gradient(faintest, scale)
    apart = first - second
    block = round(BLOCK * scale)

    def summed(values: Grey) -> NDArray[np.float64]:
        side = 2 * block
        total = cv2.boxFilter(
            values * weight, cv2.CV_32F, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT
        )
        return np.asarray(total[block // 2 :: block, block // 2 :: block], dtype=np.float64)

    area = summed(np.ones_like(first))
    xx, yy, xy = summed(right * right), summed(down * down), summed(right * down)
    x, y = summed(right * apart), summed(down * apart)
    seen = (area > block * block) & (xx + yy > TEXTURE * area)
    seen &= summed(across * across) + summed(upright * upright) > FAINT * area

    def shift(slack: float) -> NDArray[np.float64]:
        across, down = xx + slack * area, yy + slack * area
        determinant = np.maximum(across * down - xy * xy, 1e-9)
        return np.hypot((down * x - xy * y) / determinant, (across * y - xy * x) / determinant)[seen]

    return shift(SLACK), shift(FIRM), float(seen.mean()) if seen.size else 0.0


def _blurred(picture: Grey, deviation: float) -> Grey:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), deviation), dtype=np.float32)


def _gradient(picture: Grey, scale: float) -> tuple[Grey, Grey]:
    right = cv2.Sobel(picture, cv2.CV_32F, 1, 0, ksize=3, scale=scale / 8)
    down = cv2.Sobel(picture, cv2.CV_32F, 0, 1, ksize=3, scale=scale / 8)
    return np.asarray(right, dtype=np.float32), np.asarray(down, dtype=np.float32)


def _outside(first: Grey, second: Grey, matrix: Matrix) -> Crop:
    (height, width), (whole_height, whole_width) = first.shape, second.shape
    corners = np.array([[-0.5, -0.5, 1], [width - 0.5, height - 0.5, 1]]) @ matrix.T + 0.5
    (left, top), (right, bottom) = corners / (whole_width, whole_height)
    shares = (round(float(value), 3) + 0.0 for value in (left, top, 1 - right, 1 - bottom))
    return next(shares), next(shares), next(shares), next(shares)
