"""The JSON that the server answers with, as its OpenAPI page describes it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Literal

from pydantic import BaseModel, Field

from bonaface.inference.bundle import Bundle, OperatingPoint
from bonaface.server.errors import Refusal
from bonaface.server.settings import Limits
from bonaface.types import FusionRule, Label, Status, Verdict

__all__ = ["EXAMPLES", "ErrorAnswer", "LivenessAnswer", "ModelAnswer", "describe", "verdict_answer"]

Outcome = Literal["bona_fide", "attack", "no_face", "several_faces", "too_small"]

_VERDICT: dict[str, Any] = {
    "request_id": "5b0a3c1e9d5e4a0f8d0e6f0f0c8a2b11",
    "outcome": "bona_fide",
    "accepted": True,
    "score": 0.9731,
    "threshold": 0.4127,
    "kind": "image",
    "frames": [
        {
            "frame": 0,
            "time": None,
            "status": "ok",
            "score": 0.9731,
            "box": [212.0, 96.0, 188.0, 188.0],
            "confidence": 0.93,
        }
    ],
    "note": "",
    "bundle": "0f3c5a7be1d24968",
    "seconds": {"decode": 0.004, "detect": 0.018, "crop": 0.001, "network": 0.009, "total": 0.034},
}
_NO_FACE = {
    **_VERDICT,
    "outcome": "no_face",
    "accepted": False,
    "score": None,
    "frames": [{"frame": 0, "time": None, "status": "no_face", "score": None, "box": None, "confidence": None}],
    "seconds": {"decode": 0.004, "detect": 0.018, "crop": 0.0, "network": 0.0, "total": 0.023},
}

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "LivenessAnswer": [_VERDICT, _NO_FACE],
    "ErrorAnswer": [Refusal("busy").body(_VERDICT["request_id"])],
}
"""What the answers look like, by the name of their schema."""


class FrameAnswer(BaseModel):
    """What one frame gave."""

    frame: int = Field(description="Number of the frame in what was sent, from 0.")
    time: float | None = Field(description="Seconds from the start of a video.")
    status: Status = Field(description="`ok`, or why the frame has no score.")
    score: float | None = Field(description="Probability of a living face, 0 to 1; higher is more bona fide.")
    box: tuple[float, float, float, float] | None = Field(
        description="The face in pixels of the upright frame: left, top, width, height."
    )
    confidence: float | None = Field(description="How sure the face detector was, 0 to 1.")


class LivenessAnswer(BaseModel):
    """The verdict on what was sent."""

    request_id: str
    outcome: Outcome = Field(
        description="`bona_fide` (a living face), `attack`, or why there is neither: then nothing was accepted."
    )
    accepted: bool = Field(description="True for `bona_fide` alone.")
    score: float | None = Field(description="Probability of a living face; `score >= threshold` accepts.")
    threshold: float = Field(description="The bundle's threshold for an image, or for a video or burst.")
    kind: Literal["image", "video"] = Field(
        description="Which operating point judged: several images count as a video."
    )
    frames: list[FrameAnswer]
    note: str = Field(description="What was odd about the file, such as a video that breaks off; else empty.")
    bundle: str = Field(description="Which bundle judged: the first 16 digits of its sha256.")
    seconds: dict[str, float] = Field(description="Time spent in each stage, and in all.")


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: str = Field(description="Stable: made for programs.")
    message: str = Field(description="Made for people.")
    request_id: str


class ErrorAnswer(BaseModel):
    """Every answer that is not 200."""

    error: ErrorDetail


class PointAnswer(BaseModel):
    """A threshold and how it was chosen."""

    threshold: float
    criterion: str
    frames: int = Field(description="Evenly spaced frames that are judged.")
    fusion: FusionRule
    warnings: list[str]


class LimitsAnswer(BaseModel):
    """The most that one request may send."""

    bytes: int
    pixels: int
    video_pixels: int
    video_frames: int
    video_work: int = Field(description="Pixels of one frame times the frames of a video.")
    files: int
    seconds: float
    timeout: float


class ModelAnswer(BaseModel):
    """What is served."""

    name: str
    bundle: str
    version: str = Field(description="Version of Bonaface.")
    architecture: str
    input_size: int = Field(description="Side of the network's input in pixels.")
    crop_scale: float = Field(description="Side of the square that is judged, over the longer side of the face.")
    detector: str
    licence: str
    operating_points: dict[Literal["image", "video"], PointAnswer]
    formats: list[str]
    limits: LimitsAnswer
    key_required: bool


def verdict_answer(verdict: Verdict, *, request_id: str, kind: Literal["image", "video"]) -> dict[str, Any]:
    """A verdict as LivenessAnswer."""
    return {
        "request_id": request_id,
        "outcome": verdict.outcome.value,
        "accepted": verdict.accepted,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "kind": kind,
        "frames": [
            {
                "frame": frame.frame,
                "time": frame.time,
                "status": frame.status.value,
                "score": frame.score,
                "box": frame.box,
                "confidence": frame.confidence,
            }
            for frame in verdict.frames
        ],
        "note": verdict.reason,
        "bundle": verdict.bundle,
        "seconds": {stage: round(spent, 6) for stage, spent in verdict.seconds.items()},
    }


def describe(bundle: Bundle, limits: Limits, *, key_required: bool) -> ModelAnswer:
    """A bundle as its users may know it: without the data, the paths and the settings it was made with."""
    card = bundle.card
    return ModelAnswer(
        name=card.name,
        bundle=bundle.id,
        version=version("bonaface"),
        architecture=card.architecture,
        input_size=card.input.size,
        crop_scale=card.crop_scale,
        detector=card.detector.name,
        licence=card.licence,
        operating_points={kind: _point(bundle.operating_point(kind)) for kind in ("image", "video")},
        formats=["JPEG", "PNG", "WebP", "MP4", "MOV", "WebM"],
        limits=LimitsAnswer(
            bytes=limits.bytes,
            pixels=limits.pixels,
            video_pixels=limits.video_pixels,
            video_frames=limits.frames,
            video_work=limits.video_work,
            files=limits.files,
            seconds=limits.seconds,
            timeout=limits.timeout,
        ),
        key_required=key_required,
    )


def _point(point: OperatingPoint) -> PointAnswer:
    return PointAnswer(
        threshold=point.threshold,
        criterion=point.criterion,
        frames=point.frames,
        fusion=point.fusion,
        warnings=list(point.warnings),
    )


assert set(Outcome.__args__) == {*Label, *Status} - {Status.OK, Status.UNREADABLE}  # type: ignore[attr-defined]
