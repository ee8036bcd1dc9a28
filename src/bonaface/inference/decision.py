"""From the scores of a presentation's frames to its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonaface.choices import FacePolicy, FusionRule
from bonaface.data.sources import Source
from bonaface.inference.bundle_schema import OperatingPoint
from bonaface.inference.quality import gathered, summary
from bonaface.inference.verdict import Verdict
from bonaface.types import Finding, FrameScore, Label, Status, fuse, probability

DEFAULT_FACES: FacePolicy = "largest"
"""The same in training, evaluation, prediction and server, so that what was measured is what is deployed."""

_POLICY_TEXT = {
    "largest": "the largest scored",
    "all": "the least bona fide decides",
    "refuse": "none scored",
}

LEAST_SHARE = 0.5
"""With fewer of the wanted frames than this, a presentation is `no_face`: its threshold was chosen for all of them."""


@dataclass(frozen=True)
class PresentationResult:
    """One presentation after the network: a FrameScore for each frame that was searched, in order, at least one.

    `wanted` frames were requested; more were searched if some of these had no face. `note` is what the decoder
    reports (truncated, unreadable, ...); `crops` `(n, size, size, 3)` are those of the frames with status `ok`, in order,
    kept only on request. `identical` is the share of repeated frames, and `findings` says where it breaks a limit.
    """

    source: Source
    frames: tuple[FrameScore, ...]
    note: str = ""
    wanted: int = 0
    policy: FacePolicy = DEFAULT_FACES
    crops: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)
    identical: float | None = None
    findings: tuple[Finding, ...] = ()


def fused(result: PresentationResult, rule: FusionRule) -> tuple[float | None, Status]:
    """Return the logit of a presentation, None if it cannot be scored, and its status.

    A frame refused for several faces refuses the presentation, and so do repeated frames beyond their limit; fewer than
    LEAST_SHARE of the wanted frames with a score are too few. If no frame could be scored, the status is that of the first.
    """
    frames = result.frames
    if any(frame.status is Status.SEVERAL_FACES for frame in frames):
        return None, Status.SEVERAL_FACES
    if result.findings:
        return None, Status.LOW_QUALITY
    logits = [frame.logit for frame in frames if frame.logit is not None]
    if logits and len(logits) >= LEAST_SHARE * result.wanted:
        return fuse(logits, rule=rule), Status.OK
    return None, next((frame.status for frame in frames if frame.logit is None), Status.NO_FACE)


def verdict_of(
    result: PresentationResult,
    point: OperatingPoint,
    *,
    bundle: str = "",
    kind: Literal["image", "video"] | None = None,
) -> Verdict:
    """Return the verdict at an operating point: that for one image uses the first frame only, even if it failed."""
    counted = result
    if point.frames == 1:
        counted = replace(result, frames=result.frames[:1], wanted=1, identical=None, findings=())
    value, status = fused(counted, point.fusion)
    outcome: Label | Status = status
    if value is not None:
        outcome = Label.BONA_FIDE if value >= point.logit_threshold else Label.ATTACK
    faces = max((frame.faces for frame in counted.frames), default=0)
    findings = () if value is not None else (*counted.findings, *gathered(counted.frames))
    notes = (result.note, _few_frames(counted), _several_faces(counted), *map(str, findings))
    return Verdict(
        source=result.source.name,
        outcome=outcome,
        score=None if value is None else float(probability(value)),
        threshold=point.threshold,
        logit=value,
        logit_threshold=point.logit_threshold,
        kind=kind or result.source.kind,
        faces=faces,
        frames=result.frames,
        bundle=bundle,
        reason="; ".join(note for note in notes if note),
        seconds=result.seconds,
        media=result.source,
        quality=summary(counted.frames, identical=counted.identical),
        findings=findings,
    )


def _few_frames(result: PresentationResult) -> str:
    count, total = sum(frame.logit is not None for frame in result.frames), len(result.frames)
    if not 0 < count < total or any(frame.status is Status.SEVERAL_FACES for frame in result.frames):
        return ""
    least = math.ceil(LEAST_SHARE * result.wanted)
    without_face = all(frame.status in (Status.OK, Status.NO_FACE) for frame in result.frames)
    said = f"{count} of {total} frames {'had a face' if without_face else 'could be scored'}"
    return said if count >= least else f"{said}, at least {least} are needed"


def _several_faces(result: PresentationResult) -> str:
    several = [frame.faces for frame in result.frames if frame.faces > 1]
    if not several:
        return ""
    where = f" in {len(several)} of {len(result.frames)} frames" if len(result.frames) > 1 else ""
    return f"{max(several)} faces{where}, {_POLICY_TEXT[result.policy]}"
