"""What each file of a manifest is: its content, its cheap properties, whether it shows a face, and a few small views of it."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.audit.film import LONG_SIDE, MOST_FRAMES, SIDE, Film, margins_of, shrunk, tiny, view_of
from bonaface.data.crop_store import boxes_of
from bonaface.data.faces.detector import Boxes, Detector, GivenBox, load_detector, shared_detector
from bonaface.data.frames import evenly_spaced, kind_of, open_frames, open_video
from bonaface.data.manifest import Manifest
from bonaface.data.parallel import parallel_map
from bonaface.data.signatures import media_type
from bonaface.errors import MediaError

__all__ = ["PROPERTIES", "VIEWS", "FileFacts", "properties_table", "read_files"]

Picture = NDArray[np.uint8]
Pictures = list[tuple[int, Picture]]

VIEWS = 3
"""Frames of a video that are looked at: evenly spaced, the first among them."""

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
    film: Film = field(default_factory=Film, repr=False)


@dataclass(frozen=True)
class _Job:
    path: str
    file: Path
    flip: str
    boxes: dict[tuple[str, int], GivenBox] | None
    detector: str
    weights: Path | None


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
    jobs = list(_jobs(manifest, boxes, detector, weights))
    facts: list[FileFacts] = []
    for fact in parallel_map(_read, jobs, workers=workers):
        facts.append(fact)
        if progress:
            progress(len(facts), len(jobs))
    return facts


def properties_table(facts: Sequence[FileFacts]) -> pd.DataFrame:
    """The cheap properties, a row a file; NaN or `""` where a file has none."""
    names = [field.name for field in fields(FileFacts) if field.name in PROPERTIES]
    return pd.DataFrame({name: [getattr(fact, name) for fact in facts] for name in names})


def _jobs(manifest: Manifest, boxes: Boxes | None, detector: str, weights: Path | None) -> Iterable[_Job]:
    table = manifest.table
    flips = table["flip"] if "flip" in table else [""] * len(table)
    per_path: dict[str, dict[tuple[str, int], GivenBox]] = {}
    for key, box in (boxes or {}).items():
        per_path.setdefault(key[0], {})[key] = box
    for path, file, flip in zip(table["path"], manifest.files(), flips, strict=True):
        own = per_path.get(path, {}) if boxes is not None else None
        yield _Job(str(path), file, str(flip), own, detector, weights)


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
    return FileFacts(**known, **_seen(*pictures, job))


def _hashed(file: Path) -> tuple[str, float, bytes]:
    sha, head, size = hashlib.sha256(), b"", 0
    with file.open("rb") as stream:
        while block := stream.read(_CHUNK):
            head = head or block[:256]
            sha.update(block)
            size += len(block)
    return sha.hexdigest(), float(size), head


def _image(job: _Job, known: dict[str, Any], head: bytes) -> tuple[Pictures, list[Picture], int]:
    with open_frames(job.file, count=1, flip=job.flip) as frames:
        (picture,) = [frame.image for frame in frames]
    kind = media_type(head)
    known["codec"] = kind.removeprefix("image/") if kind else "bmp" if head.startswith(b"BM") else ""
    _shape(known, picture.shape[1], picture.shape[0], 1)
    return [(0, picture)], [_grey(picture)], 1


def _video(job: _Job, known: dict[str, Any]) -> tuple[Pictures, list[Picture], int]:
    """The frames to look at; all of them, or every second or so, small and grey; and every how many-th that is."""
    reader = open_video(job.file)
    pictures: Pictures = []
    greys = []
    try:
        info = reader.info
        wanted = set(evenly_spaced(max(info.frames, 1), VIEWS))
        step = max(math.ceil(info.frames / MOST_FRAMES), 1)
        kept = range(0, max(info.frames, 1), step)
        for index, _, picture in reader.frames(wanted | set(kept), flip=job.flip):
            if index in wanted:
                pictures.append((index, picture))
            if index in kept:
                greys.append(shrunk(_grey(picture), SIDE))
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
    return pictures, greys, step


def _shape(known: dict[str, Any], width: int, height: int, frames: int) -> None:
    pixels = float(width * height)
    known.update(width=float(width), height=float(height), pixels=pixels, aspect=round(width / height, 4))
    known["bits_per_pixel"] = 8 * known["bytes"] / (pixels * frames)


def _seen(pictures: Pictures, frames: list[Picture], step: int, job: _Job) -> dict[str, Any]:
    """Means over the views of what a picture shows, the faces, and the film that copies are sought by."""
    rows, greys, shares = [], [], []
    detector = _detector(job)
    for index, picture in pictures:
        small = shrunk(picture, LONG_SIDE)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        laplacian = cv2.Laplacian(grey, cv2.CV_32F)
        saturation = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[..., 1]
        rows.append((grey.mean(), grey.std(), saturation.mean(), math.log(float(laplacian.var()) + 1e-3)))
        greys.append(np.asarray(grey, dtype=np.uint8))
        faces = detector.detect(picture, path=job.path, frame=index) if detector else []
        if faces:
            height, width = picture.shape[:2]
            shares.append(math.sqrt(faces[0].box.w * faces[0].box.h / (width * height)))
    brightness, contrast, saturation_mean, sharpness = (float(value) for value in np.mean(rows, axis=0))
    margins = margins_of(greys)
    whole = [shrunk(grey, SIDE).astype(np.float32) for grey in greys]
    same = [grey for grey in whole if grey.shape == whole[0].shape]
    steps = [float(np.abs(after - before).mean()) for before, after in itertools.pairwise(same)]
    return {
        "brightness": brightness,
        "contrast": contrast,
        "saturation": saturation_mean,
        "sharpness": sharpness,
        "motion": float(np.mean(steps)) if steps else math.nan,
        "face_share": float(np.mean(shares)) if shares else math.nan,
        "faces": len(shares) if detector else None,
        "film": Film(
            views=tuple(view_of(index, grey, margins) for (index, _), grey in zip(pictures, greys, strict=True)),
            tiny=np.stack([tiny(frame, margins) for frame in frames]),
            step=step,
            margins=margins,
            file=job.file,
            flip=job.flip,
        ),
    }


def _detector(job: _Job) -> Detector | None:
    if job.detector == "boxes":
        return load_detector("boxes", boxes=job.boxes)
    return None if job.detector == "whole_frame" else shared_detector(job.detector, job.weights)


def _grey(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
