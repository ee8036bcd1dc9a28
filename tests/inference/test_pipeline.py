from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bonaface.choices import FacePolicy, FusionRule
from bonaface.data.cropping import crop_face, resize_frame
from bonaface.data.faces.detector import Face
from bonaface.data.frames import part_of, spread
from bonaface.data.sources import Source
from bonaface.data.video_writer import write_video
from bonaface.inference.backends import load_backend
from bonaface.inference.bundle import Bundle, change_bundle
from bonaface.inference.bundle_schema import ENSEMBLE_FILE, EnsembleCard, OperatingPoint
from bonaface.inference.decision import PresentationResult, verdict_of
from bonaface.inference.pipeline import FURTHER, Pipeline
from bonaface.types import Box, FrameScore, Status
from tests.networks import tiny_bundle, tiny_network


def sample(*frames: float | Status) -> PresentationResult:
    scores = [
        FrameScore(number, value) if isinstance(value, Status) else FrameScore(number, Status.OK, logit=value)
        for number, value in enumerate(frames)
    ]
    return PresentationResult(Source("x.mp4", Path("x.mp4")), tuple(scores))


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
    (result,) = Pipeline(bundle, threads=1).score([Source("frame", (frame,))], frames=1, keep_crops=True)
    assert result.crops is not None
    assert np.array_equal(result.crops[0], resize_frame(frame, 80)[8:72, 34:98])  # (133 - 64) / 2 is 34.5
    assert result.frames[0].box == (40, 0, 120, 120)


