"""Augment a stored square for training: crop, rotate, simulate attacks, change colours, degrade.

Every draw comes from the generator that is passed in, so that a sample does not depend on the process that makes it.
Pictures are uint8 RGB `(height, width, 3)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from bonaface.config import AugmentSettings
from bonaface.data.attack_simulation.attacks import simulate, simulate_camera
from bonaface.data.cropping import crop_face, resize
from bonaface.types import Box, Label

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class TrainingCrop:
    """Cuts the network's input out of a stored square, and augments it.

    With all settings zero it gives exactly the crop that scoring sees, and draws nothing.
    """

    settings: AugmentSettings
    scale: float
    size: int

    def __call__(self, square: Picture, box: Box, *, label: Label, rng: np.random.Generator) -> tuple[Picture, Label]:
        """Return a picture of `size` x `size` pixels and its label, which is `attack` for a simulated attack.

        `box` is the face's, in pixels of `square`.
        """
        crop = self._place(square, box, rng)
        crop, label = self._attack(crop, label, rng)
        return self._degrade(self._recolour(crop, rng), rng), label

    def _place(self, square: Picture, box: Box, rng: np.random.Generator) -> Picture:
        how = self.settings
        scale = self.scale * (1 + _within(rng, how.scale_jitter))
        shift = (_within(rng, how.shift), _within(rng, how.shift))
        angle = _within(rng, how.rotate)
        crop = crop_turned(square, box, scale=scale, size=self.size, shift=shift, angle=angle)
        return np.ascontiguousarray(crop[:, ::-1]) if _happens(rng, how.flip) else crop

    def _attack(self, crop: Picture, label: Label, rng: np.random.Generator) -> tuple[Picture, Label]:
        """Simulate an attack on a bona fide crop; give others the camera's traces as often, so that these mean nothing."""
        chance = self.settings.simulate
        if label is Label.BONA_FIDE and _happens(rng, chance):
            return simulate(crop, rng)[0], Label.ATTACK
        return (simulate_camera(crop, rng) if _happens(rng, chance) else crop), label

    def _recolour(self, crop: Picture, rng: np.random.Generator) -> Picture:
        how = self.settings
        image = _to_torch(crop)
        if how.brightness:
            image = F.adjust_brightness(image, 1 + _within(rng, how.brightness))
        if how.contrast:
            image = F.adjust_contrast(image, 1 + _within(rng, how.contrast))
        if how.saturation:
            image = F.adjust_saturation(image, 1 + _within(rng, how.saturation))
        crop = _from_torch(image)
        return _turn_hue(crop, _within(rng, how.hue)) if how.hue else crop

    def _degrade(self, crop: Picture, rng: np.random.Generator) -> Picture:
        """Degrade as lenses, resizing, sensors, compression and occlusion do, in that order."""
        how = self.settings
        if _happens(rng, how.blur):
            sigma = float(rng.uniform(0.3, 1.8)) * self.size / 224
            crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), sigma), dtype=np.uint8)
        if _happens(rng, how.downscale):
            crop = _from_torch(_shrink_and_enlarge(_to_torch(crop), rng))
        if _happens(rng, how.noise):
            noise = rng.standard_normal(crop.shape, dtype=np.float32) * np.float32(rng.uniform(1, 10))
            crop = np.clip(np.rint(crop + noise), 0, 255).astype(np.uint8)
        if _happens(rng, how.jpeg):
            crop = _compress(crop, quality=int(rng.integers(30, 91)))
        if _happens(rng, how.erase):
            crop = _from_torch(_erase(_to_torch(crop), rng))
        return crop


def crop_turned(
    square: Picture,
    box: Box,
    *,
    scale: float,
    size: int,
    shift: tuple[float, float] = (0.0, 0.0),
    angle: float = 0.0,
) -> Picture:
    """Crop like `crop_face`, rotated by `angle` degrees around the centre, without invented pixels.

    A rotated square that would cross the edge is shifted inside and, if it is too large, made smaller.
    """
    if angle == 0:
        return crop_face(square, box, scale=scale, size=size, shift=shift)
    height, width = square.shape[:2]
    turn = math.radians(angle)
    spread = abs(math.cos(turn)) + abs(math.sin(turn))
    side = min(scale * max(box.w, box.h), min(height, width) / spread)
    reach = side * spread / 2
    x = min(max(box.x + box.w / 2 + shift[0] * side, reach), width - reach)
    y = min(max(box.y + box.h / 2 + shift[1] * side, reach), height - reach)
    # A square that will shrink is rotated at its own resolution first, so that no pixel is skipped.
    steps = max(round(side), size)
    step = side / steps
    cos, sin = step * math.cos(turn), step * math.sin(turn)
    middle = (steps - 1) / 2
    matrix = np.array(
        [
            [cos, -sin, x - 0.5 - middle * (cos - sin)],
            [sin, cos, y - 0.5 - middle * (sin + cos)],
        ]
    )
    turned = cv2.warpAffine(
        square,
        matrix,
        (steps, steps),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return resize(np.asarray(turned, dtype=np.uint8), size)


def _within(rng: np.random.Generator, half_width: float) -> float:
    return float(rng.uniform(-half_width, half_width)) if half_width else 0.0


def _happens(rng: np.random.Generator, probability: float) -> bool:
    return bool(probability) and bool(rng.random() < probability)


def _to_torch(picture: Picture) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)


def _from_torch(image: torch.Tensor) -> Picture:
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def _compress(crop: Picture, *, quality: int) -> Picture:
    """Compress as JPEG with subsampled colours, as cameras do; torchvision's own coder is deprecated."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _turn_hue(crop: Picture, turn: float) -> Picture:
    """Rotate the hue by a share of the full circle; torchvision's own takes twenty times as long."""
    hsv = cv2.cvtColor(crop, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(round(turn * 256) % 256)  # wraps around, as hue does
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), dtype=np.uint8)


def _shrink_and_enlarge(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    size = list(image.shape[-2:])
    factor = float(rng.uniform(0.3, 0.9))
    ways = (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC, InterpolationMode.NEAREST)
    way = ways[rng.choice(len(ways), p=(0.5, 0.4, 0.1))]
    small = F.resize(image, [max(round(side * factor), 8) for side in size], antialias=True)
    enlarged: torch.Tensor = F.resize(small, size, interpolation=way, antialias=True)
    return enlarged


def _erase(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Fill a rectangle of 2 to 15 % of the picture with one colour."""
    height, width = image.shape[-2:]
    area, aspect = rng.uniform(0.02, 0.15), math.exp(rng.uniform(-0.7, 0.7))
    h = min(max(round(height * math.sqrt(area * aspect)), 1), height)
    w = min(max(round(width * math.sqrt(area / aspect)), 1), width)
    top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    colour = torch.from_numpy(rng.integers(0, 256, (3, 1, 1), dtype=np.uint8))
    erased: torch.Tensor = F.erase(image, top, left, h, w, colour)
    return erased
