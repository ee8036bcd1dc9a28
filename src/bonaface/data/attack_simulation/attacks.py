"""Simulate print and replay attacks on any picture of a face, to train against attacks that the data lacks.

How often each effect is drawn, and how strongly, is a choice and not a fit to any dataset: each effect occurs in 20 to 90 %
of the pictures, so that none is needed to recognise an attack and none is rare. Bona fide crops pass the same cameras
(`simulate_camera`).
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from bonaface.data.attack_simulation.carriers import bent, surrounded
from bonaface.data.attack_simulation.lighting import falloff, glare, lit, veiled
from bonaface.data.attack_simulation.printing import Printer, ink_on_paper
from bonaface.data.attack_simulation.screens import Screen, grid, rolling_bands, shown
from bonaface.data.attack_simulation.simulated_camera import Camera, Picture, capture, recompress, to_light

Species = Literal["simulated_print", "simulated_replay"]
SPECIES: tuple[Species, Species] = ("simulated_print", "simulated_replay")


def simulate(crop: Picture, rng: np.random.Generator) -> tuple[Picture, Species]:
    """Return `crop` as if it had been printed or replayed and held to a camera, and which of the two.

    uint8 RGB in and out, of one shape. The same state of `rng` gives the same picture.
    """
    if rng.random() < 0.45:  # about half; screens vary more than prints
        return simulate_print(crop, rng), "simulated_print"
    return simulate_replay(crop, rng), "simulated_replay"


def simulate_print(crop: Picture, rng: np.random.Generator) -> Picture:
    """Return `crop` printed on paper, lit and captured, from subtle to obvious."""
    amount = float(rng.uniform())
    height, width = crop.shape[:2]
    printer = Printer.random(rng, strength=amount)
    paper = ink_on_paper(crop, printer, rng)
    if rng.random() < 0.7:
        paper = bent(paper, rng, amount=0.3 + amount)
    if rng.random() < 0.35:
        margin = rng.choice((0.0, rng.uniform(0.01, 0.06)))
        paper = surrounded(paper, rng, rim=printer.paper, breadth=float(margin))
    paper = lit(paper, falloff(height, width, rng, amount=0.4 + amount))
    if rng.random() < 0.4:
        paper = veiled(paper, glare(height, width, rng, amount=0.02 + 0.25 * amount))
    return capture(paper, Camera.random(rng), rng)


def simulate_replay(crop: Picture, rng: np.random.Generator) -> Picture:
    """Return `crop` played on a display and captured, from subtle to obvious."""
    amount = float(rng.uniform())
    height, width = crop.shape[:2]
    screen = Screen.random(rng, strength=amount)
    light = shown(crop, screen)
    if screen.grid > 0:
        light = cv2.multiply(light, grid(height, width, screen, rng))
    if rng.random() < 0.5:
        light = bent(light, rng, amount=0.4)
    uneven = falloff(height, width, rng, amount=0.2 + 0.6 * amount)
    if rng.random() < 0.35:
        uneven *= rolling_bands(height, rng, amount=float(rng.uniform(0.01, 0.05 + 0.1 * amount)))
    light = lit(light, uneven)
    if rng.random() < 0.45:
        black = float(rng.uniform(0.002, 0.05))
        white = rng.random() < 0.2
        light = surrounded(
            light, rng, rim=(0.8,) * 3 if white else (black,) * 3, breadth=float(rng.uniform(0.01, 0.08))
        )
    if rng.random() < 0.5:
        light = veiled(light, glare(height, width, rng, amount=float(rng.uniform(0.01, 0.06 + 0.3 * amount))))
    return capture(light, Camera.random(rng), rng)


def simulate_camera(crop: Picture, rng: np.random.Generator) -> Picture:
    """Return `crop` captured by a different camera, still bona fide: what `simulate` does, without paper or display.

    Used on crops that stay bona fide, so that the traces of the simulated camera do not predict the class.
    """
    light = to_light(crop)
    if rng.random() < 0.5:
        light = bent(light, rng, amount=0.5)
    if rng.random() < 0.5:
        light = lit(light, falloff(crop.shape[0], crop.shape[1], rng, amount=0.5))
    picture = capture(light, Camera.random(rng), rng)
    return recompress(picture, quality=int(rng.integers(50, 96))) if rng.random() < 0.3 else picture
