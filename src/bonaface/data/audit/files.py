"""What each file of a manifest is: its content, its cheap properties, whether it shows a face, and a few small views of it."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.crops.store import boxes_of
from bonaface.data.faces.detector import Boxes, GivenBox, load_detector
from bonaface.data.frames import evenly_spaced, kind_of, open_frames, open_video
from bonaface.data.manifest import Manifest
from bonaface.data.processes import in_processes
from bonaface.data.signatures import media_type
from bonaface.errors import MediaError

__all__ = ["PROPERTIES", "VIEWS", "FileFacts", "View", "picture_of", "properties_table", "read_files"]

VIEWS = 3
"""Frames of a video that are looked at: evenly spaced, the first among them."""

SIDE = 192
"""The longer side of a view, in pixels, at most."""

_LONG_SIDE = 640
_CHUNK = 1 << 20

PROPERTIES = {
    "width": "width",
    "height": "height",
    "pixels": "resolution",
    "aspect": "width over height",
    "frame_rate": "frame rate",
    "seconds": "duration",
    "frames": "number of frames",
    "codec": "codec",
    "suffix": "file name suffix",
    "bytes": "file size",
    "bits_per_pixel": "bits a pixel",
    "brightness": "brightness",
    "contrast": "contrast",
    "saturation": "saturation",
    "sharpness": "sharpness",
    "motion": "change between frames",
    "face_share": "face size over picture size",
}
"""The cheap properties of a file, by column of `properties_table`, in words."""


@dataclass(frozen=True)
class View:
    """One frame, small, grey and coded: `picture` is a JPEG, `frame` its index in the file."""

    frame: int
    picture: bytes

    def grey(self) -> NDArray[np.float32]:
        """The picture as `(height, width)` between 0 and 255."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.picture, np.uint8), cv2.IMREAD_GRAYSCALE), dtype=np.float32)


@dataclass(frozen=True)
class FileFacts:
    """What was found in one file; `reason` says why it could not be read, `note` that it is not whole.

    `brightness` and `contrast` are mean and spread of the grey levels (0 to 255), `saturation` that of HSV, `sharpness` the
    log of the variance of the Laplacian at a long side of 640, `motion` the mean grey difference between two views, all of
    them means over the views. `faces` counts the views with a face; None where none was looked for.
    """

    path: str
    sha256: str = ""
    reason: str = ""
    note: str = ""
    suffix: str = ""
    codec: str = ""
    bytes: float = math.nan
    width: float = math.nan
    height: float = math.nan
    pixels: float = math.nan
    aspect: float = math.nan
    frame_rate: float = math.nan
    seconds: float = math.nan
    frames: float = math.nan
    bits_per_pixel: float = math.nan
    brightness: float = math.nan
    contrast: float = math.nan
    saturation: float = math.nan
    sharpness: float = math.nan
    motion: float = math.nan
    face_share: float = math.nan
    faces: int | None = None
    views: tuple[View, ...] = ()


@dataclass(frozen=True)
class _Job:
    path: str
    file: Path
    flip: str
    boxes: dict[tuple[str, int], GivenBox] | None


