"""Quality of a face before its verdict: how it is measured, and whether a face is scored.

Names follow the quality components of ISO/IEC 29794-5 where it has them; values are raw measures, not its 0 to 100 scale.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.data.cropping import Square, cut, default_min_face, face_square, resize
from bonaface.data.faces.detector import Face
from bonaface.errors import SettingsError
from bonaface.inference.bundle_schema import BundleCard
from bonaface.inference.quality_limits import MEASURES, Limit, pose_limits
from bonaface.types import Box, Finding, FrameScore, Quality

DARK, BRIGHT = 25, 247
"""Grey levels up to and from which a pixel counts as under-exposed and over-exposed."""

# Eyes, tip of the nose and corners of the mouth of an average head in millimetres: to the right, down, to the camera.
_HEAD = np.array([[-32, -40, -28], [32, -40, -28], [0, 0, 0], [-26, 30, -22], [26, 30, -22]], np.float64)
_FIT = np.linalg.pinv(_HEAD - _HEAD.mean(axis=0))


@dataclass(frozen=True)
class FaceRules:
    """Which faces a bundle scores: those large enough, and within its limits on quality.

    `min_face` is the longer side in pixels that a face needs, by default the bundle's; where that is None too, the
    enlargement of the crop decides. Without `quality` the bundle's limits do not apply. Raises
    SettingsError for a size that is negative or not finite, and for a detector in place of the bundle's own that
    does not find what a limit is on.
    """

    card: BundleCard
    min_face: float | None = None
    quality: bool = True
    detector: str | None = None

    def __post_init__(self) -> None:
        if self.min_face is not None and not 0 <= self.min_face < math.inf:
            raise SettingsError(f"the smallest face is {self.min_face}; expected its longer side in pixels, 0 or more")
        if self.detector not in (None, "yunet"):
            self.need_landmarks(f"the detector {self.detector} does not find")
        if self.min_face is None:
            object.__setattr__(self, "min_face", self.card.min_face)

    @property
    def limits(self) -> Mapping[str, Limit]:
        """The limits on quality that apply, by measure."""
        return self.card.quality if self.quality else {}

    def need_landmarks(self, lacking: str) -> None:
        """Raise SettingsError where a limit is on the pose, which needs landmarks; `lacking` says what has none."""
        if names := pose_limits(self.limits):
            raise SettingsError(
                f"the bundle limits {names[0]}, which needs landmarks that {lacking}; use the bundle's own detector, or "
                "score without limits (--no-quality)"
            )

    def too_small(self, box: Box, image: NDArray[np.uint8]) -> Finding | None:
        """Return the finding on a face that is too small; None if it is not."""
        longer = max(box.w, box.h)
        min_face = self.min_face
        if min_face is None:
            height, width = image.shape[:2]
            side = face_square(box, scale=self.card.crop_scale, width=width, height=height).side
            min_face = default_min_face(scale=side / longer, size=self.card.input.size)
        if longer >= min_face:
            return None
        return Finding("face_size", longer, math.ceil(min_face), None, MEASURES["face_size"].low)

    def crop(self, image: NDArray[np.uint8], box: Box, face: Face) -> tuple[Face, NDArray[np.uint8]]:
        """Return a face with its quality, and the crop around `box`, which is the face in this image."""
        height, width = image.shape[:2]
        square = face_square(box, scale=self.card.crop_scale, width=width, height=height)
        crop = resize(cut(image, square), self.card.input.size)
        return replace(face, quality=measure(crop, square, box, face)), crop


def check(quality: Quality, limits: Mapping[str, Limit]) -> tuple[Finding, ...]:
    """Return the limits that these values break; a measure without a value breaks none."""
    found = []
    for name, limit in limits.items():
        value, measure = getattr(quality, name), MEASURES[name]
        if value is None:
            continue
        if limit.min is not None and value < limit.min:
            found.append(Finding(name, value, limit.min, None, measure.low))
        elif limit.max is not None and value > limit.max:
            found.append(Finding(name, value, None, limit.max, measure.high))
    return tuple(found)


def measure(crop: NDArray[np.uint8], square: Square, box: Box, face: Face) -> Quality:
    """Return the quality of a face; `box` is the face in the picture that the crop's square was cut from."""
    factor = crop.shape[0] / square.side
    down = _span(box.y - square.y, box.h, factor, len(crop))
    across = _span(box.x - square.x, box.w, factor, len(crop))
    grey = cv2.cvtColor(crop[down, across], cv2.COLOR_RGB2GRAY)
    _, spread = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    yaw, pitch, roll = (None, None, None) if face.landmarks is None else head_pose(face.landmarks)
    return Quality(
        sharpness=float(spread[0, 0]) ** 2,
        luminance_mean=cv2.mean(grey)[0] / 255,
        under_exposure=float(np.count_nonzero(grey <= DARK) / grey.size),
        over_exposure=float(np.count_nonzero(grey >= BRIGHT) / grey.size),
        face_size=max(face.box.w, face.box.h),
        face_cut=face.cut,
        head_pose_yaw=yaw,
        head_pose_pitch=pitch,
        head_pose_roll=roll,
    )


def _span(start: float, length: float, factor: float, size: int) -> slice:
    """Return the whole pixels of a crop from `start` on, at least one."""
    first = min(max(round(start * factor), 0), size - 1)
    return slice(first, max(round((start + length) * factor), first + 1))


def head_pose(landmarks: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Return yaw, pitch and roll in degrees from eyes, nose and corners of the mouth, without their sign.

    An average head is turned until its parallel projection fits best, so pitch depends on the face by some degrees.
    """
    projected = (_FIT @ np.asarray(landmarks, np.float64)).T  # (2, 3): image x and y of the head's three axes
    left, _, right = np.linalg.svd(projected, full_matrices=False)
    turned = left @ right
    sideways, down = np.clip(turned[:, 2], -1, 1)
    roll = math.atan2(turned[1, 0], turned[0, 0])
    return math.degrees(abs(math.asin(sideways))), math.degrees(abs(math.asin(down))), math.degrees(abs(roll))


def summary(frames: Sequence[FrameScore], *, identical: float | None = None) -> Quality:
    """Return the medians over the frames that were scored, or over all where none was."""
    scored = [frame.quality for frame in frames if frame.logit is not None]
    columns = zip(*(scored or [frame.quality for frame in frames]), strict=True)
    known = ([value for value in column if value is not None] for column in columns)
    return Quality(*(median(values) if values else None for values in known))._replace(identical_frames=identical)


def gathered(frames: Sequence[FrameScore]) -> tuple[Finding, ...]:
    """Return one finding a limit, with the median of the frames that break it, the limit broken most often first."""
    found: dict[tuple[str, bool], list[Finding]] = defaultdict(list)
    for frame in frames:
        for finding in frame.findings:
            found[finding.name, finding.min is None].append(finding)
    medians = [each[0]._replace(value=median(one.value for one in each)) for each in found.values()]
    counts = [len(each) for each in found.values()]
    return tuple(medians[place] for place in sorted(range(len(medians)), key=lambda place: -counts[place]))
