from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from bonaface.data.audit import alignment


@pytest.mark.parametrize("seed", range(20))
def test_the_curve_between_tones_is_the_nearest_that_never_falls(seed: int):
    rng = np.random.default_rng(seed)
    means, weights = np.cumsum(rng.normal(0.5, 2, 30)).round(1), rng.integers(1, 500, 30)
    expected = isotonic_regression(means, weights=weights).x
    assert alignment._rising(means, weights) == pytest.approx(expected, abs=1e-9)
