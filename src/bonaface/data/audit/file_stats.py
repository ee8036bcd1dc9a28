"""Read each file of a manifest once: its hash, its cheap properties, whether it shows a face, and a few small views of it."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.audit.duplicates import SIDE, View, shrink
from bonaface.data.crop_store import boxes_by_row, boxes_of
from bonaface.data.faces.detector import Detector, GivenBox, load_detector, worker_detector
from bonaface.data.frame_folder import frame_files
from bonaface.data.frames import Frames, evenly_spaced
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


_Job = tuple[str, Path, str, dict[tuple[str, int], GivenBox] | None]
"""Path, file, flip and boxes of a presentation."""


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
    jobs = list(zip(manifest.table["path"].tolist(), manifest.files(), flips, boxes, strict=True))
    read = partial(_read, detector=detector, weights=weights)
    return list(counted(parallel_map(read, jobs, workers=workers), progress, len(jobs)))


def properties_table(facts: Sequence[FileFacts]) -> pd.DataFrame:
    """Return the cheap properties, one row per file; NaN or `""` where a file has none."""
    nothing = dict.fromkeys(PROPERTIES, math.nan) | {"codec": "", "suffix": ""}
    return pd.DataFrame([nothing | {**fact.properties} for fact in facts], columns=list(PROPERTIES))


def _read(job: _Job, *, detector: str, weights: Path | None) -> FileFacts:
    path, file, flip, boxes = job
    known: dict[str, Any] = {"suffix": file.suffix.lower()}
    facts = FileFacts(path, properties=known)
    try:
        with temporary_copy(file) as here:
            sha256, known["bytes"], kind = _hashed(here)
            facts = replace(facts, sha256=sha256)
            with Frames(here, count=VIEWS, choose=evenly_spaced, flip=flip) as frames:
                pictures = [(frame.index, frame.image) for frame in frames]
            if not pictures:
                raise MediaError(f"no frame could be decoded{f' ({frames.note})' if frames.note else ''}")
    except OSError as error:
        return replace(facts, reason=error.strerror or str(error))
    except MediaError as error:
        return replace(facts, reason=str(error).removeprefix(f"{file}: "))
    # Rotation and pixel shape are applied to the pictures, not to what the container declares.
    height, width = pictures[0][1].shape[:2]
    known |= {"width": float(width), "height": float(height), "pixels": float(width * height)}
    known |= {"aspect": round(width / height, 4), "codec": kind.removeprefix("image/")}
    if (video := frames.video) is not None:
        known |= {"codec": video.codec, "frames": float(video.frames)}
        known |= {"frame_rate": video.fps or math.nan, "seconds": video.seconds or math.nan}
    known["bits_per_pixel"] = 8 * known["bytes"] / (width * height * max(known.get("frames", 1), 1))
    finder = None if detector == "whole_frame" else worker_detector(detector, weights, boxes)
    return _seen(pictures, finder, replace(facts, note="; ".join(frames.faults)), known)


def _hashed(source: Path) -> tuple[str, float, str]:
    """SHA-256, size and media type of a file, or of a folder's pictures one after the other."""
    sha, kind, size = hashlib.sha256(), "", 0
    for file in frame_files(source) if source.is_dir() else [source]:
        with file.open("rb") as stream:
            kind = kind or media_type(stream.read(HEAD)) or ""
            stream.seek(0)
            hashlib.file_digest(stream, lambda: sha)
            size += stream.tell()
    return sha.hexdigest(), float(size), kind


def _seen(pictures: Pictures, detector: Detector | None, facts: FileFacts, known: dict[str, Any]) -> FileFacts:
    """Add means over the views of what a picture shows, the faces, and the views for the copy search."""
    rows, views, shares = [], [], []
    for index, picture in pictures:
        small = shrink(picture, LONG_SIDE)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        laplacian = cv2.Laplacian(grey, cv2.CV_32F)
        saturation = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[..., 1]
        rows.append((grey.mean(), grey.std(), saturation.mean(), math.log(float(laplacian.var()) + 1e-3)))
        views.append(View(index, shrink(grey, SIDE)))
        faces = detector.detect(picture, path=facts.path, frame=index) if detector else []
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
