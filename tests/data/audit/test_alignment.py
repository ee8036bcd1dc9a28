from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from bonaface.data.audit import alignment
from bonaface.data.audit.film import shrunk
from tests.data.audit.pictures import coded, cropped, scene


@pytest.mark.parametrize("seed", range(20))
def test_the_curve_between_tones_is_the_nearest_that_never_falls(seed: int):
    rng = np.random.default_rng(seed)
    means, weights = np.cumsum(rng.normal(0.5, 2, 30)).round(1), rng.integers(1, 500, 30)
    expected = isotonic_regression(means, weights=weights).x
    assert alignment._rising(means, weights) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_what_a_crop_cuts_through_does_not_pull_the_map_aside(seed: int):
    picture = scene(seed) // 3
    picture[:, 290:300] = 250  # a bright post, of which the crop keeps half
    picture = cv2.GaussianBlur(picture, (0, 0), 2)
    pictures = (coded(cropped(picture, 0.03, 0.04, 0.08, 0.1), 90), picture)
    part, whole = (shrunk(some[..., 0], 192).astype(np.float32) for some in pictures)
    laid = alignment.overlay(part, whole, (0.0, 0.08, 0.08, 0.08), mirrored=False)
    assert laid is not None
    assert laid.crop == pytest.approx((0.03, 0.04, 0.08, 0.1), abs=0.005)
    assert laid.moved[1] < 0.3
