"""The crop store: the wide square around each face, stored once and addressed by content.

    STORE/entries/ab/abcdef.../entry.json    what was found in each chosen frame
    STORE/entries/ab/abcdef.../00030.jpg     the square of frame 30
    STORE/files.jsonl                        content hashes of files, so that they are not read again

An entry's address is a hash of the file's content and of every setting that changes the crops. One store therefore serves
any number of manifests and settings, and its entries never become outdated.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.config import CropSettings
from bonaface.data.cropping import MIN_FACE, box_in_crop, cut, face_square, resize, resize_frame
from bonaface.data.downloads import sha256_of
from bonaface.data.faces.detector import Detector, GivenBox, load_detector, worker_detector
from bonaface.data.frame_folder import frame_files
from bonaface.data.frames import Frames
from bonaface.data.images import encode_jpeg
from bonaface.data.manifest import Manifest
from bonaface.data.parallel import parallel_map
from bonaface.data.shards import is_shards, read_crop, read_shards
from bonaface.errors import InputError, MediaError, OutputError, reraise_os_error
from bonaface.io.storage import is_remote, shown, version_of
from bonaface.types import Box, Status

VERSION = 4
"""Increased whenever the same file and settings would give other pixels: 3 for mirrored, HDR and non-square video, 4 for
frames that are not evenly spaced, and no faces in the dark."""

_ABANDONED = 3600.0
"""Seconds after which a half-written entry belongs to a call that was killed: a file is cropped in far less."""

Key = tuple[str, int]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Job:
    """One presentation to crop: everything a worker process needs."""

    path: str
    file: Path
    flip: str
    first: int | None
    boxes: dict[Key, GivenBox] | None
    sha256: str
    folder: Path


@dataclass(frozen=True)
class CropStore:
    """The stored crops of one manifest, with one set of settings.

    `table` has a row per chosen frame, in manifest order: `path`, `frame`, `time` (seconds), `status`, `reason`, `file` (the
    JPEG, or its place in a shard; "" where there is none), the box in the stored square (`x`, `y`, `w`, `h`) and
    `confidence`. A face that is `too_small` is stored, too. A presentation that cannot be read has one row, frame 0. `notes`
    are the decoder's by presentation: truncated, variable rate. `hashes` are the files' SHA-256 in manifest order, "" if
    missing.
    """

    path: Path
    table: pd.DataFrame
    notes: dict[str, str]
    hashes: list[str]
    detector_identity: str

    @property
    def unusable(self) -> pd.DataFrame:
        """Return the presentations without a usable frame: `path`, `status` of the first frame, `reason`."""
        first = self.table.drop_duplicates("path")
        usable = set(self.table.loc[self.table["status"] == Status.OK.value, "path"])
        return first.loc[~first["path"].isin(usable), ["path", "status", "reason"]].reset_index(drop=True)


def fill_store(
    manifest: Manifest,
    store: Path,
    settings: CropSettings,
    *,
    min_face: float | None = None,
    workers: int | None = None,
    over: Callable[[Callable[[Job], str], Sequence[Job], Callable[[int], None]], None] | None = None,
    progress: Progress | None = None,
) -> CropStore:
    """Find and store the faces of every presentation that the store does not have yet.

    Each entry is complete or absent, so an interrupted call resumes; several calls may fill one store at once. Every face
    is stored, whatever its size; in the returned table one whose longer side has fewer than MIN_FACE pixels, or than a
    lower `min_face`, is `too_small`.
    `over` crops what is missing elsewhere than in `workers` processes, given how, what, and whom to give the number done.
    `progress` gets the stage (`hashes` for files that are new or changed, then `crops`), the number done and the total.
    Raises OutputError where the store cannot be written or the folder holds something else, and what `load_detector`
    raises.
    """
    detector = load_detector(settings.detector, weights=settings.weights, boxes=boxes_of(manifest))
    lowered = min_face is not None and min_face < MIN_FACE
    if is_shards(store):
        shards = read_shards(store, manifest, settings, detector.identity)
        if lowered and ((shards.table["status"] == Status.TOO_SMALL.value) & (shards.table["file"] == "")).any():
            raise InputError(f"{shown(store)} lacks faces of fewer than {MIN_FACE:g} pixels; make the shards again")
        return replace(shards, table=_with_min_face(shards.table, min_face))
    if is_remote(store):
        raise OutputError(
            f"{shown(store)} is in storage, where crops lie in shards; make them with `data crop --shards`"
        )
    _open_store(store)
    hashes = _hashes(manifest.files(), store, workers, progress)
    jobs = _jobs(manifest, store, settings, detector.identity, hashes)
    held = {
        job.folder: entry
        for job in jobs
        if (entry := _read_entry(job)) is not None and (not lowered or _has_every_face(entry))
    }
    todo = list({job.folder: job for job in jobs if job.folder not in held}.values())
    done = len(jobs) - len(todo)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress("crops", done, len(jobs))

    advance(0)
    if over is not None:
        over(partial(_crop, settings), todo, advance)
    else:
        for _ in parallel_map(partial(_crop, settings), todo, workers=workers):
            advance(1)
    entries = [(job, held.get(job.folder) or _read_entry(job) or _absent(job)) for job in jobs]
    notes = {job.path: entry["note"] for job, entry in entries if entry["note"]}
    return CropStore(store, _with_min_face(_table(entries), min_face), notes, hashes, detector.identity)


def _table(entries: list[tuple[Job, dict[str, Any]]]) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for job, entry in entries:
        for frame in entry["frames"]:
            file = str(job.folder / frame["file"]) if frame["file"] else ""
            box = frame["box"] or (np.nan,) * 4
            found = (job.path, frame["frame"], frame["time"], frame["status"], entry["reason"], file)
            rows.append((*found, *box, frame["confidence"]))
    names = ["path", "frame", "time", "status", "reason", "file", "x", "y", "w", "h", "confidence"]
    return pd.DataFrame(rows, columns=names).astype({"time": float, "confidence": float})


def _with_min_face(table: pd.DataFrame, min_face: float | None) -> pd.DataFrame:
    """Return the table in which stored faces from `min_face` pixels on are usable, where that is below MIN_FACE."""
    if min_face is None or min_face >= MIN_FACE:
        return table
    small = (table["status"] == Status.TOO_SMALL.value) & (table["file"] != "")
    usable = small & (table[["w", "h"]].max(axis=1) >= min_face)
    return table.assign(status=table["status"].mask(usable, Status.OK.value))


def load_crop(file: str | Path) -> NDArray[np.uint8]:
    """Return a stored square as RGB, (side, side, 3). Raises MediaError."""
    data = np.frombuffer(read_crop(str(file)), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if len(data) else None
    if picture is None:
        raise MediaError(f"{file} in the crop store is damaged; remove its folder and crop again")
    return np.asarray(picture, dtype=np.uint8)


def boxes_of(manifest: Manifest) -> dict[Key, GivenBox] | None:
    """Return a dataset's own face boxes by (presentation, frame); None if the manifest has none."""
    if manifest.boxes is None:
        return None
    columns = manifest.boxes[["path", "frame", "x", "y", "w", "h", "frame_size"]]
    return {
        (str(path), int(frame)): GivenBox(Box(x, y, w, h), int(size) if size else None)
        for path, frame, x, y, w, h, size in columns.itertuples(index=False)
    }


