"""Limits on the quality of a face, as a bundle holds them, and what a person can do where one is broken."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from pydantic import ConfigDict

from bonaface.errors import SettingsError, did_you_mean

_POSE = ("head_pose_yaw", "head_pose_pitch", "head_pose_roll")
_LIMIT = re.compile(r"(\w+)\s*(<=|>=)\s*(\S+)", re.ASCII)


class Measure(NamedTuple):
    """What a person can do where a measure is too low or too high; empty for a side that no limit is set on."""

    low: str = ""
    high: str = ""


MEASURES: Mapping[str, Measure] = {
    "sharpness": Measure(low="Hold still, wipe the lens and let the camera focus."),
    "luminance_mean": Measure(low="Turn to the light: the face is dark.", high="Turn away from the glare."),
    "under_exposure": Measure(high="Turn to the light: parts of the face are black."),
    "over_exposure": Measure(high="Move out of the direct light: parts of the face are white."),
    "face_size": Measure(low="Come closer to the camera.", high="Move away from the camera."),
    "face_cut": Measure(high="Move into the middle: part of the face is outside the picture."),
    "head_pose_yaw": Measure(high="Look straight into the camera."),
    "head_pose_pitch": Measure(high="Hold the camera at the height of your eyes, and look straight into it."),
    "head_pose_roll": Measure(high="Hold your head and the camera upright."),
    "identical_frames": Measure(high="Record a moment with a live camera: the frames repeat each other."),
}
"""The measures of Quality, by name."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The range of a measure in which a frame is scored; ends belong to it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", allow_inf_nan=False, json_schema_serialization_defaults_required=True
    )

    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        ends = [end for end in (self.min, self.max) if end is not None]
        if not ends or not all(map(math.isfinite, ends)):
            raise ValueError("expected a finite number as min, as max, or as both")
        if ends != sorted(ends):
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")

    def __str__(self) -> str:
        ends = (f">= {self.min:g}" if self.min is not None else "", f"<= {self.max:g}" if self.max is not None else "")
        return " and ".join(end for end in ends if end)


def known_limits(limits: dict[str, Limit]) -> dict[str, Limit]:
    """Return the limits. Raises ValueError for an unknown name, and for a side on which a measure has no limit."""
    for name, limit in limits.items():
        if name not in MEASURES:
            raise ValueError(
                f"no quality measure {name!r}{did_you_mean(name, MEASURES)}; expected one of {', '.join(MEASURES)}"
            )
        for end, advice, sign in ((limit.min, MEASURES[name].low, "<="), (limit.max, MEASURES[name].high, ">=")):
            if end is not None and not advice:
                raise ValueError(f"a limit on {name} is of the form {name}{sign}X")
    return limits


def parse_limits(texts: Iterable[str]) -> dict[str, Limit]:
    """Return limits written as `sharpness>=40`; two of one measure make a range. Raises SettingsError.

    >>> parse_limits(["face_size>=80", "face_size<=400"])
    {'face_size': Limit(min=80.0, max=400.0)}
    """
    ends: dict[str, dict[str, float]] = defaultdict(dict)
    for text in texts:
        found = _LIMIT.fullmatch(text.strip())
        try:
            name, sign, number = found.groups() if found else ("", "", "")
            value, end = float(number), {"<=": "max", ">=": "min"}[sign]
        except (ValueError, KeyError):
            raise SettingsError(
                f"the limit {text!r}: expected a measure and a number, such as sharpness>=40 or head_pose_yaw<=30"
            ) from None
        if end in ends[name]:
            raise SettingsError(f"two limits {name}{sign}; expected one")
        ends[name][end] = value
    try:
        return known_limits({name: Limit(**of_name) for name, of_name in ends.items()})
    except ValueError as error:
        raise SettingsError(f"the limits {', '.join(texts)}: {error}") from None


def pose_limits(limits: Iterable[str]) -> list[str]:
    """Return which limits need the landmarks of a face, which the detector yunet alone finds."""
    return [name for name in _POSE if name in set(limits)]
