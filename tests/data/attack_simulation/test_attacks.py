from __future__ import annotations

import cv2
import numpy as np
import pytest

from bonaface.data.attack_simulation.attacks import SPECIES, simulate, simulate_camera, simulate_print, simulate_replay
from bonaface.data.attack_simulation.carriers import bent, surrounded
from bonaface.data.attack_simulation.printing import Printer, ink_on_paper
from bonaface.data.attack_simulation.screens import Screen, grid, shown
from bonaface.data.attack_simulation.simulated_camera import Camera, capture, to_picture
from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import Take, bona_fide_frames

ATTACKS = [simulate_print, simulate_replay]
GREY = np.full((128, 128, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    frame = bona_fide_frames(Take(Person.random(1), 1), 1, 10)[0][40:440, 120:520]
    return np.ascontiguousarray(frame[::2, ::2])


@pytest.mark.parametrize("make", [*ATTACKS, simulate_camera])
def test_seed_decides_the_picture(make, crop):
    before = crop.copy()
    one, two = make(crop, np.random.default_rng(3)), make(crop, np.random.default_rng(3))
    assert np.array_equal(one, two)
    assert np.array_equal(crop, before)
    assert one.shape == crop.shape
    assert one.dtype == np.uint8
    assert not np.array_equal(one, make(crop, np.random.default_rng(4)))


def test_both_species_occur(crop):
    found = [simulate(crop[::2, ::2].copy(), np.random.default_rng(seed))[1] for seed in range(60)]
    assert set(found) == set(SPECIES)
    assert 10 <= found.count("simulated_print") <= 45


@pytest.mark.parametrize("shape", [(32, 32, 3), (64, 96, 3), (225, 223, 3)])
def test_any_size_is_kept(shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for seed in range(6):
        assert simulate(picture, np.random.default_rng(seed))[0].shape == shape
        assert simulate_camera(picture, np.random.default_rng(seed)).shape == shape


def drawn_stripes(screen: Screen, count: int, fine: int = 40) -> np.ndarray:
    """What a row of pixels sees of a display's green stripes: drawn finely, blurred by lens and pixel, then sampled."""
    x = (np.arange(count * fine) + 0.5) / fine
    lit = (np.abs((x / screen.pitch + 0.5) % 1 - 0.5) < 0.14).astype(np.float64)  # 0.28 of the pitch is lit
    lens = np.exp(-0.5 * (np.arange(-4 * fine, 4 * fine + 1) / fine / screen.aperture) ** 2)
    for kernel in (lens, np.ones(round(0.85 * fine))):
        lit = np.convolve(lit, kernel / kernel.sum(), mode="same")
    seen = lit[fine // 2 :: fine]
    return seen / seen.mean()


def spectrum(signal: np.ndarray) -> np.ndarray:
    return np.abs(np.fft.rfft((signal - signal.mean()) * np.hanning(len(signal)))) * 2 / np.hanning(len(signal)).sum()


@pytest.mark.parametrize("pitch", [1.07, 1.3, 1.45, 1.9, 2.2, 2.67, 3.3])
def test_grid_beats_as_a_drawn_display_does(pitch):
    """Against an independent drawing: the moiré has the frequency and the strength that sampling gives."""
    screen = Screen(pitch=pitch, angle=0.0, grid=1.0, aperture=0.45)
    field = grid(512, 512, screen, np.random.default_rng(0))[..., 1].mean(axis=0)  # rows average out what runs down
    expected, found = spectrum(drawn_stripes(screen, 512)), spectrum(field)
    assert abs(int(found.argmax()) - int(expected.argmax())) <= 1
    assert found.max() == pytest.approx(expected.max(), rel=0.15)


@pytest.mark.parametrize("diamonds", [False, True])
def test_picture_of_a_screen_has_the_beat_in_its_spectrum(diamonds):
    def peak(strength: float, seed: int) -> float:
        rng = np.random.default_rng(seed)
        screen = Screen(pitch=float(rng.uniform(1.2, 2.4)), grid=strength, diamonds=diamonds)
        light = shown(GREY, screen)
        if strength:
            light = cv2.multiply(light, grid(128, 128, screen, rng))
        picture = capture(light, Camera(), rng).astype(float).mean(axis=2)
        power = np.abs(np.fft.fft2(picture - picture.mean()))
        return float(power.max() / np.median(power))

    assert min(peak(0.8, seed) for seed in range(10)) > 2 * max(peak(0.0, seed) for seed in range(10))


def test_print_loses_gamut():
    """Full ink is not black, paper is not white, and mixed inks are less colourful than light."""
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]])
    chart = np.repeat(np.repeat([*colours, [255] * 3, [0] * 3], 48, axis=0)[None], 48, axis=0).astype(np.uint8)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        printed = to_picture(ink_on_paper(chart, Printer.random(rng, strength=seed / 29), rng))
        patches = np.array([printed[12:36, 48 * n + 12 : 48 * n + 36].reshape(-1, 3).mean(0) for n in range(8)])
        assert np.ptp(patches[:6], axis=1).mean() < 0.9 * 255
        assert patches[6].mean() < 254
        assert patches[7].mean() > 15


@pytest.mark.parametrize("make", ATTACKS)
def test_contrast_shrinks_and_stays(make):
    for seed in range(20):
        white, black = (
            make(np.full((96, 96, 3), value, np.uint8), np.random.default_rng(seed)).mean() for value in (255, 0)
        )
        assert 60 < white - black < 250


@pytest.mark.parametrize("make", [*ATTACKS, simulate_camera])
def test_brightness_stays_within_bounds(make, crop):
    ratios = np.array([make(crop, np.random.default_rng(seed)).mean() / crop.mean() for seed in range(60)])
    assert ratios.min() > 0.5
    assert ratios.max() < 2.0
    # Overall brightness must not separate attacks from bona fide.
    assert abs(np.log(ratios).mean()) < 0.15


def test_bending_brings_no_border_in():
    white = np.ones((80, 90, 3), np.float32)
    assert all(bent(white, np.random.default_rng(seed), amount=1.3).min() > 0.999 for seed in range(60))


def test_carrier_never_covers_the_middle():
    light = np.ones((90, 90, 3), np.float32)
    for seed in range(60):
        found = surrounded(light, np.random.default_rng(seed), rim=(0.0, 0.0, 0.0), breadth=0.05)
        assert found[25:65, 25:65].min() > 0.999
        assert found.min() < 0.95


@pytest.mark.parametrize("make", ATTACKS)
def test_border_gives_no_attack_away(make):
    """The outermost pixels stand out from the rest no more than in a bona fide crop that passed a camera."""
    y, x = np.mgrid[0:1:96j, 0:1:96j]
    ramp = (60 + 60 * x + 60 * y).astype(np.uint8)[..., None].repeat(3, axis=2)

    def step(picture: np.ndarray) -> float:
        grey = picture.astype(float).mean(axis=2)
        sides = (grey, grey[::-1], grey.T, grey.T[::-1])
        inside = np.mean([np.abs(np.diff(side[8:-8, 8:-8], axis=0)).mean() for side in sides])
        return max(float(np.abs(side[0] - side[1]).mean()) for side in sides) / (inside + 0.5)

    steps, plain = (
        np.array([step(some(ramp, np.random.default_rng(seed))) for seed in range(100)])
        for some in (make, simulate_camera)
    )
    assert np.median(steps) < 1.5 * np.median(plain)
    assert (steps > plain.max()).mean() < 0.2  # a bezel or a margin right at the border
