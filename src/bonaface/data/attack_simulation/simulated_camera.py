"""Simulate the camera that captures a presentation: lens, colour-filter mosaic, noise, tone, codec.

Light is float32 and linear, 1.0 is the white of the picture it came from. Pictures are uint8 RGB with a square-root tone
curve. It is close to sRGB and cheap, and photon noise, whose variance grows with the light, has one size everywhere on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Light = NDArray[np.float32]
Picture = NDArray[np.uint8]

_TO_LIGHT = np.square(np.arange(256, dtype=np.float32) / 255)


def to_light(picture: Picture) -> Light:
    """Linear light of a picture."""
    return cast(Light, cv2.LUT(picture, _TO_LIGHT))


def to_picture(light: Light) -> Picture:
    """The picture of linear light; what is brighter than white is clipped."""
    return cast(Picture, cv2.convertScaleAbs(cv2.sqrt(cv2.max(light, 0.0)), alpha=255))


def softened(image: NDArray[Any], sigma: float) -> NDArray[Any]:
    """Gaussian blur of `sigma` pixels; below a fifth of a pixel the input is returned."""
    if sigma < 0.2:
        return image
    side = 2 * max(1, math.ceil(2.5 * sigma)) + 1
    return cast(NDArray[Any], cv2.GaussianBlur(image, (side, side), sigma))


def recompress(picture: Picture, *, quality: int) -> Picture:
    """The picture after a JPEG round trip that halves the colour planes, as video codecs do."""
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    coded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)[1]
    return cast(Picture, cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB))


@dataclass(frozen=True)
class Camera:
    """How one camera renders light.

    `blur`: sigma of the lens in pixels. `motion`: length and angle (radians) of the smear. `gains`: exposure and white
    balance, per channel. `contrast`: slope of the tone curve in the middle. `black`: offset of the darks.
    `noise`: sigma in grey levels of 255. `sharpen`: unsharp masking, as phones and webcams do. `quality`: JPEG, 0 for none.
    """

    blur: float = 0.5
    motion: tuple[float, float] = (0.0, 0.0)
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    black: float = 0.0
    noise: float = 2.0
    sharpen: float = 0.3
    saturation: float = 1.0
    quality: int = 0

    @classmethod
    def random(cls, rng: np.random.Generator) -> Camera:
        """Draw a camera as in phones and laptops, in any light.

        The ranges are chosen, not fitted: wide enough that real cameras lie inside.
        """
        exposure = math.exp(rng.normal(0, 0.16))  # a quarter of a stop
        warm, tint = rng.normal(0, 0.055), rng.normal(0, 0.025)  # light between daylight and lamp, after white balance
        return cls(
            blur=float(rng.choice((rng.uniform(0.2, 0.7), rng.uniform(0.6, 1.8)), p=(0.7, 0.3))),
            motion=(float(rng.uniform(2, 7)), float(rng.uniform(0, math.pi))) if rng.random() < 0.15 else (0.0, 0.0),
            gains=(exposure * math.exp(warm), exposure * math.exp(tint), exposure * math.exp(-warm)),
            contrast=float(rng.normal(1.0, 0.1)),
            black=float(rng.normal(0, 5)),
            noise=float(rng.gamma(2.0, 1.3)),  # 2.6 levels on average, below 9 in 99 %
            sharpen=float(rng.choice((0.0, rng.uniform(0.1, 0.9)), p=(0.3, 0.7))),
            saturation=float(rng.normal(1.02, 0.1)),
            quality=int(rng.integers(45, 96)) if rng.random() < 0.5 else 0,  # from a video call to a photo
        )


def capture(light: Light, camera: Camera, rng: np.random.Generator) -> Picture:
    """The picture that `camera` takes of `light`; every pixel sees one colour and guesses the other two."""
    light = cast(Light, softened(light, camera.blur))
    length, angle = camera.motion
    if length >= 1.5:
        light = cast(Light, cv2.filter2D(light, -1, _smear(length, angle)))
    sensed = to_picture(cv2.multiply(light, (*camera.gains, 0.0)))
    picture = _developed(_noisy(_mosaic(sensed), camera.noise, rng))
    if camera.sharpen > 0:
        picture = cast(
            Picture, cv2.addWeighted(picture, 1 + camera.sharpen, softened(picture, 1.1), -camera.sharpen, 0)
        )
    if abs(camera.saturation - 1) > 0.01:
        picture = cast(Picture, cv2.transform(picture, _saturation_matrix(camera.saturation)))
    if camera.contrast != 1 or camera.black != 0:
        # 118 is middle grey, 18 % of the light in sRGB
        levels = (np.arange(256) - 118) * camera.contrast + 118 + camera.black
        picture = cast(Picture, cv2.LUT(picture, levels.round().clip(0, 255).astype(np.uint8)))
    return recompress(picture, quality=camera.quality) if camera.quality else picture


def _mosaic(picture: Picture) -> Picture:
    """The one colour that each pixel of a sensor sees: red at the even corner, blue opposite, green between."""
    seen = picture[..., 1].copy()
    seen[0::2, 0::2] = picture[0::2, 0::2, 0]
    seen[1::2, 1::2] = picture[1::2, 1::2, 2]
    return seen


def _developed(mosaic: Picture) -> Picture:
    height, width = mosaic.shape
    if min(height, width) < 4:
        return np.repeat(mosaic[..., None], 3, axis=2)
    # OpenCV names the pattern after the pixels one row and one column further on.
    return cast(Picture, cv2.cvtColor(mosaic, cv2.COLOR_BayerBG2RGB))


def _noisy(picture: Picture, sigma: float, rng: np.random.Generator) -> Picture:
    if sigma < 0.2:
        return picture
    # The sum of two uniform bytes is bell-shaped enough, and ten times as fast as a normal deviate.
    pair = rng.integers(0, 256, size=(2, *picture.shape), dtype=np.uint8)
    noise = cv2.addWeighted(pair[0], 1.0, pair[1], 1.0, -255.0, dtype=cv2.CV_32F)
    # The sum of two uniform bytes has a standard deviation of 256 / sqrt(6) = 104.5.
    return cast(Picture, cv2.addWeighted(picture, 1.0, noise, sigma / 104.5, 0.0, dtype=cv2.CV_8U))


def _smear(length: float, angle: float) -> NDArray[np.float32]:
    side = 2 * math.ceil(length / 2) + 1
    line = np.zeros((side, side), np.uint8)
    dx, dy = math.cos(angle) * length / 2, math.sin(angle) * length / 2
    middle = side / 2 - 0.5
    ends = [(round((middle + s * dx) * 16), round((middle + s * dy) * 16)) for s in (-1, 1)]
    cv2.line(line, ends[0], ends[1], 255, 1, cv2.LINE_AA, shift=4)
    return np.asarray(line / line.sum(dtype=np.float64), dtype=np.float32)


def _saturation_matrix(amount: float) -> NDArray[np.float32]:
    grey = np.tile(np.array((0.3, 0.59, 0.11), np.float32), (3, 1))  # luma of ITU-R BT.601
    return (grey * (1 - amount) + np.eye(3, dtype=np.float32) * amount).astype(np.float32)
