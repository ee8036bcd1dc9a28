from __future__ import annotations

import math

import cv2
import numpy as np
import pandas as pd
import pytest

from bonaface.data.audit import duplicates
from bonaface.data.audit.duplicates import find_copies
from bonaface.data.audit.file_stats import read_files
from bonaface.data.audit.hashing import CROPS, hash_of, hash_of_crops, mirror
from bonaface.data.manifest import make_manifest
from bonaface.data.synthetic.dataset import write_video
from tests.data.audit.pictures import coded, cropped, film, resized, scene

COPIES = {
    "coded anew": lambda picture: coded(picture, 40),
    "smaller": lambda picture: coded(resized(picture, 0.5)),
    "larger": lambda picture: coded(resized(picture, 1.6)),
    "other sides": lambda picture: coded(cv2.resize(picture, (256, 216), interpolation=cv2.INTER_AREA)),
    "cropped evenly": lambda picture: coded(cropped(picture, 0.1, 0.1, 0.1, 0.1)),
    "cropped at two sides": lambda picture: coded(cropped(picture, 0.15, 0.0, 0.0, 0.15)),
    "cropped most": lambda picture: coded(cropped(picture, 0.15, 0.15, 0.15, 0.15)),
    "cropped by a quarter and more": lambda picture: coded(cropped(picture, 0.24, 0.22, 0.2, 0.21)),
    "cropped most at one side": lambda picture: coded(cropped(picture, 0.24, 0.0, 0.0, 0.05)),
    "brighter tones": lambda picture: coded(gamma(picture, 0.75), 85),
    "darker tones": lambda picture: coded(gamma(picture, 1.3), 85),
    "letterboxed": lambda picture: coded(letterboxed(picture, 0.17)),
    "mirrored": lambda picture: coded(picture[:, ::-1]),
    "mirrored and cropped": lambda picture: coded(cropped(picture[:, ::-1], 0.12, 0.03, 0.05, 0.1)),
}


def gamma(picture, power):
    return (255 * (picture / 255.0) ** power).astype(np.uint8)


def letterboxed(picture, share):
    bar = round(share * picture.shape[0])
    return np.pad(picture, ((bar, bar), (0, 0), (0, 0)))


def grained(picture):
    """The picture hardly lit: as much noise as anything else in it."""
    noise = np.random.default_rng(0).normal(0, 6, (480, 640, 3))
    return np.clip(128 + 0.25 * (resized(picture, 2.0) - 128.0) + noise, 0, 255).astype(np.uint8)


def evened(picture):
    """The picture made nearly its own mirror image."""
    mirrored = picture[:, ::-1].astype(np.float32)
    return (0.475 * (picture + mirrored) + 0.05 * picture).astype(np.uint8)


def pairs(films):
    return [(copy.first, copy.second) for copy in find_copies(films, workers=1)]


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_found_whichever_comes_first(how):
    films = [film(scene(seed)) for seed in range(6)]
    copy = film(COPIES[how](scene(4)))
    assert pairs([*films, copy]) == [(4, 6)]
    assert pairs([copy, *films]) == [(0, 5)]


@pytest.mark.parametrize("seed", range(12))
def test_a_crop_is_found_though_resampling_changes_the_grain_of_a_dim_picture(seed):
    dim = grained(scene(seed))
    cut = np.random.default_rng(seed).uniform(0.02, 0.15, 4)
    assert pairs([film(dim), film(coded(cropped(dim, *cut), 80))]) == [(0, 1)]


@pytest.mark.parametrize("seed", [22, 27])
def test_a_crop_is_found_though_its_mirror_image_is_likelier(seed):
    even = evened(scene(seed))
    cut = np.random.default_rng(seed).uniform(0.02, 0.15, 4)
    (copy,) = find_copies([film(even), film(coded(cropped(even, *cut)))], workers=1)
    assert not copy.mirrored


