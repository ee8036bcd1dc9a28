"""A video is read as a player shows it: orientation, pixel shape, aperture, light, and the same frames by seeking."""

from __future__ import annotations

import struct
from array import array
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from bonaface.data.frames import Frames
from bonaface.data.video import VideoReader

SHARP = {"crf": "4", "preset": "veryfast"}


def corner(height: int = 96, width: int = 128) -> np.ndarray:
    """Dark, with a red corner at the top left and a green one at the top right."""
    picture = np.full((height, width, 3), 30, np.uint8)
    picture[: height // 3, : width // 3] = (220, 40, 40)
    picture[: height // 3, -(width // 3) :] = (40, 220, 40)
    return picture


def write(path: Path, pictures: list[np.ndarray], *, aspect: Fraction | None = None, **options: str) -> Path:
    with av.open(str(path), "w") as container:
        codec = "libvpx-vp9" if path.suffix == ".webm" else "libx264"
        stream = container.add_stream(codec, rate=25, options={**SHARP, **options} if codec == "libx264" else options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    values = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    data[place : place + 36] = struct.pack(">9i", *values)
    path.write_bytes(data)
    return path


def first(path: Path) -> np.ndarray:
    with Frames(path, count=1) as frames:
        (frame,) = list(frames)
    return frame.image


def assert_shown(picture: np.ndarray) -> None:
    height, width = picture.shape[:2]
    left, right = picture[height // 8, width // 8], picture[height // 8, -(width // 8)]
    assert left[0] > 150 > left[1]
    assert right[1] > 150 > right[0]
    assert picture[-height // 8].max() < 90


@pytest.mark.parametrize(
    ("matrix", "stored"),
    [
        ((1, 0, 0, 1), lambda p: p),
        ((0, 1, -1, 0), lambda p: np.rot90(p, 1)),
        ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
        ((0, -1, 1, 0), lambda p: np.rot90(p, -1)),
        ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
        ((1, 0, 0, -1), lambda p: p[::-1]),
        ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda p: p[::-1, ::-1].transpose(1, 0, 2)),
    ],
)
def test_display_matrix_is_applied(matrix, stored, tmp_path: Path):
    picture = first(with_matrix(write(tmp_path / "clip.mp4", [stored(corner())]), *matrix))
    assert picture.shape == (96, 128, 3)
    assert_shown(picture)


@pytest.mark.parametrize(("width", "aspect"), [(96, Fraction(4, 3)), (256, Fraction(1, 2)), (128, Fraction(1))])
def test_pixels_are_shown_square(width: int, aspect: Fraction, tmp_path: Path):
    picture = first(write(tmp_path / "clip.mp4", [corner(96, width)], aspect=aspect))
    assert picture.shape == (96, 128, 3)
    assert_shown(picture)


def test_square_pixels_come_before_the_turn(tmp_path: Path):
    stored = np.rot90(corner(128, 96), 1)  # shown 96 wide and 128 high, stored 128 x 96
    squeezed = np.ascontiguousarray(stored[:, ::2])
    path = with_matrix(write(tmp_path / "clip.mp4", [squeezed], aspect=Fraction(2)), 0, 1, -1, 0)
    assert first(path).shape == (128, 96, 3)


def with_aperture(path: Path, width: int, height: int, left: int = 0, top: int = 0) -> Path:
    data = bytearray(path.read_bytes())
    box = struct.pack(">I4s8i", 40, b"clap", width, 1, height, 1, left, 1, top, 1)
    at = data.index(b"avcC") - 4
    data[at:at] = box
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        place = data.rindex(kind, 0, at) - 4
        data[place : place + 4] = struct.pack(">I", struct.unpack(">I", data[place : place + 4])[0] + len(box))
    path.write_bytes(data)
    return path


def test_clean_aperture_is_cut_out(tmp_path: Path):
    large = np.full((160, 192, 3), 250, np.uint8)
    large[40:136, 40:168] = corner()
    path = with_aperture(write(tmp_path / "clip.mp4", [large]), 128, 96, left=8, top=8)
    picture = first(path)
    assert picture.shape == (96, 128, 3)
    assert_shown(picture)


def test_aperture_outside_the_picture_is_ignored(tmp_path: Path):
    assert first(with_aperture(write(tmp_path / "clip.mp4", [corner()]), 500, 96)).shape == (96, 128, 3)


def write_hdr(path: Path, light: float, transfer: int) -> Path:
    """A grey plane of `light` (1 = SDR white at 203 cd/m2, BT.2408) in BT.2020, 10 bits, PQ (16) or HLG (18)."""
    if transfer == 16:
        power = (light * 203 / 10000) ** 0.1593017578125
        signal = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    else:
        scene = (light * 0.203) ** (1 / 1.2)
        signal = (3 * scene) ** 0.5 if scene <= 1 / 12 else 0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073
    name = {16: "smpte2084", 18: "arib-std-b67"}[transfer]
    options = f"colorprim=bt2020:transfer={name}:colormatrix=bt2020nc:fullrange=off"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": options})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, transfer, 9, 1
        frame = av.VideoFrame(128, 96, "yuv420p10le")
        for number, plane in enumerate(frame.planes):
            level = round((16 + 219 * signal) * 4) if number == 0 else 512
            plane.update(np.full(plane.buffer_size // 2, level, np.uint16).tobytes())
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_shown_in_sdr_light(transfer: int, tmp_path: Path):
    sdr = 128 / 255
    path = write_hdr(tmp_path / "hdr.mp4", sdr**2.4, transfer)
    with Frames(path) as frames:
        (frame,) = list(frames)
    assert frames.note == ""
    assert abs(float(frame.image.mean()) - 128) < 12


def test_hdr_that_cannot_be_mapped_is_noted(tmp_path: Path, monkeypatch):
    path = write_hdr(tmp_path / "hdr.mp4", 0.2, 16)
    monkeypatch.setattr("bonaface.data.video._to_sdr", lambda frame: None)
    reader = VideoReader(path)
    assert len(list(reader.frames({0}))) == 1
    assert "PQ" in reader.note


def numbered(count: int) -> list[np.ndarray]:
    """Frames that carry their number as a bar code."""
    pictures = []
    for index in range(count):
        picture = np.full((64, 128, 3), 90, np.uint8)
        picture[:, :, 1] = (np.arange(128) * 2 + 7 * index) % 200
        for bit in range(8):
            picture[:24, 16 * bit : 16 * bit + 16] = 230 if index >> bit & 1 else 20
        pictures.append(picture)
    return pictures


def number_of(picture: np.ndarray) -> int:
    return sum((picture[8:16, 16 * bit + 6 : 16 * bit + 10].mean() > 120) << bit for bit in range(8))


def by_counting(path: Path, wanted: set[int]) -> list[tuple[int, float | None, int]]:
    reader = VideoReader(path)
    reader._shown = array("q")
    found = [(index, time, number_of(picture)) for index, time, picture in reader.frames(wanted)]
    reader.close()
    return found


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b_frames.mp4", {"g": "20", "bf": "3"}),
        ("open_gop.mp4", {"g": "20", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
        ("single_key.mp4", {"g": "999", "bf": "2"}),
        ("b_frames.mkv", {"g": "15", "bf": "2"}),
        (
            "alt_ref.webm",
            {"g": "20", "lag-in-frames": "10", "auto-alt-ref": "1", "deadline": "realtime", "cpu-used": "8"},
        ),
        ("counted.avi", {"g": "20", "bf": "0"}),
    ],
)
def test_seeking_gives_the_frames_of_counting(name: str, options, tmp_path: Path):
    path = write(tmp_path / name, numbered(90), **options)
    for wanted in ({0, 11, 22, 33, 45, 56, 67, 78}, {19, 20, 21}, {89}, {5, 59, 61}):
        reader = VideoReader(path)
        found = [(index, time, number_of(picture)) for index, time, picture in reader.frames(wanted)]
        reader.close()
        assert found == by_counting(path, wanted)
        assert [index for index, *_ in found] == [number for *_, number in found] == sorted(wanted)
        assert reader.decoded == max(wanted) + 1


def test_seeking_skips_what_is_not_wanted(tmp_path: Path, monkeypatch):
    path = write(tmp_path / "long.mp4", numbered(200), g="10", bf="2")
    reader = VideoReader(path)
    monkeypatch.setattr(VideoReader, "_counted", lambda *_: pytest.fail("decoded from the start"))
    assert [index for index, *_ in reader.frames({0, 100, 195})] == [0, 100, 195]


def test_variable_rate_is_sought_by_its_own_times(tmp_path: Path):
    path = tmp_path / "variable.mp4"
    times = np.cumsum([0, *([1, 5, 2] * 20)])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={**SHARP, "g": "12", "bf": "2"})
        stream.height, stream.width, stream.pix_fmt = 64, 128, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for picture, time in zip(numbered(61), times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = int(time), Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    found = [(index, number_of(picture)) for index, _, picture in VideoReader(path).frames({0, 30, 44, 60})]
    assert found == [(0, 0), (30, 30), (44, 44), (60, 60)]


def test_damaged_key_frame_falls_back_to_counting(tmp_path: Path):
    path = write(tmp_path / "clip.mp4", numbered(60), g="20", bf="0")
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.is_keyframe][1]
        place, size = packet.pos or 0, packet.size
    data = bytearray(path.read_bytes())
    data[place : place + size] = bytes(size)
    path.write_bytes(data)
    wanted = {0, 25, 50}
    reader = VideoReader(path)
    found = [(index, number_of(picture)) for index, _, picture in reader.frames(wanted)]
    assert found == [(index, number) for index, _, number in by_counting(path, wanted)]