def boxes_by_row(manifest: Manifest, detector: str) -> list[dict[Key, GivenBox] | None]:
    """Return each presentation's own face boxes for the detector `boxes`, in row order; None each for any other."""
    paths = manifest.table["path"].tolist()
    if detector != "boxes":
        return [None] * len(paths)
    of_path: dict[str, dict[Key, GivenBox]] = {}
    for key, box in (boxes_of(manifest) or {}).items():
        of_path.setdefault(key[0], {})[key] = box
    return [of_path.get(path, {}) for path in paths]


def _open_store(store: Path) -> None:
    """Make the folder, or accept one that is empty or a crop store, and remove what killed calls left in it."""
    if store.exists() and not (store / "entries").is_dir() and (not store.is_dir() or any(store.iterdir())):
        held = "is a folder with other content" if store.is_dir() else "is a file"
        raise OutputError(f"{store} {held}; expected a crop store, or a new folder")
    with reraise_os_error(store):
        (store / "entries").mkdir(parents=True, exist_ok=True)
    for leftover in (store / "entries").glob("*/.part-*"):
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _ABANDONED:
                shutil.rmtree(leftover, ignore_errors=True)


def _jobs(manifest: Manifest, store: Path, settings: CropSettings, identity: str, hashes: list[str]) -> list[Job]:
    jobs = []
    boxes = boxes_by_row(manifest, settings.detector)
    for path, file, (flip, first), sha256, own in zip(
        manifest.table["path"], manifest.files(), manifest.readings(), hashes, boxes, strict=True
    ):
        what = {
            "file": sha256,
            "detector": identity,
            "frames": settings.frames,
            "scale": settings.scale,
            "side": settings.side,
            "quality": settings.quality,
            "flip": flip,
            "boxes": None if own is None else [[frame, *box, size] for (_, frame), (box, size) in sorted(own.items())],
            "version": VERSION,
            **({} if first is None else {"first": first}),
        }
        if settings.resize is not None:
            what["resize"] = settings.resize
        name = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:40]
        jobs.append(Job(str(path), file, flip, first, own, sha256, store / "entries" / name[:2] / name))
    return jobs


