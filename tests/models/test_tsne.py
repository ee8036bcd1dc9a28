from __future__ import annotations

import numpy as np
import pytest

from bonaface.errors import InputError
from bonaface.models.tsne import tsne


def test_neighbours_stay_neighbours_and_the_seed_decides():
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(3, 20) * 50, 20, axis=0)
    points = centres + rng.normal(size=centres.shape)
    places, rows = tsne(points, seed=1)
    assert rows.tolist() == list(range(60))
    groups = places.reshape(3, 20, 2)
    spread = max(np.linalg.norm(group - group.mean(axis=0), axis=1).max() for group in groups)
    middles = groups.mean(axis=1)
    gap = min(np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert gap > 2 * spread
    assert np.array_equal(tsne(points, seed=1)[0], places)


def test_of_very_many_some_are_drawn():
    points = np.random.default_rng(0).normal(size=(50, 4))
    places, rows = tsne(points, limit=20)
    assert places.shape == (20, 2)
    assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (np.zeros((3, 4)), "too few"),
        (np.zeros((9, 4)), "all embeddings are the same"),
        (np.full((9, 4), np.nan), "not finite"),
    ],
)
def test_what_cannot_be_mapped_is_refused(points, said):
    with pytest.raises(InputError, match=said):
        tsne(points)
