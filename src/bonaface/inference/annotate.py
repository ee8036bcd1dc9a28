"""Write a video with the result of every frame drawn onto it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonaface.data.frames import Frames
from bonaface.data.sources import Source
from bonaface.data.video_writer import write_video
from bonaface.inference.bundle_schema import OperatingPoint
from bonaface.inference.drawing import annotated
from bonaface.inference.pipeline import Pipeline
from bonaface.io import new_file
from bonaface.types import FrameScore

_CHUNK = 32
"""Frames of a video that are held at once."""
_TRACE_SECONDS = 10.0


def write_annotated_video(pipeline: Pipeline, source: Source, point: OperatingPoint, target: Path) -> None:
    """Score every frame of a video and write it with boxes and the trace of scores as H.264 in an MP4.

    Holds a few frames at a time, however long the video is. The file appears when it is complete.
    """
    with new_file(target) as fresh, Frames(source.path, count="all", flip=source.flip) as frames:
        rate = Fraction((frames.video and frames.video.fps) or 25).limit_denominator(1001)
        trace: deque[float | None] = deque(maxlen=max(int(rate * _TRACE_SECONDS), 2))

        def drawn() -> Iterator[NDArray[np.uint8]]:
            for picture, frame in _scored_frames(pipeline, source, frames):
                trace.append(frame.score)
                title = f"frame {frame.frame}"
                yield annotated(picture, frame, threshold=point.threshold, title=title, trace=tuple(trace))

        write_video(fresh, drawn(), fps=rate, container="mp4")


def _scored_frames(
    pipeline: Pipeline, source: Source, frames: Frames
) -> Iterator[tuple[NDArray[np.uint8], FrameScore]]:
    """Yield every frame with its result."""
    pictures = (frame.image for frame in frames)
    number = 0
    while chunk := list(islice(pictures, _CHUNK)):
        (sample,) = pipeline.score([Source(source.name, tuple(chunk))], frames=len(chunk))
        for picture, score in zip(chunk, sample.frames, strict=True):
            yield picture, replace(score, frame=number)
            number += 1
