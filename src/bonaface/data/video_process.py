"""Read a video in a separate process under limits of memory and time, so that a hostile file costs no more than itself."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonaface.data.video import MAX_PIXELS, VideoInfo, VideoReader
from bonaface.errors import MediaError

OPEN_BYTES = 256_000_000
"""Memory to open a video: eight hours of it have an index of some 100 MB, but 600 bytes can declare any length."""
DECODE_BYTES = 900_000_000
"""Memory to decode it: a frame of 33 megapixels (8K) takes 50 MB, and a decoder holds several."""
SECONDS = 4.0
"""Processor time to open a video, and for each frame; opening has one more second for each 200 MB of the file."""
_STALLED = 5
"""Times SECONDS, on the clock: for a decoder that waits for itself."""
_IDLE_SECONDS = 300.0
_POLL_SECONDS = 0.1

Frames = Iterator[tuple[int, float | None, NDArray[np.uint8]]]

SUPPORTED = os.name == "posix"
"""Whether this system has limits for a process."""
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from bonaface.data.video_process import main; main()"
_HEAD = struct.Struct(">IQ")


class WatchedVideo:
    """A video opened for one pass by a process of its own; with the interface of `VideoReader`.

    A process that takes more than the limits, or fails, is ended: MediaError when opening, `damage` while iterating.
    Processes are kept for the next video. Limits of memory are enforced on Linux only; Windows has no such process.
    """

    def __init__(self, source: Path | bytes) -> None:
        self.name = "the video" if isinstance(source, bytes) else str(source)
        self.decoded = 0
        self.damage = ""
        self.note = ""
        self._process: _Process | None = None
        # The process keeps the folder that it was started in.
        path = "" if isinstance(source, bytes) else os.path.abspath(source)  # noqa: PTH100 (keeps links)
        request = {"open": path or None}
        payload = source if isinstance(source, bytes) else b""
        try:
            self._process, answer = _open(request, payload)
        except _Ended as ended:
            raise MediaError(f"{self.name}: {ended}") from None
        if "error" in answer:
            self.close()
            raise MediaError(answer["error"].replace(path, self.name) if path else answer["error"])
        self.info = VideoInfo(**answer["info"])

    def frames(self, wanted: set[int] | None, *, stop: Callable[[], bool] = lambda: False) -> Frames:
        """Yield index, time in seconds and RGB picture as `VideoReader.frames` does; the next one is decoded meanwhile."""
        process = self._process
        if process is None:
            raise ValueError(f"{self.name} is closed")
        try:
            process.drain()
            process.send({"frames": None if wanted is None else sorted(wanted)})
            while True:
                answer, picture = process.receive(stop)
                self.decoded = answer["decoded"]
                if picture is None:
                    self.damage, self.note = answer["damage"], answer["note"]
                    return
                process.send({})
                yield answer["index"], answer["time"], picture
        except _Ended as ended:
            self._process = None
            self.damage = str(ended)

    def close(self) -> None:
        """Keep the process for the next video, without the memory of this one."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(_Ended):
                process.release()
                _idle.append(process)

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.close()


class _Ended(Exception):
    """The process has ended, and why."""


