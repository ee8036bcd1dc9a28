"""From a file to frame scores and a verdict: decode, find the face, crop, run the network, fuse.

Evaluation, prediction and serving all walk through here.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonaface.data.cropping import MINIMUM_FACE, crop_face, resize_frame
from bonaface.data.faces.detector import Boxes, Detector, Face, load_detector
from bonaface.data.frames import Media, open_frames
from bonaface.errors import BundleError, MediaError
from bonaface.inference.backends import load_backend
from bonaface.inference.bundle import Bundle, OperatingPoint
from bonaface.types import FrameScore, Label, Status, Verdict, fuse, probability

__all__ = ["FacePolicy", "Pipeline", "Prepared", "Sample", "Source", "verdict_of"]

BATCH = 4
"""Crops that go through the network at once, at most: a tenth to a fifth faster than one by one or 32 at once."""

FacePolicy = Literal["largest", "all", "refuse"]
"""What is judged where a frame shows several faces: the largest; all of them, the least bona fide deciding; none."""


@dataclass(frozen=True)
class Source:
    """One presentation to score: the name it goes by, and the file or the bytes of an upload.

    `flip` says how the file is stored mirrored, `first` how many frames of a video, from its start on, are taken from.
    """

    name: str
    path: Media
    flip: str = ""
    first: int | None = None


@dataclass(frozen=True)
class Sample:
    """What one presentation gave: a FrameScore per chosen frame, in order, never fewer than one.

    `note` is what the decoder had to say (truncated, unreadable, ...); `crops` `(n, size, size, 3)` are those of the
    frames with status `ok`, in order, kept only on request.
    """

    source: Source
    frames: tuple[FrameScore, ...]
    note: str = ""
    crops: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)


@dataclass
class Prepared:
    """One presentation before the network: its frames, not yet scored, and the crops of those with status `ok`.

    `faces` are those of each such frame that are judged, one a crop, the largest first.
    """

    source: Source
    frames: list[FrameScore]
    crops: list[NDArray[np.uint8]]
    faces: list[Sequence[Face]] = field(default_factory=list)
    note: str = ""
    seconds: dict[str, float] = field(default_factory=lambda: {"decode": 0.0, "detect": 0.0, "crop": 0.0})


class Pipeline:
    """A bundle, ready to score. `score` starts threads of its own for decoding.

    `boxes` are a dataset's own face boxes by (name, frame), for the detector `boxes`. `faces` says what is judged where a
    frame shows several. Raises BundleError where the detector at hand is not the one that the bundle was made with, unless
    `detector` names another on purpose.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        detector_weights: Path | None = None,
        boxes: Boxes | None = None,
        threads: int | None = None,
        detector: str | None = None,
        faces: FacePolicy = "largest",
        backend: str | None = None,
    ) -> None:
        self.bundle = bundle
        self._other_detector = detector
        self._policy = faces
        self._threads = threads or os.cpu_count() or 1
        self._backend = load_backend(bundle, backend=backend, threads=self._threads)
        self._detector_weights = detector_weights
        self._boxes = boxes
        self._local = threading.local()
        self._detector()

    def score(self, sources: Iterable[Source], *, frames: int, keep_crops: bool = False) -> Iterator[Sample]:
        """Score presentations in the order given, `frames` evenly spaced frames of each video.

        Decoding and detecting run ahead in threads, a bounded number of presentations at a time. Closed early, it leaves
        them in the middle of a video.
        """
        ended = threading.Event()
        waiting: deque[Future[Prepared]] = deque()
        sources = iter(sources)
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="bonaface-decode")
        try:
            ready: list[Prepared] = []
            for source in sources:
                waiting.append(pool.submit(self.prepare, source, frames=frames, stop=ended.is_set))
                if len(waiting) > 2 * self._threads:
                    ready.append(waiting.popleft().result())
                    if sum(len(found.crops) for found in ready) >= BATCH:
                        yield from self.finish(ready, keep_crops=keep_crops)
                        ready = []
            ready += [future.result() for future in waiting]
            yield from self.finish(ready, keep_crops=keep_crops)
        finally:
            ended.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def judge(self, sources: Iterable[Source], *, kind: Literal["image", "video"] = "video") -> Iterator[Verdict]:
        """Verdicts in the order given, at the bundle's operating point for one image or for a video."""
        point = self.bundle.operating_point(kind)
        for sample in self.score(sources, frames=point.frames):
            yield verdict_of(sample, point, bundle=self.bundle.id)

    def run(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
        """Logits and embeddings of crops `(n, size, size, 3)`, in batches."""
        if not len(crops):
            return np.empty(0), None
        parts = [self._backend.run(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        embeddings = [embedding for _, embedding in parts if embedding is not None]
        logits = np.concatenate([logits for logits, _ in parts])
        return logits, np.concatenate(embeddings) if embeddings else None

    def _detector(self) -> Detector:
        detector: Detector | None = getattr(self._local, "detector", None)
        if detector is None:
            card = self.bundle.card.detector
            name = self._other_detector or card.name
            detector = load_detector(name, weights=self._detector_weights, boxes=self._boxes)
            if self._other_detector is None and detector.identity != card.identity:
                raise BundleError(
                    f"the bundle was made with the face detector {card.identity}, but the one at hand is "
                    f"{detector.identity}; scores would not be those that were measured: make the bundle anew with this "
                    "one (train, pull or from-onnx), or name a detector on purpose where that is possible (--detector)"
                )
            self._local.detector = detector
        return detector

    def prepare(self, source: Source, *, frames: int, stop: Callable[[], bool] = lambda: False) -> Prepared:
        """Decode, detect and crop: everything before the network, for one presentation, from any thread.

        `frames` of a video or a burst are taken, evenly spaced; a video is left once `stop` says so.
        """
        found = Prepared(source, [], [])
        clock = time.perf_counter
        detector = self._detector()
        started = clock()
        try:
            with open_frames(source.path, count=frames, flip=source.flip, first=source.first, stop=stop) as opened:
                for frame in opened:
                    found.seconds["decode"] += clock() - started
                    started = clock()
                    faces = detector.detect(frame.image, path=source.name, frame=frame.index)
                    found.seconds["detect"] += clock() - started
                    started = clock()
                    score = FrameScore(frame.index, Status.NO_FACE, time=frame.time)
                    if faces:
                        status, judged = self._to_judge(faces)
                        score = replace(score, status=status, box=faces[0].box, confidence=faces[0].confidence)
                        found.crops += self._crops(frame.image, judged)
                        found.faces += [judged] if judged else []
                    found.frames.append(score)
                    found.seconds["crop"] += clock() - started
                    started = clock()
                found.note = opened.note
        except MediaError as error:
            found.note = str(error)
        if not found.frames:
            found.frames.append(FrameScore(0, Status.UNREADABLE))
        return found

    def _crops(self, image: NDArray[np.uint8], faces: Sequence[Face]) -> list[NDArray[np.uint8]]:
        """What the network sees of the faces that it is to judge."""
        card, detector = self.bundle.card, self._detector()
        if card.resize is not None and detector.name == "whole_frame":
            image = resize_frame(image, card.resize)
            faces = detector.detect(image)
        return [crop_face(image, face.box, scale=card.crop_scale, size=card.input.size) for face in faces]

    def _to_judge(self, faces: Sequence[Face]) -> tuple[Status, Sequence[Face]]:
        """A frame's status, and which of its faces the network is to see."""
        large = [face for face in faces if max(face.box.w, face.box.h) >= MINIMUM_FACE]
        if not large:
            return Status.TOO_SMALL, []
        if self._policy == "refuse" and len(large) > 1:
            return Status.SEVERAL_FACES, []
        return Status.OK, large if self._policy == "all" else large[:1]

    def finish(self, ready: Sequence[Prepared], *, keep_crops: bool = False) -> Iterator[Sample]:
        """Run the network over prepared presentations together, from one thread at a time."""
        size = self.bundle.card.input.size
        crops = [crop for found in ready for crop in found.crops]
        batch = np.stack(crops) if crops else np.empty((0, size, size, 3), np.uint8)
        started = time.perf_counter()
        logits, embeddings = self.run(batch)
        spent = (time.perf_counter() - started) / max(len(crops), 1)
        used = 0
        for found in ready:
            frames: list[FrameScore] = []
            deciding: list[int] = []
            first, faces = used, iter(found.faces)
            for score in found.frames:
                scored = score
                if score.status is Status.OK:
                    judged = next(faces)
                    least = int(np.argmin(logits[used : used + len(judged)]))
                    place, face = used + least, judged[least]
                    embedding = None if embeddings is None else embeddings[place]
                    scored = replace(
                        score,
                        logit=float(logits[place]),
                        embedding=embedding,
                        box=face.box,
                        confidence=face.confidence,
                    )
                    deciding.append(place)
                    used += len(judged)
                frames.append(scored)
            yield Sample(
                found.source,
                tuple(frames),
                found.note,
                crops=batch[deciding] if keep_crops else None,
                seconds={**found.seconds, "network": spent * (used - first)},
            )


def verdict_of(sample: Sample, point: OperatingPoint, *, bundle: str = "") -> Verdict:
    """The verdict at an operating point: that for one image judges the first frame alone, even where it failed.

    Where no frame could be judged, the first frame's status is the outcome; a frame refused for several faces refuses
    the presentation.
    """
    judged = sample.frames[:1] if point.frames == 1 else sample.frames
    logits = [frame.logit for frame in judged if frame.logit is not None]
    outcome: Label | Status = judged[0].status
    if any(frame.status is Status.SEVERAL_FACES for frame in judged):
        logits, outcome = [], Status.SEVERAL_FACES
    value = fuse(logits, rule=point.fusion) if logits else None
    if value is not None:
        outcome = Label.BONA_FIDE if value >= point.logit_threshold else Label.ATTACK
    return Verdict(
        source=sample.source.name,
        outcome=outcome,
        score=None if value is None else float(probability(value)),
        threshold=point.threshold,
        logit=value,
        frames=sample.frames,
        bundle=bundle,
        reason=sample.note,
        seconds=dict(sample.seconds),
    )
