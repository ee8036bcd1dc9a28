"""Verdicts on pictures, videos, folders, manifests and cameras: what a trained model is for."""

from __future__ import annotations

import glob
import itertools
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bonaface.data.frames import kind_of
from bonaface.errors import InputError, MediaError, OutputError, few, writing
from bonaface.inference.annotate import write_annotated_image, write_annotated_video
from bonaface.inference.bundle import Bundle, OperatingPoint, load_bundle
from bonaface.inference.pipeline import FacePolicy, Pipeline, Source, verdict_of
from bonaface.io import TABLE_SUFFIXES, read_table, relative_paths
from bonaface.types import Verdict

__all__ = ["Input", "predict", "verdict_row"]

Input = str | Path | int | bytes | NDArray[np.uint8]
"""A file, folder, glob or manifest; the number of a camera; an encoded picture or video; an RGB picture `(h, w, 3)`."""

_BURST_SECONDS = 1.0


def predict(
    bundle: str | Path | Bundle,
    *sources: Input,
    faces: FacePolicy = "largest",
    frames: int | None = None,
    save: str | Path | None = None,
    detector: str | None = None,
    detector_weights: Path | None = None,
    threads: int | None = None,
    variant: str | None = None,
    backend: str | None = None,
    root: str | Path | None = None,
    seconds: float | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[Verdict]:
    """Yield a verdict for each presentation, in the order given and cameras last, at the bundle's own thresholds.

    An image is judged at the operating point for one image, a video at that for a video, over `frames` evenly spaced
    frames (by default the bundle's). A camera gives a verdict about every second until `seconds` have passed, or for
    ever. `variant` is one of the bundle's, at its own thresholds. `save` is a folder for annotated pictures and videos.
    What is wrong with the arguments is raised at once: InputError where there is nothing to judge, and what
    `load_bundle` and `Pipeline` raise.
    """
    model = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    model = model if variant is None else model.use(variant)
    if not sources:
        raise InputError("nothing to judge: name images, videos, folders, a glob, a manifest or a camera's number")
    cameras = [source for source in sources if _is_camera(source)]
    files = list(_sources([source for source in sources if not _is_camera(source)], root=root))
    folder = _folder(save)
    pipeline = Pipeline(
        model,
        detector=detector,
        detector_weights=detector_weights,
        faces=faces,
        threads=threads,
        backend=backend,
    )
    return _verdicts(pipeline, model, files, cameras, frames=frames, folder=folder, seconds=seconds, progress=progress)


def _verdicts(
    pipeline: Pipeline,
    model: Bundle,
    files: Sequence[Source],
    cameras: Sequence[Input],
    *,
    frames: int | None,
    folder: Path | None,
    seconds: float | None,
    progress: Callable[[str, int, int], None] | None,
) -> Iterator[Verdict]:
    done = 0
    for kind, group in _by_kind(files):
        point = model.operating_point(kind)
        count = point.frames if frames is None or kind == "image" else frames
        for source, sample in zip(group, pipeline.score(group, frames=count), strict=True):
            verdict = verdict_of(sample, point, bundle=model.id)
            if folder is not None:
                _save(pipeline, source, verdict, point, kind, folder)
            done += 1
            if progress:
                progress("judged", done, len(files))
            yield verdict
    for camera in cameras:
        yield from _watch(pipeline, model, int(str(camera)), frames=frames, seconds=seconds, folder=folder)


def verdict_row(verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain values, for JSON: `source`, `verdict`, `score`, `threshold`, `frames`, `seconds` and more."""
    return {
        "source": verdict.source,
        "verdict": verdict.outcome.value,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "logit": verdict.logit,
        "reason": verdict.reason,
        "bundle": verdict.bundle,
        "frames": [
            {
                "frame": frame.frame,
                "time": frame.time,
                "status": frame.status.value,
                "score": frame.score,
                "box": None if frame.box is None else [round(value, 2) for value in frame.box],
            }
            for frame in verdict.frames
        ],
        "seconds": {stage: round(spent, 6) for stage, spent in verdict.seconds.items()},
    }


def _by_kind(files: Sequence[Source]) -> Iterator[tuple[Literal["image", "video"], list[Source]]]:
    """Stretches of files of one kind, in order."""
    group: list[Source] = []
    kind: Literal["image", "video"] = "image"
    for source in files:
        own = _kind(source)
        if group and own != kind:
            yield kind, group
            group = []
        kind = own
        group.append(source)
    if group:
        yield kind, group


def _kind(source: Source) -> Literal["image", "video"]:
    if isinstance(source.path, tuple):
        return "image" if len(source.path) == 1 else "video"
    return "image" if kind_of(source.path) == "image" else "video"


def _is_camera(source: Input) -> bool:
    return isinstance(source, int) or (isinstance(source, str) and source.isdecimal() and not Path(source).exists())


def _sources(inputs: Sequence[Input], *, root: str | Path | None) -> Iterator[Source]:
    for number, item in enumerate(inputs):
        if isinstance(item, np.ndarray):
            yield Source(f"array {number}", (_checked(item),))
        elif isinstance(item, bytes):
            yield Source(f"bytes {number}", item)
        else:
            yield from _files(Path(str(item)), root=root)


def _files(path: Path, *, root: str | Path | None) -> Iterator[Source]:
    if path.is_dir():
        found = sorted(
            file
            for file in path.rglob("*")
            if kind_of(file)
            and file.is_file()
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
        if not found:
            raise InputError(f"{path} holds no image or video; expected files such as .jpg, .png, .mp4 or .mov")
        yield from (Source(str(file), file) for file in found)
    elif path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        yield from _presentations(path, root=root)
    elif path.exists():
        yield Source(str(path), path)
    elif glob.has_magic(str(path)):
        matched = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute patterns too)
        files = [file for file in matched if file.is_file() and kind_of(file)]
        if not files:
            raise InputError(f"{path} matches no image or video")
        yield from (Source(str(file), file) for file in files)
    else:
        raise InputError(f"no file or folder at {path}; expected an image, a video, a folder, a manifest or a camera")


def _presentations(path: Path, *, root: str | Path | None) -> Iterator[Source]:
    """The presentations of a manifest; read without pandas, whose import takes longer than judging a picture."""
    table = read_table(path, error=InputError)
    if "path" not in table.columns or not len(table):
        raise InputError(
            f"{path} is not a manifest: it has no column `path` with a row below it; found: {few(table.columns, limit=20)}"
        )
    folder = Path(root) if root is not None else path.parent
    about = path.with_name(f"{path.stem}.meta.json")
    if root is None and about.is_file():
        folder = _root_of(about)
    names = relative_paths(table.columns["path"], folder)
    missing = [name for name in names if not (folder / name).is_file()]
    if len(missing) == len(names):
        raise InputError(f"none of the {len(names)} files of {path} is below {folder} ({few(missing)}); set --root")
    nothing = [""] * len(names)
    flips, firsts = (table.columns.get(column, nothing) for column in ("flip", "first_frames"))
    for name, flip, first in zip(names, flips, firsts, strict=True):
        if not re.fullmatch(r"[1-9]\d{0,8}|", first):
            raise InputError(f"{path}: first_frames of {name} is {first!r}; expected a number of frames, or none")
        yield Source(name, folder / name, flip, int(first) if first else None)


def _root_of(about: Path) -> Path:
    import json

    try:
        told = json.loads(about.read_text(encoding="utf-8"))["root"]
        return (about.parent / str(told)).resolve()
    except (OSError, ValueError, KeyError, TypeError):
        return about.parent


def _checked(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise InputError(
            f"an array {picture.shape} of {picture.dtype} is not a picture; expected uint8 RGB of shape (height, width, 3)"
        )
    return picture


def _folder(save: str | Path | None) -> Path | None:
    if save is None:
        return None
    folder = Path(save)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; expected a folder for the annotated pictures")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _save(
    pipeline: Pipeline,
    source: Source,
    verdict: Verdict,
    point: OperatingPoint,
    kind: Literal["image", "video"],
    folder: Path,
) -> None:
    """The annotated copy of one presentation; none of one that cannot be read."""
    target = _free(folder / f"{Path(source.name).stem}{'.jpg' if kind == 'image' else '.mp4'}")
    try:
        if kind == "image":
            write_annotated_image(source, verdict, target)
        else:
            write_annotated_video(pipeline, source, point, target)
    except MediaError:
        return


def _free(target: Path) -> Path:
    """The path, with a number where something lies there: neither a source nor an earlier copy is ever overwritten."""
    numbers = itertools.count(2)
    free = target
    while free.exists():
        free = target.with_name(f"{target.stem}-{next(numbers)}{target.suffix}")
    return free


def _watch(
    pipeline: Pipeline,
    model: Bundle,
    camera: int,
    *,
    frames: int | None,
    seconds: float | None,
    folder: Path | None,
) -> Iterator[Verdict]:
    """A verdict about every second on the newest frames of a camera; of each, one annotated frame is kept."""
    point = model.operating_point("video")
    count = frames or point.frames
    with _Camera(camera, count) as stream:
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            started = time.monotonic()
            pictures = stream.newest()
            (sample,) = pipeline.score([Source(f"camera {camera}", pictures)], frames=len(pictures))
            verdict = verdict_of(sample, point, bundle=model.id)
            if folder is not None:
                _save(pipeline, Source(f"camera {camera}", pictures[:1]), verdict, point, "image", folder)
            yield verdict
            time.sleep(max(0.0, _BURST_SECONDS - (time.monotonic() - started)))


class _Camera:
    """Reads a camera in a thread of its own, so that judging never works on old frames."""

    def __init__(self, number: int, count: int) -> None:
        import cv2

        self._number = number
        self._ended = threading.Event()
        self._full = threading.Condition()
        self._kept: deque[tuple[float, NDArray[np.uint8]]] = deque(maxlen=count)
        log = cv2.utils.logging
        before = log.getLogLevel()
        log.setLogLevel(log.LOG_LEVEL_SILENT)
        self._video = cv2.VideoCapture(number)
        log.setLogLevel(before)
        if not self._video.isOpened():
            raise InputError(f"no camera {number} here, or it is in use; name another, such as 0, or a file")
        self._gap = _BURST_SECONDS / count
        self._reader = threading.Thread(target=self._read, daemon=True, name="bonaface-camera")

    def __enter__(self) -> _Camera:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._reader.join(timeout=2)
        self._video.release()

    def newest(self) -> tuple[NDArray[np.uint8], ...]:
        """The frames of about the last second, at least one. Raises MediaError where the camera gives none."""
        with self._full:
            if not self._full.wait_for(lambda: len(self._kept) == self._kept.maxlen, timeout=5) and not self._kept:
                raise MediaError(f"camera {self._number} gives no pictures")
            if self._ended.is_set():
                raise MediaError(f"camera {self._number} has stopped")
            return tuple(picture for _, picture in self._kept)

    def _read(self) -> None:
        while not self._ended.is_set():
            found, picture = self._video.read()
            now = time.monotonic()
            with self._full:
                if not found:
                    self._ended.set()
                elif not self._kept or now - self._kept[-1][0] >= self._gap:
                    self._kept.append((now, np.ascontiguousarray(picture[..., ::-1])))
                self._full.notify_all()
