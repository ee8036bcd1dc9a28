"""Generated pictures to audit: scenes of shapes, in which a disc is what moves from take to take."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.data.audit.duplicates import SIDE, View, shrink

Picture = NDArray[np.uint8]


def scene(seed: int, *, moved: float = 0.0) -> Picture:
    """A 320 x 240 picture of its own; `moved` shifts the disc by so many pixels, and nothing else."""
    rng = np.random.default_rng(seed)
    picture = np.full((240, 320, 3), rng.uniform(60, 180, 3), dtype=np.float32)
    for _ in range(40):
        corner, size = rng.uniform(-20, 320, 2), rng.uniform(10, 80, 2)
        low, high = corner.astype(int), (corner + size).astype(int)
        cv2.rectangle(picture, low.tolist(), high.tolist(), rng.uniform(0, 255, 3).tolist(), -1)
    face = cv2.GaussianBlur(rng.uniform(0, 255, (120, 120, 3)).astype(np.float32), (0, 0), 3)
    face = (face - face.mean()) * 5 + 128
    at = np.array([[1, 0, 100 + moved], [0, 1, 60]], dtype=np.float32)
    disc = cv2.circle(np.zeros((120, 120), np.float32), (60, 60), 55, 1.0, -1, cv2.LINE_AA)
    cover = cv2.warpAffine(disc, at, (320, 240))[..., None]
    picture = picture * (1 - cover) + cv2.warpAffine(face, at, (320, 240)) * cover
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 1), 0, 255).astype(np.uint8)


def coded(picture: Picture, quality: int = 60) -> Picture:
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def cropped(picture: Picture, left: float, top: float, right: float, bottom: float) -> Picture:
    height, width = picture.shape[:2]
    return picture[
        round(top * height) : height - round(bottom * height), round(left * width) : width - round(right * width)
    ]


def resized(picture: Picture, factor: float) -> Picture:
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def views(*pictures: Picture) -> tuple[View, ...]:
    """The views of a presentation that has these frames: a picture, or a video of two frames or more."""
    greys = [np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), dtype=np.uint8) for picture in pictures]
    return tuple(View(frame, shrink(grey, SIDE)) for frame, grey in enumerate(greys))
