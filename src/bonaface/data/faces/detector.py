"""Face detectors with one interface: YuNet, Haar, the dataset's own boxes, and the whole frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol, SupportsFloat

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.data.cropping import shrink
from bonaface.data.downloads import YUNET, fetch, sha256_of
from bonaface.data.faces.yunet import NotYuNet, YuNetNetwork
from bonaface.errors import InputError, SettingsError, WeightsError, did_you_mean, format_list
from bonaface.types import NOT_MEASURED, Box, Quality

LONG_SIDE = 640
"""Frames are searched at this long side at most: YuNet is made for faces of 10 to 300 pixels."""
FIRST_SIDE, LARGE = 320, 40
"""YuNet first searches at this long side, for a quarter of the cost, and stops if a face has this many pixels there."""


class GivenBox(NamedTuple):
    """A box that a dataset brings: in pixels of the frame, or of the frame stretched to a square of `frame_size`."""

    box: Box
    frame_size: int | None = None

    def within(self, image: NDArray[np.uint8]) -> Box:
        """The box in pixels of this picture."""
        if self.frame_size is None:
            return self.box
        height, width = image.shape[:2]
        across, down = width / self.frame_size, height / self.frame_size
        return Box(self.box.x * across, self.box.y * down, self.box.w * across, self.box.h * down)


Boxes = Mapping[tuple[str, int], GivenBox]

BLACK = 16
"""Black in video of limited range; nothing darker is a face."""


@dataclass(frozen=True)
class Face:
    """A face in pixels of the frame that was searched; `confidence` is between 0 and 1.

    `landmarks` are the centres of the eyes, the tip of the nose and the corners of the mouth as (x, y), the left one in
    the picture first, from detectors that find them. `cut` is the share of the detector's box outside the frame.
    `quality` is that of the face's crop, once there is one.
    """

    box: Box
    confidence: float
    landmarks: tuple[tuple[float, float], ...] | None = None
    cut: float = 0.0
    quality: Quality = NOT_MEASURED


class Detector(Protocol):
    """A face detector. `identity` names detector, version and weights; crops depend on all three."""

    name: str
    identity: str

    def detect(self, image: NDArray[np.uint8], *, path: str = "", frame: int = 0) -> list[Face]:
        """Faces in an RGB picture, the largest first; `path` and `frame` are what a dataset's boxes are looked up by."""
        ...


class YuNet:
    """YuNet, from the ONNX file that OpenCV publishes."""

    name = "yunet"
    CONFIDENCE = 0.6

    def __init__(self, weights: Path | None = None) -> None:
        path = weights if weights is not None else fetch(YUNET)
        if not path.is_file():
            raise InputError(f"no face detector weights at {path}; expected {YUNET.name} (sha256 {YUNET.sha256})")
        sides = f"{FIRST_SIDE}:{LARGE},{LONG_SIDE}"
        self.identity = f"yunet sha256:{sha256_of(path)} confidence:{self.CONFIDENCE} side:{sides}"
        try:
            self._network = YuNetNetwork(path, confidence=self.CONFIDENCE)
        except NotYuNet as error:
            raise WeightsError(
                f"{path} is not a YuNet file ({format_list(str(error).splitlines(), limit=1)}); expected {YUNET.name} "
                f"(sha256 {YUNET.sha256})"
            ) from None

    def detect(self, image: NDArray[np.uint8], *, path: str = "", frame: int = 0) -> list[Face]:
        """See Detector. A face that is much smaller than the largest may be missed."""
        small = _shrunk(image, LONG_SIDE)
        first = _shrunk(small, FIRST_SIDE)
        found = self._network.faces(first)
        if first.shape != small.shape and not any(max(one.box[2:]) >= LARGE for one in found):
            found, first = self._network.faces(small), small
        factor = max(image.shape[:2]) / max(first.shape[:2])
        faces = []
        for box, score, landmarks in found:
            points = tuple((factor * float(x), factor * float(y)) for x, y in landmarks)
            faces.append(Face(_enlarged(box, first, image), score, points))
        return _lit(_ordered(faces, image), image)


