"""A t-SNE map of the embeddings that a bundle gives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bonaface.data.manifest import Manifest, read_manifest
from bonaface.errors import BundleError, InputError, SettingsError, did_you_mean, needs_extra
from bonaface.inference.bundle import Bundle
from bonaface.inference.scoring import Scored, column_in_scores, score_manifest
from bonaface.io import new_folder, write_text
from bonaface.report.training_figures import embedding_figure
from bonaface.types import Progress
from bonaface.workflows.bundle import find_bundle
from bonaface.workflows.prepare import rows_of_split

_COORDINATES = ("x", "y")


@dataclass(frozen=True)
class Embedded:
    """The paths of the plot and the table; `coordinates` has `presentation`, `x`, `y` and the manifest's columns."""

    coordinates: pd.DataFrame
    plot: Path
    table: Path


def embed(
    bundle: str | Path | Bundle,
    manifest: str | Path | Manifest,
    *,
    output: str | Path,
    colour: str = "species",
    split: str | None = None,
    seed: int = 0,
    detector_weights: str | Path | None = None,
    root: str | Path | None = None,
    progress: Progress | None = None,
) -> Embedded:
    """Write a t-SNE map of a manifest's presentations, coloured by one of its columns, and the coordinates as CSV.

    Wrong arguments are raised before the first presentation is scored; a failed call leaves nothing behind.

    Args:
        bundle: the bundle, its path, or the run folder that holds it.
        manifest: the manifest, or its path.
        output: the folder to write.
        colour: the column to colour by.
        split: `train`, `val`, `test` or `all`; by default `test` where there is one.
        seed: the seed of the t-SNE.
        detector_weights: the file of the detector's weights, by default the cached download.
        root: the folder that the manifest's paths are relative to, if it moved.
        progress: called with stage, done and total.

    Returns:
        The coordinates, and the paths of plot and table.

    Raises:
        BundleError: the bundle has no embedding.
        SettingsError: the manifest has no such column or split.

    Examples:
        ```python
        drawn = bonaface.embed("run/bundle", "manifest.csv", split="all", output="map")
        print(drawn.plot, len(drawn.coordinates))
        ```
    """
    model = find_bundle(bundle, detector_weights=detector_weights, progress=progress)
    whole = manifest if isinstance(manifest, Manifest) else read_manifest(manifest, root=root)
    if colour not in whole.table:
        known = list(whole.table.columns)
        raise SettingsError(
            f"the manifest has no column {colour!r} to colour by{did_you_mean(colour, known)}; it has {', '.join(known)}"
        )
    if model.card.output.embedding is None:
        raise BundleError(f"{model.path}: the network gives no embedding, so there is nothing to map")
    part, _ = rows_of_split(whole, split)
    _tsne()
    with new_folder(output, what="map") as folder:
        scored = score_manifest(
            model, part, detector_weights=detector_weights, progress=partial(progress, "score") if progress else None
        )
        coordinates = map_of(scored, seed=seed)
        drawing = embedding_figure(coordinates, _named(column_in_scores(colour)))
        write_text(folder / "embedding.csv", coordinates.to_csv(index=False))
        (folder / "embedding.png").write_bytes(drawing.png)
    return Embedded(coordinates, Path(output) / "embedding.png", Path(output) / "embedding.csv")


def map_of(scored: Scored, *, seed: int = 0) -> pd.DataFrame:
    """Return t-SNE coordinates of a score table's presentations: `presentation`, `x`, `y`, `score`, the manifest's columns.

    Raises InputError where too few presentations have an embedding.
    """
    if not len(scored.embedded):
        raise InputError("not one presentation has an embedding: no face was found in any of them")
    coordinates, kept = _tsne()(scored.embeddings, seed=seed)
    points = pd.DataFrame(
        {"presentation": [scored.embedded[int(i)] for i in kept], "x": coordinates[:, 0], "y": coordinates[:, 1]}
    )
    described = scored.table[scored.table["frame"].isna()].drop(columns=["frame", "logit"]).rename(columns=_named)
    return points.merge(described, on="presentation", how="left", validate="one_to_one")


def _named(column: str) -> str:
    """A column of the score table, renamed where it has the name of a coordinate."""
    return f"manifest_{column}" if column in _COORDINATES else column


def _tsne() -> Any:
    with needs_extra("the map of embeddings"):
        from bonaface.models.tsne import tsne
    return tsne
