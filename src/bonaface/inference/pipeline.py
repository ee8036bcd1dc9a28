"""From a file to frame scores and a verdict; evaluation, prediction and serving all use this one pipeline.

`preprocess` decodes frames, detects faces and crops them; `infer` runs the network on the crops; `decision.verdict_of` fuses
the frames' scores and compares the result with the threshold.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, Self, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from bonaface.choices import FacePolicy
from bonaface.data.cropping import crop_face, resize_frame
from bonaface.data.faces.detector import Boxes, Detector, Face, given_faces, load_detector
from bonaface.data.frames import Frame, Frames, part_of
from bonaface.data.sources import Source
from bonaface.errors import BundleError, MediaError, SettingsError, format_list
from bonaface.inference.backends import BATCH, load_backend
from bonaface.inference.bundle import Bundle
from bonaface.inference.decision import DEFAULT_FACES, PresentationResult, verdict_of
from bonaface.inference.quality import FaceRules, check
from bonaface.inference.verdict import Verdict
from bonaface.types import Finding, FrameScore, Quality, Status

FURTHER = 4
"""A video is searched for faces in at most so many times the frames that are wanted."""


Crops = tuple[NDArray[np.uint8], ...]
"""The crop of a face for each network: one, or two for an ensemble."""


class ScoringOptions(TypedDict, total=False):
    """How a bundle scores where not as its card says: the options of `bonaface.load`, each described there."""

    detector: str | None
    detector_weights: str | Path | None
    threads: int | None
    backend: str | None
    min_face: float | None
    quality: bool


@dataclass
class Preprocessed:
    """One presentation before the network: its frames, not yet scored, and the crops of those with status `ok`.

    `faces` are those of each such frame that are scored, the largest first.
    """

    source: Source
    frames: list[FrameScore]
    crops: list[Crops]
    faces: list[Sequence[Face]] = field(default_factory=list)
    note: str = ""
    wanted: int = 0
    identical: float | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"decode": 0.0, "detect": 0.0, "crop": 0.0})


@dataclass(frozen=True)
class _FrameResult:
    """One frame after detection: its status, the faces to score and the crops of each."""

    score: FrameScore
    scorable: Sequence[Face] = ()
    crops: Sequence[Crops] = ()

    @property
    def several(self) -> bool:
        return self.score.status is Status.SEVERAL_FACES


class Pipeline:
    """A bundle, ready to score, for as long as it is wanted and from any number of threads.

    The first call of `score` starts threads for decoding, which `close`, or the end of a `with` block, ends. `boxes`
    are a dataset's own face boxes by (name, frame), for the detector `boxes`. `faces` says which of several faces is
    scored. `min_face` replaces the bundle's smallest face in pixels; with `quality=False` its limits on quality do not
    apply. Raises BundleError where the detector at hand is not the one that the bundle was made with, unless `detector`
    names a different one.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        detector_weights: str | Path | None = None,
        boxes: Boxes | None = None,
        threads: int | None = None,
        detector: str | None = None,
        faces: FacePolicy = DEFAULT_FACES,
        backend: str | None = None,
        min_face: float | None = None,
        quality: bool = True,
    ) -> None:
        self.bundle = bundle
        self._other_detector = detector
        self.rules = FaceRules(bundle.card, min_face=min_face, quality=quality, detector=detector)
        if faces not in get_args(FacePolicy):
            raise SettingsError(f"faces {faces!r}: expected {format_list(get_args(FacePolicy))}")
        self._policy = faces
        self._threads = threads or os.cpu_count() or 1
        self._backend = load_backend(bundle, backend=backend, threads=self._threads)
        self._ensemble = bundle.card.ensemble
        self._second = load_backend(bundle.second, threads=self._threads) if bundle.second else None
        self._detector_weights = None if detector_weights is None else Path(detector_weights)
        self._boxes = boxes
        self._local = threading.local()
        self._pool: ThreadPoolExecutor | None = None
        self._pool_lock = threading.Lock()
        self._detector()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; a later `score` starts new ones."""
        with self._pool_lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def score(
        self, sources: Iterable[Source], *, frames: int | Callable[[Source], int], keep_crops: bool = False
    ) -> Iterator[PresentationResult]:
        """Score presentations in the order given, `frames` frames of each video, spread over it.

        Decoding and detecting run ahead in threads, a bounded number of presentations at a time. Closed early, it leaves
        them in the middle of a video.
        """
        ended = threading.Event()
        waiting: deque[Future[Preprocessed]] = deque()
        try:
            ready: list[Preprocessed] = []
            for source in sources:
                count = frames if isinstance(frames, int) else frames(source)
                waiting.append(self._threads_at_work().submit(self.preprocess, source, frames=count, stop=ended.is_set))
                if len(waiting) > 2 * self._threads:
                    ready.append(waiting.popleft().result())
                    if sum(len(found.crops) for found in ready) >= BATCH:
                        yield from self.infer(ready, keep_crops=keep_crops)
                        ready = []
            while waiting:
                ready.append(waiting.popleft().result())
            yield from self.infer(ready, keep_crops=keep_crops)
        finally:
            ended.set()
            for future in waiting:
                future.cancel()
            wait(waiting)

    def verdicts(
        self,
        sources: Iterable[Source],
        *,
        frames: int | None = None,
        kind: Literal["image", "video"] | None = None,
    ) -> Iterator[Verdict]:
        """Yield verdicts in the order given, each at the bundle's operating point for an image or for a video.

        `frames` of a video are scored, by default those of its operating point. `kind` names one operating point for all.
        """

        for result in self.score(sources, frames=partial(self._count, frames=frames, kind=kind)):
            of = kind or result.source.kind
            yield verdict_of(result, self.bundle.operating_point(of), bundle=self.bundle.id, kind=of)

    def verdict(self, source: Source, *, frames: int | None = None) -> Verdict:
        """Return the verdict on one presentation, all of it in the calling thread."""
        preprocessed = self.preprocess(source, frames=self._count(source, frames=frames))
        (result,) = self.infer([preprocessed])
        return verdict_of(result, self.bundle.operating_point(source.kind), bundle=self.bundle.id)

    def _count(self, source: Source, *, frames: int | None, kind: Literal["image", "video"] | None = None) -> int:
        of = kind or source.kind
        return self.bundle.operating_point(of).frames if frames is None or of == "image" else frames

    def _threads_at_work(self) -> ThreadPoolExecutor:
        with self._pool_lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="bonaface-decode")
            return self._pool

    def faces(self, image: NDArray[np.uint8]) -> list[Face]:
        """Return the faces in an RGB picture that the detector finds, the largest first."""
        return self._detector().detect(image)

    def run_network(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
        """Logits and embeddings of crops `(n, size, size, 3)` by `model.onnx` or the bundle's variant alone."""
        return self._backend.run(crops)

    def _detector(self) -> Detector:
        detector: Detector | None = getattr(self._local, "detector", None)
        if detector is None:
            card = self.bundle.card.detector
            name = self._other_detector or card.name
            detector = load_detector(name, weights=self._detector_weights, boxes=self._boxes)
            if self._other_detector is None and detector.identity != card.identity:
                raise BundleError(
                    f"the bundle was made with the face detector {card.identity}, but the one at hand is "
                    f"{detector.identity}; scores would not be those that were measured: make the bundle again with this "
                    f"one (train, pull or from-onnx), or use it all the same with --detector {card.name}"
                )
            self._local.detector = detector
        return detector

    def preprocess(
        self, source: Source, *, frames: int, stop: Callable[[], bool] = lambda: False, opened: Frames | None = None
    ) -> Preprocessed:
        """Decode, detect and crop: everything before the network, for one presentation, from any thread.

        `frames` of a video or a burst are taken, spread over it. For those without a face, others are searched: first one in
        the same part of the video, then any, up to FURTHER times as many in all. A video is left once `stop` says so.
        `opened` are the frames of a source that was opened already.
        """
        found = Preprocessed(source, [], [])
        results: list[_FrameResult] = []
        try:
            if source.problem:
                raise MediaError(source.problem)
            found.note = self._process_frames(found, results, frames=frames, stop=stop, opened=opened)
            found.wanted = len(results)
            if found.wanted == frames > 1 and not any(one.several for one in results):
                self._process_more_frames(found, results, frames=frames, stop=stop)
        except MediaError as error:
            reason = str(error)
            if isinstance(source.path, Path):
                reason = f"{source.name}: {reason.removeprefix(f'{source.path}: ')}"
            found.note = f"{found.note}; {reason}" if found.note else reason
        for one in sorted(results, key=lambda one: one.score.frame):
            found.frames.append(one.score)
            found.crops += one.crops
            found.faces += [one.scorable] if one.scorable else []
        if not found.frames:
            found.frames.append(FrameScore(0, Status.UNREADABLE))
        if found.wanted > 1 and len(shown := [one.crops[0][0].tobytes() for one in results if one.crops]) > 1:
            found.identical = (len(shown) - len(set(shown))) / (len(shown) - 1)
        return found

    def _process_frames(
        self,
        found: Preprocessed,
        results: list[_FrameResult],
        *,
        frames: int,
        stop: Callable[[], bool],
        opened: Frames | None = None,
    ) -> str:
        """Detect and crop in `frames` frames, spread over the source; return what the decoder reports."""
        source, started = found.source, time.perf_counter()
        with opened or Frames(source.path, count=frames, flip=source.flip, first=source.first, stop=stop) as chosen:
            results.extend(self._detect_and_crop(frame, found) for frame in _timed(chosen, found, started))
            return chosen.note

    def _process_more_frames(
        self, found: Preprocessed, results: list[_FrameResult], *, frames: int, stop: Callable[[], bool]
    ) -> None:
        """Detect and crop in further frames until `frames` have a face: in the parts that have none, then in all."""
        source, fine = found.source, FURTHER * frames
        for only_missing in (True, False):
            with_face = [one for one in results if one.scorable]
            missing = frames - len(with_face)
            if not missing:
                return
            tried, started = frozenset(one.score.frame for one in results), time.perf_counter()
            with Frames(
                source.path, count=fine, flip=source.flip, first=source.first, without=tried, stop=stop
            ) as chosen:
                have = {part_of(one.score.frame, total=chosen.total, count=frames) for one in with_face}
                seen = {part_of(index, total=chosen.total, count=fine) for index in tried}
                for frame in _timed(chosen, found, started):
                    part = part_of(frame.index, total=chosen.total, count=frames)
                    near_seen = part_of(frame.index, total=chosen.total, count=fine) in seen
                    if near_seen or (only_missing and part in have):
                        continue
                    results.append(self._detect_and_crop(frame, found))
                    if results[-1].scorable:
                        have.add(part)
                        missing -= 1
                        if not missing:
                            return

    def _detect_and_crop(self, frame: Frame, found: Preprocessed) -> _FrameResult:
        started = time.perf_counter()
        if found.source.boxes is not None:
            faces = given_faces(found.source.boxes[frame.index], frame.image)
        else:
            faces = self._detector().detect(frame.image, path=found.source.name, frame=frame.index)
        detected = time.perf_counter()
        found.seconds["detect"] += detected - started
        score = FrameScore(frame.index, Status.NO_FACE, time=frame.time)
        if not faces:
            return _FrameResult(score)
        if found.source.boxes is not None:
            self.rules.need_landmarks("boxes of your own do not have")
        small = [self.rules.too_small(face.box, frame.image) for face in faces]
        large = [face for face, finding in zip(faces, small, strict=True) if finding is None]
        findings: tuple[Finding, ...] = () if large or small[0] is None else (small[0],)
        status, scorable = self._faces_to_score(large)
        cropped = self._crops(frame.image, scorable)
        face = cropped[0][0] if cropped else faces[0]
        for each, _ in cropped:
            if broken := check(each.quality, self.rules.limits):
                status, face, findings, cropped = Status.LOW_QUALITY, each, broken, []
                break
        score = replace(_with_face(score, face), status=status, faces=len(large), findings=findings)
        result = _FrameResult(score, [each for each, _ in cropped], [crops for _, crops in cropped])
        found.seconds["crop"] += time.perf_counter() - detected
        return result

    def _crops(self, image: NDArray[np.uint8], faces: Sequence[Face]) -> list[tuple[Face, Crops]]:
        """Return the faces to score with their quality, and the crops of each."""
        card, detector = self.bundle.card, self._detector()
        boxes = [face.box for face in faces]
        if card.resize is not None and detector.name == "whole_frame":
            image = resize_frame(image, card.resize)
            boxes = [detector.detect(image)[0].box] * len(faces)
        found = []
        for box, face in zip(boxes, faces, strict=True):
            measured, *crops = self.rules.crop(image, box, face)
            if self._ensemble:
                crops.append(crop_face(image, box, scale=self._ensemble.crop_scale, size=self._ensemble.input.size))
            found.append((measured, tuple(crops)))
        return found

    def _faces_to_score(self, large: Sequence[Face]) -> tuple[Status, Sequence[Face]]:
        """Return a frame's status, and which of its large faces to score."""
        if not large:
            return Status.TOO_SMALL, []
        if self._policy == "refuse" and len(large) > 1:
            return Status.SEVERAL_FACES, []
        return Status.OK, large if self._policy == "all" else large[:1]

    def infer(self, ready: Sequence[Preprocessed], *, keep_crops: bool = False) -> Iterator[PresentationResult]:
        """Run the networks over preprocessed presentations together, from any thread."""
        size = self.bundle.card.input.size
        crops = [each for found in ready for each in found.crops]
        batch = np.stack([own for own, *_ in crops]) if crops else np.empty((0, size, size, 3), np.uint8)
        started = time.perf_counter()
        logits, embeddings = self.run_network(batch)
        if self._second and self._ensemble and crops:
            added, _ = self._second.run(np.stack([second for _, second in crops]))
            logits = logits + self._ensemble.weight * added
        spent = (time.perf_counter() - started) / max(len(crops), 1)
        used = 0
        for found in ready:
            frames: list[FrameScore] = []
            deciding: list[int] = []
            first, faces = used, iter(found.faces)
            for score in found.frames:
                scored = score
                if score.status is Status.OK:
                    scorable = next(faces)
                    least = int(np.argmin(logits[used : used + len(scorable)]))
                    place, face = used + least, scorable[least]
                    embedding = None if embeddings is None else embeddings[place]
                    scored = replace(_with_face(score, face), logit=float(logits[place]), embedding=embedding)
                    deciding.append(place)
                    used += len(scorable)
                frames.append(scored)
            yield PresentationResult(
                found.source,
                tuple(frames),
                found.note,
                found.wanted,
                self._policy,
                crops=batch[deciding] if keep_crops else None,
                seconds={**found.seconds, "network": spent * (used - first)},
                identical=found.identical,
                findings=check(Quality(identical_frames=found.identical), self.rules.limits),
            )


def _with_face(score: FrameScore, face: Face) -> FrameScore:
    return replace(score, box=face.box, confidence=face.confidence, quality=face.quality)


def _timed(frames: Frames, found: Preprocessed, started: float) -> Iterator[Frame]:
    """Yield frames, and count the time since `started` that was spent on decoding them."""
    for frame in frames:
        found.seconds["decode"] += time.perf_counter() - started
        yield frame
        started = time.perf_counter()
