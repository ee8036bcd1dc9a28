"""Against SciPy, which is not installed where these are used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from bonaface.evaluation.distributions import (
    beta_cdf,
    beta_quantile,
    normal_quantile,
    student_cdf,
    student_quantile,
)

SHARES = (1e-6, 0.001, 0.0125, 0.025, 0.3, 0.5, 0.9, 0.975, 0.9999)
SHAPES = (0.3, 0.5, 1.0, 1.5, 7.25, 40.0, 449.0, 12_000.5, 500_000.0)


@pytest.mark.parametrize("a", SHAPES)
@pytest.mark.parametrize("b", SHAPES)
def test_beta_quantiles_are_scipy_s(a: float, b: float):
    for p in SHARES:
        expected = float(special.betaincinv(a, b, p))
        assert beta_quantile(a, b, p) == pytest.approx(expected, rel=1e-8, abs=1e-200)
        assert beta_cdf(a, b, expected) == pytest.approx(special.betainc(a, b, expected), rel=1e-7)


@given(st.floats(0.5, 5000), st.floats(0.5, 5000), st.floats(0.0005, 0.9995))
def test_a_quantile_is_where_the_share_is(a: float, b: float, p: float):
    assert beta_cdf(a, b, beta_quantile(a, b, p)) == pytest.approx(p, rel=1e-8)


@pytest.mark.parametrize("freedom", [0.7, 1.0, 1.4, 2.0, 3.3, 9.0, 49.0, 1999.0, 1e6])
def test_student_s_are_scipy_s(freedom: float):
    for p in SHARES:
        assert student_quantile(freedom, p) == pytest.approx(special.stdtrit(freedom, p), rel=1e-8, abs=1e-12)
    for t in (-40.0, -2.5, -0.1, 0.0, 0.7, 3.0):
        assert student_cdf(freedom, t) == pytest.approx(special.stdtr(freedom, t), rel=1e-8, abs=1e-300)


def test_normal_quantiles_are_scipy_s():
    shares = np.array([[1e-12, 0.001, 0.025], [0.5, 0.77, 1 - 1e-9]])
    assert normal_quantile(shares) == pytest.approx(special.ndtri(shares), rel=1e-13, abs=1e-15)
    assert normal_quantile(0.9) == pytest.approx(special.ndtri(0.9))
    assert np.isnan(normal_quantile(np.array([np.nan]))).all()


def test_both_ways_to_a_share_meet():
    """Where the fraction is asked for from the other end, rounding must not send it back and forth."""
    a, b, x = 8621.436730771016, 0.5233810839539084, 0.9998233548086731
    assert beta_cdf(a, b, x) == pytest.approx(float(special.betainc(a, b, x)), rel=1e-8)
    assert student_cdf(4.056282245046051, -1.417495396986034) == pytest.approx(
        float(special.stdtr(4.056282245046051, -1.417495396986034)), rel=1e-8
    )


def test_the_ends_are_the_ends():
    assert (beta_quantile(2, 3, 0.0), beta_quantile(2, 3, 1.0)) == (0.0, 1.0)
    assert (beta_cdf(2, 3, 0.0), beta_cdf(2, 3, 1.0)) == (0.0, 1.0)