@pytest.mark.parametrize("seed", [1, 2, 4, 8, 9])
def test_a_picture_cropped_out_of_a_video_is_found_though_no_other_frame_shows_how(seed):
    video = film(*(scene(seed, moved=moved) for moved in (0, 30, -25, 10, -12)))
    cut = np.random.default_rng(seed).uniform(0.02, 0.15, 4)
    (copy,) = find_copies([video, film(coded(cropped(scene(seed, moved=-12), *cut)))], workers=1)
    assert copy.frames == (4, 0)
    assert sorted(copy.crop) == pytest.approx(sorted(cut), abs=0.01)


def test_in_a_crowd_the_likeliest_are_compared_and_a_note_says_so(monkeypatch):
    wall = scene(7)
    rng = np.random.default_rng(0)

    def taken(seed):
        """Another living take before the same wall: something in the middle is elsewhere."""
        picture = wall.copy()
        height, width = picture.shape[:2]
        x, y = (int(part) for part in rng.integers(width // 4, width // 2, 2))
        picture[y : y + height // 5, x : x + width // 5] = scene(seed)[: height // 5, : width // 5]
        return picture

    takes = [taken(100 + number) for number in range(12)]
    films = [*map(film, takes), film(coded(takes[3]))]
    notes: list[str] = []
    assert [(copy.first, copy.second) for copy in find_copies(films, workers=1, notes=notes)] == [(3, 12)]
    assert notes == []
    monkeypatch.setattr(duplicates, "CROWD", 3)
    assert [(copy.first, copy.second) for copy in find_copies(films, workers=1, notes=notes)] == [(3, 12)]
    (note,) = notes
    assert "only their 3 likeliest frames were compared" in note


def test_a_copy_says_how_it_was_made():
    (copy,) = find_copies([film(scene(1)), film(coded(cropped(scene(1), 0.1, 0.0, 0.05, 0.12)[:, ::-1]))], workers=1)
    assert copy.mirrored
    assert copy.whole == 0
    assert sorted(copy.crop) == pytest.approx(sorted((0.1, 0.0, 0.05, 0.12)), abs=0.01)


@pytest.mark.parametrize("moved", [4.0, 8.0, 20.0])
def test_another_take_before_the_same_wall_is_no_copy(moved):
    assert pairs([film(scene(2)), film(scene(2, moved=moved))]) == []


def test_different_pictures_are_no_copies():
    assert pairs([film(scene(seed)) for seed in range(40)]) == []


def test_flat_pictures_are_not_compared():
    black = np.zeros((240, 320, 3), np.uint8)
    assert pairs([film(black), film(black), film(black + 30)]) == []


def test_videos_must_agree_more_than_once():
    def take(*positions):
        return film(*(scene(3, moved=moved) for moved in positions))

    assert pairs([take(0, 10, 20), take(0, 10, 20)]) == [(0, 1)]
    assert pairs([take(0, 10, 20), take(0, 14, 30)]) == []
    # A shortened copy shares its first frame and one of the later.
    assert pairs([take(0, 10, 20), take(0, 5, 10)]) == [(0, 1)]
    # Codecs leave later frames less sharp: where one view is the same the others may be off by a little more.
    assert pairs([take(0, 10, 20), take(0, 11.4, 21.4)]) == [(0, 1)]
    assert pairs([take(0, 10, 20), take(1.4, 11.4, 21.4)]) == []
    assert pairs([take(0, 10), take(0, 11.4)]) == []
    # Who sits still at the end of one take and through the next shares pictures, but not a movement.
    assert pairs([take(0, 10, 10), take(10, 10, 10)]) == []


def test_a_picture_taken_out_of_a_video_is_found():
    video = film(*(scene(5, moved=moved) for moved in (0.0, 9.0, 18.0)))
    assert pairs([video, film(coded(scene(5, moved=9.0)))]) == [(0, 1)]


@pytest.mark.parametrize("moved", [8.4, 8.5, 9.5, 9.6])
def test_who_sits_still_and_comes_back_to_nearly_the_same_place_is_no_copy(moved):
    """A quarter of a pixel of 160 is what codecs do in places, but not to all edges of a face."""
    video = film(*(scene(5, moved=moment) for moment in (0.0, 9.0, 18.0)))
    assert pairs([video, film(coded(scene(5, moved=moved)))]) == []
    assert pairs([film(scene(5, moved=9.0)), film(coded(scene(5, moved=moved)))]) == []
    assert pairs([video, film(coded(scene(5, moved=9.0)))]) == [(0, 1)]


def stills(place, *pictures):
    """What the audit keeps of these pictures, written as files."""
    for index, picture in enumerate(pictures):
        (place / f"{index}.jpg").write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes())
    table = pd.DataFrame(
        {"path": [f"{index}.jpg" for index in range(len(pictures))], "label": "bona_fide", "subject": "p"}
    )
    return [fact.film for fact in read_files(make_manifest(table, place), detector="whole_frame", workers=1)]


@pytest.mark.parametrize("seed", range(4))
def test_large_pictures_are_told_apart_by_less_than_small_ones_show(seed, tmp_path):
    """A fifth of a pixel of 160: more than a half of 480."""
    one, other, third = (resized(scene(seed, moved=moved), 2.0) for moved in (0.0, 0.6, 0.35))
    assert pairs(stills(tmp_path, one, other)) == []
    assert pairs(stills(tmp_path, one, third)) == []
    assert pairs(stills(tmp_path, one, cropped(one, 0.05, 0.1, 0.12, 0.03))) == [(0, 1)]
    assert pairs(stills(tmp_path, one, letterboxed(one, 0.15))) == [(0, 1)]


def test_a_frame_at_full_size_comes_without_bars(tmp_path):
    (kept,) = stills(tmp_path, letterboxed(resized(scene(3), 2.0), 0.15))
    large = kept.large(0)
    assert large is not None
    assert large.shape == (pytest.approx(480, abs=4), 640)
    assert large[[0, -1]].mean(axis=1).min() > 30


@pytest.mark.parametrize("longest", [128, 224])
@pytest.mark.parametrize("seed", range(4))
def test_copies_of_small_pictures_are_found(longest, seed, tmp_path):
    small = resized(scene(seed), longest / 320)
    copies = (coded(resized(small, 0.5)), coded(small, 40), coded(small[:, ::-1], 50))
    assert pairs(stills(tmp_path, small, *copies))[:3] == [(0, 1), (0, 2), (0, 3)]


@pytest.mark.parametrize(("longest", "moved"), [(128, 0.7), (192, 0.5)])
@pytest.mark.parametrize("seed", range(4))
def test_small_pictures_are_told_apart_by_a_third_of_a_pixel(longest, moved, seed, tmp_path):
    one, other = (resized(scene(seed, moved=at), longest / 320) for at in (0.0, moved))
    assert pairs(stills(tmp_path, one, other)) == []


@pytest.mark.parametrize(("frame", "aside"), [(1, -2.5), (257, 2.5)])
def test_any_frame_of_a_long_video_is_found_though_not_every_one_is_kept(frame, aside, tmp_path):
    walk = [0.05 * index + aside * (index == frame) for index in range(260)]
    video = footage(tmp_path, "long.mp4", walk)
    assert video.step == 2
    for cut in ((0, 0, 0, 0), (0.06, 0.1, 0.02, 0.09)):
        picture = film(coded(cropped(scene(3, moved=walk[frame]), *cut), 85))
        for films in ([video, picture], [picture, video]):
            (copy,) = find_copies(films, workers=1)
            found = copy.frames[films.index(video)]
            assert found == frame


def test_processes_change_nothing():
    films = [film(scene(seed)) for seed in (0, 1, 2, 1, 0)]
    assert find_copies(films, workers=1) == find_copies(films, workers=2)
    assert find_copies([], workers=1) == []


def test_a_hash_of_a_crop_is_the_crop_s_hash():
    grey = film(scene(0)).views[0].grey()
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


WALK = [round(6 * np.sin(index / 2.3) + index, 2) for index in range(12)]


def footage(place, name, positions, seed=3):
    """A video file of the disc at these positions, and what the audit keeps of it."""
    return filmed(place, name, [scene(seed, moved=moved) for moved in positions])


def filmed(place, name, pictures):
    write_video(place / name, [np.ascontiguousarray(picture[:, :, ::-1]) for picture in pictures], fps=10, quality=26)
    table = pd.DataFrame({"path": [name], "label": ["bona_fide"], "subject": ["p"]})
    (fact,) = read_files(make_manifest(table, place), detector="whole_frame", workers=1)
    return fact.film


@pytest.mark.parametrize("frame", [1, 5, 10])
def test_a_picture_cropped_out_of_a_video_is_found_though_no_view_looks_like_it(frame, tmp_path):
    scenes = [resized(scene(40 + number), 2.0) for number in range(14)]
    video = filmed(tmp_path, "lively.mp4", scenes)
    assert frame not in {view.frame for view in video.views}
    (picture,) = stills(tmp_path, cropped(scenes[frame], 0.11, 0.04, 0.13, 0.09)[:, ::-1])
    for films in ([video, picture], [picture, video]):
        (copy,) = find_copies(films, workers=1)
        assert copy.frames[films.index(video)] == frame
        assert copy.mirrored


@pytest.mark.parametrize(("seed", "frame"), [(300, 7), (300, 22), (304, 7), (304, 22)])
def test_a_picture_cropped_out_of_a_video_before_one_wall_is_found_though_whole_frames_look_alike(
    seed, frame, tmp_path
):
    swing = [40 * math.sin(0.8 * moment) for moment in range(40)]
    video = footage(tmp_path, "swing.mp4", swing, seed=seed)
    (picture,) = stills(tmp_path, cropped(scene(seed, moved=swing[frame]), 0.05, 0.16, 0.14, 0.08))
    (copy,) = find_copies([video, picture], workers=1)
    assert copy.frames == (frame, 0)


def test_frames_beside_the_views_are_asked_for_once(tmp_path):
    scenes = [scene(number // 20) for number in range(260)]
    video = filmed(tmp_path, "long.mp4", scenes)
    assert video.step == 2
    places = [place for place, _ in duplicates._asked([film(scene(1)), video], beside=True)]
    views = {view.frame // 20 for view in video.views}
    shown = [frame // 20 for film, frame in places if film == 1]
    assert len(shown) == len(places)
    assert shown == sorted(set(range(13)) - views)


@pytest.mark.parametrize(
    "part",
    {
        "from later on": WALK[3:],
        "the middle": WALK[4:9],
        "half the frames, from the second on": WALK[1::2],
        "one frame": WALK[7:8],
    }.items(),
    ids=lambda part: part[0],
)
def test_a_part_of_a_video_is_found_though_no_view_is_shared(part, tmp_path):
    whole, copy = footage(tmp_path, "whole.mp4", WALK), footage(tmp_path, "part.mp4", part[1])
    (found,) = find_copies([whole, copy], workers=1)
    first, second = found.frames
    assert WALK[first] == pytest.approx(part[1][second], abs=0.5)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_who_moves_in_the_same_way_again_is_no_part_of_a_video(seed, tmp_path):
    """Small, their frames agree; large, they are a third of a pixel of 160 apart."""
    walk = [-40, -33, -27, -18, -12, -3, 3, 12, 18, 27, 33, 42]

    def taken(name, positions):
        return filmed(tmp_path, name, [resized(scene(seed, moved=moved), 2.0) for moved in positions])

    whole = taken("whole.mp4", walk)
    assert pairs([whole, taken("again.mp4", [moved + 0.6 for moved in walk[3:]])]) == []
    assert pairs([whole, taken("part.mp4", walk[3:])]) == [(0, 1)]


def test_another_take_is_no_part_of_a_video(tmp_path):
    between = [moved + 2.5 for moved in WALK[2:9]]
    assert pairs([footage(tmp_path, "one.mp4", WALK), footage(tmp_path, "other.mp4", between[::-1])]) == []