def _hashes(files: list[Path], store: Path, workers: int | None, progress: Progress | None) -> list[str]:
    """Return the SHA-256 of each file's content, "" where it cannot be read.

    A hash is written down as soon as it is known, and used again while size and time of change are the same.
    """
    log = store / "files.jsonl"
    memory = _remembered(log)
    distinct = list(dict.fromkeys(files))
    with ThreadPoolExecutor(workers) as pool:
        marks = dict(zip(map(str, distinct), pool.map(_mark, distinct), strict=True))
    new = [file for file, mark in marks.items() if mark and memory.get(file, ("", ""))[0] != mark]
    if new:
        with (
            reraise_os_error(log),
            log.open("a", encoding="utf-8", buffering=1) as lines,
            ThreadPoolExecutor(workers) as pool,
        ):
            lines.write("\n")  # after a line that a killed call left unfinished
            for done, (file, sha256) in enumerate(zip(new, pool.map(_sha256, new), strict=True), start=1):
                memory[file] = (marks[file], sha256)
                lines.write(json.dumps([file, marks[file], sha256]) + "\n")
                if progress:
                    progress("hashes", done, len(new))
    return [memory[str(file)][1] if marks[str(file)] else "" for file in files]


def _mark(file: Path) -> str:
    """Return what changes when a file, or a picture of a folder of frames, does; "" if it is neither."""
    if is_remote(file):
        return version_of(file)
    try:
        status = file.stat()
        if stat.S_ISREG(status.st_mode):
            return f"{status.st_size} {status.st_mtime_ns}"
        marks = [f"{each.name} {_mark(each)}" for each in frame_files(file)]
        return hashlib.sha256("\n".join(marks).encode(errors="surrogateescape")).hexdigest()
    except (OSError, MediaError):
        return ""


def _sha256(file: str) -> str:
    """Return the SHA-256 of a file, or over those of a folder's frames in their order; "" if it cannot be read.

    Of an object in storage, which would have to be fetched for it, it is that of its version, such as its ETag.
    """
    path = Path(file)
    if is_remote(path):
        return hashlib.sha256(version_of(path).encode()).hexdigest()
    try:
        if not path.is_dir():
            return sha256_of(path)
        return hashlib.sha256("".join(map(sha256_of, frame_files(path))).encode()).hexdigest()
    except (OSError, MediaError):
        return ""


def _remembered(log: Path) -> dict[str, tuple[str, str]]:
    """Return the mark and hash of each file in the log; later lines count, damaged ones do not."""
    memory: dict[str, tuple[str, str]] = {}
    with suppress(OSError), log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with suppress(ValueError, TypeError):
                file, mark, sha256 = json.loads(line)
                if sha256:
                    memory[file] = (mark, sha256)
    return memory


