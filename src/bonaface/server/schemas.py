"""The API's JSON, as its OpenAPI document describes it."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from bonaface.choices import FusionRule
from bonaface.inference.bundle import Bundle
from bonaface.inference.quality import FaceRules
from bonaface.inference.quality_limits import Limit
from bonaface.inference.verdict import Verdict
from bonaface.server.errors import ERRORS, ApiError
from bonaface.server.settings import Limits, ServerSettings
from bonaface.types import NOT_MEASURED, Box, FrameScore, Label, Quality, Status, probability

Outcome = Literal["bona_fide", "attack", "no_face", "several_faces", "too_small", "low_quality"]
Kind = Literal["image", "video"]

EXAMPLE_ID = "5b0a3c1e9d5e4a0f8d0e6f0f0c8a2b11"
_EXAMPLE = Verdict(
    "",
    Label.BONA_FIDE,
    score=float(probability(3.588)),
    threshold=float(probability(-0.3528)),
    logit=3.588,
    logit_threshold=-0.3528,
    faces=1,
    frames=(FrameScore(0, Status.OK, logit=3.588, faces=1, box=Box(212.0, 96.0, 188.0, 188.0), confidence=0.93),),
    quality=Quality(212.4, 0.47, 0.02, 0.0, 188.0, 0.0, 4.1, 6.3, 1.2),
    bundle="0f3c5a7be1d24968",
    seconds={"decode": 0.004, "detect": 0.018, "crop": 0.001, "network": 0.009, "total": 0.034},
)
_NO_FACE = replace(
    _EXAMPLE,
    outcome=Status.NO_FACE,
    score=None,
    logit=None,
    faces=0,
    frames=(FrameScore(0, Status.NO_FACE),),
    quality=NOT_MEASURED,
    seconds={"decode": 0.004, "detect": 0.018, "crop": 0.0, "network": 0.0, "total": 0.023},
)


def verdict_json(verdict: Verdict, *, request_id: str) -> dict[str, Any]:
    """Return a verdict as LivenessAnswer: as the command line prints it, without the name of a file."""
    values = verdict.to_dict()
    del values["source"]
    return {"request_id": request_id, **values}


class FrameAnswer(BaseModel):
    """The result of one frame."""

    frame: int = Field(description="Number of the frame in the upload, from 0.")
    time: float | None = Field(description="Seconds from the start of a video.")
    status: Status = Field(description="`ok`, or why the frame has no score.")
    score: float | None = Field(description="Probability of a bona fide face, 0 to 1; higher is more bona fide.")
    logit: float | None = Field(description="The score as a logit.")
    faces: int = Field(description="Number of faces that are large enough to be scored.")
    box: tuple[float, float, float, float] | None = Field(
        description="The scored face in pixels of the upright frame: left, top, width, height."
    )
    confidence: float | None = Field(description="Confidence of the face detector, 0 to 1.")


class FindingAnswer(BaseModel):
    """A limit that kept the upload from being scored."""

    name: str = Field(description="The measure, as in `quality`.")
    value: float
    min: float | None = Field(description="The limit, where the value is too low.")
    max: float | None = Field(description="The limit, where the value is too high.")
    advice: str = Field(description="What the person in front of the camera can do.")


class QualityAnswer(BaseModel):
    """Quality of the face, the median over frames; null where it is unknown."""

    sharpness: float | None = Field(description="Variance of the Laplacian of the network's crop.")
    luminance_mean: float | None = Field(description="Mean luminance of the face, 0 to 1.")
    under_exposure: float | None = Field(description="Share of the face that is almost black.")
    over_exposure: float | None = Field(description="Share of the face that is almost white.")
    face_size: float | None = Field(description="Longer side of the face box in pixels.")
    face_cut: float | None = Field(description="Share of the face box outside the frame.")
    head_pose_yaw: float | None = Field(description="Degrees that the head is turned to a side.")
    head_pose_pitch: float | None = Field(description="Degrees that the head is turned up or down.")
    head_pose_roll: float | None = Field(description="Degrees that the head is tilted.")
    identical_frames: float | None = Field(
        description="Share of the frames after the first that repeat an earlier one."
    )


_EXAMPLES: Any = [verdict_json(each, request_id=EXAMPLE_ID) for each in (_EXAMPLE, _NO_FACE)]


class LivenessAnswer(BaseModel):
    """The verdict on an upload."""

    model_config = ConfigDict(json_schema_extra={"examples": _EXAMPLES})

    request_id: str = Field(description="The request's X-Request-ID where it is valid, else a new one.")
    verdict: Outcome = Field(description="`bona_fide`, `attack`, or why there is no score: then it is not accepted.")
    accepted: bool = Field(description="True for `bona_fide` only.")
    score: float | None = Field(description="Probability of a bona fide face; `score >= threshold` accepts.")
    threshold: float = Field(description="The bundle's threshold for an image, or for a video or burst.")
    logit: float | None = Field(description="The score as a logit, where probabilities near 0 and 1 differ too little.")
    logit_threshold: float = Field(description="The threshold as a logit; `logit >= logit_threshold` decides.")
    kind: Kind = Field(description="The operating point in use; several images count as a video.")
    faces: int = Field(description="Largest number of faces in a frame that are large enough to be scored.")
    reason: str = Field(description="What affected the verdict, if anything: several faces, few frames, damage.")
    findings: list[FindingAnswer] = Field(description="For `low_quality` and `too_small`: the limits that were broken.")
    quality: QualityAnswer
    bundle: str = Field(description="Id of the bundle: the first 16 digits of its sha256.")
    frames: list[FrameAnswer]
    seconds: dict[str, float] = Field(description="Time of each stage, and in total.")


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: str = Field(description="Stable, for programs.")
    message: str = Field(description="For people.")
    request_id: str


class ErrorAnswer(BaseModel):
    """Every response whose status is not 200."""

    model_config = ConfigDict(json_schema_extra={"examples": [ApiError("busy").body(EXAMPLE_ID)]})

    error: ErrorDetail


class PointAnswer(BaseModel):
    """A threshold and how it was chosen."""

    threshold: float
    criterion: str
    frames: int = Field(description="Number of frames, spread over the video, that are scored.")
    fusion: FusionRule
    warnings: list[str]


class ModelAnswer(BaseModel):
    """What is served."""

    name: str
    bundle: str
    version: str = Field(description="Version of Bonaface.")
    architecture: str
    input_size: int = Field(description="Side of the network's input in pixels.")
    crop_scale: float = Field(description="Side of the square crop divided by the longer side of the face box.")
    detector: str
    min_face: float | None = Field(
        description="Smallest face in pixels; null: a crop must not be enlarged more than twice."
    )
    quality: dict[str, Limit] = Field(description="Limits outside which a frame is `low_quality`, by measure.")
    licence: str
    operating_points: dict[Kind, PointAnswer]
    formats: list[str]
    limits: Limits
    key_required: bool
    session_required: bool


class FaceAnswer(BaseModel):
    """Where the face is, to guide a person in front of a camera; not a verdict."""

    faces: int = Field(description="Number of faces that are large enough to be scored, at the size of this picture.")
    box: tuple[float, float, float, float] | None = Field(
        description="The largest that was found, large enough or not: left, top, width, height in pixels."
    )
    width: int = Field(description="Width of the picture in pixels.")
    height: int = Field(description="Height of the picture in pixels.")


class SessionAnswer(BaseModel):
    """A token for the header X-Session, good for one verdict."""

    token: str
    expires_in: int = Field(description="Seconds until it expires.")


def describe(bundle: Bundle, settings: ServerSettings, rules: FaceRules) -> ModelAnswer:
    """Return what clients may know of a bundle: nothing of the data, paths and settings it was made with."""
    card = bundle.card
    return ModelAnswer(
        name=card.name,
        bundle=bundle.id,
        version=version("bonaface"),
        architecture=card.architecture,
        input_size=card.input.size,
        crop_scale=card.crop_scale,
        detector=card.detector.name,
        min_face=rules.min_face,
        quality=dict(rules.limits),
        licence=card.licence,
        operating_points={
            kind: PointAnswer.model_validate(bundle.operating_point(kind), from_attributes=True)
            for kind in get_args(Kind)
        },
        formats=["JPEG", "PNG", "WebP", "MP4", "MOV", "WebM", "Matroska"],
        limits=settings.limits,
        key_required=bool(settings.key),
        session_required=settings.require_session,
    )


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` for the errors of some statuses (default: all), with an example for each code."""
    found: dict[int | str, dict[str, Any]] = {}
    for code, (status, message) in ERRORS.items():
        if statuses and status not in statuses:
            continue
        empty = {"model": ErrorAnswer, "description": "", "content": {"application/json": {"examples": {}}}}
        given = found.setdefault(status, empty)
        given["description"] = f"{given['description']} `{code}`: {message}".strip()
        example = {"summary": message, "value": ApiError(code).body(EXAMPLE_ID)}
        given["content"]["application/json"]["examples"][code] = example
    return found
