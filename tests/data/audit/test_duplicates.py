from __future__ import annotations

import numpy as np
import pytest

from bonaface.data.audit.duplicates import find_copies
from bonaface.data.audit.hashing import CROPS, hash_of, hash_of_crops, mirror
from tests.data.audit.pictures import coded, cropped, resized, scene, view

COPIES = {
    "coded anew": lambda picture: coded(picture, 40),
    "smaller": lambda picture: coded(resized(picture, 0.5)),
    "larger": lambda picture: coded(resized(picture, 1.6)),
    "other sides": lambda picture: coded(resized(picture, 0.8)[:, ::1]),
    "cropped evenly": lambda picture: coded(cropped(picture, 0.1, 0.1, 0.1, 0.1)),
    "cropped at two sides": lambda picture: coded(cropped(picture, 0.15, 0.0, 0.0, 0.15)),
    "cropped most": lambda picture: coded(cropped(picture, 0.15, 0.15, 0.15, 0.15)),
    "mirrored": lambda picture: coded(picture[:, ::-1]),
    "mirrored and cropped": lambda picture: coded(cropped(picture[:, ::-1], 0.12, 0.03, 0.05, 0.1)),
}


def pairs(views):
    return [(copy.first, copy.second) for copy in find_copies(views, workers=1)]


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_found_whichever_comes_first(how):
    views = [[view(scene(seed))] for seed in range(6)]
    copy = [view(COPIES[how](scene(4)))]
    assert pairs([*views, copy]) == [(4, 6)]
    assert pairs([copy, *views]) == [(0, 5)]


def test_a_copy_says_how_it_was_made():
    (copy,) = find_copies(
        [[view(scene(1))], [view(coded(cropped(scene(1), 0.1, 0.0, 0.05, 0.12)[:, ::-1]))]], workers=1
    )
    assert copy.mirrored
    assert copy.whole == 0
    assert sorted(copy.crop) == pytest.approx(sorted((0.1, 0.0, 0.05, 0.12)), abs=0.01)


@pytest.mark.parametrize("moved", [4.0, 8.0, 20.0])
def test_another_take_before_the_same_wall_is_no_copy(moved):
    assert pairs([[view(scene(2))], [view(scene(2, moved=moved))]]) == []


def test_different_pictures_are_no_copies():
    assert pairs([[view(scene(seed))] for seed in range(40)]) == []


def test_flat_pictures_are_not_compared():
    black = np.zeros((240, 320, 3), np.uint8)
    assert pairs([[view(black)], [view(black)], [view(black + 30)]]) == []


def test_videos_must_agree_more_than_once():
    def take(*positions):
        return [view(scene(3, moved=moved), frame) for frame, moved in enumerate(positions)]

    assert pairs([take(0, 10, 20), take(0, 10, 20)]) == [(0, 1)]
    assert pairs([take(0, 10, 20), take(0, 14, 30)]) == []
    # A shortened copy shares its first frame and one of the later.
    assert pairs([take(0, 10, 20), take(0, 5, 10)]) == [(0, 1)]
    # Who sits still at the end of one take and through the next shares pictures, but not a movement.
    assert pairs([take(0, 10, 10), take(10, 10, 10)]) == []


def test_a_picture_taken_out_of_a_video_is_found():
    video = [view(scene(5, moved=moved), frame) for frame, moved in ((0, 0.0), (10, 9.0), (20, 18.0))]
    assert pairs([video, [view(coded(scene(5, moved=9.0)))]]) == [(0, 1)]


def test_processes_change_nothing():
    views = [[view(scene(seed))] for seed in (0, 1, 2, 1, 0)]
    assert find_copies(views, workers=1) == find_copies(views, workers=2)
    assert find_copies([], workers=1) == []


def test_a_hash_of_a_crop_is_the_crop_s_hash():
    grey = view(scene(0)).grey()
    family = hash_of_crops(grey)
    own, flipped = hash_of(grey), hash_of(np.ascontiguousarray(grey[:, ::-1]))
    assert family is not None
    assert own is not None
    assert flipped is not None
    np.testing.assert_allclose(family[0], own, atol=1e-5)
    np.testing.assert_allclose(mirror(own), flipped, atol=1e-5)
    left, top, right, bottom = CROPS[40]
    height, width = grey.shape
    cut = grey[round(top * height) : round((1 - bottom) * height), round(left * width) : round((1 - right) * width)]
    hashed = hash_of(cut)
    assert hashed is not None
    assert float(family[40] @ hashed) > 0.999
