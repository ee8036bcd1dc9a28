from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from bonaface.config import AugmentSettings
from bonaface.data.cropping import crop_face, resize_frame
from bonaface.data.faces.detector import load_detector
from bonaface.training.augment import TrainingCrop, crop_turned
from bonaface.types import Box, Label

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


@pytest.mark.parametrize(
    ("width", "height"), [(640, 480), (720, 1280), (641, 479), (333, 222), (200, 150), (256, 256), (301, 1000)]
)
def test_a_resized_whole_frame_is_cropped_as_torchvision_does_to_the_bit(width: int, height: int):
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    resized = resize_frame(frame, 256)
    (face,) = load_detector("whole_frame").detect(resized)
    published = Compose([Resize(256), CenterCrop(224)])(Image.fromarray(frame))
    assert np.array_equal(crop_face(resized, face.box, scale=224 / 256, size=224), np.asarray(published))


def test_turning_by_nothing_is_the_plain_crop(square):
    assert np.array_equal(
        crop_turned(square, BOX, scale=1.5, size=64, angle=0), crop_face(square, BOX, scale=1.5, size=64)
    )
