"""Read each file of a manifest once: its hash, its cheap properties, whether it shows a face, and a few small views of it."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.audit.duplicates import SIDE, View, shrink
from bonaface.data.crop_store import boxes_by_row, boxes_of
from bonaface.data.faces.detector import GivenBox, load_detector, worker_detector
from bonaface.data.frame_folder import frame_files
from bonaface.data.frames import evenly_spaced, kind_of, open_frames, open_video
from bonaface.data.manifest import Manifest
from bonaface.data.parallel import parallel_map
from bonaface.data.signatures import HEAD, media_type
from bonaface.errors import MediaError
from bonaface.io.storage import temporary_copy
from bonaface.types import counted

Picture = NDArray[np.uint8]
Pictures = list[tuple[int, Picture]]

VIEWS = 3
"""Frames of a video that are looked at: evenly spaced, the first one included."""

LONG_SIDE = 640
"""Sharpness and the other properties of a picture are measured at this longer side at most."""

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
"""Titles of the properties of a file."""


@dataclass(frozen=True)
class FileFacts:
    """What one file holds; `reason` says why it could not be read, `note` what part of it is missing.

    `properties` are those of PROPERTIES that are known. `brightness` and `contrast` are mean and standard deviation of the
    grey levels (0 to 255), `saturation` is that of HSV, `sharpness` the log of the Laplacian's variance, `motion` the mean
    grey difference between two views, each a mean over the views. `faces` counts the views with a face; None where none was
    looked for. `views` are for the copy search.
    """

    path: str
    sha256: str = ""
    reason: str = ""
    note: str = ""
    properties: Mapping[str, float | str] = field(default_factory=dict)
    faces: int | None = None
    views: tuple[View, ...] = field(default=(), repr=False)


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
    """Read every file of a manifest and return the facts in row order; a file that cannot be read has a `reason`.

    With the detector `whole_frame` no face is looked for. Raises SettingsError, InputError or DownloadError if the detector
    is not available.
    """
    load_detector(detector, weights=weights, boxes=boxes_of(manifest))  # fails and downloads here, not in each worker
    flips = [flip for flip, _ in manifest.readings()]
    boxes = boxes_by_row(manifest, detector)
    rows = zip(manifest.table["path"], manifest.files(), flips, boxes, strict=True)
    jobs = [_Job(str(path), file, flip, own, detector, weights) for path, file, flip, own in rows]
    return list(counted(parallel_map(_read, jobs, workers=workers), progress, len(jobs)))


def properties_table(facts: Sequence[FileFacts]) -> pd.DataFrame:
    """Return the cheap properties, one row per file; NaN or `""` where a file has none."""
    nothing = dict.fromkeys(PROPERTIES, math.nan) | {"codec": "", "suffix": ""}
    return pd.DataFrame([nothing | {**fact.properties} for fact in facts], columns=list(PROPERTIES))


def _read(job: _Job) -> FileFacts:
    known: dict[str, Any] = {"suffix": job.file.suffix.lower()}
    facts = FileFacts(job.path, properties=known)
    try:
        with temporary_copy(job.file) as file:
            here = replace(job, file=file)
            sha256, known["bytes"], head = _hashed(file)
            facts = replace(facts, sha256=sha256)
            if kind_of(file) == "video":
                pictures, note = _video(here, known)
                facts = replace(facts, note=note)
            else:
                pictures = _image(here, known, head)
    except OSError as error:
        return replace(facts, reason=error.strerror or str(error))
    except MediaError as error:
        return replace(facts, reason=str(error).removeprefix(f"{job.file}: "))
    return _seen(pictures, job, facts, known)


def _hashed(source: Path) -> tuple[str, float, bytes]:
    """SHA-256, size and first bytes of a file, or of a folder's pictures one after the other."""
    sha, head, size = hashlib.sha256(), b"", 0
    for file in frame_files(source) if source.is_dir() else [source]:
        with file.open("rb") as stream:
            while block := stream.read(_CHUNK):
                head = head or block[:HEAD]
                sha.update(block)
                size += len(block)
    return sha.hexdigest(), float(size), head


def _image(job: _Job, known: dict[str, Any], head: bytes) -> Pictures:
    with open_frames(job.file, count=1, flip=job.flip) as frames:
        (picture,) = [frame.image for frame in frames]
    kind = media_type(head)
    known["codec"] = kind.removeprefix("image/") if kind else "bmp" if head.startswith(b"BM") else ""
    _shape(known, picture.shape[1], picture.shape[0], 1)
    return [(0, picture)]


def _video(job: _Job, known: dict[str, Any]) -> tuple[Pictures, str]:
    """The views of a video, or of a folder of frames, by frame; and what part of it is missing."""
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
    # Rotation and pixel shape are applied to the pictures, not to what the container declares.
    height, width = pictures[0][1].shape[:2]
    _shape(known, width, height, max(info.frames, 1))
    known["frames"] = float(info.frames)
    if info.declared > info.frames:
        return pictures, f"truncated: it holds {info.frames} of the {info.declared} frames that it declares"
    if reader.decoded <= max(wanted) or reader.damage:
        return pictures, f"damaged: decoding stopped after frame {reader.decoded} of {info.frames}{damage}"
    return pictures, ""


def _shape(known: dict[str, Any], width: int, height: int, frames: int) -> None:
    pixels = float(width * height)
    known.update(width=float(width), height=float(height), pixels=pixels, aspect=round(width / height, 4))
    known["bits_per_pixel"] = 8 * known["bytes"] / (pixels * frames)


def _seen(pictures: Pictures, job: _Job, facts: FileFacts, known: dict[str, Any]) -> FileFacts:
    """Add means over the views of what a picture shows, the faces, and the views for the copy search."""
    rows, views, shares = [], [], []
    detector = None if job.detector == "whole_frame" else worker_detector(job.detector, job.weights, job.boxes)
    for index, picture in pictures:
        small = shrink(picture, LONG_SIDE)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        laplacian = cv2.Laplacian(grey, cv2.CV_32F)
        saturation = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[..., 1]
        rows.append((grey.mean(), grey.std(), saturation.mean(), math.log(float(laplacian.var()) + 1e-3)))
        views.append(View(index, shrink(grey, SIDE)))
        faces = detector.detect(picture, path=job.path, frame=index) if detector else []
        if faces:
            height, width = picture.shape[:2]
            shares.append(math.sqrt(faces[0].box.w * faces[0].box.h / (width * height)))
    known.update(
        zip(("brightness", "contrast", "saturation", "sharpness"), np.mean(rows, axis=0).tolist(), strict=True)
    )
    same = [view.grey.astype(np.float32) for view in views if view.grey.shape == views[0].grey.shape]
    steps = [float(np.abs(after - before).mean()) for before, after in itertools.pairwise(same)]
    if steps:
        known["motion"] = float(np.mean(steps))
    if shares:
        known["face_share"] = float(np.mean(shares))
    return replace(facts, faces=len(shares) if detector else None, views=tuple(views))