class _Process:
    """The parent's side of a process: messages of JSON, with the bytes of a file or the pixels of a frame."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        self._waiting = 0
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        "-P",
                        "-c",
                        _START,
                        json.dumps([str(path) for path in sys.path]),
                        str(theirs.fileno()),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                )
            except OSError as error:
                self._channel.close()
                raise _Ended(f"no process can be started to decode it ({error.strerror})") from None

    def send(self, message: dict[str, Any], payload: bytes = b"") -> None:
        """Send one message; all but `close` are answered."""
        self._channel.settimeout(None)
        try:
            _send(self._channel, message, payload)
        except OSError:
            raise self._why() from None
        self._waiting += 1

    def receive(self, stop: Callable[[], bool] = lambda: False) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
        """Return the next answer and its picture. Raises _Ended, also where `stop` says so."""
        self._channel.settimeout(_POLL_SECONDS)

        def stopped() -> None:
            if stop():
                self.kill()
                raise _Ended("stopped")

        try:
            answer, payload = _receive(self._channel, stopped, most=3 * MAX_PIXELS)
        except (OSError, EOFError):
            raise self._why() from None
        self._waiting -= 1
        return answer, np.frombuffer(payload, np.uint8).reshape(answer["shape"]) if payload else None

    def release(self) -> None:
        """Let go of the video. Raises _Ended."""
        self.drain()
        self.send({"close": True})
        self._waiting = 0  # this is not answered

    def drain(self) -> None:
        """Drop the answers that nobody waited for."""
        while self._waiting:
            self.receive()

    def kill(self) -> int:
        """End the process and return its exit code."""
        self._channel.close()
        self._process.kill()
        return self._process.wait()

    @property
    def ended_while_idle(self) -> bool:
        """Whether it ended because nobody used it, or was killed by others."""
        return self._process.returncode in (0, -signal.SIGKILL)

    def _why(self) -> _Ended:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)  # the channel is closed a moment before the process has ended
        code = self.kill()
        if -code in (signal.SIGPROF, signal.SIGALRM):
            return _Ended("its decoder was ended: too much time without a frame; the file is damaged or hostile")
        if -code == signal.SIGKILL:
            return _Ended("its decoder was killed, probably out of memory")
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return _Ended(f"its decoder failed ({reason}); the file is damaged or hostile")


_idle: list[_Process] = []
if SUPPORTED:
    os.register_at_fork(after_in_child=_idle.clear)


@atexit.register
def _end() -> None:
    while _idle:
        _idle.pop().kill()


def start(count: int = 1) -> None:
    """Have `count` processes ready, so that the first videos do not wait for their start."""
    if SUPPORTED:
        with contextlib.suppress(_Ended):
            _idle.extend(_Process() for _ in range(count - len(_idle)))


def _open(request: dict[str, Any], payload: bytes) -> tuple[_Process, dict[str, Any]]:
    """Return a process and its answer to a request to open a video. Raises _Ended."""
    while True:
        try:
            process, is_new = _idle.pop(), False
        except IndexError:
            process, is_new = _Process(), True
        try:
            process.drain()
            process.send(request, payload)
            return process, process.receive()[0]
        except _Ended:
            if is_new or not process.ended_while_idle:
                raise


def _send(channel: socket.socket, message: dict[str, Any], payload: bytes | NDArray[np.uint8] = b"") -> None:
    text = json.dumps(message).encode()
    content = memoryview(payload).cast("B")  # type: ignore[arg-type]
    channel.sendall(_HEAD.pack(len(text), content.nbytes) + text)
    channel.sendall(content)


def _receive(
    channel: socket.socket, waiting: Callable[[], None] = lambda: None, *, most: int | None = None
) -> tuple[dict[str, Any], bytearray]:
    """Return a message and its payload; `waiting` is called at each timeout of the channel.

    Raises EOFError, also for a payload of more than `most` bytes.
    """

    def read(count: int) -> bytearray:
        content = bytearray(count)
        left = memoryview(content)
        while left:
            try:
                received = channel.recv_into(left)
            except TimeoutError:
                waiting()
                continue
            if not received:
                raise EOFError
            left = left[received:]
        return content

    length, size = _HEAD.unpack(read(_HEAD.size))
    if most is not None and size > most:
        raise EOFError
    return json.loads(read(length)), read(size)


def main() -> None:
    """Open videos and send their frames, as the process at the other end of the channel asks, until it closes it."""
    import resource

    import cv2

    for ignored in (signal.SIGINT, signal.SIGTERM):  # the parent decides, and may have to answer first
        signal.signal(ignored, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cv2.setNumThreads(1)
    reader: VideoReader | None = None
    with socket.socket(fileno=int(sys.argv[2])) as channel, contextlib.suppress(EOFError, OSError):
        frames: Frames | None = None
        while True:
            channel.settimeout(_IDLE_SECONDS if frames is None else None)
            message, payload = _receive(channel, sys.exit)
            channel.settimeout(None)
            if "open" in message or "close" in message:
                if reader is not None:
                    reader.close()
                reader, frames = None, None
                if "open" in message:
                    reader = _opened(channel, message["open"], payload)
            elif reader is not None:
                if frames is None or "frames" in message:
                    wanted = None if message["frames"] is None else set(message["frames"])
                    frames = reader.frames(wanted, stop=_progress)
                frames = _send_next(channel, reader, frames)


def _opened(channel: socket.socket, name: str | None, payload: bytearray) -> VideoReader | None:
    source = bytes(payload) if name is None else Path(name)
    size = len(payload)
    if isinstance(source, Path):
        with contextlib.suppress(OSError):
            size = source.stat().st_size
    _limit_memory(OPEN_BYTES)
    _limit_time(SECONDS + size / 200e6)
    reader: VideoReader | None = None
    answer: dict[str, Any]
    try:
        reader = VideoReader(source)
        answer = {"info": asdict(reader.info)}
    except MediaError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": f"{name or 'the video'}: its index takes more than {OPEN_BYTES / 1e6:.0f} MB"}
    _limit_time(0)
    _limit_memory(DECODE_BYTES)
    _send(channel, answer)
    return reader


def _send_next(channel: socket.socket, reader: VideoReader, frames: Frames) -> Frames | None:
    """Send the next frame, or what was wrong with the video if there is none."""
    _progress()
    found = next(frames, None)
    _limit_time(0)
    if found is None:
        _send(channel, {"decoded": reader.decoded, "damage": reader.damage, "note": reader.note})
        return None
    index, time, picture = found
    _send(channel, {"decoded": reader.decoded, "index": index, "time": time, "shape": picture.shape}, picture)
    return frames


def _progress() -> bool:
    """Begin the time of the next frame; as the `stop` of a reader, called after each."""
    _limit_time(SECONDS)
    return False


def _limit_time(seconds: float) -> None:
    """Let the system end this process after so much processor time, or a few times that on the clock; 0: never."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, _STALLED * seconds)


def _limit_memory(more: int) -> None:
    """Bound the data of this process at what it holds now and `more` bytes, where the system says how much that is."""
    import resource

    with contextlib.suppress(OSError, ValueError):
        held = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = held + more
        resource.setrlimit(resource.RLIMIT_DATA, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
