"""Crop a square around the face, without padding; the same function for training and inference."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bonaface.types import Box

MIN_FACE = 20
"""A face whose longer side has fewer pixels than this is `too_small`, unless `min_face` says otherwise."""

MAX_ENLARGEMENT = 2
"""So is one whose crop would be enlarged more than so many times for the network."""


class Square(NamedTuple):
    """Left, top and side in whole pixels, inside the frame."""

    x: int
    y: int
    side: int


def default_min_face(*, scale: float, size: int) -> float:
    """Return the longer side in pixels that a face needs where no `min_face` is set.

    `scale` is the crop's side in longer sides of the face, `size` the side of the network's input in pixels.

    >>> default_min_face(scale=1.5, size=240)
    80.0
    """
    return max(MIN_FACE, size / (MAX_ENLARGEMENT * scale))


def face_square(box: Box, *, scale: float, width: int, height: int, shift: tuple[float, float] = (0.0, 0.0)) -> Square:
    """The square of `scale` x the box's longer side around its centre, shifted into the frame and no larger than it.

    `shift` moves the centre by fractions of the square's side, before it is shifted into the frame.

    >>> face_square(Box(0, 40, 20, 20), scale=2, width=100, height=100)
    Square(x=0, y=30, side=40)
    """
    side = min(max(round(scale * max(box.w, box.h)), 1), width, height)
    x = box.x + box.w / 2 + shift[0] * side - side / 2
    y = box.y + box.h / 2 + shift[1] * side - side / 2
    return Square(min(max(round(x), 0), width - side), min(max(round(y), 0), height - side), side)


def box_in_crop(box: Box, square: Square, *, size: int) -> Box:
    """Return a face's box in the pixels of its crop: the square, at `size` x `size` pixels.

    >>> box_in_crop(Box(10, 20, 20, 30), Square(0, 10, 60), size=30)
    Box(x=5.0, y=5.0, w=10.0, h=15.0)
    """
    factor = size / square.side
    return Box((box.x - square.x) * factor, (box.y - square.y) * factor, box.w * factor, box.h * factor)


def cut(image: NDArray[np.uint8], square: Square) -> NDArray[np.uint8]:
    """The square's pixels, as a view."""
    return image[square.y : square.y + square.side, square.x : square.x + square.side]


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A square picture at `size` x `size` pixels: by area where it shrinks, bicubic where it grows."""
    if image.shape[0] == size:
        return np.ascontiguousarray(image)
    if image.shape[0] > size:
        return shrink(image, size, size)
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def shrink(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A picture at a smaller size, by area; one at least four times as large is halved first, which is faster.

    Halving leaves out the last row or column of an odd number.
    """
    while image.shape[1] >= 4 * width and image.shape[0] >= 4 * height:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        even = image[: 2 * half[1], : 2 * half[0]]
        image = np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def resize_frame(image: NDArray[np.uint8], shorter: int) -> NDArray[np.uint8]:
    """A whole frame with `shorter` pixels on its shorter side, bilinear and antialiased: torchvision's `Resize`, to the bit."""
    height, width = image.shape[:2]
    longer = int(shorter * max(height, width) / min(height, width))
    size = (longer, shorter) if width > height else (shorter, longer)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR), dtype=np.uint8)


def crop_face(
    image: NDArray[np.uint8], box: Box, *, scale: float, size: int, shift: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.uint8]:
    """The square around a face as `(size, size, 3)` pixels; `image` is a whole frame or a stored, wider square."""
    height, width = image.shape[:2]
    return resize(cut(image, face_square(box, scale=scale, width=width, height=height, shift=shift)), size)