def read_files(
    manifest: Manifest,
    *,
    detector: str = "haar",
    weights: Path | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[FileFacts]:
    """Open every file of a manifest, in row order; one that cannot be read is said to be so, and never left out.

    With the detector `whole_frame` no face is looked for. Raises SettingsError, InputError or DownloadError where the
    detector cannot be had.
    """
    boxes = boxes_of(manifest) if detector == "boxes" else None
    load_detector(detector, weights=weights, boxes=boxes)  # refused here, and fetched here, not in every worker
    jobs = list(_jobs(manifest, boxes))
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    options = (detector, weights, 1 if workers > 1 else 0)
    facts: list[FileFacts] = []
    for fact in _work(jobs, workers, options):
        facts.append(fact)
        if progress:
            progress(len(facts), len(jobs))
    return facts


def properties_table(facts: Sequence[FileFacts]) -> pd.DataFrame:
    """The cheap properties, a row a file; NaN or `""` where a file has none."""
    names = [field.name for field in fields(FileFacts) if field.name in PROPERTIES]
    return pd.DataFrame({name: [getattr(fact, name) for fact in facts] for name in names})


def picture_of(file: Path, frame: int, *, flip: str = "") -> NDArray[np.uint8] | None:
    """One frame of a file, upright, RGB; None where it cannot be read."""
    try:
        if kind_of(file) != "video":
            with open_frames(file, count=1, flip=flip) as frames:
                return next((found.image for found in frames), None)
        reader = open_video(file)
        try:
            return next((picture for _, _, picture in reader.frames({frame}, flip=flip)), None)
        finally:
            reader.close()
    except MediaError:
        return None


def _jobs(manifest: Manifest, boxes: Boxes | None) -> Iterable[_Job]:
    table = manifest.table
    flips = table["flip"] if "flip" in table else [""] * len(table)
    per_path: dict[str, dict[tuple[str, int], GivenBox]] = {}
    for key, box in (boxes or {}).items():
        per_path.setdefault(key[0], {})[key] = box
    for path, file, flip in zip(table["path"], manifest.files(), flips, strict=True):
        yield _Job(str(path), file, str(flip), per_path.get(path, {}) if boxes is not None else None)


def _work(jobs: list[_Job], workers: int, options: tuple[str, Path | None, int]) -> Iterable[FileFacts]:
    if workers <= 1:
        _start(*options)
        yield from map(_read, jobs)
        return
    yield from in_processes(_read, jobs, workers=workers, initializer=_start, initargs=options)


_own: dict[str, Any] = {}


def _start(detector: str, weights: Path | None, threads: int) -> None:
    """Prepare this process; several processes share the cores."""
    if threads:
        cv2.setNumThreads(threads)
    fixed = detector not in {"boxes", "whole_frame"}
    _own.update(name=detector, detector=load_detector(detector, weights=weights) if fixed else None)


def _read(job: _Job) -> FileFacts:
    known: dict[str, Any] = {"path": job.path, "suffix": job.file.suffix.lower()}
    try:
        known["sha256"], known["bytes"], head = _hashed(job.file)
    except OSError as error:
        return FileFacts(**known, reason=error.strerror or str(error))
    try:
        pictures = _video(job, known) if kind_of(job.file) == "video" else _image(job, known, head)
    except MediaError as error:
        return FileFacts(**known, reason=str(error).removeprefix(f"{job.file}: "))
    return FileFacts(**known, **_seen(pictures, job))


def _hashed(file: Path) -> tuple[str, float, bytes]:
    sha, head, size = hashlib.sha256(), b"", 0
    with file.open("rb") as stream:
        while block := stream.read(_CHUNK):
            head = head or block[:256]
            sha.update(block)
            size += len(block)
    return sha.hexdigest(), float(size), head


def _image(job: _Job, known: dict[str, Any], head: bytes) -> list[tuple[int, NDArray[np.uint8]]]:
    with open_frames(job.file, count=1, flip=job.flip) as frames:
        (picture,) = [frame.image for frame in frames]
    kind = media_type(head)
    known["codec"] = kind.removeprefix("image/") if kind else "bmp" if head.startswith(b"BM") else ""
    _shape(known, picture.shape[1], picture.shape[0], 1)
    return [(0, picture)]


def _video(job: _Job, known: dict[str, Any]) -> list[tuple[int, NDArray[np.uint8]]]:
    reader = open_video(job.file)
    try:
        info = reader.info
        wanted = set(evenly_spaced(max(info.frames, 1), VIEWS))
        pictures = [(index, picture) for index, _, picture in reader.frames(wanted, flip=job.flip)]
    finally:
        reader.close()
    damage = f" ({reader.damage})" if reader.damage else ""
    if not pictures:
        raise MediaError(f"no frame could be decoded{damage}")
    known.update(codec=info.codec, frame_rate=info.fps or math.nan, seconds=info.seconds or math.nan)
    # The pictures are upright; what the container says of their sides may not be.
    height, width = pictures[0][1].shape[:2]
    _shape(known, width, height, max(info.frames, 1))
    known["frames"] = float(info.frames)
    if info.declared > info.frames:
        known["note"] = f"truncated: it holds {info.frames} of the {info.declared} frames that it declares"
    elif reader.decoded <= max(wanted):
        known["note"] = f"damaged: decoding stopped after frame {reader.decoded} of {info.frames}{damage}"
    return pictures


def _shape(known: dict[str, Any], width: int, height: int, frames: int) -> None:
    pixels = float(width * height)
    known.update(width=float(width), height=float(height), pixels=pixels, aspect=round(width / height, 4))
    known["bits_per_pixel"] = 8 * known["bytes"] / (pixels * frames)


def _seen(pictures: list[tuple[int, NDArray[np.uint8]]], job: _Job) -> dict[str, Any]:
    """Means over the views of what a picture shows, the faces, and the views themselves."""
    rows, views, greys, shares = [], [], [], []
    detector = _own["detector"]
    if _own["name"] == "boxes":
        detector = load_detector("boxes", boxes=job.boxes)
    for index, picture in pictures:
        small = _shrunk(picture, _LONG_SIDE)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        laplacian = cv2.Laplacian(grey, cv2.CV_32F)
        saturation = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[..., 1]
        rows.append((grey.mean(), grey.std(), saturation.mean(), math.log(float(laplacian.var()) + 1e-3)))
        view = _shrunk(grey, SIDE)
        greys.append(view.astype(np.float32))
        views.append(View(index, bytes(cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])))
        faces = detector.detect(picture, path=job.path, frame=index) if detector else []
        if faces:
            height, width = picture.shape[:2]
            shares.append(math.sqrt(faces[0].box.w * faces[0].box.h / (width * height)))
    brightness, contrast, saturation_mean, sharpness = (float(value) for value in np.mean(rows, axis=0))
    same = [second for second in greys if second.shape == greys[0].shape]
    steps = [float(np.abs(after - before).mean()) for before, after in itertools.pairwise(same)]
    return {
        "brightness": brightness,
        "contrast": contrast,
        "saturation": saturation_mean,
        "sharpness": sharpness,
        "motion": float(np.mean(steps)) if steps else math.nan,
        "face_share": float(np.mean(shares)) if shares else math.nan,
        "faces": len(shares) if detector else None,
        "views": tuple(views),
    }


def _shrunk(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The picture at a long side of `side` at most."""
    height, width = image.shape[:2]
    factor = max(height, width) / side
    if factor <= 1:
        return image
    size = (max(round(width / factor), 1), max(round(height / factor), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
