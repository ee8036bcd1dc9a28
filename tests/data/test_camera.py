from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from bonaface.data import camera
from bonaface.data.video_writer import write_video
from bonaface.errors import InputError, MediaError


@pytest.mark.parametrize(
    ("source", "number"),
    [
        (0, 0),
        ("1", 1),
        ("/dev/video7", 7),
        (Path("/dev/video0"), 0),
        ("clip.mp4", None),
        ("/dev/videos", None),
        ("٣", None),
        ("rtsp://host/live", "rtsp://host/live"),
        ("RTSPS://host/live", "RTSPS://host/live"),
        ("http://host/a.jpg", None),
        ("rtsp:/host", None),
    ],
)
def test_camera_of(source: object, number: int | str | None):
    assert camera.camera_of(source) == number


def test_a_file_named_by_a_number_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "0").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert camera.camera_of("0") is None


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({}, "no camera 97 here: this machine has no camera"),
        ({0: "Integrated", 2: ""}, r"no camera 97 here; found 0 \(Integrated\), 2: name one of these"),
        ({97: "Busy"}, "no camera 97 here: "),
    ],
    ids=["none", "others", "busy"],
)
def test_the_cameras_that_are_there_are_named(there: dict[int, str], said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(camera, "cameras", lambda: there)
    with pytest.raises(InputError, match=said):
        camera.Camera(97, 4)


@contextlib.contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """A port at which every connection gets this answer; None: none at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    held.append(connection)
                    if answer is not None:
                        connection.recv(4096)
                        connection.sendall(answer)
                        connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n",
        b"RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n",
        b"nonsense",
    ],
    ids=["silent", "401", "404", "nonsense"],
)
def test_a_network_camera_that_cannot_be_opened_is_named_without_its_password(answer, monkeypatch):
    said = "no connection to the camera, or no answer within 1 seconds"
    monkeypatch.setattr(camera, "WAIT_SECONDS", 1.0)
    with (
        answering(answer) as port,
        pytest.raises(InputError, match=rf"rtsp://127\.0\.0\.1:{port}/live: {said}") as caught,
    ):
        camera.Camera(f"rtsp://user:secret@127.0.0.1:{port}/live?pwd=secret", 4)
    assert "secret" not in str(caught.value)


def test_a_network_camera_gives_frames_until_its_stream_ends(tmp_path: Path, monkeypatch):
    write_video(tmp_path / "live.mp4", [np.full((96, 128, 3), 200, np.uint8)] * 30, fps=10, quality=5)
    opened = av.open
    monkeypatch.setattr(av, "open", lambda *_, **__: opened(str(tmp_path / "live.mp4")))
    with camera.Camera("rtsp://me:secret@host/live", 1) as stream:
        assert stream.newest()[0].mean() == pytest.approx(200, abs=4)
        stream._reader.join(10)
        with pytest.raises(MediaError, match="rtsp://host/live has stopped"):
            stream.newest()