class Bright:
    """Finds as many faces as the picture's level says: none in the dark, one from 100, two from 200."""

    name = "whole_frame"
    identity = "whole_frame"

    def detect(self, image: np.ndarray, *, path: str = "", frame: int = 0) -> list[Face]:
        return [Face(Box(8 * number, 8, 40 - number, 40), 0.9) for number in range(int(image.mean()) // 100)]


@pytest.fixture
def bright(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setattr(Pipeline, "_detector", lambda self: Bright())
    return tiny


def clip(path: Path, levels: Sequence[int]) -> Path:
    write_video(path, [np.full((64, 64, 3), level, np.uint8) for level in levels], fps=10, quality=5)
    return path


def verdict_of_clip(bundle: Bundle, source: Path, *, frames: int = 4, faces: FacePolicy = "largest"):
    with Pipeline(bundle, threads=2, faces=faces) as pipeline:
        (found,) = pipeline.score([Source(source.name, source)], frames=frames)
    return found, verdict_of(found, point(frames))


@pytest.mark.parametrize(
    ("levels", "with_face"),
    [
        ([20] * 30 + [130] * 12, 4),  # the camera needs three seconds
        ([130] * 12 + [20] * 30, 4),  # the face leaves early
        ([20] * 12 + [130] * 12 + [20] * 12, 4),
        ([20, *[130] * 30], 4),
        ([20] * 40 + [130] * 2, 0),  # after the last frame that is looked at
    ],
    ids=["late", "early", "middle", "first", "too_late"],
)
def test_frames_with_a_face_are_searched(bright: Bundle, tmp_path: Path, levels: list[int], with_face: int):
    found, verdict = verdict_of_clip(bright, clip(tmp_path / "a.mp4", levels))
    had = [frame.frame for frame in found.frames if frame.logit is not None]
    assert len(had) <= 4
    assert all(levels[number] == 130 for number in had)
    assert [frame.frame for frame in found.frames] == sorted({frame.frame for frame in found.frames})
    assert len(found.frames) <= FURTHER * 4
    if with_face == 4:
        assert len(had) == 4
        assert verdict.reason == f"4 of {len(found.frames)} frames had a face"
    else:
        assert verdict.outcome == "no_face"
        assert verdict.score is None


def test_a_frame_without_a_face_is_replaced_by_one_near_it(bright: Bundle, tmp_path: Path):
    chosen = set(spread(48, 4)[1:])
    levels = [20 if number in chosen else 130 for number in range(48)]
    found, verdict = verdict_of_clip(bright, clip(tmp_path / "a.mp4", levels))
    had = [frame.frame for frame in found.frames if frame.logit is not None]
    assert [part_of(number, total=48, count=4) for number in had] == [0, 1, 2, 3]
    assert verdict.score is not None


@pytest.mark.parametrize("period", [4, 8, 16])
def test_pulsing_light_does_not_change_the_verdict(bright: Bundle, tmp_path: Path, period: int):
    levels = [20 if number % period == 0 or number % period > period / 2 else 130 for number in range(64)]
    found, verdict = verdict_of_clip(bright, clip(tmp_path / "a.mp4", levels), frames=8)
    assert sum(frame.logit is not None for frame in found.frames) == 8
    assert verdict.score is not None


def test_too_few_frames_with_a_face_are_no_verdict():
    few, half = sample(Status.NO_FACE, 5.0, *[Status.NO_FACE] * 6), sample(5.0, 5.0, *[Status.NO_FACE] * 6)
    for found, outcome in ((few, "no_face"), (half, "bona_fide")):
        verdict = verdict_of(replace(found, wanted=4), point(4))
        assert verdict.outcome == outcome
        assert "of 8 frames had a face" in verdict.reason
    assert "at least 2 are needed" in verdict_of(replace(few, wanted=4), point(4)).reason


def test_a_video_with_faces_everywhere_has_no_note(bright: Bundle, tmp_path: Path):
    found, verdict = verdict_of_clip(bright, clip(tmp_path / "a.mp4", [130] * 20))
    assert [frame.frame for frame in found.frames] == spread(20, 4)
    assert (verdict.reason, verdict.faces) == ("", 1)


@pytest.mark.parametrize(
    ("faces", "said", "scored"),
    [
        ("largest", "the largest scored", True),
        ("all", "the least bona fide decides", True),
        ("refuse", "none scored", False),
    ],
)
def test_several_faces_are_counted_in_the_verdict(
    bright: Bundle, tmp_path: Path, faces: FacePolicy, said: str, scored: bool
):
    _, verdict = verdict_of_clip(bright, clip(tmp_path / "a.mp4", [130] * 10 + [230] * 10), faces=faces)
    assert (verdict.faces, verdict.score is not None) == (2, scored)
    assert verdict.reason == f"2 faces in 2 of 4 frames, {said}"
    with Pipeline(bright, threads=1, faces=faces) as pipeline:
        (one,) = pipeline.verdicts([Source("two", (np.full((64, 64, 3), 230, np.uint8),))])
    assert one.reason == f"2 faces, {said}"
    assert one.to_dict()["faces"] == 2


def test_a_pipeline_keeps_its_threads_until_it_is_closed(tiny: Bundle):
    def workers() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("bonaface-decode")}

    before = workers()
    sources = [Source(str(number), (np.full((64, 64, 3), number, np.uint8),)) for number in range(8)]
    with Pipeline(tiny, threads=2) as pipeline:
        list(pipeline.score(sources, frames=1))
        kept = workers() - before
        list(pipeline.score(sources, frames=1))
        assert workers() - before == kept
        assert len(kept) == 2
    assert workers() == before


def test_one_pipeline_serves_several_threads(tiny: Bundle, thousand: np.ndarray):
    sources = [Source(str(number), (crop,)) for number, crop in enumerate(thousand[:24])]
    with Pipeline(tiny, threads=2) as pipeline:
        alone = [verdict.logit for verdict in pipeline.verdicts(sources)]
        with ThreadPoolExecutor(4) as callers:
            together = list(callers.map(lambda _: [verdict.logit for verdict in pipeline.verdicts(sources)], range(4)))
    for logits in together:
        assert logits == pytest.approx(alone, abs=1e-5)


@pytest.fixture(scope="module")
def ensemble(tiny: Bundle) -> Bundle:
    """Two tiny networks; the second sees half of the picture, blue first."""
    other = tiny_bundle(tiny.path, tiny_network(seed=1))
    card = EnsembleCard(
        name="other",
        bundle=other.id,
        input=other.card.input.model_copy(update={"colour": "BGR"}),
        output=other.card.output.model_copy(update={"embedding": None}),
        crop_scale=0.5,
        weight=0.25,
    )
    return change_bundle(tiny, files={ENSEMBLE_FILE: other.contents["model.onnx"]}, ensemble=card)


def test_the_second_network_of_an_ensemble_sees_its_own_crop(tiny: Bundle, ensemble: Bundle):
    (picture,) = np.random.default_rng(0).integers(0, 256, (1, 96, 128, 3), dtype=np.uint8)
    source = Source("picture", (picture,))
    other = load_backend(ensemble.second, threads=1) if ensemble.second else None
    assert other is not None
    inner = crop_face(picture, Box(16, 0, 96, 96), scale=0.5, size=64)
    added, embeddings = other.run(inner[None])
    assert embeddings is None
    (alone,), (both,) = (Pipeline(each, threads=1).score([source], frames=1) for each in (tiny, ensemble))
    assert both.frames[0].logit == pytest.approx(alone.frames[0].logit + 0.25 * added[0], abs=1e-6)
    assert abs(added[0]) > 0.01
    own, kept = alone.frames[0].embedding, both.frames[0].embedding
    assert own is not None
    assert kept is not None
    assert np.array_equal(kept, own)


def test_an_ensemble_without_a_face_has_no_score(ensemble: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Pipeline, "_detector", lambda self: Bright())
    dark, _ = verdict_of_clip(ensemble, clip(tmp_path / "dark.mp4", [0, 0, 0, 0]))
    assert {frame.status for frame in dark.frames} == {Status.NO_FACE}
    _, two = verdict_of_clip(ensemble, clip(tmp_path / "two.mp4", [220] * 4), faces="all")
    assert two.score is not None


def test_any_number_of_crops_gives_the_logits_of_each(tiny: Bundle, thousand: np.ndarray):
    backend = load_backend(tiny, threads=1)
    together, embeddings = backend.run(thousand[:11])
    assert embeddings is not None
    assert len(together) == len(embeddings) == 11
    assert np.allclose(together, [backend.run(crop[None])[0][0] for crop in thousand[:11]], atol=1e-5)
    assert len(backend.run(thousand[:0])[0]) == 0
