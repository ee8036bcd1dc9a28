"""The embeddings' map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from bonaface.errors import InputError

__all__ = ["tsne"]

LEAST = 5


def tsne(
    embeddings: NDArray[np.float32], *, seed: int = 0, limit: int = 10_000
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """t-SNE coordinates `(n, 2)` of embeddings, and which of them they are: at most `limit`, evenly taken.

    Starts from the principal components, so that one seed gives one map. Raises InputError for fewer than five.
    """
    if len(embeddings) < LEAST:
        raise InputError(f"{len(embeddings)} presentations have an embedding; a map needs {LEAST} or more")
    kept = np.unique(np.linspace(0, len(embeddings) - 1, min(limit, len(embeddings))).astype(np.intp))
    chosen = embeddings[kept].astype(np.float64)
    perplexity = min(30.0, (len(chosen) - 1) / 3)
    method = TSNE(2, init="pca", perplexity=perplexity, random_state=seed)
    return np.asarray(method.fit_transform(chosen), dtype=np.float64), kept
