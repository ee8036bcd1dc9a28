from __future__ import annotations

import numpy as np
import pytest

from bonaface.data.crops.square import crop_face
from bonaface.model.transforms import TrainingCrop, crop_turned
from bonaface.settings import AugmentSettings
from bonaface.verdicts import Box, Label

BOX = Box(60, 50, 60, 80)
EVERYTHING = AugmentSettings(
    flip=0.5,
    scale_jitter=0.2,
    shift=0.1,
    rotate=15,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    hue=0.05,
    blur=0.5,
    downscale=0.5,
    jpeg=0.5,
    noise=0.5,
    erase=0.5,
    simulate=0.5,
)


@pytest.fixture(scope="module")
def square() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)


def test_with_nothing_set_training_sees_what_scoring_sees(square):
    crop, label = TrainingCrop(AugmentSettings(), 1.5, 64)(
        square, BOX, label=Label.ATTACK, rng=np.random.default_rng(0)
    )
    assert label is Label.ATTACK
    assert np.array_equal(crop, crop_face(square, BOX, scale=1.5, size=64))


def test_a_sample_follows_from_its_generator_alone(square):
    make = TrainingCrop(EVERYTHING, 1.5, 64)
    for seed in range(20):
        one, first = make(square, BOX, label=Label.BONA_FIDE, rng=np.random.default_rng(seed))
        two, second = make(square, BOX, label=Label.BONA_FIDE, rng=np.random.default_rng(seed))
        assert np.array_equal(one, two)
        assert first is second
        assert one.shape == (64, 64, 3)
        assert one.dtype == np.uint8


def test_a_simulated_attack_is_labelled_one_and_attacks_stay_attacks(square):
    make = TrainingCrop(AugmentSettings(simulate=1), 1.5, 64)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        assert make(square, BOX, label=Label.BONA_FIDE, rng=rng)[1] is Label.ATTACK
        assert make(square, BOX, label=Label.ATTACK, rng=rng)[1] is Label.ATTACK


def test_the_share_of_simulated_attacks_is_the_one_asked_for(square):
    make = TrainingCrop(AugmentSettings(simulate=0.3), 1.5, 32)
    rng = np.random.default_rng(0)
    attacks = sum(make(square, BOX, label=Label.BONA_FIDE, rng=rng)[1] is Label.ATTACK for _ in range(300))
    assert 65 <= attacks <= 115


@pytest.mark.parametrize("angle", [-170, -33, 12, 45, 90])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.4, -0.4)])
def test_turning_invents_no_pixels(angle, shift):
    marked = np.full((200, 200, 3), 255, np.uint8)
    ring = np.pad(marked, ((40, 40), (40, 40), (0, 0)))  # black is what lies outside the picture
    turned = crop_turned(marked, BOX, scale=2.7, size=96, shift=shift, angle=angle)
    assert turned.min() == 255
    assert ring.min() == 0


def test_turning_by_nothing_is_the_plain_crop(square):
    assert np.array_equal(
        crop_turned(square, BOX, scale=1.5, size=64, angle=0), crop_face(square, BOX, scale=1.5, size=64)
    )
