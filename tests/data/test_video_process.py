from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from bonaface.data import video_process
from bonaface.data.frames import Frames, spread
from bonaface.data.video import VideoReader
from bonaface.data.video_process import WatchedVideo
from bonaface.data.video_writer import write_video
from bonaface.errors import MediaError
from tests.hostile import mp4_of_samples


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "grey.mp4"
    write_video(path, [np.full((96, 128, 3), 20 + 7 * number, np.uint8) for number in range(30)], fps=10, quality=5)
    return path


def process_of(reader: WatchedVideo) -> int:
    assert reader._process is not None
    return reader._process._process.pid


def peak(pid: int) -> float:
    """The most memory that a process ever had, in MB."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1000


def held(pid: int) -> float:
    """The memory that a process holds now, in MB."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1000


@pytest.mark.parametrize("wanted", [{0}, {3, 17}, None, set(), {90}], ids=str)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_frames_are_those_of_a_reader_in_this_process(video: Path, wanted, as_bytes: bool):
    source = video.read_bytes() if as_bytes else video
    here, there = VideoReader(source), WatchedVideo(source)
    assert there.info == here.info
    for one, other in zip(here.frames(wanted), there.frames(wanted), strict=True):
        assert one[:2] == other[:2]
        assert np.array_equal(one[2], other[2])
    assert (there.decoded, there.damage, there.note) == (here.decoded, here.damage, here.note)


def test_the_process_is_used_again_after_a_break(video: Path):
    first = WatchedVideo(video)
    pid = process_of(first)
    next(iter(first.frames(None)))
    first.close()
    second = WatchedVideo(video)
    assert process_of(second) == pid
    assert [index for index, _, _ in second.frames({4, 9})] == [4, 9]
    next(iter(second.frames(None)))
    assert [index for index, _, _ in second.frames({2})] == [2]


@pytest.mark.parametrize("read", ["nothing", "one frame", "all frames"])
def test_a_process_without_a_video_holds_no_memory_of_it(video: Path, tmp_path: Path, read: str):
    size = 80_000_000
    long = video.read_bytes() + (size + 8).to_bytes(4, "big") + b"free" + bytes(size)
    first = WatchedVideo(video)
    pid = process_of(first)
    list(first.frames(None))
    first.close()
    before = held(pid)
    reader = WatchedVideo(long)
    assert process_of(reader) == pid
    assert held(pid) > before + 70
    if read != "nothing":
        frames = reader.frames(None)
        next(frames)
        if read == "all frames":
            list(frames)
    reader.close()
    deadline = time.monotonic() + 10
    while held(pid) > before + 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert held(pid) < before + 20
    assert process_of(WatchedVideo(video)) == pid


@pytest.mark.parametrize(
    ("samples", "chunks"),
    [(16_000_000, 1), (16_000_000, 4096), (2**31 - 1, 1), (5_000_000, 4096), (5_000_000, 1)],
)
def test_a_container_that_declares_millions_of_samples_is_unreadable(video: Path, samples, chunks, tmp_path: Path):
    bomb = tmp_path / "bomb.mp4"
    bomb.write_bytes(mp4_of_samples(samples, chunks=chunks, payload=-(-samples // chunks) if chunks > 1 else 64))
    before, started = peak(os.getpid()), time.monotonic()
    with pytest.raises(MediaError, match=r"bomb\.mp4: "), Frames(bomb, count=8) as frames:
        list(frames)
    assert time.monotonic() - started < 30  # 4 of processor time, on a busy machine
    assert peak(os.getpid()) < before + 20
    assert all(peak(process._process.pid) < 450 for process in video_process._idle)
    with Frames(video, count=2) as frames:
        assert [frame.index for frame in frames] == spread(30, 2)


@pytest.mark.parametrize(("number", "said"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGPROF, "too much time")])
def test_a_process_that_ends_is_the_videos_damage(video: Path, number: signal.Signals, said: str):
    with Frames(video, count="all") as frames:
        assert isinstance(frames._reader, WatchedVideo)
        os.kill(process_of(frames._reader), number)
        with pytest.raises(MediaError, match=said):
            list(frames)
    with Frames(video, count=2) as frames:
        assert len(list(frames)) == 2


def test_a_process_that_ended_while_idle_is_replaced(video: Path):
    WatchedVideo(video).close()
    for process in video_process._idle:
        os.kill(process._process.pid, signal.SIGKILL)
    assert WatchedVideo(video).info.frames == 30


def test_frames_that_came_before_the_end_are_kept_and_the_damage_is_noted(video: Path):
    with Frames(video, count="all") as frames:
        iterator = iter(frames)
        assert next(iterator).index == 0
        assert isinstance(frames._reader, WatchedVideo)
        os.kill(process_of(frames._reader), signal.SIGSEGV)
        assert len(list(iterator)) < 29
    assert "SIGSEGV" in frames.note


def test_stop_ends_a_video_at_once(video: Path):
    reader = WatchedVideo(video)
    os.kill(process_of(reader), signal.SIGSTOP)
    started = time.monotonic()
    assert list(reader.frames(None, stop=lambda: time.monotonic() - started > 0.3)) == []
    assert time.monotonic() - started < 3


def test_many_threads_have_a_process_each(video: Path):
    from concurrent.futures import ThreadPoolExecutor

    def numbers(_: int) -> list[int]:
        with Frames(video, count=5) as frames:
            return [frame.index for frame in frames]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(numbers, range(40))) == [spread(30, 5)] * 40
    assert len(video_process._idle) <= 8
