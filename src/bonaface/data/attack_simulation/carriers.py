"""Bend the carrier of the face and show its edge: a white paper margin or a black bezel, as in wide crops."""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.data.attack_simulation.lighting import blotches, lit
from bonaface.data.attack_simulation.simulated_camera import Light, softened


def bent(light: Light, rng: np.random.Generator, *, amount: float) -> Light:
    """Return the carrier tilted and rolled a little, zoomed so that nothing from beyond its border comes in.

    Points move by a few hundredths of the side (0.035 is chosen): a hand-held sheet, not a tube.
    """
    height, width = light.shape[:2]
    x, y = (np.linspace(-1, 1, side, dtype=np.float32) for side in (width, height))
    bow_x, bow_y, tilt_x, tilt_y = (rng.normal(0, 0.035, 4) * amount).tolist()
    turn = float(rng.normal(0, 0.03)) * amount
    zoom = 1 - 1.5 * (abs(bow_x) + abs(bow_y) + abs(tilt_x) + abs(tilt_y)) - abs(turn)
    # Each map is a polynomial in y whose coefficients are polynomials in x: one small product of matrices.
    one, rows = np.ones_like(x), np.stack((np.ones_like(y), y, y * y), axis=1)
    moved_x = rows @ np.stack((1 + zoom * x - 0.5 * bow_x, zoom * tilt_x * x - turn, bow_x * one))
    moved_y = rows @ np.stack((1 + bow_y * (x * x - 0.5) + turn * x, zoom * (1 + tilt_y * x), 0 * one))
    half_width, half_height = np.float32((width - 1) / 2), np.float32((height - 1) / 2)
    return cast(Light, cv2.remap(light, half_width * moved_x, half_height * moved_y, cv2.INTER_LINEAR))


def surrounded(light: Light, rng: np.random.Generator, *, rim: tuple[float, float, float], breadth: float) -> Light:
    """Return the carrier ending inside the picture: a rim of colour `rim`, `breadth` of the side wide, then the background.

    The edges stay in the outer third (0.68 of the half side) on one to four sides, so that the face is not covered.
    """
    height, width = light.shape[:2]
    reach = np.full(4, 3.0)
    sides = rng.permutation(4)[: int(rng.integers(1, 5))]
    reach[sides] = rng.uniform(0.68, 0.98, len(sides))
    angle = float(rng.normal(0, math.radians(4)))  # held by hand
    picture = _inside(height, width, reach, angle)
    carrier = _inside(height, width, reach + 2 * breadth, angle)
    shadow = (1 - carrier) * (1 - float(rng.uniform(0, 0.6)) * softened(carrier, max(height, width) / 40))
    frame = cv2.multiply(cv2.merge([carrier - picture] * 3), (*rim, 0.0))
    return cast(
        Light,
        cv2.add(cv2.add(lit(light, picture), frame), lit(_room(light, rng), np.asarray(shadow, dtype=np.float32))),
    )


def _inside(height: int, width: int, reach: NDArray[np.float64], angle: float) -> NDArray[np.float32]:
    """1 inside a turned rectangle, 0 outside; `reach`: left, right, top, bottom in half sides from the middle."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    along, below = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    left, right, top, bottom = reach.astype(np.float32)
    depth = np.minimum(np.minimum(along + left, right - along), np.minimum(below + top, bottom - below))
    return cast(NDArray[np.float32], np.clip(depth * max(height, width) / 2, 0, 1))


def _room(light: Light, rng: np.random.Generator) -> Light:
    """A plausible background: the picture itself far out of focus, in other colours, with folds and edges."""
    height, width = light.shape[:2]
    side = 96
    far = cv2.resize(cv2.resize(light, (16, 16), interpolation=cv2.INTER_AREA), (side, side))
    far = np.roll(far, int(rng.integers(side)), axis=1)[:, ::-1]
    colour = (rng.uniform(0.05, 1.0) * (1 + rng.normal(0, 0.15, 3))).astype(np.float32)
    folds = 1 + 0.25 * blotches(side, side, rng, cells=int(rng.integers(2, 12)))[..., None]
    share = float(rng.uniform(0.2, 0.9))
    room = np.maximum(share * colour * folds + (1 - share) * far, 0)
    return cast(Light, cv2.resize(room, (width, height), interpolation=cv2.INTER_LINEAR))
