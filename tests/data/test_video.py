from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from bonaface.data.frames import open_frames
from bonaface.data.video import VideoReader
from bonaface.errors import MediaError


def write(path: Path, frames: list[np.ndarray], *, times: list[int] | None = None, rotation: int = 0) -> Path:
    """Frames in hundredths of a second at `times`, by default ten a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "5"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = times[number] if times else 10 * number
            frame.time_base = Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if rotation:
        data = bytearray(path.read_bytes())
        place = data.index(b"tkhd") + 4 + 40  # the track's matrix
        matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[rotation]
        for offset, value in zip((0, 4, 12, 16), matrix, strict=True):
            data[place + offset : place + offset + 4] = (value * 65536).to_bytes(4, "big", signed=True)
        path.write_bytes(bytes(data))
    return path


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    pictures = [np.full((96, 128, 3), 20 + 10 * number, np.uint8) for number in range(20)]
    for picture in pictures:
        picture[:24, :32] = rng.integers(200, 256)  # light at the top left
    return pictures


def test_a_rate_that_varies_is_said(frames, tmp_path: Path):
    steady = write(tmp_path / "steady.mp4", frames)
    gaps = np.cumsum([0, *([10] * 9), 60, *([25] * 9)]).tolist()
    varying = write(tmp_path / "varying.mp4", frames, times=gaps)
    assert not VideoReader(steady).info.variable_rate
    assert VideoReader(varying).info.variable_rate
    with open_frames(varying, count="all") as found:
        assert len(list(found)) == 20
    assert "variable" in found.note


@pytest.mark.parametrize(("rotation", "corner"), [(90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_rotation_tags_are_honoured(frames, rotation: int, corner, tmp_path: Path):
    path = write(tmp_path / "turned.mp4", frames, rotation=rotation)
    (picture,) = [frame.image for frame in open_frames(path, count=1)]
    assert picture.shape[:2] == ((128, 96) if rotation != 180 else (96, 128))
    row, column = (10 if place == 0 else -10 for place in corner)
    assert picture[row, column].mean() > 150
    assert picture[-row, -column].mean() < 100


def test_a_truncated_video_gives_what_it_holds_and_says_so(frames, tmp_path: Path):
    noise = np.random.default_rng(1)
    busy = [noise.integers(0, 256, (96, 128, 3), dtype=np.uint8) for _ in range(20)]
    path = tmp_path / "cut.mkv"
    write(path, busy)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with open_frames(path, count="all") as found:
        held = list(found)
    assert 5 <= len(held) < 20
    assert found.note.startswith("truncated: it holds")


def test_sound_alone_is_no_video(tmp_path: Path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(MediaError, match="no video stream"):
        VideoReader(path)


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path):
    with pytest.raises(MediaError, match="is a folder"):
        VideoReader(tmp_path)
    with pytest.raises(MediaError, match="no such file"):
        VideoReader(tmp_path / "none.mp4")
