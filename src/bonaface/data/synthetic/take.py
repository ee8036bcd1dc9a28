"""A take: one person in front of a camera for a few seconds, live, on paper or on a screen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.data.attack_simulation.carriers import bent
from bonaface.data.attack_simulation.lighting import falloff, glare, lit, veiled
from bonaface.data.attack_simulation.printing import Printer, ink_on_paper
from bonaface.data.attack_simulation.screens import Screen, grid, rolling_bands, shown
from bonaface.data.attack_simulation.simulated_camera import Camera, capture
from bonaface.data.synthetic.head import SIDE, Head, Person

WIDTH, HEIGHT = 640, 480
SPECIES = ("print_flat", "print_bent", "replay_phone", "replay_monitor")

Picture = NDArray[np.uint8]
Light = NDArray[np.float32]


@dataclass(frozen=True)
class Take:
    """A person in a place, under a light, in front of a camera; all of it drawn from `seed`."""

    person: Person
    seed: int

    @cached_property
    def _head(self) -> Head:
        rng = np.random.default_rng([self.seed, 10])
        side = rng.choice((-1, 1)) * rng.uniform(0.1, 0.6)
        return Head(self.person, direction=(side, rng.uniform(-0.6, -0.2), 0.8), ambient=float(rng.uniform(0.38, 0.6)))

    @cached_property
    def background(self) -> Light:
        """Return the background: a wall, and objects out of focus in front of it."""
        return _room(np.random.default_rng([self.seed, 11]))

    def light(self, time: float) -> Light:
        """Return linear light `(480, 640, 3)` at `time` seconds: the head moves, turns, blinks and speaks."""
        rng = np.random.default_rng([self.seed, 12])
        size = rng.uniform(0.80, 0.95)
        x0, y0 = WIDTH / 2 + rng.uniform(-40, 40), HEIGHT * 0.5 + rng.uniform(-14, 14)
        sway, nod, yaw, roll = (float(_drift(rng, time)) for _ in range(4))
        blink = (time + rng.uniform(0, 3)) % rng.uniform(1.6, 3.2)
        eyes = 0 if blink < 0.10 else 1 if blink < 0.18 else 2
        mouth = int(_drift(rng, 3 * time) > 0.35)
        light, cover = self._head.state(eyes, mouth)
        scene = self.background.copy()
        _shoulders(scene, rng, x0 + 6 * sway, y0 + 165 * size, size)
        angle = np.radians(3.5 * roll)
        scale = size * (1 + 0.02 * nod)
        matrix = _placed(SIDE / 2, SIDE / 2, x0 + 10 * sway, y0 + 6 * nod, scale, angle)
        steps = _grid_of(matrix)
        # Near parts move more than far ones when the head turns.
        depth = cv2.remap(self._head.depth, steps[0], steps[1], cv2.INTER_LINEAR)
        across = steps[0] - np.float32(14 * yaw) * depth
        warped = cv2.remap(light, across, steps[1], cv2.INTER_LINEAR)
        amount = cv2.remap(cover, across, steps[1], cv2.INTER_LINEAR)[..., None]
        return np.asarray(scene * (1 - amount) + warped * amount, dtype=np.float32)


def bona_fide_frames(take: Take, count: int, fps: float) -> list[Picture]:
    """Return frames of a live person."""
    rng = np.random.default_rng([take.seed, 20])
    camera = _camera(rng)
    return [capture(take.light(index / fps), camera, rng) for index in range(count)]


def presented_frames(take: Take, place: Take, species: str, count: int, fps: float) -> list[Picture]:
    """Return frames of an attack: `take` printed or replayed, and held to the camera in the place of a different take."""
    rng = np.random.default_rng([place.seed, 21])
    camera = _camera(rng)
    recorded = _camera(rng)
    printed = species.startswith("print")
    amount = float(rng.uniform(0.35, 0.8))
    printer, screen = Printer.random(rng, strength=amount), Screen.random(rng, strength=amount)
    margin = int(rng.uniform(8, 22)) if printed else int(rng.uniform(10, 24))
    still = capture(take.light(0.4), recorded, rng)
    sheet = ink_on_paper(_upper_body(still), printer, rng) if printed else None
    if sheet is not None and species == "print_bent":
        sheet = bent(sheet, rng, amount=1.2)
    shape = (sheet if sheet is not None else _upper_body(still)).shape[:2]
    pixels = grid(shape[0], shape[1], screen, rng) if not printed and screen.grid > 0 else None
    shine = glare(shape[0], shape[1], rng, amount=0.03 + 0.18 * amount)
    uneven = falloff(shape[0], shape[1], rng, amount=0.5)
    rim = np.asarray(printer.paper if printed else (0.012,) * 3, dtype=np.float32)
    room = place.background
    frames = []
    for index in range(count):
        time = index / fps
        content = sheet
        if content is None:
            played = capture(take.light(time), recorded, rng)
            content = shown(_upper_body(played), screen)
            content = cv2.multiply(content, pixels) if pixels is not None else content
            if species == "replay_monitor":
                bands = rolling_bands(shape[0], rng, amount=0.05, phase=0.37 * index)
                content = content * bands.reshape(-1, 1, 1)
        content = veiled(lit(content, uneven), shine)
        framed = cv2.copyMakeBorder(
            content, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=[float(value) for value in rim]
        )
        frames.append(capture(_held(framed, room, place.seed, time, species), camera, rng))
    return frames


def _held(sheet: Light, room: Light, seed: int, time: float, species: str) -> Light:
    """Return the sheet or screen, held by hand: it sways and tilts a little."""
    rng = np.random.default_rng([seed, 22])
    height, width = sheet.shape[:2]
    size = rng.uniform(0.98, 1.12) * HEIGHT / height * (1.0 if species == "replay_monitor" else 0.94)
    sway, lift, roll, tilt = (float(_drift(rng, time)) for _ in range(4))
    angle = np.radians(2.5 * roll)
    placed = _placed(
        width / 2, height / 2, WIDTH / 2 + 12 * sway + rng.uniform(-15, 15), HEIGHT / 2 + 7 * lift, size, angle
    )
    matrix = np.vstack([placed, [0, 0, 1]])
    matrix[2, 0] = 0.00006 * tilt + rng.uniform(-5e-5, 5e-5)
    warped = cv2.warpPerspective(sheet, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    cover = cv2.warpPerspective(np.ones((height, width), np.float32), matrix, (WIDTH, HEIGHT))[..., None]
    return np.asarray(room * (1 - cover) + warped * cover, dtype=np.float32)


def _upper_body(picture: Picture) -> Picture:
    """Return the middle of a frame in portrait format, as a photo of a person is printed or shown."""
    left = (WIDTH - 420) // 2
    return np.ascontiguousarray(picture[:, left : left + 420])


def _camera(rng: np.random.Generator) -> Camera:
    drawn = replace(Camera.random(rng), motion=(0.0, 0.0), black=0.0, quality=0)
    return replace(drawn, blur=min(drawn.blur, 0.9), noise=min(drawn.noise, 4.0), sharpen=min(drawn.sharpen, 0.5))


def _drift(rng: np.random.Generator, time: float) -> float:
    """Return a smooth random movement between about -1 and 1."""
    rates, phases = rng.uniform(0.15, 0.9, 3), rng.uniform(0, 2 * np.pi, 3)
    return float(np.sin(2 * np.pi * rates * time + phases).mean() * 1.5)


def _placed(cx: float, cy: float, x: float, y: float, scale: float, angle: float) -> NDArray[np.float64]:
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, x - cos * cx + sin * cy], [sin, cos, y - sin * cx - cos * cy]])


def _grid_of(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    inverse = cv2.invertAffineTransform(matrix)
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    return (
        np.asarray(inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2], dtype=np.float32),
        np.asarray(inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2], dtype=np.float32),
    )


def _room(rng: np.random.Generator) -> Light:
    wall = rng.uniform(0.12, 0.5) * (1 + rng.uniform(-0.18, 0.18, 3))
    across = np.linspace(rng.uniform(0.6, 1), rng.uniform(0.6, 1), WIDTH, dtype=np.float32)
    down = np.linspace(1, rng.uniform(0.55, 0.95), HEIGHT, dtype=np.float32)
    light = (down[:, None, None] * across[None, :, None] * wall).astype(np.float32)
    for _ in range(int(rng.integers(3, 9))):
        colour = tuple(float(value) for value in rng.uniform(0.02, 0.6) * (1 + rng.uniform(-0.4, 0.4, 3)))
        x, y = int(rng.integers(-60, WIDTH)), int(rng.integers(-60, HEIGHT))
        wide, high = int(rng.integers(20, 220)), int(rng.integers(20, 260))
        cv2.rectangle(light, (x, y), (x + wide, y + high), colour, -1)
    light = cv2.GaussianBlur(light, (0, 0), float(rng.uniform(2.5, 8)))
    grain = cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH, 1)).astype(np.float32), (0, 0), 1.2)
    return np.asarray(np.clip(light * (1 + 0.05 * grain[..., None]), 0.002, None), dtype=np.float32)


def _shoulders(scene: Light, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    cloth = rng.uniform(0.03, 0.4) * (1 + rng.uniform(-0.5, 0.5, 3))
    points = np.array(
        [(-190, 170), (-175, 60), (-120, 18), (-55, 0), (0, 26), (55, 0), (120, 18), (175, 60), (190, 170)], dtype=float
    )
    outline = np.rint(points * size + (x, y)).astype(np.int32)
    mask = np.zeros(scene.shape[:2], np.uint8)
    cv2.fillPoly(mask, [outline], 255, cv2.LINE_AA)
    amount = (mask.astype(np.float32) / 255)[..., None]
    shade = np.linspace(1.0, 0.6, scene.shape[0], dtype=np.float32)[:, None, None]
    scene *= 1 - amount
    scene += amount * shade * cloth.astype(np.float32)