def _crop(settings: CropSettings, job: Job) -> str:
    """Crop one presentation into its entry, written to a temporary folder and moved; return the presentation's name."""
    detector = worker_detector(settings.detector, settings.weights, job.boxes)
    try:
        _write_entry(job, settings, detector)
    except OSError as error:
        entry = _read_entry(job)
        if entry is None or not _has_every_face(entry):  # else another process stored the same content first
            reason = error.strerror or error
            raise OutputError(f"the crop store cannot be written: {reason} ({job.folder})") from None
    return job.path


def _write_entry(job: Job, settings: CropSettings, detector: Detector) -> None:
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".part-", dir=job.folder.parent))
    try:
        entry = _fill(job, fresh, settings, detector)
        (fresh / "entry.json").write_text(json.dumps(entry), encoding="utf-8")
        fresh.chmod(0o755)
        if job.folder.is_dir():  # by another process meanwhile, or before every face was stored
            for file in sorted(fresh.iterdir(), key=lambda file: file.suffix == ".json"):
                file.replace(job.folder / file.name)
        else:
            fresh.replace(job.folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _fill(job: Job, folder: Path, settings: CropSettings, detector: Detector) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    note = reason = ""
    try:
        with Frames(job.file, count=settings.frames, flip=job.flip, first=job.first) as frames:
            for frame in frames:
                row = _frame_entry(frame.index, Status.NO_FACE, frame.time)
                image = frame.image if settings.resize is None else resize_frame(frame.image, settings.resize)
                faces = detector.detect(image, path=job.path, frame=frame.index)
                if faces:
                    row |= _store(image, faces[0].box, folder, f"{frame.index:05d}.jpg", settings)
                    row["confidence"] = faces[0].confidence
                found.append(row)
            note = frames.note
    except MediaError as error:
        reason = str(error).removeprefix(f"{job.file}: ")  # the same content may lie elsewhere tomorrow
    return {"frames": found or [_frame_entry(0, Status.UNREADABLE)], "note": note, "reason": reason}


def _frame_entry(frame: int, status: Status, time: float | None = None) -> dict[str, Any]:
    return {"frame": frame, "time": time, "status": status.value, "file": "", "box": None, "confidence": None}


def _store(image: NDArray[np.uint8], box: Box, folder: Path, name: str, settings: CropSettings) -> dict[str, Any]:
    height, width = image.shape[:2]
    square = face_square(box, scale=settings.scale, width=width, height=height)
    side = min(square.side, settings.side)
    (folder / name).write_bytes(encode_jpeg(resize(cut(image, square), side), quality=settings.quality))
    inside = box_in_crop(box, square, size=side)
    status = Status.TOO_SMALL if max(box.w, box.h) < MIN_FACE else Status.OK
    return {"status": status.value, "file": name, "box": [round(value, 3) for value in inside]}


def _read_entry(job: Job) -> dict[str, Any] | None:
    """Return the store's entry of a presentation; None if it has to be cropped first."""
    if not job.sha256:
        return _absent(job)
    try:
        entry: dict[str, Any] = json.loads((job.folder / "entry.json").read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:  # the machine lost its power while it wrote
        shutil.rmtree(job.folder, ignore_errors=True)
        return None
    return entry


def _has_every_face(entry: dict[str, Any]) -> bool:
    """Return whether an entry has a square of every face; stores made before 0.1.0 lack those below MIN_FACE."""
    return not any(frame["status"] == Status.TOO_SMALL.value and not frame["file"] for frame in entry["frames"])


def _absent(job: Job) -> dict[str, Any]:
    """Return the entry of a presentation whose file cannot be read at all."""
    reason = "a folder without pictures" if job.file.is_dir() else "unreadable" if job.file.exists() else "no such file"
    return {"frames": [_frame_entry(0, Status.UNREADABLE)], "note": "", "reason": reason}
