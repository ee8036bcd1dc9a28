"""Embeddings laid out on a plane, neighbours close to each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from bonaface.errors import InputError

FEWEST = 5
"""Points below which there are no neighbourhoods to show."""
_COMPONENTS = 50
"""Principal components that distances are taken over: most of what 1280 dimensions hold, in a fraction of the time."""


def tsne(
    embeddings: NDArray[Any], *, seed: int = 0, limit: int = 10_000
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """t-SNE coordinates `(m, 2)` of embeddings `(n, d)`, and which rows they are of: all, or `limit` drawn at random.

    The rows are in rising order; the same seed gives the same picture. Distances between far groups mean nothing.
    Raises InputError for fewer than five points, for points that are all the same, or not finite.
    """
    points = np.asarray(embeddings, dtype=np.float64)
    if len(points) < FEWEST:
        raise InputError(f"{len(points)} embeddings are too few for a t-SNE map; at least {FEWEST} are needed")
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{int((~finite).sum())} of {len(points)} embeddings are not finite, so there is no map of them"
        )
    rows = np.arange(len(points))
    if len(points) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(len(points), limit, replace=False))
        points = points[rows]
    if np.ptp(points, axis=0).max() == 0:
        raise InputError("all embeddings are the same, so there is nothing to map")
    components = min(_COMPONENTS, *points.shape)
    reduced = PCA(components, svd_solver="full", random_state=seed).fit_transform(points)
    # Of n points each has n - 1 neighbours; t-SNE's own advice is a third of them at most.
    perplexity = min(30.0, (len(points) - 1) / 3)
    coordinates = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    return np.asarray(coordinates, dtype=np.float64), rows
