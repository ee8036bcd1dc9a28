"""Simulate a picture on a display: its pixels, its light, and the beat of its grid against the camera's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.data.attack_simulation.lighting import plane_wave
from bonaface.data.attack_simulation.simulated_camera import Light, Picture, recompress

# The lit part of a subpixel, as shares of the pixel: a third of it wide and all of it high, less the black matrix between.
_SUBPIXEL_WIDTH, _SUBPIXEL_HEIGHT = 0.28, 0.82

_APERTURE = 0.85
"""Side of a camera pixel's light-sensitive square over its pitch: below 1, since micro-lenses leave gaps."""


@dataclass(frozen=True)
class Screen:
    """A display, what is played on it, and how the camera looks at it.

    `pitch`: pixels of the camera per pixel of the display. `angle`: degrees between the grids. `keystone`: relative change of
    the pitch across the picture. `grid`: how much of the grid's contrast is left, 0..1. `diamonds`: a phone's panel instead of
    stripes. `aperture`: sigma of the camera's lens in pixels, which the grid goes through.
    `gains`: white point and brightness. `gamma`: of the display against the camera's. `leak`: light of a black pixel.
    `detail`: the video's resolution against the picture's. `quality`: of the video's coding, 0 for none.
    """

    pitch: float = 1.7
    angle: float = 1.5
    keystone: tuple[float, float] = (0.0, 0.0)
    grid: float = 0.5
    diamonds: bool = False
    aperture: float = 0.45
    gains: tuple[float, float, float] = (0.95, 1.0, 1.08)
    gamma: float = 1.0
    leak: float = 0.01
    saturation: float = 1.0
    detail: float = 1.0
    quality: int = 70

    @classmethod
    def random(cls, rng: np.random.Generator, *, strength: float = 0.5) -> Screen:
        """Draw a phone, tablet or monitor at any distance; `strength` 0..1 is how much of it shows.

        The pitch of 0.9 to 3.6 camera pixels is what a camera can alias or resolve; a finer grid is not seen. A black pixel
        leaks up to 8 % of white: in ambient light, not in the dark. The other ranges are chosen.
        """
        if rng.random() < 0.5:  # near a beat with the pixels or with the colour-filter mosaic, where moiré is coarse
            pitch = float(rng.choice((1.0, 1.5, 2.0, 2.67))) * math.exp(rng.normal(0, 0.025))
        else:
            pitch = math.exp(rng.uniform(math.log(0.9), math.log(3.6)))
        bright, blue = math.exp(rng.normal(0, 0.2)), rng.normal(0.06, 0.07)
        return cls(
            pitch=pitch,
            angle=float(rng.normal(0, 4)),
            keystone=(float(rng.normal(0, 0.03)), float(rng.normal(0, 0.03))),
            grid=float(rng.uniform(0.1, 0.4) + 0.6 * strength) if rng.random() < 0.35 + 0.55 * strength else 0.0,
            diamonds=bool(rng.random() < 0.3),
            aperture=float(rng.uniform(0.3, 0.75)),
            gains=(bright * math.exp(-blue), bright * math.exp(rng.normal(0, 0.03)), bright * math.exp(blue)),
            gamma=float(math.exp(rng.normal(0.05, 0.16))),
            leak=float(rng.uniform(0.0, 0.02) + strength * rng.uniform(0, 0.06)),
            saturation=float(rng.normal(1.05, 0.17)),
            detail=float(rng.uniform(1.0 - 0.65 * strength, 1.0)),
            quality=int(rng.integers(25, 90)) if rng.random() < 0.6 else 0,
        )


def shown(picture: Picture, screen: Screen) -> Light:
    """The light of `picture` as a video on the display, before its grid: coding, resolution, tone, leaking backlight."""
    height, width = picture.shape[:2]
    small = (max(8, round(width * screen.detail)), max(8, round(height * screen.detail)))
    if small[0] < 0.95 * width:
        picture = cast(Picture, cv2.resize(picture, small, interpolation=cv2.INTER_AREA))
    if screen.quality:
        picture = recompress(picture, quality=screen.quality)
    if picture.shape[:2] != (height, width):
        picture = cast(Picture, cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR))
    light = cv2.LUT(picture, np.power(np.linspace(0, 1, 256), 2 * screen.gamma).astype(np.float32))
    grey = np.tile((0.3, 0.59, 0.11), (3, 1))  # luma of ITU-R BT.601
    mixing = grey * (1 - screen.saturation) + np.eye(3) * screen.saturation
    lamp = np.array(screen.gains)[:, None] * np.column_stack((mixing * (1 - screen.leak), np.full(3, screen.leak)))
    return cast(Light, cv2.max(cv2.transform(light, lamp.astype(np.float32)), 0.0))


