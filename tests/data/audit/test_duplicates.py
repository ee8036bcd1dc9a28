from __future__ import annotations

import cv2
import numpy as np
import pytest

from bonaface.data.audit.duplicates import find_copies
from tests.data.audit.pictures import coded, cropped, resized, scene, views


def brightened(picture, gain=1.2, gamma=0.8):
    return np.clip(255 * gain * (picture / 255.0) ** gamma, 0, 255).astype(np.uint8)


COPIES = {
    "re-encoded": lambda picture: coded(picture, 30),
    "smaller": lambda picture: coded(resized(picture, 0.5)),
    "larger": lambda picture: coded(resized(picture, 1.6)),
    "stretched": lambda picture: coded(cv2.resize(picture, (256, 216), interpolation=cv2.INTER_AREA)),
    "brightened": lambda picture: coded(brightened(picture)),
    "darkened": lambda picture: coded(brightened(picture, gain=0.7, gamma=1.3)),
    "mirrored": lambda picture: coded(picture[:, ::-1]),
    "cropped evenly": lambda picture: coded(cropped(picture, 0.1, 0.1, 0.1, 0.1)),
    "cropped most": lambda picture: coded(cropped(picture, 0.15, 0.15, 0.15, 0.15)),
    "cropped at one side": lambda picture: coded(cropped(picture, 0.15, 0.0, 0.0, 0.0)),
    "cropped between the tried cuts": lambda picture: coded(cropped(picture, 0.025, 0.125, 0.075, 0.025)),
    "mirrored and cropped": lambda picture: coded(cropped(picture[:, ::-1], 0.12, 0.03, 0.05, 0.1)),
}


def pairs(films, **options):
    return [(copy.first, copy.second) for copy in find_copies(films, workers=2, **options)[0]]


@pytest.mark.parametrize("how", COPIES)
def test_copy_is_found_in_either_order(how):
    found = 0
    for seed in range(5):
        picture = scene(seed)
        copy = views(COPIES[how](picture))
        others = [views(scene(100 + seed)), views(scene(200 + seed))]
        found += pairs([views(picture), *others, copy]) == [(0, 3)]
        found += pairs([copy, *others, views(picture)]) == [(0, 3)]
    assert found >= 9  # of 10


def test_copy_describes_its_crop():
    whole = scene(1)
    part = coded(cropped(whole, 0.1, 0.0, 0.05, 0.12))
    for films, expected in (([whole, part], 0), ([part, whole], 1)):
        (copy,) = find_copies([views(picture) for picture in films])[0]
        assert copy.whole == expected
        assert not copy.mirrored
        assert copy.crop == pytest.approx((0.1, 0.0, 0.05, 0.12), abs=0.01)


def test_mirrored_copy_is_named_so():
    (copy,) = find_copies([views(scene(1)), views(coded(scene(1)[:, ::-1]))])[0]
    assert copy.mirrored


@pytest.mark.parametrize("moved", [3.0, 8.0, 20.0])
def test_different_moment_is_no_copy(moved):
    """Three pixels of 320: the disc covers a seventh of a picture that is otherwise the same."""
    alarms = sum(pairs([views(scene(seed)), views(scene(seed, moved=moved))]) == [(0, 1)] for seed in range(10))
    assert alarms <= 1


def test_different_pictures_are_no_copies():
    assert pairs([views(scene(seed)) for seed in range(40)]) == []


def test_flat_pictures_are_no_copies():
    black = np.zeros((240, 320, 3), np.uint8)
    assert pairs([views(black), views(black), views(black + 30), views(scene(0))]) == []


def test_videos_must_agree_in_every_view():
    def take(*positions):
        return views(*(scene(3, moved=moved) for moved in positions))

    assert pairs([take(0, 10, 20), take(0, 10, 20)]) == [(0, 1)]
    assert pairs([take(0, 10, 20), take(0, 10, 40)]) == []
    assert pairs([take(0, 10, 20), take(10, 20, 0)]) == []


def test_still_from_a_view_of_a_video_is_found():
    video = views(*(scene(5, moved=moved) for moved in (0.0, 9.0, 18.0)))
    (copy,) = find_copies([video, views(coded(scene(5, moved=9.0)))])[0]
    assert copy.frames == (1, 0)


@pytest.mark.parametrize("side", [(1, 1), (2, 3), (1, 400), (400, 1), (9, 9)])
def test_tiny_pictures_do_no_harm(side):
    tiny = np.random.default_rng(0).integers(0, 256, (*side, 3), dtype=np.uint8)
    assert (0, 3) in pairs([views(scene(0)), views(tiny), views(scene(1)), views(scene(0))])


def test_pairs_outside_the_mask_are_not_compared():
    films = [views(scene(0)), views(scene(0)), views(scene(0))]
    group = np.array([0, 0, 1])
    assert pairs(films, compare=lambda row: group != group[row]) == [(0, 2), (1, 2)]


def test_crowded_presentations_are_counted():
    films = [views(scene(0, moved=moved)) for moved in range(0, 60, 10)]
    assert find_copies(films)[1] == 0
    assert find_copies(films, neighbours=2)[1] == len(films)


def test_number_of_workers_changes_nothing():
    films = [views(scene(seed)) for seed in (0, 1, 2, 1, 0)]
    assert find_copies(films, workers=1) == find_copies(films, workers=2)
    assert find_copies([], workers=1) == ([], 0)