class Haar:
    """The frontal face cascade inside OpenCV: no download, upright frontal faces only."""

    name = "haar"
    FILE = "haarcascade_frontalface_default.xml"

    def __init__(self, weights: Path | None = None) -> None:
        folder: str = getattr(cv2, "data").haarcascades  # noqa: B009 (a submodule that the stubs lack)
        path = weights if weights is not None else Path(folder) / self.FILE
        if not path.is_file():
            raise InputError(f"no Haar cascade at {path}; expected an OpenCV cascade such as {self.FILE}")
        self.identity = f"haar sha256:{sha256_of(path)} side:{LONG_SIDE}"
        self._cascade = cv2.CascadeClassifier()
        try:
            loaded = self._cascade.load(str(path))
        except cv2.error:
            loaded = False
        if not loaded:
            raise WeightsError(f"{path} is not a cascade that OpenCV reads; expected one such as {self.FILE}")

    def detect(self, image: NDArray[np.uint8], *, path: str = "", frame: int = 0) -> list[Face]:
        """See Detector."""
        small = _shrunk(image, LONG_SIDE)
        grey = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        least = max(24, min(grey.shape) // 6)
        rows, _, weights = self._cascade.detectMultiScale3(
            grey, scaleFactor=1.1, minNeighbors=4, minSize=(least, least), outputRejectLevels=True
        )
        # The weight of the last stage has no upper bound; 1 - 1/(1+w) orders it between 0 and 1.
        faces = [
            Face(_enlarged(row, small, image), 1 - 1 / (1 + max(float(weight), 0.0)))
            for row, weight in zip(rows, np.ravel(weights), strict=True)
        ]
        return _lit(_ordered(faces, image), image)


class DatasetBoxes:
    """The boxes that a dataset brings, by presentation and frame; frame -1 stands for all frames."""

    name = "boxes"
    identity = "boxes of the dataset"

    def __init__(self, boxes: Boxes | None) -> None:
        if boxes is None:
            raise InputError(
                "the face detector is `boxes`, but the manifest brings no boxes; choose yunet, haar or whole_frame, "
                "or index a dataset that has them"
            )
        self._boxes = boxes

    def detect(self, image: NDArray[np.uint8], *, path: str = "", frame: int = 0) -> list[Face]:
        """See Detector."""
        given = self._boxes.get((path, frame)) or self._boxes.get((path, -1))
        return _ordered([] if given is None else [Face(given.within(image), 1.0)], image)


class WholeFrame:
    """No search at all: the largest centred square of the frame."""

    name = "whole_frame"
    identity = "whole_frame"

    def detect(self, image: NDArray[np.uint8], *, path: str = "", frame: int = 0) -> list[Face]:
        """See Detector."""
        height, width = image.shape[:2]
        side = min(height, width)
        return [Face(Box((width - side) / 2, (height - side) / 2, side, side), 1.0)]


DETECTORS: Mapping[str, Callable[[Path | None, Boxes | None], Detector]] = {
    "yunet": lambda weights, _: YuNet(weights),
    "haar": lambda weights, _: Haar(weights),
    "boxes": lambda _, boxes: DatasetBoxes(boxes),
    "whole_frame": lambda _, __: WholeFrame(),
}


def load_detector(name: str, *, weights: Path | None = None, boxes: Boxes | None = None) -> Detector:
    """The detector of that name; keep it, since loading one costs more than using it.

    `boxes` is for the detector `boxes`, by (presentation, frame). Raises SettingsError, InputError, WeightsError, and
    DownloadError where weights have to be fetched and cannot be.
    """
    if name not in DETECTORS:
        raise SettingsError(
            f"no face detector {name!r}; expected {', '.join(DETECTORS)}{did_you_mean(name, DETECTORS)}"
        )
    return DETECTORS[name](weights, boxes)


def worker_detector(name: str, weights: Path | None, boxes: Boxes | None) -> Detector:
    """Return the detector of that name, made once in this process unless it has boxes; for workers of one thread."""
    return _made_once(name, weights) if boxes is None else load_detector(name, boxes=boxes)


@lru_cache(maxsize=4)
def _made_once(name: str, weights: Path | None) -> Detector:
    return load_detector(name, weights=weights)


def given_faces(boxes: Iterable[Box], image: NDArray[np.uint8]) -> list[Face]:
    """Return faces that the caller found, the largest first. Raises InputError for one whose centre is outside the picture."""
    height, width = image.shape[:2]
    for box in boxes:
        if not (0 <= box.x + box.w / 2 < width and 0 <= box.y + box.h / 2 < height and box.w > 0 and box.h > 0):
            raise InputError(
                f"the face box {tuple(box)} lies outside the picture of {width} x {height} pixels; expected left, top, "
                "width and height in pixels"
            )
    return _ordered([Face(box, 1.0) for box in boxes], image)


def _shrunk(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The picture with a long side of at most so many pixels."""
    height, width = image.shape[:2]
    factor = max(height, width) / side
    return image if factor <= 1 else shrink(image, max(round(width / factor), 1), max(round(height / factor), 1))


def _enlarged(box: Iterable[SupportsFloat], small: NDArray[np.uint8], image: NDArray[np.uint8]) -> Box:
    """A box in a shrunk picture as one in the picture itself."""
    factor = max(image.shape[:2]) / max(small.shape[:2])
    return Box(*(float(value) * factor for value in box))


def _lit(faces: list[Face], image: NDArray[np.uint8]) -> list[Face]:
    """The faces of which at least a hundredth is lighter than BLACK: detectors see more in the dark than networks score."""

    def is_lit(box: Box) -> bool:
        pixels = image[int(box.y) : int(box.y + box.h) : 2, int(box.x) : int(box.x + box.w) : 2]
        return bool(np.count_nonzero(pixels > BLACK) >= 0.01 * pixels.size)

    return [face for face in faces if is_lit(face.box)]


def _ordered(faces: list[Face], image: NDArray[np.uint8]) -> list[Face]:
    """Boxes clipped to the frame, those left without a size dropped, the largest first."""
    height, width = image.shape[:2]
    kept = []
    for face in faces:
        left, top = max(face.box.x, 0.0), max(face.box.y, 0.0)
        right, bottom = min(face.box.x + face.box.w, width), min(face.box.y + face.box.h, height)
        if right - left >= 1 and bottom - top >= 1:
            box = Box(left, top, right - left, bottom - top)
            cut = 1 - box.w * box.h / (face.box.w * face.box.h)
            kept.append(replace(face, box=box, cut=max(cut, 0.0)))
    return sorted(kept, key=lambda face: face.box.w * face.box.h, reverse=True)