def grid(height: int, width: int, screen: Screen, rng: np.random.Generator) -> NDArray[np.float32]:
    """The factor (height, width, 3) by which the display's pixel grid changes the light at each pixel of the camera.

    The light of a grid is a sum of cosines. Each comes through the lens and the pixel's aperture weakened, and sampling it
    at the pixels' centres gives the same beats (moiré) as sampling the fine pattern itself, without drawing that.
    """
    harmonics = _DIAMONDS if screen.diamonds else _STRIPES
    turn, (bend_x, bend_y) = math.radians(screen.angle), screen.keystone
    x, y = (np.arange(n, dtype=np.float64) - n / 2 for n in (width, height))
    phase = rng.uniform(0, 2 * math.pi, 2)
    field = [np.ones((height, width), np.float32) for _ in range(3)]
    for across, down, amplitudes, shifts in harmonics:
        u = (across * math.cos(turn) - down * math.sin(turn)) / screen.pitch
        v = (across * math.sin(turn) + down * math.cos(turn)) / screen.pitch
        left = screen.grid * _passed(u, v, screen.aperture)
        if left * max(amplitudes) < 0.004:  # less than one grey level of 255
            continue
        start = across * phase[0] + down * phase[1]
        along = 2 * math.pi * u * (x + bend_x * x * x / width)
        below = 2 * math.pi * v * (y + bend_y * y * y / height) + start
        for channel, (amplitude, shift) in enumerate(zip(amplitudes, shifts, strict=True)):
            if amplitude:
                field[channel] += left * amplitude * plane_wave(along + 2 * math.pi * shift, below)
    return cast(NDArray[np.float32], cv2.max(cv2.merge(field), 0.0))


def rolling_bands(height: int, rng: np.random.Generator, *, amount: float, phase: float = 0.0) -> NDArray[np.float32]:
    """The factor (height, 1) of a display's refresh, or its dimming, seen by a rolling shutter."""
    bands, edge = rng.uniform(0.6, 3.5), rng.uniform(1, 4)
    wave = np.sin(2 * math.pi * (np.linspace(0, bands, height) + phase) + rng.uniform(0, 2 * math.pi))
    return (1 + amount * np.tanh(edge * wave)).astype(np.float32).reshape(height, 1)


def _passed(u: float, v: float, sigma: float) -> float:
    """What the lens (Gaussian) and the pixel's square aperture leave of a cosine of (u, v) cycles per pixel."""
    aperture = np.sinc(_APERTURE * u) * np.sinc(_APERTURE * v)
    return float(abs(aperture) * math.exp(-2 * math.pi**2 * sigma**2 * (u * u + v * v)))


_Harmonic = tuple[float, float, tuple[float, float, float], tuple[float, float, float]]
"""Fourier coefficients of the lit part: cycles per display pixel across and down, then amplitude and shift of R, G and B."""

_STRIPES: tuple[_Harmonic, ...] = tuple(
    (across, down, (size, size, size), (-across / 3, 0.0, across / 3))
    for across, down in ((1.0, 0.0), (2.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, -1.0))
    for size in [2 * float(np.sinc(across * _SUBPIXEL_WIDTH) * np.sinc(down * _SUBPIXEL_HEIGHT))]
)
# The diamonds of phone panels, on which red and blue come half as often as green; amplitudes of lit squares of half a pixel.
_DIAMONDS: tuple[_Harmonic, ...] = (
    (0.5, 0.5, (1.2, 0.0, 1.2), (0.0, 0.0, 0.5)),
    (0.5, -0.5, (1.2, 0.0, 1.2), (0.0, 0.0, 0.5)),
    (1.0, 0.0, (0.5, 1.0, 0.5), (0.0, 0.25, 0.0)),
    (0.0, 1.0, (0.5, 1.0, 0.5), (0.0, 0.25, 0.0)),
)
