"""A bundle and a manifest give a score table: a row per frame, and one per presentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.crop_store import boxes_of
from bonaface.data.manifest import Manifest
from bonaface.errors import InputError
from bonaface.inference.bundle import Bundle
from bonaface.inference.pipeline import Pipeline, Sample, Source
from bonaface.types import FusionRule, Status, fuse, probability

__all__ = ["Scored", "score_manifest", "sources_of"]


@dataclass(frozen=True)
class Scored:
    """A score table, and beside it what it has no column for.

    `embeddings` `(n, d)` are of each presentation's first judged frame, in the order of `embedded`, the presentations'
    names; `notes` maps a presentation to what its decoder had to say.
    """

    table: pd.DataFrame
    embedded: list[str]
    embeddings: NDArray[np.float32]
    notes: dict[str, str]


def sources_of(manifest: Manifest) -> list[Source]:
    """The manifest's presentations as the pipeline takes them."""
    files = zip(manifest.table["path"], manifest.files(), manifest.readings(), strict=True)
    return [Source(name, path, flip, first) for name, path, (flip, first) in files]


def score_manifest(
    bundle: Bundle,
    manifest: Manifest,
    *,
    frames: int | None = None,
    fusion: FusionRule | None = None,
    system: str | None = None,
    detector_weights: Path | None = None,
    threads: int | None = None,
    detector: str | None = None,
    backend: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """Score every presentation of a manifest through the runtime pipeline.

    `frames` a video and their `fusion` are by default those of the bundle's operating point for a video. A presentation
    that gave no score is a row with a status. `detector` replaces the bundle's own, on purpose. Raises InputError where
    not one file of the manifest can be read.
    """
    point = bundle.operating_point("video")
    count, rule = frames or point.frames, fusion or point.fusion
    pipeline = Pipeline(
        bundle,
        detector_weights=detector_weights,
        boxes=boxes_of(manifest),
        threads=threads,
        detector=detector,
        backend=backend,
    )
    rows: list[dict[str, object]] = []
    embedded: list[str] = []
    embeddings: list[NDArray[np.float32]] = []
    notes: dict[str, str] = {}
    unreadable = 0
    for done, sample in enumerate(pipeline.score(sources_of(manifest), frames=count), start=1):
        rows += _rows(sample, rule)
        if sample.note:
            notes[sample.source.name] = sample.note
        unreadable += sample.frames[0].status is Status.UNREADABLE
        vectors = (frame.embedding for frame in sample.frames if frame.embedding is not None)
        if (vector := next(vectors, None)) is not None:
            embedded.append(sample.source.name)
            embeddings.append(vector)
        if progress:
            progress(done, len(manifest))
    if unreadable == len(manifest):
        first = next(iter(notes.values()), "")
        raise InputError(f"not one of the manifest's {len(manifest)} files below {manifest.root} can be read: {first}")
    table = pd.DataFrame(rows, columns=["presentation", "frame", "logit", "score", "status"])
    table["frame"] = table["frame"].astype("Int64")
    table[["logit", "score"]] = table[["logit", "score"]].astype("float64")
    table["system"] = system or bundle.title
    described = manifest.table.rename(columns={"path": "presentation"})
    return Scored(
        table.merge(described, on="presentation", how="left", validate="many_to_one"),
        embedded,
        np.stack(embeddings) if embeddings else np.empty((0, 0), np.float32),
        notes,
    )


def _rows(sample: Sample, rule: FusionRule) -> Iterator[dict[str, object]]:
    for frame in sample.frames:
        yield {
            "presentation": sample.source.name,
            "frame": frame.frame,
            "logit": frame.logit,
            "score": frame.score,
            "status": frame.status.value,
        }
    logits = [frame.logit for frame in sample.frames if frame.logit is not None]
    fused = fuse(logits, rule=rule) if logits else None
    yield {
        "presentation": sample.source.name,
        "frame": pd.NA,
        "logit": fused,
        "score": None if fused is None else float(probability(fused)),
        "status": Status.OK.value if logits else sample.frames[0].status.value,
    }
