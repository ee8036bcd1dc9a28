from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bonaface.data.cropping import Square, crop_face, cut, face_square, shrink
from bonaface.types import Box


@pytest.mark.parametrize(
    ("box", "scale", "square"),
    [
        (Box(40, 40, 20, 20), 1, Square(40, 40, 20)),
        (Box(40, 40, 20, 10), 2, Square(30, 25, 40)),
        (Box(0, 0, 20, 20), 2, Square(0, 0, 40)),
        (Box(80, 70, 20, 10), 2, Square(60, 40, 40)),
        (Box(30, 30, 60, 60), 3, Square(20, 0, 80)),
    ],
    ids=["as it is", "longer side", "corner", "other corner", "frame too small"],
)
def test_squares_of_a_frame_of_100_by_80(box: Box, scale: float, square: Square):
    assert face_square(box, scale=scale, width=100, height=80) == square


@given(
    st.integers(40, 400), st.integers(40, 400), st.floats(0, 1), st.floats(0, 1), st.floats(4, 300), st.floats(0.5, 4)
)
def test_a_square_lies_inside_its_frame(width, height, x, y, size, scale):
    square = face_square(Box(x * width, y * height, size, size), scale=scale, width=width, height=height)
    assert square.x >= 0
    assert square.y >= 0
    assert square.side >= 1
    assert square.x + square.side <= width
    assert square.y + square.side <= height


@given(st.floats(0, 1), st.floats(0, 1), st.integers(30, 160), st.floats(1.0, 2.6))
def test_a_narrow_square_of_the_stored_one_is_that_of_the_frame(x, y, size, scale):
    width, height = 640, 480
    box = Box(x * (width - size), y * (height - size), size, size)
    wide = face_square(box, scale=2.7, width=width, height=height)
    inside = Box(box.x - wide.x, box.y - wide.y, box.w, box.h)
    narrow = face_square(inside, scale=scale, width=wide.side, height=wide.side)
    direct = face_square(box, scale=scale, width=width, height=height)
    assert narrow.side == direct.side
    assert abs(narrow.x + wide.x - direct.x) <= 1
    assert abs(narrow.y + wide.y - direct.y) <= 1


def test_a_crop_has_the_size_asked_for_and_no_pixel_from_elsewhere():
    image = np.zeros((80, 100, 3), np.uint8)
    image[30:50, 40:60] = 200
    crop = crop_face(image, Box(40, 30, 20, 20), scale=1, size=64)
    assert crop.shape == (64, 64, 3)
    assert (crop == 200).all()
    assert cut(image, Square(40, 30, 20)).base is image


@pytest.mark.parametrize(
    ("width", "height", "most"), [(1600, 1200, 3), (1604, 1203, 20), (900, 4000, 3), (640, 480, 0), (4000, 900, 3)]
)
def test_halving_first_gives_the_picture_that_averaging_at_once_gives(width: int, height: int, most: int):
    waves = np.sin(np.arange(width) / 31)[None, :, None] * np.cos(np.arange(height) / 17)[:, None, None]
    picture = (127 + 100 * waves * np.array([1, 0.5, -1])).astype(np.uint8)
    small = shrink(picture, 200, 150)
    once = cv2.resize(picture, (200, 150), interpolation=cv2.INTER_AREA)
    assert small.shape == (150, 200, 3)
    # An odd row is left out of 1203, and then one of 601: at the far end, a third of a pixel of these.
    assert np.abs(small.astype(int) - once).max() <= most
