"""Score a manifest with a bundle: a row for each frame, and one for each presentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.choices import FusionRule
from bonaface.data.crop_store import boxes_of
from bonaface.data.manifest import Manifest
from bonaface.data.sources import Source
from bonaface.errors import InputError
from bonaface.inference.bundle import Bundle
from bonaface.inference.decision import PresentationResult, fused
from bonaface.inference.pipeline import Pipeline, ScoringOptions
from bonaface.inference.quality import summary
from bonaface.io.storage import shown
from bonaface.types import QUALITY_COLUMNS, Status, probability

_OWN = ("presentation", "frame", "logit", "score", "status", *QUALITY_COLUMNS, "system")


@dataclass(frozen=True)
class Scored:
    """A score table, with embeddings and notes.

    `embeddings` `(n, d)` are of each presentation's first scored frame, in the order of `embedded`, the presentations'
    names; `notes` maps a presentation to what its decoder reported.
    """

    table: pd.DataFrame
    embedded: list[str]
    embeddings: NDArray[np.float32]
    notes: dict[str, str]

    def refuse_all_unreadable(self, manifest: Manifest) -> None:
        """Raise InputError where not one file of the manifest could be read."""
        if (self.table["status"] == Status.UNREADABLE.value).all():
            first = next(iter(self.notes.values()), "")
            where = f"the manifest's {len(manifest)} files below {shown(manifest.root)}"
            raise InputError(f"not one of {where} can be read: {first}")


def column_in_scores(name: str) -> str:
    """Return the name that a manifest's column has in a score table, whose own columns come first.

    >>> [column_in_scores(name) for name in ("path", "species", "score")]
    ['presentation', 'species', 'manifest_score']
    """
    return "presentation" if name == "path" else f"manifest_{name}" if name in _OWN else name


def sources_of(manifest: Manifest, problem: str = "") -> list[Source]:
    """Return the manifest's presentations as the pipeline takes them, with why they cannot be read, if that is known."""
    files = zip(manifest.table["path"], manifest.files(), manifest.readings(), strict=True)
    return [Source(name, path, flip, first, problem) for name, path, (flip, first) in files]


def score_manifest(
    bundle: Bundle,
    manifest: Manifest,
    *,
    frames: int | None = None,
    fusion: FusionRule | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Unpack[ScoringOptions],
) -> Scored:
    """Score every presentation of a manifest, with the pipeline of `predict` and `serve`.

    `frames` a video and their `fusion` are by default those of the bundle's operating point for a video. A presentation
    that gave no score is a row with a status. Quality is a column a measure, of each frame and as medians. Raises
    InputError where not one file of the manifest can be read.
    """
    with Pipeline(bundle, boxes=boxes_of(manifest), **options) as pipeline:
        scored = score_through(pipeline, manifest, frames=frames, fusion=fusion, progress=progress)
    scored.refuse_all_unreadable(manifest)
    return scored


def score_through(
    pipeline: Pipeline,
    manifest: Manifest,
    *,
    frames: int | None = None,
    fusion: FusionRule | None = None,
    problem: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """Score every presentation of a manifest with a pipeline that is open, as `score_manifest` does.

    With a `problem` none is opened: each is a row with the status `unreadable`, and this note.
    """
    bundle = pipeline.bundle
    point = bundle.operating_point("video")
    count, rule = frames or point.frames, fusion or point.fusion
    rows: list[dict[str, object]] = []
    embedded: list[str] = []
    embeddings: list[NDArray[np.float32]] = []
    notes: dict[str, str] = {}
    for done, result in enumerate(pipeline.score(sources_of(manifest, problem), frames=count), start=1):
        rows += _rows(result, rule)
        if result.note:
            notes[result.source.name] = result.note
        vectors = (frame.embedding for frame in result.frames if frame.embedding is not None)
        if (vector := next(vectors, None)) is not None:
            embedded.append(result.source.name)
            embeddings.append(vector)
        if progress:
            progress(done, len(manifest))
    table = pd.DataFrame(rows, columns=list(_OWN[:-1]))
    table["frame"] = table["frame"].astype("Int64")
    numbers = ["logit", "score", *QUALITY_COLUMNS]
    table[numbers] = table[numbers].astype("float64")
    table["system"] = bundle.title
    described = manifest.table.rename(columns=column_in_scores)
    return Scored(
        table.merge(described, on="presentation", how="left", validate="many_to_one"),
        embedded,
        np.stack(embeddings) if embeddings else np.empty((0, 0), np.float32),
        notes,
    )


def _rows(result: PresentationResult, rule: FusionRule) -> Iterator[dict[str, object]]:
    for frame in result.frames:
        yield {
            "presentation": result.source.name,
            "frame": frame.frame,
            "logit": frame.logit,
            "score": frame.score,
            "status": frame.status.value,
            **dict(zip(QUALITY_COLUMNS, frame.quality, strict=True)),
        }
    value, status = fused(result, rule)
    yield {
        "presentation": result.source.name,
        "frame": pd.NA,
        "logit": value,
        "score": None if value is None else float(probability(value)),
        "status": status.value,
        **dict(zip(QUALITY_COLUMNS, summary(result.frames, identical=result.identical), strict=True)),
    }
