"""Make fields of light over a picture: uneven lamps, glare, noise, and the waves that grids are made of.

Slopes, sizes and strengths are chosen by eye, in units of the half side and of the picture's white.
"""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.data.attack_simulation.simulated_camera import Light

_SMALL = 48  # light changes slowly, so its fields are drawn at this side and enlarged


def falloff(height: int, width: int, rng: np.random.Generator, *, amount: float) -> NDArray[np.float32]:
    """A field (height, width) around 1 that falls off to one side and into the corners."""
    x, y = _small_grid()
    angle = rng.uniform(0, 2 * math.pi)
    slope = rng.normal(0, 0.3) * amount
    field = 1 + slope * (x * math.cos(angle) + y * math.sin(angle))
    field -= abs(rng.normal(0, 0.15)) * amount * (x * x + y * y)
    return _enlarged(field.clip(0.2, 2.0), height, width)


def glare(height: int, width: int, rng: np.random.Generator, *, amount: float) -> NDArray[np.float32]:
    """Light (height, width) reflected by a surface: a lamp's soft spot or streak, or a window's bright panes."""
    x, y = _small_grid()
    field = np.zeros_like(x)
    for _ in range(int(rng.integers(1, 3))):
        centre_x, centre_y = rng.uniform(-1, 1, 2)
        angle = rng.uniform(0, math.pi)
        along = (x - centre_x) * math.cos(angle) + (y - centre_y) * math.sin(angle)
        across = (y - centre_y) * math.cos(angle) - (x - centre_x) * math.sin(angle)
        if rng.random() < 0.6:
            length, breadth = rng.uniform(0.2, 1.2), rng.uniform(0.08, 0.45)
            field += rng.uniform(0.3, 1) * np.exp(-((along / length) ** 2) - (across / breadth) ** 2)
        else:
            length, breadth, edge = rng.uniform(0.2, 0.7), rng.uniform(0.15, 0.5), rng.uniform(0.03, 0.15)
            inside = np.minimum(length - abs(along), breadth - abs(across)) / edge
            field += rng.uniform(0.3, 1) / (1 + np.exp(-np.clip(inside, -30, 30)))
    return _enlarged(field * amount, height, width)


def blotches(height: int, width: int, rng: np.random.Generator, *, cells: int) -> NDArray[np.float32]:
    """Smooth noise (height, width) of about unit variance with about `cells` bumps along a side."""
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    # 1.4 makes up for what the interpolation evens out.
    return cast(NDArray[np.float32], cv2.resize(1.4 * coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def _small_grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    axis = np.linspace(-1, 1, _SMALL)
    x, y = np.meshgrid(axis, axis)
    return x, y


def _enlarged(field: NDArray[np.floating], height: int, width: int) -> NDArray[np.float32]:
    field = field.astype(np.float32)
    return cast(NDArray[np.float32], cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR))


def lit(light: Light, field: NDArray[np.float32]) -> Light:
    """`light` times a field (height, width)."""
    return cast(Light, cv2.multiply(light, cv2.merge((field, field, field))))


def veiled(light: Light, field: NDArray[np.float32]) -> Light:
    """`light` plus a white field (height, width)."""
    return cast(Light, cv2.add(light, cv2.merge((field, field, field))))


def plane_wave(along: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float32]:
    """cos(along[None, :] + below[:, None]), by the addition theorem: two products a pixel in place of a cosine."""
    left = np.stack((np.cos(below), -np.sin(below)), axis=1).astype(np.float32)
    return left @ np.stack((np.cos(along), np.sin(along))).astype(np.float32)
