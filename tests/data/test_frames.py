from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bonaface.data.frames import Frames, evenly_spaced, kind_of, part_of, spread
from bonaface.data.video_writer import write_video
from bonaface.errors import MediaError


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """30 frames, each of one grey that tells its number."""
    path = tmp_path / "grey.mp4"
    write_video(path, [np.full((96, 128, 3), 20 + 7 * number, np.uint8) for number in range(30)], fps=10, quality=5)
    return path


def numbers(path: Path, **options) -> list[tuple[int, int]]:
    return [(frame.index, round((float(frame.image.mean()) - 20) / 7)) for frame in Frames(path, **options)]


@pytest.mark.parametrize(
    ("total", "count", "indexes"),
    [(10, 1, [0]), (10, 2, [0, 5]), (10, 3, [0, 3, 6]), (3, 5, [0, 1, 2]), (1, 1, [0])],
)
def test_evenly_spaced(total, count, indexes):
    assert evenly_spaced(total, count) == indexes


@pytest.mark.parametrize(
    ("total", "count", "indexes"),
    [
        (64, 8, [0, 12, 17, 30, 35, 40, 53, 58]),
        (7500, 4, [0, 3033, 4192, 7226]),
        (10, 1, [0]),
        (3, 5, [0, 1, 2]),
        (1, 1, [0]),
    ],
)
def test_spread_is_the_same_everywhere_and_always(total, count, indexes):
    assert spread(total, count) == indexes  # bundles and crops rely on it


@pytest.mark.parametrize("count", [2, 3, 8, 16, 30])
def test_spread_takes_one_frame_of_each_part(count):
    for total in range(count, 200):
        indexes = spread(total, count)
        assert indexes[0] == 0
        assert [part_of(index, total=total, count=count) for index in indexes] == list(range(count))


@pytest.mark.parametrize("choose", [spread, pytest.param(evenly_spaced, marks=pytest.mark.xfail(strict=True))])
def test_spread_is_not_in_step_with_light_that_pulses(choose):
    for period in (2, 4, 8, 16):
        for total in (64, 128, 256):
            lit = [sum((index + phase) % period < period / 2 for index in choose(total, 8)) for phase in range(period)]
            assert min(lit) >= 1


def test_frames_are_those_that_their_numbers_say(video: Path):
    assert numbers(video, count=3) == [(number, number) for number in spread(30, 3)]
    assert numbers(video, count="all") == [(number, number) for number in range(30)]


@pytest.mark.parametrize(
    ("count", "first", "indexes"),
    [
        (3, 12, spread(12, 3)),
        (1, 12, [0]),
        ("all", 4, [0, 1, 2, 3]),
        (2, 1, [0]),
        (3, 60, spread(30, 3)),
        ("all", 60, list(range(30))),
    ],
)
def test_the_first_frames_alone_are_taken_where_they_are_asked_for(video: Path, count, first, indexes):
    with Frames(video, count=count, first=first) as frames:
        assert [frame.index for frame in frames] == indexes
    assert (frames.decoded, frames.note) == (indexes[-1] + 1, "")


def test_a_whole_video_has_no_note(video: Path):
    with Frames(video, count="all") as frames:
        assert [frame.time for frame in frames][:3] == pytest.approx([0, 0.1, 0.2])
    assert (frames.decoded, frames.note) == (30, "")


def test_an_image_is_one_frame(tmp_path: Path):
    Image.new("RGB", (40, 30), (10, 20, 30)).save(tmp_path / "a.png")
    (frame,) = Frames(tmp_path / "a.png", count=5)
    assert (frame.index, frame.time, frame.image.shape, frame.image[0, 0].tolist()) == (
        0,
        None,
        (30, 40, 3),
        [10, 20, 30],
    )


@pytest.mark.parametrize("content", [b"", b"no video", b"\0" * 5000], ids=["empty", "text", "zeros"])
def test_what_is_no_video_is_said_to_be_none(content: bytes, tmp_path: Path):
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"x\.mp4") as caught:
        list(Frames(path))
    assert "\n" not in str(caught.value)


def test_a_damaged_video_gives_what_it_holds_and_says_so(video: Path):
    data = bytearray(video.read_bytes())
    start = data.index(b"mdat") + len(data) // 3
    end = min(start + 400, data.index(b"moov") - 8)
    data[start:end] = bytes(end - start)
    video.write_bytes(bytes(data))
    frames = Frames(video, count="all")
    held = list(frames)
    assert held[0].index == 0
    assert frames.decoded <= 30


def test_kinds():
    assert [kind_of(name) for name in ("a.JPG", "b.mov", "Thumbs.db", "noext")] == ["image", "video", None, None]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve pictures 1.png to 12.png, each of one grey that tells its number."""
    for number in range(1, 13):
        Image.new("RGB", (40, 30), (20 + 7 * number,) * 3).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_a_folder_of_pictures_is_read_in_natural_order(clip: Path):
    assert kind_of(clip) == "video"
    assert numbers(clip, count="all") == [(number, number + 1) for number in range(12)]
    assert numbers(clip, count=3) == [(number, number + 1) for number in spread(12, 3)]
    assert numbers(clip, count=2, first=4) == [(0, 1), (3, 4)]


def test_a_damaged_picture_of_a_folder_is_noted(clip: Path):
    first, second, third = spread(12, 3)
    (clip / f"{second + 1}.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    with Frames(clip, count=3) as frames:
        assert [frame.index for frame in frames] == [first, third]
    assert f"{second + 1}.png" in frames.note
    assert str(clip) not in frames.note


def test_a_folder_without_pictures_is_an_error(tmp_path: Path):
    with pytest.raises(MediaError, match="holds no pictures"):
        Frames(tmp_path)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [("photo", "JPEG", "image"), ("photo.mp4", "PNG", "image"), ("x.tmp", "GIF", "image"), ("scan", "TIFF", "image")],
)
def test_the_kind_of_a_file_is_that_of_its_content(tmp_path: Path, name: str, kind: str, expected: str):
    Image.new("RGB", (40, 30)).save(tmp_path / name, kind)
    assert kind_of(tmp_path / name) == expected
