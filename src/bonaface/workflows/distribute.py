"""Score and crop a manifest on the workers of a Ray cluster."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pandas as pd

from bonaface.choices import Engine
from bonaface.data.crop_store import Job, boxes_of
from bonaface.data.faces.detector import Boxes
from bonaface.data.manifest import Manifest
from bonaface.errors import SettingsError, format_list
from bonaface.inference.bundle import Bundle
from bonaface.inference.pipeline import Pipeline
from bonaface.inference.scoring import Scored, score_through
from bonaface.types import Progress
from bonaface.workflows.partitions import Partitions
from bonaface.workflows.ray_engine import run_on_ray

PART = 128
"""Presentations of a part: what is computed again where a worker is lost."""
CROPPED = 16
LOST = "decoding or scoring it ended the worker process twice"
_NOTE, _EMBEDDING = "_note", "_embedding"


def check_engine(engine: str | None, *, address: str | None) -> None:
    """Raise SettingsError for an engine that is not known, and for a cluster's address without one."""
    if engine not in (None, *get_args(Engine)):
        raise SettingsError(f"engine {engine!r}: expected {format_list(get_args(Engine))}, or none for this machine")
    if engine is None and address is not None:
        raise SettingsError(f"an address of a cluster, {address}, needs the engine ray (--engine ray)")


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

    A presentation that ends its worker twice is `unreadable`. `options` are those of `Pipeline`. Raises what
    `score_manifest` does, SettingsError where there is no cluster, InputError for parts of another job.
    """
    asked = {"bundle": bundle.id, "manifest": manifest.digest, "part": PART, **options}
    key = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]
    parts = Partitions(output.with_name(f"{output.name}.partitions"), key)
    scorer = partial(_scorer, bundle, boxes_of(manifest), parts, options)
    unreadable = partial(_scorer, bundle, None, parts, options, problem=LOST)
    with parts.locked():
        held = parts.complete()
        todo = [start for start in range(0, len(manifest), PART) if part_name(start) not in held]
        finished = len(manifest) - sum(min(PART, len(manifest) - start) for start in todo)

        def done(count: int) -> None:
            nonlocal finished
            finished += count
            if progress:
                progress("score", finished, len(manifest))

        done(0)
        run_on_ray(
            scorer,
            ((part_name(start), part_of(manifest, start, PART)) for start in todo),
            divide=lambda part: (part_of(part, row, 1) for row in range(len(part))),
            lost=lambda name, part: unreadable()(name, part),  # noqa: PLW0108 (a pipeline is made only where it is needed)
            done=done,
            address=address,
            workers=workers,
        )
        scored = _scored(parts.read())
        scored.refuse_all_unreadable(manifest)
        parts.remove()
    return scored


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


def part_name(start: int) -> str:
    return f"{start:09d}"


def part_of(manifest: Manifest, start: int, count: int) -> Manifest:
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
    names = table["presentation"].tolist()
    embedded = [(name, vector) for name, vector in zip(names, table[_EMBEDDING], strict=True) if vector]
    return Scored(
        table.drop(columns=[_NOTE, _EMBEDDING]),
        [name for name, _ in embedded],
        np.stack([np.frombuffer(vector, np.float32) for _, vector in embedded])
        if embedded
        else np.empty((0, 0), np.float32),
        {name: note for name, note in zip(names, table[_NOTE], strict=True) if note},
    )
