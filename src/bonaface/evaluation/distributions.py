"""The normal, Student's and the beta distribution, as far as intervals and axes need them.

SciPy has them too, and the tests hold these against it; but it would be a sixth of what `pip install bonaface` brings.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["beta_cdf", "beta_quantile", "normal_quantile", "student_cdf", "student_quantile"]

Floats = NDArray[np.float64]

_NORMAL = NormalDist()
_TINY = 1e-300


@overload
def normal_quantile(p: float) -> float: ...
@overload
def normal_quantile(p: Floats) -> Floats: ...
def normal_quantile(p: float | Floats) -> float | Floats:
    """The standard normal deviate below which lies the share `p`, between 0 and 1, both excluded; NaN stays NaN.

    >>> round(normal_quantile(0.975), 6)
    1.959964
    """
    if isinstance(p, np.ndarray):
        deviates = np.fromiter(map(_normal_quantile, p.ravel().tolist()), dtype=np.float64, count=p.size)
        return deviates.reshape(p.shape)
    return _normal_quantile(p)


def _normal_quantile(p: float) -> float:
    return math.nan if math.isnan(p) else _NORMAL.inv_cdf(p)


def student_cdf(freedom: float, t: float) -> float:
    """The share of Student's distribution below `t`; `freedom` above 0.

    >>> student_cdf(5, 0.0)
    0.5
    """
    outside = beta_cdf(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2
    return outside if t < 0 else 1 - outside


def student_quantile(freedom: float, p: float) -> float:
    """The value below which lies the share `p` of Student's distribution; `freedom` above 0.

    >>> round(student_quantile(9, 0.975), 6)
    2.262157
    """
    if p < 0.5:
        return -student_quantile(freedom, 1 - p)
    # Of t² = freedom (1 - x) / x, x is beta distributed; the smaller of x and 1 - x is asked for, which keeps its digits.
    inside = beta_quantile(0.5, freedom / 2, 2 * p - 1)
    if inside < 0.5:
        return math.sqrt(freedom * inside / (1 - inside))
    outside = beta_quantile(freedom / 2, 0.5, 2 * (1 - p))
    return math.sqrt(freedom * (1 - outside) / outside)


def beta_cdf(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, `a` and `b` above 0.

    >>> round(beta_cdf(2, 3, 0.4), 6)
    0.5248
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    return 1 - _lower(b, a, 1 - x) if x > (a + 1) / (a + b + 2) else _lower(a, b, x)


def _lower(a: float, b: float, x: float) -> float:
    """The same from the lower end, where the fraction converges fast."""
    return min(math.exp(_log_density(a, b, x) + math.log(x) + math.log1p(-x)) * _fraction(a, b, x) / a, 1.0)


def beta_quantile(a: float, b: float, p: float) -> float:
    """The value below which lies the share `p` of the beta distribution, `a` and `b` above 0; NaN where one of them is.

    >>> round(beta_quantile(1, 100, 0.975), 6)
    0.036217
    """
    if math.isnan(a + b + p):
        return math.nan
    if p <= 0 or p >= 1:
        return float(p >= 1)
    low, high, x = 0.0, 1.0, _guess(a, b, p)
    for _ in range(200):
        missing = beta_cdf(a, b, x) - p
        low, high = (low, x) if missing > 0 else (x, high)
        slope = _log_density(a, b, x)
        step = missing * math.exp(-slope) if slope > -300 else math.inf
        bend = step * ((a - 1) / x - (b - 1) / (1 - x)) / 2
        better = x - step / (1 - bend) if abs(bend) < 0.7 else math.inf
        # Halley's step; where it goes far, or leaves what is known to hold the root, by halves: of the exponent, near zero.
        if not low < better < high:
            better = math.sqrt(low * high) if low > 0 and high / low > 4 else (low + high) / 2
            if low == 0:
                better = high / 16
        if abs(better - x) <= 1e-15 * better or better in {low, high} or better < _TINY:
            return better
        x = better
    return x


def _guess(a: float, b: float, p: float) -> float:
    """Near the quantile: Abramowitz and Stegun 26.5.22, and by the density's powers at the ends where a shape is below 1."""
    if a >= 1 and b >= 1:
        first, second = 1 / (2 * a - 1), 1 / (2 * b - 1)
        y, mean = -_normal_quantile(p), 2 / (first + second)
        bow = (y * y - 3) / 6
        w = y * math.sqrt(bow + mean) / mean - (second - first) * (bow + 5 / 6 - 2 / (3 * mean)) if bow > -mean else 0.0
        x = a / (a + b * math.exp(min(max(2 * w, -600.0), 600.0)))
    else:
        left, right = (math.exp(shape * math.log(shape / (a + b))) / shape for shape in (a, b))
        both = left + right
        x = (a * both * p) ** (1 / a) if p < left / both else 1 - (b * both * (1 - p)) ** (1 / b)
    return min(max(x, 1e-250), 1 - 1e-15)


def _log_density(a: float, b: float, x: float) -> float:
    total = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return total + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x)


def _fraction(a: float, b: float, x: float) -> float:
    """Gauss' continued fraction of the incomplete beta function by Lentz's method."""
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > _TINY else _TINY)
    value = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for part in (even, odd):
            d, c = 1 + part * d, 1 + part / c
            d, c = 1 / (d if abs(d) > _TINY else _TINY), (c if abs(c) > _TINY else _TINY)
            value *= c * d
        if abs(c * d - 1) < 4e-16:
            break
    return value
