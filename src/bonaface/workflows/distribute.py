"""Score and crop a manifest on the workers of a Ray cluster."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence, Sized
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

import cv2
import numpy as np
import pandas as pd

from bonaface.choices import Engine
from bonaface.data.camera import camera_of
from bonaface.data.crop_store import Job, boxes_of
from bonaface.data.downloads import sha256_of
from bonaface.data.faces.detector import Boxes
from bonaface.data.manifest import Manifest
from bonaface.data.sources import Input, Source, expand, fetched
from bonaface.errors import InputError, SettingsError, check_choice, format_list
from bonaface.inference.bundle import Bundle
from bonaface.inference.decision import DEFAULT_FACES
from bonaface.inference.pipeline import Pipeline
from bonaface.inference.scoring import Scored, score_through
from bonaface.io import storage, write_bytes
from bonaface.io.storage import without_passwords
from bonaface.types import Progress
from bonaface.workflows.bundle import find_bundle
from bonaface.workflows.partitions import Partitions
from bonaface.workflows.ray_engine import run_on_ray

PART = 128
"""Presentations of a part at most: what is computed again where a worker is lost."""
PARTS = 16
"""A job has so many parts at least, so that several workers share a short one."""
CROPPED = 16
LOST = "decoding or scoring it ended the worker process twice"
_NOTE, _EMBEDDING = "_note", "_embedding"
Whole = TypeVar("Whole", bound=Sized)


def check_engine(engine: str | None, **of_a_cluster: object) -> None:
    """Raise SettingsError for an engine that is not known, and for options of a cluster without one."""
    check_choice("engine", engine, get_args(Engine))
    given = [name for name, value in of_a_cluster.items() if value is not None]
    if engine is None and given:
        raise SettingsError(f"{format_list(given)}: an option of a cluster; give the engine too (--engine ray)")


def score_on_ray(
    bundle: Bundle,
    manifest: Manifest,
    output: Path,
    *,
    address: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Scored:
    """Score a manifest as `score_manifest` does, with the same rows, and keep complete parts in OUTPUT.partitions.

    The caller removes the parts once the rows are written. A presentation that ends its worker twice is `unreadable`.
    `options` are those of `Pipeline`. Raises what `score_manifest` does, SettingsError where there is no cluster, InputError
    for parts of a different job.
    """
    parts = Partitions(parts_folder(output), _key(bundle, options, f"{manifest.digest} {manifest.root}"))
    with parts.locked():
        scorer = partial(_scorer, bundle, boxes_of(manifest), parts, options)
        _do_missing(parts, manifest, rows_from, scorer, address=address, workers=workers, progress=progress)
        scored = _scored(parts.read())
        scored.refuse_all_unreadable(manifest)
    return scored


def predict_on_ray(
    bundle: str | Path | Bundle,
    *sources: Input,
    output: str | Path,
    frames: int | None = None,
    frames_as_video: bool = False,
    root: str | Path | None = None,
    variant: str | None = None,
    address: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, int]:
    """Write the verdicts on presentations as Parquet files, in parts, on the workers of a Ray cluster.

    The same call again does what is missing. `_SUCCESS` in the folder says that all parts are there.

    Args:
        bundle: the bundle, its path, the run folder that holds it, or the name of an open model.
        sources: files, folders, globs, addresses in storage, or a manifest, whose labels need not be known.
        output: the folder to write; `pandas.read_parquet` reads it.
        frames: how many frames of a video are scored, by default the bundle's number.
        frames_as_video: the pictures of a folder are the frames of one presentation.
        root: the folder that the paths of a manifest are relative to.
        variant: one of the bundle's variants, at its own thresholds.
        address: the cluster, such as `auto`; by default RAY_ADDRESS, else one is started on this machine.
        workers: workers of the cluster, by default one per core.
        progress: called with stage, done and total.
        options: `faces`, `detector`, `detector_weights`, `backend`, `min_face`, `quality`, as of `bonaface.load`.

    Returns:
        The number of presentations by verdict.

    Raises:
        SettingsError: there is no cluster.
        InputError: the folder holds the verdicts of a different job.

    Examples:
        ```python
        counts = bonaface.predict_on_ray("run/bundle", "footage", output="verdicts")
        print(counts)
        ```
    """
    if watched := [str(source) for source in sources if camera_of(source) is not None]:
        raise InputError(f"{without_passwords(watched[0])} is a camera, which a cluster cannot watch; leave it out")
    model = find_bundle(bundle, detector_weights=options.get("detector_weights"), progress=progress)
    model = model if variant is None else model.use(variant)
    found = expand(sources, root=root, frames_as_video=frames_as_video).items
    names = hashlib.sha256(
        "\n".join(f"{each.name} {_place(each)} {each.flip} {each.first}" for each in found).encode()
    ).hexdigest()
    parts = Partitions(Path(output), _key(model, {**options, "frames": frames}, names))
    with parts.locked():
        storage.remove(parts.folder / "_SUCCESS")
        predictor = partial(_predictor, model, parts, options, frames)
        _do_missing(parts, found, _slice, predictor, address=address, workers=workers, progress=progress)
        write_bytes(parts.folder / "_SUCCESS", b"")
        return parts.counts("verdict")


def crop_on_ray(
    crop: Callable[[Job], str],
    jobs: Sequence[Job],
    done: Callable[[int], None],
    *,
    address: str | None = None,
    workers: int | None = None,
) -> None:
    """Crop presentations into a store that all workers share; one that ends its worker twice stays without an entry."""
    run_on_ray(
        partial(_cropper, crop),
        ((part_name(start), jobs[start : start + CROPPED]) for start in range(0, len(jobs), CROPPED)),
        divide=lambda part: ([job] for job in part),
        lost=lambda *_: None,
        done=done,
        address=address,
        workers=workers,
    )


def parts_folder(output: Path) -> Path:
    """Return where the complete parts of an evaluation are kept until it is written."""
    return output.with_name(f"{output.name}.partitions")


def _place(source: Source) -> str:
    return source.address or (str(source.path) if isinstance(source.path, str | Path) else "")


def _key(bundle: Bundle, options: dict[str, Any], presentations: str) -> str:
    """Return what was asked for, in 16 hex digits; an option at its default is as one that was not given."""
    defaults = {"quality": True, "faces": DEFAULT_FACES}
    options = {name: value for name, value in options.items() if value not in (None, defaults.get(name))}
    weights = options.get("detector_weights")
    if weights and Path(weights).is_file():
        options = {**options, "detector_weights": sha256_of(Path(weights))}
    asked = {
        "bundle": bundle.id,
        "variant": bundle.variant,
        "presentations": presentations,
        "part": PART,
        "parts": PARTS,
        **options,
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _do_missing(
    parts: Partitions,
    whole: Whole,
    take: Callable[[Whole, int, int], Whole],
    make: Callable[..., Callable[[str, Whole], None]],
    *,
    address: str | None,
    workers: int | None,
    progress: Progress | None,
) -> None:
    """Do the parts of all presentations that are not complete; `take` returns so many of them from a place on.

    What `make` returns does a part; made with a `problem`, it gives presentations that cannot be read.
    """
    total, held = len(whole), parts.complete()
    size = part_size(total)
    todo = [start for start in range(0, total, size) if part_name(start) not in held]
    finished = total - sum(min(size, total - start) for start in todo)

    def done(count: int) -> None:
        nonlocal finished
        finished += count
        if progress:
            progress("score", finished, total)

    done(0)
    run_on_ray(
        make,
        ((part_name(start), take(whole, start, size)) for start in todo),
        divide=lambda part: (take(part, place, 1) for place in range(len(part))),
        lost=lambda name, part: make(problem=LOST)(name, part),  # noqa: PLW0108 (a pipeline only where it is needed)
        done=done,
        address=address,
        workers=workers,
    )


def _predictor(
    bundle: Bundle, parts: Partitions, options: dict[str, Any], frames: int | None, *, problem: str = ""
) -> Callable[[str, Sequence[Source]], None]:
    pipeline = Pipeline(bundle, threads=1, **options)

    def predict(name: str, part: Sequence[Source]) -> None:
        sources = [replace(source, problem=problem or source.problem) for source in part]
        rows = [verdict.to_dict() for verdict in pipeline.verdicts(map(fetched, sources), frames=frames)]
        nested = {column: [json.dumps(row.pop(column)) for row in rows] for column in ("findings", "quality", "frames")}
        parts.write(name, pd.DataFrame(rows).assign(**nested))

    return predict


def _scorer(
    bundle: Bundle, boxes: Boxes | None, parts: Partitions, options: dict[str, Any], *, problem: str = ""
) -> Callable[[str, Manifest], None]:
    pipeline = Pipeline(bundle, boxes=boxes, threads=1, **options)

    def score(name: str, part: Manifest) -> None:
        parts.write(name, _table(score_through(pipeline, part, problem=problem)))

    return score


def _cropper(crop: Callable[[Job], str]) -> Callable[[str, Sequence[Job]], None]:
    cv2.setNumThreads(1)  # the workers share the cores

    def crop_each(_: str, jobs: Sequence[Job]) -> None:
        for job in jobs:
            crop(job)

    return crop_each


def _slice(sources: list[Source], start: int, count: int) -> list[Source]:
    return sources[start : start + count]


def part_size(total: int) -> int:
    """Return how many presentations a part of a job has, whatever the number of workers."""
    return max(1, min(PART, total // PARTS))


def part_name(start: int) -> str:
    return f"{start:09d}"


def rows_from(manifest: Manifest, start: int, count: int) -> Manifest:
    table = manifest.table.iloc[start : start + count].reset_index(drop=True)
    return replace(manifest, table=table, boxes=None, notes=(), about={})


def _table(scored: Scored) -> pd.DataFrame:
    """Return a score table with notes and embeddings in its rows of presentations."""
    vectors = dict(zip(scored.embedded, scored.embeddings, strict=True))
    names = scored.table["presentation"].where(scored.table["frame"].isna(), "")
    table = scored.table.copy()
    table[_NOTE] = [scored.notes.get(name, "") for name in names]
    table[_EMBEDDING] = [vectors[name].tobytes() if name in vectors else b"" for name in names]
    return table


def _scored(table: pd.DataFrame) -> Scored:
    with_vector, with_note = table[table[_EMBEDDING] != b""], table[table[_NOTE] != ""]
    vectors = [np.frombuffer(vector, np.float32) for vector in with_vector[_EMBEDDING]]
    return Scored(
        table.drop(columns=[_NOTE, _EMBEDDING]),
        with_vector["presentation"].tolist(),
        np.stack(vectors) if vectors else np.empty((0, 0), np.float32),
        dict(zip(with_note["presentation"], with_note[_NOTE], strict=True)),
    )
