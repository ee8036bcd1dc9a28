from __future__ import annotations

import numpy as np
import pytest

from bonaface.data.attack_simulation.attacks import SPECIES, simulate, simulate_camera, simulate_print, simulate_replay
from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import Take, bona_fide_frames


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    return np.ascontiguousarray(bona_fide_frames(Take(Person.random(1), 1), 1, 10)[0][40:440, 120:520])


@pytest.mark.parametrize("make", [simulate_print, simulate_replay, simulate_camera])
def test_a_simulation_follows_from_its_generator_and_keeps_its_input(make, crop):
    before = crop.copy()
    one, two = make(crop, np.random.default_rng(3)), make(crop, np.random.default_rng(3))
    assert np.array_equal(one, two)
    assert np.array_equal(crop, before)
    assert one.shape == crop.shape
    assert one.dtype == np.uint8
    assert not np.array_equal(one, make(crop, np.random.default_rng(4)))


def test_both_species_come(crop):
    found = [simulate(crop[::4, ::4].copy(), np.random.default_rng(seed))[1] for seed in range(60)]
    assert set(found) == set(SPECIES)
    assert 10 <= found.count("simulated_print") <= 45


@pytest.mark.parametrize("make", [simulate_print, simulate_replay])
def test_a_plain_attack_changes_more_than_a_subtle_one(make, crop):
    def changed(strength: float) -> float:
        pictures = [make(crop, np.random.default_rng(seed), strength=strength) for seed in range(8)]
        return float(np.mean([np.abs(picture.astype(int) - crop).mean() for picture in pictures]))

    assert changed(1.0) > changed(0.0)


@pytest.mark.parametrize("shape", [(32, 32, 3), (64, 96, 3), (225, 223, 3)])
def test_any_size_goes(shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for seed in range(6):
        assert simulate(picture, np.random.default_rng(seed))[0].shape == shape
        assert simulate_camera(picture, np.random.default_rng(seed)).shape == shape


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_stay_pictures(value):
    flat = np.full((96, 96, 3), value, np.uint8)
    for seed in range(10):
        found = simulate(flat, np.random.default_rng(seed))[0]
        assert found.dtype == np.uint8
