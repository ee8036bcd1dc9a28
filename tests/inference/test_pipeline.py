from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bonaface.data.cropping import resize_frame
from bonaface.inference.bundle import Bundle, OperatingPoint, change_bundle
from bonaface.inference.pipeline import Pipeline, Sample, Source, verdict_of
from bonaface.types import FrameScore, FusionRule, Status


def sample(*frames: float | Status) -> Sample:
    scores = [
        FrameScore(number, value) if isinstance(value, Status) else FrameScore(number, Status.OK, logit=value)
        for number, value in enumerate(frames)
    ]
    return Sample(Source("x.mp4", Path("x.mp4")), tuple(scores))


def point(frames: int, fusion: FusionRule = "mean", threshold: float = 0.0) -> OperatingPoint:
    return OperatingPoint(
        threshold=0.5, logit_threshold=threshold, criterion="fixed=0.5", frames=frames, fusion=fusion, chosen_on={}
    )


def test_a_logit_at_the_threshold_is_accepted():
    assert verdict_of(sample(0.0), point(1, "first")).outcome == "bona_fide"
    assert verdict_of(sample(-1e-9), point(1, "first")).outcome == "attack"


@pytest.mark.parametrize(("rule", "outcome"), [("mean", "bona_fide"), ("median", "attack"), ("max_attack", "attack")])
def test_frames_are_fused_by_the_points_rule(rule: FusionRule, outcome: str):
    assert verdict_of(sample(-1.0, -1.0, 9.0), point(3, rule)).outcome == outcome


def test_for_one_image_the_first_frame_alone_counts_even_where_it_failed():
    verdict = verdict_of(sample(Status.NO_FACE, 5.0), point(1, "first"))
    assert (verdict.outcome, verdict.score, verdict.accepted) == ("no_face", None, False)


def test_for_a_video_frames_without_a_score_are_left_out_and_none_is_no_verdict():
    assert verdict_of(sample(Status.NO_FACE, 5.0), point(8)).outcome == "bona_fide"
    assert verdict_of(sample(Status.NO_FACE, 5.0), point(8, "first")).logit == 5.0
    assert verdict_of(sample(Status.TOO_SMALL, Status.NO_FACE), point(8)).outcome == "too_small"


def test_a_frame_refused_for_several_faces_refuses_the_video():
    assert verdict_of(sample(5.0, Status.SEVERAL_FACES), point(8)).outcome == "several_faces"


def test_a_whole_frame_is_resized_before_it_is_cut_and_its_box_stays_in_the_frame(tiny: Bundle):
    frame = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)
    bundle = change_bundle(tiny, resize=80, crop_scale=0.8)
    (judged,) = Pipeline(bundle, threads=1).score([Source("frame", (frame,))], frames=1, keep_crops=True)
    assert judged.crops is not None
    assert np.array_equal(judged.crops[0], resize_frame(frame, 80)[8:72, 34:98])  # (133 - 64) / 2 is 34.5
    assert judged.frames[0].box == (40, 0, 120, 120)
