"""Write a video with the result of every frame drawn onto it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonaface.data.frames import open_frames
from bonaface.data.sources import Source
from bonaface.errors import reraise_os_error
from bonaface.inference.bundle_schema import OperatingPoint
from bonaface.inference.drawing import annotated
from bonaface.inference.pipeline import Pipeline
from bonaface.types import FrameScore

_CHUNK = 32
"""Frames of a video that are held at once."""
_TRACE_SECONDS = 10.0


def write_annotated_video(pipeline: Pipeline, source: Source, point: OperatingPoint, target: Path) -> None:
    """Score every frame of a video and write it with boxes and the trace of scores as H.264 in an MP4.

    Holds a few frames at a time, however long the video is. The file appears when it is complete.
    """
    import av

    fresh = target.with_name(f".{target.name}.part")
    try:
        with reraise_os_error(target), av.open(str(fresh), "w", format="mp4") as container:
            stream = None
            trace: list[float | None] = []
            longest = 1
            for picture, frame, rate in _scored_frames(pipeline, source):
                if stream is None:
                    stream = container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
                    stream.height, stream.width = (side - side % 2 for side in picture.shape[:2])
                    stream.pix_fmt = "yuv420p"
                    longest = max(int(rate * _TRACE_SECONDS), 2)
                trace = [*trace, frame.score][-longest:]
                drawn = annotated(picture, frame, threshold=point.threshold, title=f"frame {frame.frame}", trace=trace)
                even = np.ascontiguousarray(drawn[: stream.height, : stream.width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
            if stream is not None:
                container.mux(stream.encode())
        with reraise_os_error(target):
            fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def _scored_frames(pipeline: Pipeline, source: Source) -> Iterator[tuple[NDArray[np.uint8], FrameScore, Fraction]]:
    """Yield every frame with its result, and the video's frames per second."""
    chunk: list[NDArray[np.uint8]] = []
    done = 0
    with open_frames(source.path, count="all", flip=source.flip) as frames:
        rate = Fraction(frames.rate or 25).limit_denominator(1001)
        for frame in frames:
            chunk.append(frame.image)
            if len(chunk) == _CHUNK:
                yield from _chunk(pipeline, source, chunk, done, rate)
                done, chunk = done + len(chunk), []
    yield from _chunk(pipeline, source, chunk, done, rate)


def _chunk(
    pipeline: Pipeline, source: Source, pictures: list[NDArray[np.uint8]], first: int, rate: Fraction
) -> Iterator[tuple[NDArray[np.uint8], FrameScore, Fraction]]:
    if not pictures:
        return
    (sample,) = pipeline.score([Source(source.name, tuple(pictures))], frames=len(pictures))
    for number, (picture, frame) in enumerate(zip(pictures, sample.frames, strict=True)):
        yield (
            picture,
            FrameScore(first + number, frame.status, frame.logit, frame.box, confidence=frame.confidence),
            rate,
        )
