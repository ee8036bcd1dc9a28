"""One person's head: a height field with skin, eyes, mouth and hair on it, shaded by a light."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 400
"""Pixels a side of the square that a head is drawn on; the chin is about a third of it below the centre."""

Plane = NDArray[np.float32]
Light = NDArray[np.float32]

# Linear-light skin colours from very light to very dark; a person's is drawn between two neighbours.
_SKIN = np.array(
    [
        (0.72, 0.50, 0.40),
        (0.62, 0.40, 0.29),
        (0.50, 0.30, 0.20),
        (0.34, 0.18, 0.11),
        (0.22, 0.115, 0.07),
        (0.14, 0.072, 0.045),
    ],
    dtype=np.float32,
)
_HAIR = np.array([(0.02, 0.015, 0.012), (0.06, 0.03, 0.015), (0.16, 0.08, 0.03), (0.4, 0.26, 0.11), (0.3, 0.29, 0.28)])
_IRIS = np.array([(0.05, 0.025, 0.012), (0.03, 0.06, 0.03), (0.06, 0.12, 0.2), (0.09, 0.06, 0.02)])


@dataclass(frozen=True)
class Person:
    """The features that stay the same in all takes; lengths are shares of the half face height."""

    seed: int
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    width: float
    jaw: float
    eye_gap: float
    eye_size: float
    brow: float
    nose: float
    mouth: float
    hairline: float
    hair_length: float
    beard: float
    glasses: bool

    @classmethod
    def random(cls, seed: int) -> Person:
        """Return a person drawn from a seed, over the whole range of skin tones."""
        rng = np.random.default_rng([seed, 1])
        tone = rng.uniform(0, len(_SKIN) - 1.001)
        base = int(tone)
        skin = _SKIN[base] + (tone - base) * (_SKIN[base + 1] - _SKIN[base])
        hair = _HAIR[int(rng.integers(len(_HAIR)) if tone < 2.5 else rng.integers(2))]
        return cls(
            seed=seed,
            skin=tuple(map(float, skin)),  # type: ignore[arg-type]
            hair=tuple(map(float, hair * rng.uniform(0.8, 1.2))),  # type: ignore[arg-type]
            iris=tuple(map(float, _IRIS[int(rng.integers(len(_IRIS)) if tone < 2 else 0)])),  # type: ignore[arg-type]
            width=float(rng.uniform(0.70, 0.80)),
            jaw=float(rng.uniform(0.52, 0.72)),
            eye_gap=float(rng.uniform(0.30, 0.35)),
            eye_size=float(rng.uniform(0.125, 0.155)),
            brow=float(rng.uniform(0.6, 1.4)),
            nose=float(rng.uniform(0.85, 1.2)),
            mouth=float(rng.uniform(0.22, 0.29)),
            hairline=float(rng.uniform(-0.78, -0.62)),
            hair_length=float(rng.choice((0.0, 0.35, 1.0))),
            beard=float(rng.choice((0.0, 0.0, rng.uniform(0.3, 0.9)))),
            glasses=bool(rng.random() < 0.25),
        )


class Head:
    """A person's head under one light, in every state that a take needs.

    `direction` points to the light (x right, y down, z to the viewer); `ambient` is the share of light from everywhere.
    """

    def __init__(self, person: Person, *, direction: tuple[float, float, float], ambient: float) -> None:
        self.person = person
        axis = np.linspace(-1.45, 1.45, SIDE, dtype=np.float32)
        self._x, self._y = np.meshgrid(axis, axis)
        way = np.asarray(direction, dtype=np.float32)
        self._direction = way / np.linalg.norm(way)
        self._ambient = ambient
        self._states: dict[tuple[int, int], tuple[Light, Plane]] = {}

    @cached_property
    def depth(self) -> Plane:
        """Return how near each pixel is to the viewer, 0 at the rim and about 1 at the nose; turning the head shifts by it."""
        return np.asarray(cv2.GaussianBlur(self._height, (0, 0), 4), dtype=np.float32)

    def state(self, eyes: int, mouth: int) -> tuple[Light, Plane]:
        """Return linear light `(SIDE, SIDE, 3)` and coverage; eyes 0 closed to 2 open, mouth 0 closed or 1 open."""
        key = (eyes, mouth)
        if key not in self._states:
            self._states[key] = self._draw(eyes / 2, float(mouth))
        return self._states[key]

    @cached_property
    def _outline(self) -> Plane:
        """Return the half width of the face at each height: full at the cheekbones, narrow at the jaw."""
        y, person = self._y, self.person
        lower = np.clip(y, 0, 1)
        taper = 1 - (1 - person.jaw) * lower**2.2
        rounded = np.sqrt(np.clip(1 - np.abs(y) ** 2.6, 0, 1))
        return (person.width * taper * (0.25 + 0.75 * rounded) * (rounded > 0)).astype(np.float32)

    @cached_property
    def _face(self) -> Plane:
        return _edge(self._outline - np.abs(self._x), 0.012) * _edge(1 - np.abs(self._y), 0.012)

    @cached_property
    def _height(self) -> Plane:
        x, y, person = self._x, self._y, self.person
        around = np.clip(1 - (x / np.maximum(self._outline, 0.05)) ** 2, 0, 1)
        z = 0.75 * np.sqrt(around * np.clip(1 - (0.92 * y) ** 2, 0, 1))
        ridge = person.nose * np.clip((y + 0.25) / 0.5, 0, 1) * np.clip((0.33 - y) / 0.1, 0, 1)
        z += 0.20 * ridge * np.exp(-((x / 0.075) ** 2))
        z += 0.07 * person.nose * (_spot(x, y, 0.085, 0.24, 0.06, 0.06) + _spot(x, y, -0.085, 0.24, 0.06, 0.06))
        for side in (-1, 1):
            z -= 0.13 * _spot(x, y, side * person.eye_gap, -0.13, 0.17, 0.10)
            z += 0.05 * _spot(x, y, side * person.eye_gap, -0.30, 0.20, 0.05)
            z += 0.05 * _spot(x, y, side * 0.42, 0.12, 0.16, 0.12)
        z += 0.05 * _spot(x, y, 0, 0.52, 0.2, 0.05) - 0.03 * _spot(x, y, 0, 0.41, 0.03, 0.06)
        z += 0.06 * _spot(x, y, 0, 0.84, 0.2, 0.1)
        return np.asarray(z, dtype=np.float32)

    def _shade(self, height: Plane, rng: np.random.Generator) -> tuple[Plane, Plane]:
        rough = cv2.GaussianBlur(rng.standard_normal(height.shape).astype(np.float32), (0, 0), 0.8)
        height = height + 0.0022 * rough
        step = 2.9 / SIDE
        down, right = np.gradient(cv2.GaussianBlur(height, (0, 0), 1.0), step)
        length = np.sqrt(right**2 + down**2 + 1)
        x, y, z = self._direction
        cosine = np.clip((-right * x - down * y + z) / length, 0, 1)
        half = np.array([x, y, z + 1]) / np.linalg.norm([x, y, z + 1])
        gloss = np.clip((-right * half[0] - down * half[1] + half[2]) / length, 0, 1) ** 28
        hollow = np.clip(0.55 + 0.45 * height / 0.75, 0.4, 1)  # what lies deep sees less of the room
        return ((self._ambient * hollow + (1 - self._ambient) * cosine) * 1.05).astype(np.float32), gloss.astype(
            np.float32
        )

    def _draw(self, eyes: float, mouth: float) -> tuple[Light, Plane]:
        x, y, person = self._x, self._y, self.person
        rng = np.random.default_rng([person.seed, 2])
        shade, gloss = self._shade(self._height, rng)
        skin = np.asarray(person.skin, dtype=np.float32)
        colour = np.broadcast_to(skin, (SIDE, SIDE, 3)).copy()
        blotch = (
            _noise(rng, 14) * 0.06
            + _noise(rng, 60) * 0.05
            + rng.standard_normal((SIDE, SIDE)).astype(np.float32) * 0.03
        )
        colour *= (1 + blotch)[..., None]
        flush = (
            _spot(x, y, 0.42, 0.2, 0.2, 0.16)
            + _spot(x, y, -0.42, 0.2, 0.2, 0.16)
            + 0.7 * _spot(x, y, 0, 0.25, 0.1, 0.08)
        )
        colour *= 1 + flush[..., None] * np.array([0.05, -0.12, -0.10], dtype=np.float32)
        shadow = np.exp(-(((np.abs(x) - 0.07) / 0.035) ** 2)) * np.exp(-(((y - 0.315) / 0.022) ** 2))
        colour *= (1 - 0.75 * shadow)[..., None]  # nostrils
        colour *= (1 - 0.25 * _spot(x, y, 0, 0.345, 0.12, 0.03))[..., None]
        for side in (-1, 1):  # sockets lie in the shade of the brow, cheeks and the ridge of the nose catch the light
            colour *= (1 - 0.48 * _spot(x, y, side * person.eye_gap, -0.15, 0.21, 0.12))[..., None]
            colour *= (1 + 0.16 * _spot(x, y, side * 0.36, 0.17, 0.17, 0.13))[..., None]
        colour *= (1 + 0.22 * _spot(x, y, 0, -0.05, 0.055, 0.3))[..., None]
        self._paint_mouth(colour, mouth)
        self._paint_beard(colour, rng)
        light = colour * shade[..., None] + (0.05 * gloss * self._face)[..., None]
        self._paint_eyes(light, eyes, shade)
        self._paint_brows(light, shade, rng)
        if person.glasses:
            self._paint_glasses(light, shade)
        cover = self._face.copy()
        self._paint_ears_and_neck(light, cover, skin, shade)
        self._paint_hair(light, cover, rng)
        return np.clip(light, 0, None).astype(np.float32), np.clip(cover, 0, 1).astype(np.float32)

    def _paint_mouth(self, colour: Light, opened: float) -> None:
        x, y, person = self._x, self._y, self.person
        wide = np.clip(1 - (x / person.mouth) ** 2, 0, 1)
        line = 0.50 - 0.022 * (x / person.mouth) ** 2
        gap = 0.055 * opened * np.sqrt(wide)
        upper = _edge((line - gap / 2) - y, 0.008) * _edge(y - (line - gap / 2 - 0.052 * wide**0.6), 0.01) * (wide > 0)
        lower = _edge(y - (line + gap / 2), 0.008) * _edge((line + gap / 2 + 0.075 * wide**0.6) - y, 0.01) * (wide > 0)
        lips = np.array([1.02, 0.55, 0.55], dtype=np.float32)
        for amount in (upper * 0.9, lower * 0.75):
            colour *= 1 + amount[..., None] * (lips - 1)
        inside = _edge(gap / 2 + 0.006 - np.abs(y - line), 0.006) * (wide > 0.02)
        colour *= (1 - 0.88 * inside)[..., None]

    def _paint_beard(self, colour: Light, rng: np.random.Generator) -> None:
        x, y, person = self._x, self._y, self.person
        if not person.beard:
            return
        where = _edge(y - (0.30 + 0.35 * np.clip(1 - np.abs(x) / 0.55, 0, 1) ** 2 * (y > 0.6)), 0.08)
        where *= 1 - _spot(x, y, 0, 0.5, person.mouth * 0.9, 0.05)
        where *= _edge(y - (0.36 - 0.35 * np.clip(np.abs(x) - 0.35, 0, 1)), 0.05)
        stubble = np.clip(0.65 + 0.5 * _noise(rng, 260), 0, 1)
        amount = (person.beard * where * stubble)[..., None]
        colour *= 1 - amount
        colour += amount * np.asarray(person.hair, dtype=np.float32)

    def _paint_eyes(self, light: Light, opened: float, shade: Plane) -> None:
        x, y, person = self._x, self._y, self.person
        # The white of an eye is no lighter than its shaded place allows.
        white = np.array([0.98, 0.94, 0.92]) * float(np.clip(1.1 * max(person.skin), 0.16, 0.5))
        for side in (-1, 1):
            light *= (1 - 0.22 * _spot(x, y, side * person.eye_gap, -0.15, 0.21, 0.13))[..., None]
            ex = (x - side * person.eye_gap) / person.eye_size
            ey = (y + 0.13) / person.eye_size
            lid = np.sqrt(np.clip(1 - ex**2, 0, 1))
            top, bottom = -0.52 * opened * lid, 0.34 * lid
            ball = _edge(ey - top, 0.08) * _edge(bottom - ey, 0.08) * (np.abs(ex) < 1)
            if opened > 0.05:
                _over(light, ball, shade[..., None] * white * (0.6 + 0.4 * lid)[..., None])
                radius = np.sqrt(ex**2 + (ey + 0.06) ** 2)
                _over(light, ball * _edge(0.44 - radius, 0.05), np.asarray(person.iris) * (0.5 + radius[..., None]))
                _over(light, ball * _edge(0.19 - radius, 0.04), np.full(3, 0.004))
                spark = np.sqrt((ex - 0.14 * np.sign(self._direction[0] + 1e-6)) ** 2 + (ey + 0.2) ** 2)
                _over(light, ball * _edge(0.08 - spark, 0.03), np.full(3, 0.95))
            lash = _edge(0.07 - np.abs(ey - top), 0.06) * (np.abs(ex) < 1.02)
            _over(light, 0.85 * lash, np.full(3, 0.01))
            fold = _edge(0.05 - np.abs(ey - (top - 0.28)), 0.08) * (np.abs(ex) < 0.95)
            light *= (1 - 0.3 * fold)[..., None]

    def _paint_brows(self, light: Light, shade: Plane, rng: np.random.Generator) -> None:
        x, y, person = self._x, self._y, self.person
        hairs = np.clip(0.75 + 0.6 * _noise(rng, 120), 0, 1)
        for side in (-1, 1):
            along = (side * x - person.eye_gap) / 0.2
            arch = -0.335 - 0.03 * (1 - along**2) + 0.012 * along
            amount = _edge(0.026 * person.brow - np.abs(y - arch), 0.014) * _edge(1 - np.abs(along), 0.15) * hairs
            _over(light, 0.85 * amount, np.asarray(person.hair) * 0.8 * shade[..., None])

    def _paint_glasses(self, light: Light, shade: Plane) -> None:
        x, y, gap = self._x, self._y, self.person.eye_gap
        for side in (-1, 1):
            radius = ((np.abs(x - side * gap) / 0.235) ** 3 + (np.abs(y + 0.12) / 0.175) ** 3) ** (1 / 3)
            _over(light, _edge(0.075 - np.abs(radius - 1), 0.03), np.full(3, 0.02) * shade[..., None])
        bridge = _edge(0.012 - np.abs(y + 0.16), 0.008) * _edge(gap - 0.22 - np.abs(x), 0.01)
        _over(light, bridge, np.full(3, 0.02))

    def _paint_ears_and_neck(self, light: Light, cover: Plane, skin: Plane, shade: Plane) -> None:
        x, y, person = self._x, self._y, self.person
        fresh = 1 - cover
        neck = _edge(0.40 + 0.25 * np.clip(y - 1.05, 0, 1) - np.abs(x), 0.02) * _edge(y - 0.55, 0.02)
        dusk = np.clip(0.35 + 0.25 * self._direction[2] - 0.25 * np.exp(-(((y - 0.95) / 0.15) ** 2)), 0.1, 1)
        ears = np.zeros_like(cover)
        for side in (-1, 1):
            ears += _edge(1 - np.hypot((x - side * (person.width + 0.03)) / 0.09, (y - 0.02) / 0.2), 0.08)
        for part, tone in ((neck, dusk), (np.clip(ears, 0, 1), np.full_like(cover, 0.5 + 0.1 * self._direction[2]))):
            amount = part * fresh
            _over(light, amount, skin * tone[..., None])
            np.maximum(cover, part, out=cover)

    def _paint_hair(self, light: Light, cover: Plane, rng: np.random.Generator) -> None:
        x, y, person = self._x, self._y, self.person
        skull = _edge(1 - np.hypot(x / (person.width + 0.16), (y + 0.18) / 1.0), 0.03)
        open_face = _edge(1 - np.hypot(x / (person.width * 0.94), (y - 0.35) / (0.35 - person.hairline)), 0.06)
        cap = skull * (1 - open_face) * _edge(0.05 + person.hair_length - y, 0.1)
        if person.hair_length > 0.5:
            sides = _edge(person.width + 0.22 - np.abs(x), 0.03) * _edge(np.abs(x) - person.width * 0.86, 0.06)
            cap = np.maximum(cap, sides * _edge(1.2 - y, 0.1) * _edge(y + 0.3, 0.1))
        strands = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), sigmaX=0.9, sigmaY=7)
        sheen = 0.8 + 3.5 * strands + 0.8 * np.exp(-(((y + 0.75 - 0.25 * self._direction[0] * x) / 0.2) ** 2))
        tone = np.asarray(person.hair) * np.clip(sheen, 0.15, None)[..., None] * (0.6 + 0.6 * self._ambient)
        _over(light, cap, tone)
        np.maximum(cover, cap, out=cover)


def _edge(distance: NDArray[np.floating], softness: float) -> Plane:
    """Return 1 where the distance is positive, 0 where it is negative, with a soft edge."""
    return np.asarray(np.clip(0.5 + distance / (2 * softness), 0, 1), dtype=np.float32)


def _spot(x: Plane, y: Plane, cx: float, cy: float, rx: float, ry: float) -> Plane:
    return np.asarray(np.exp(-(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)), dtype=np.float32)


def _noise(rng: np.random.Generator, cells: int) -> Plane:
    """Return smooth noise of about unit size with this many cells a side."""
    small = rng.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _over(light: Light, amount: Plane, colour: NDArray[np.floating]) -> None:
    light *= (1 - amount)[..., None]
    light += (amount[..., None] * colour).astype(np.float32)
