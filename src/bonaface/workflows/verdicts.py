"""Verdicts on presentations and cameras from a pipeline that is loaded, with annotated copies."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bonaface.data.camera import BURST_SECONDS, Camera
from bonaface.data.sources import Source, Sources, fetched
from bonaface.errors import InputError, MediaError, OutputError, reraise_os_error
from bonaface.inference.annotate import write_annotated_video
from bonaface.inference.decision import verdict_of
from bonaface.inference.pipeline import Pipeline
from bonaface.inference.verdict import Verdict
from bonaface.types import Progress


class Predictions:
    """Iterator over the verdicts on sources; `sources` lists the presentations that were found.

    Closing it early stops all decoding.
    """

    def __init__(self, sources: Sources, verdicts: Iterator[Verdict]) -> None:
        self.sources = sources
        self._verdicts = verdicts

    def __iter__(self) -> Iterator[Verdict]:
        return self

    def __next__(self) -> Verdict:
        return next(self._verdicts)

    def close(self) -> None:
        """Stop, and abandon what is being decoded."""
        self._verdicts.close()  # type: ignore[attr-defined]


def check_frames(frames: int | None) -> None:
    """Raise InputError for a number of frames that cannot be scored."""
    if frames is not None and (not isinstance(frames, int | np.integer) or frames < 1):
        raise InputError(f"frames is {frames!r}; expected a whole number, 1 or more")


def verdicts_on(
    pipeline: Pipeline,
    files: Sequence[Source],
    cameras: Sequence[int | str],
    *,
    frames: int | None,
    folder: Path | None,
    seconds: float | None,
    progress: Progress | None,
) -> Iterator[Verdict]:
    """Yield the verdicts on files, then those on cameras; `folder` is for annotated copies."""
    if len(files) < 2:
        progress = None
    if progress:
        progress("score", 0, len(files))
    for done, (source, verdict) in enumerate(_scored(pipeline, files, frames), start=1):
        if folder is not None:
            _save(pipeline, source, verdict, folder)
        if progress:
            progress("score", done, len(files))
        yield verdict
    for camera in cameras:
        yield from _watch(pipeline, camera, frames=frames, seconds=seconds, folder=folder)


def _scored(pipeline: Pipeline, files: Sequence[Source], frames: int | None) -> Iterator[tuple[Source, Verdict]]:
    """Yield each source and its verdict; a file at an address is fetched when its turn has come."""
    for remote, group in itertools.groupby(files, key=lambda source: source.address != ""):
        part = list(group)
        if remote:
            for source in map(fetched, part):
                yield source, pipeline.verdict(source, frames=frames)
        else:
            yield from zip(part, pipeline.verdicts(part, frames=frames), strict=True)


def _watch(
    pipeline: Pipeline, camera: int | str, *, frames: int | None, seconds: float | None, folder: Path | None
) -> Iterator[Verdict]:
    """Yield a verdict about every second on the newest frames of a camera, and save one annotated frame of each."""
    point = pipeline.bundle.operating_point("video")
    with Camera(camera, frames or point.frames) as stream:
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            started = time.monotonic()
            pictures = stream.newest()
            (result,) = pipeline.score([Source(stream.name, pictures)], frames=len(pictures))
            verdict = verdict_of(result, point, bundle=pipeline.bundle.id, kind="video")
            if folder is not None:
                verdict.save(_free(folder / f"{Path(stream.name).name}.jpg"))
            yield verdict
            time.sleep(max(0.0, BURST_SECONDS - (time.monotonic() - started)))


def _save(pipeline: Pipeline, source: Source, verdict: Verdict, folder: Path) -> None:
    """Save the annotated copy of one presentation, unless it cannot be read."""
    target = _free(folder / f"{Path(source.name).stem}{'.jpg' if source.kind == 'image' else '.mp4'}")
    try:
        if source.problem:
            return
        if source.kind == "image":
            verdict.save(target)
        else:
            write_annotated_video(pipeline, source, pipeline.bundle.operating_point("video"), target)
    except MediaError:
        return


def folder_for(save: str | Path | None) -> Path | None:
    """Return the folder for annotated copies, made if missing. Raises OutputError."""
    if save is None:
        return None
    folder = Path(save)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; expected a folder for the annotated pictures")
    with reraise_os_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _free(target: Path) -> Path:
    """Return the path, numbered if it exists, so that neither a source nor an earlier copy is overwritten."""
    numbers = itertools.count(2)
    free = target
    while free.exists():
        free = target.with_name(f"{target.stem}-{next(numbers)}{target.suffix}")
    return free
