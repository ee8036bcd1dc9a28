"""Simulate a printed picture: the inks, the halftone screen and the paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.data.attack_simulation.lighting import blotches, lit, plane_wave
from bonaface.data.attack_simulation.simulated_camera import Light, Picture, softened

# Screen angles in degrees of cyan, magenta and yellow: the usual set of offset printing, kept apart so that the screens
# do not beat with each other.
_ANGLES = (15.0, 75.0, 0.0)


@dataclass(frozen=True)
class Printer:
    """A printer, its paper, and how finely the camera resolves them.

    `pitch`: distance of halftone dots in pixels, 0 for a continuous-tone photo print; `dots`: how much of their contrast is
    left (0..1). `grain`: sigma of an ink-jet's scatter. `softness`: sigma of the print's own blur in pixels.
    `inks`: 3x3 mixing of light absorbed; `gain`: darkening of the middle tones. `paper` and `ink`: light of bare paper
    and of full ink, per channel. `fibre`: strength of the paper's texture. `banding`: strength of the head's stripes.
    """

    pitch: float = 0.0
    angle: float = 0.0
    dots: float = 0.5
    grain: float = 0.0
    softness: float = 0.5
    inks: NDArray[np.float32] | None = None
    gain: float = 1.0
    paper: tuple[float, float, float] = (0.9, 0.9, 0.88)
    ink: tuple[float, float, float] = (0.03, 0.03, 0.035)
    fibre: float = 0.01
    banding: float = 0.0

    @classmethod
    def random(cls, rng: np.random.Generator, *, strength: float = 0.5) -> Printer:
        """Draw a printer of any kind; `strength` 0..1 is how much of it shows.

        Paper reflects 78 to 98 % of the light (office paper to photo paper), full ink 0.4 to 8 % (densities of 2.4 to 1.1).
        The dots' pitch of 1.3 to 5 pixels is what a camera can resolve or alias; a finer screen is not seen. The other
        ranges are chosen.
        """
        kind = rng.choice(("photo", "laser", "inkjet"), p=(0.4, 0.35, 0.25))
        bleed = rng.uniform(0.0, 0.16) * (0.4 + strength)
        inks = np.eye(3) * (1 + rng.normal(0, 0.05, (3, 1))) + bleed * (np.full((3, 3), 1 / 3) - np.eye(3))
        inks += rng.normal(0, 0.025 * (0.3 + strength), (3, 3))
        white = rng.uniform(0.78, 0.98)
        tint = rng.normal(0, 0.018)
        black = rng.uniform(0.004, 0.03) + 0.05 * strength * rng.random()
        pitch = 0.0
        if kind == "laser":
            pitch = float(math.exp(rng.uniform(math.log(1.3), math.log(5.0))))
        return cls(
            pitch=pitch,
            angle=float(rng.uniform(-10, 10)),
            dots=float(rng.uniform(0.15, 0.35) + 0.5 * strength),
            grain=float(rng.uniform(0.01, 0.035) * (0.4 + strength)) if kind == "inkjet" else 0.0,
            softness=float(rng.uniform(0.2, 0.6) + strength * rng.uniform(0, 1.2)),
            inks=inks.astype(np.float32),
            gain=float(math.exp(rng.normal(0.0, 0.18))),
            paper=(white * (1 - tint), white, white * (1 + tint)),
            ink=(black * 0.9, black, black * float(rng.uniform(0.9, 1.3))),
            fibre=float(rng.uniform(0.0, 0.02) * (0.3 + strength)) if kind != "photo" else 0.0,
            banding=float(rng.uniform(0, 0.05) * strength) if rng.random() < 0.4 else 0.0,
        )


def ink_on_paper(picture: Picture, printer: Printer, rng: np.random.Generator) -> Light:
    """Return the light that the printed picture reflects under an even white lamp."""
    height, width = picture.shape[:2]
    # Printers work on tone as it looks, not on light; cover 0 is bare paper, 1 is full ink.
    tone = softened(picture, printer.softness)
    if printer.inks is not None:
        tone = cv2.transform(tone, printer.inks)
    cover = cv2.LUT(tone, np.power(np.linspace(1, 0, 256), 1 / printer.gain).astype(np.float32))
    if printer.pitch > 0:
        cover = _screened(cover, printer)
    if printer.grain > 0:
        scatter = softened(rng.integers(0, 256, size=picture.shape, dtype=np.uint8), 0.5)
        cover = cv2.addWeighted(cover, 1.0, scatter, printer.grain / 40, -printer.grain * 127.5 / 40, dtype=cv2.CV_32F)
    if printer.banding > 0:
        stripes = softened(rng.standard_normal((height, 1)).astype(np.float32), 1.5).reshape(height, 1, 1)
        cover += np.float32(printer.banding) * stripes
    bare = np.clip(np.subtract(1, cover, out=cover), 0, 1, out=cover)
    span = np.diag(np.subtract(printer.paper, printer.ink))
    light = cv2.transform(cv2.multiply(bare, bare), np.column_stack((span, printer.ink)).astype(np.float32))
    if printer.fibre > 0:
        texture = 0.6 * blotches(height, width, rng, cells=max(4, min(height, width) // 6))
        texture += blotches(height, width, rng, cells=max(4, min(height, width) // 2))
        light = lit(light, np.asarray(1 + printer.fibre * texture, dtype=np.float32))
    return np.asarray(light, dtype=np.float32)


def _screened(cover: NDArray[np.float32], printer: Printer) -> NDArray[np.float32]:
    """Return the ink coverage in dots: the first harmonic of a clustered-dot screen, sampled at the camera's pixels.

    A dot screen has most contrast in the middle tones and none on bare paper or full ink. A pitch finer than two pixels
    aliases, as it does in a camera.
    """
    height, width = cover.shape[:2]
    x, y = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)
    screens = []
    for degrees in _ANGLES:
        turn = math.radians(degrees + printer.angle)
        kx, ky = 2 * math.pi / printer.pitch * math.cos(turn), 2 * math.pi / printer.pitch * math.sin(turn)
        one = plane_wave(np.multiply(x, kx), np.multiply(y, ky))
        one += plane_wave(np.multiply(x, -ky), np.multiply(y, kx))
        screens.append(one)
    contrast = cv2.multiply(cover, 1 - cover, scale=printer.dots)
    return cast(NDArray[np.float32], cv2.add(cover, cv2.multiply(contrast, cv2.merge(screens))))
