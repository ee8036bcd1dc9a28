from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from bonaface.data.frames import Frames
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
    with Frames(varying, count="all") as found:
        assert len(list(found)) == 20
    assert "variable" in found.note


@pytest.mark.parametrize(("rotation", "corner"), [(90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_rotation_tags_are_honoured(frames, rotation: int, corner, tmp_path: Path):
    path = write(tmp_path / "turned.mp4", frames, rotation=rotation)
    (picture,) = [frame.image for frame in Frames(path, count=1)]
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
    with Frames(path, count="all") as found:
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


def test_frames_that_an_editor_cut_off_are_not_missed(frames, tmp_path: Path):
    whole, trimmed = write(tmp_path / "whole.mp4", frames), tmp_path / "trimmed.mp4"
    with av.open(str(whole)) as source, av.open(str(trimmed), "w", options={"avoid_negative_ts": "disabled"}) as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        assert stream.time_base is not None
        cut = round(Fraction(8, 10) / stream.time_base)  # eight frames lie before the start of the edit list
        for packet in source.demux(stream):
            if packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - cut, packet.dts - cut, copy
                target.mux(packet)
    with Frames(trimmed, count="all") as found:
        greys = [float(frame.image[50:].mean()) for frame in found]
    assert (len(greys), found.note) == (12, "")
    assert greys[0] == pytest.approx(20 + 10 * 8, abs=4)


def test_a_name_is_no_protocol(frames, monkeypatch, tmp_path: Path):
    write(tmp_path / "plain.mp4", frames[:2]).rename(tmp_path / "concat:a|b ü.mp4")
    monkeypatch.chdir(tmp_path)
    assert VideoReader(Path("concat:a|b ü.mp4")).info.frames == 2


def test_a_playlist_under_a_videos_name_reads_no_other_file(frames, tmp_path: Path):
    write(tmp_path / "secret.mp4", frames[:2])
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(MediaError, match="not a video that can be read"):
        VideoReader(tmp_path / "list.mp4")


def test_lost_index_is_named(frames, tmp_path: Path):
    path = write(tmp_path / "cut.mp4", frames)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match=r"cut\.mp4.*cut off before its index"):
        VideoReader(path)


@pytest.mark.parametrize("error", [av.error.PatchWelcomeError, av.error.ExternalError, av.error.DecoderNotFoundError])
def test_whatever_ffmpeg_says_of_damage_ends_the_video_and_no_more(frames, error, monkeypatch, tmp_path: Path):
    def fails(*_: object) -> np.ndarray:
        raise error(1, "not yet implemented")

    reader = VideoReader(write(tmp_path / "odd.mp4", frames[:3]))
    monkeypatch.setattr("bonaface.data.video._oriented", fails)
    assert list(reader.frames(None)) == []
    assert "not yet implemented" in reader.damage


def test_the_cover_of_a_record_is_no_video(tmp_path: Path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(cover.encode())
    with pytest.raises(MediaError, match="no video stream"):
        VideoReader(path)
