from __future__ import annotations

import functools
import http.server
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bonaface
from bonaface.cli import main
from bonaface.data import addresses, sources
from bonaface.data.addresses import download, shown
from bonaface.data.sources import Input, expand, fetched
from bonaface.data.video_writer import write_video
from bonaface.errors import InputError, MediaError
from bonaface.inference.bundle import write_bundle
from bonaface.io.storage import without_passwords
from tests.networks import tiny_bundle


class Site(http.server.SimpleHTTPRequestHandler):
    """A folder, and some answers that are no file."""

    def do_GET(self) -> None:
        name = self.path.partition("?")[0]
        if name == "/again":
            self.send_response(302)
            self.send_header("Location", "/again")
            self.end_headers()
        elif name == "/stream":
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
            self.end_headers()
        elif name == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"few")
        elif name in ("/slow", "/silent"):
            self.send_response(200)
            self.end_headers()
            for _ in range(20):
                time.sleep(0.1 if name == "/slow" else 3)
                self.wfile.write(bytes(70_000))
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:  # the client has gone
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "site"
    folder.mkdir()
    Image.new("RGB", (40, 30), (10, 20, 30)).save(folder / "photo.png")
    write_video(folder / "clip.avi", [np.zeros((48, 48, 3), np.uint8)] * 5, fps=5, quality=5)
    with Server(("127.0.0.1", 0), functools.partial(Site, directory=str(folder))) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://me:secret@127.0.0.1:{server.server_port}"
        server.shutdown()


def test_files_are_fetched_and_removed_with_their_source(site: str):
    found = [fetched(source) for source in expand([f"{site}/photo.png?key=secret", f"{site}/clip.avi"]).items]
    assert [source.kind for source in found] == ["image", "video"]
    assert [source.name.rpartition("/")[2] for source in found] == ["photo.png", "clip.avi"]
    assert "secret" not in repr(found)
    file = found[0].path
    assert isinstance(file, Path)
    assert file.is_file()
    found.clear()
    assert not file.parent.exists()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("missing.mp4", "the server answered 404 (Not Found); expected a file"),
        ("again", "the server redirects without end"),
        ("stream", "a stream without end; expected a file, or the camera's rtsp:// address"),
        ("short", "the connection broke before the file was complete"),
        ("slow", "not complete within 1 seconds; download it first"),
        ("silent", "no connection to the server, or no answer within 1 seconds; check the address"),
    ],
)
def test_what_cannot_be_fetched_is_a_problem_of_its_source(site: str, path: str, said: str, monkeypatch):
    monkeypatch.setattr(addresses, "WAIT_SECONDS", 1.0)
    monkeypatch.setattr(addresses, "DOWNLOAD_SECONDS", 1.0)
    (source,) = expand([f"{site}/{path}?key=secret"]).items
    assert "secret" not in repr(source)
    source = fetched(source)
    assert source.problem == said
    assert "secret" not in repr(source)


def test_addresses_are_fetched_one_at_a_time(site: str, monkeypatch, tmp_path: Path):
    fetched_now: list[str] = []

    def recorded(address: str) -> Path:
        fetched_now.append(address)
        return download(address)

    monkeypatch.setattr(sources, "download", recorded)
    write_bundle(tiny_bundle(tmp_path / "bundle"))
    model = bonaface.load(tmp_path / "bundle")
    Image.new("RGB", (40, 30)).save(tmp_path / "local.png")
    given: list[Input] = [
        f"{site}/photo.png",
        f"{site}/missing.png",
        tmp_path / "local.png",
        f"{site}/clip.avi",
        f"{site}/photo.png",
    ]
    with model:
        verdicts = model.predict(given)
        assert fetched_now == []
        found = [(verdict.outcome.value == "unreadable", len(fetched_now)) for verdict in verdicts]
        assert found == [(False, 1), (True, 2), (False, 2), (False, 3), (False, 4)]
        assert model(f"{site}/photo.png").source.endswith("/photo.png")


def test_a_long_file_is_not_fetched(site: str, monkeypatch):
    monkeypatch.setattr(addresses, "MAX_BYTES", 50)
    with pytest.raises(MediaError, match="longer than"):
        download(f"{site}/photo.png")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/a.jpg", "http://[a/b", "http://127.0.0.1:99999/a", "https://"])
def test_an_address_without_a_server_is_a_problem(address: str):
    source = fetched(expand([address]).items[0])
    assert "connection" in source.problem or "not a valid address" in source.problem


def test_other_schemes_are_refused_without_the_address():
    with pytest.raises(InputError, match=r"gopher://host/a.jpg cannot be read: Protocol not known") as caught:
        expand(["gopher://me:secret@host/a.jpg"])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://me:secret@host:554/live?x=secret", "rtsp://host:554/live"),
        ("rtsp://me:se@cret@host/live", "rtsp://host/live"),
        ("rtsp://me:se/cret@host/live", "rtsp://host/live"),
        ("rtsp://me:s?cret#x@host/live", "rtsp://host/live"),
        ("http:/me:secret@host/a.jpg", "http:/host/a.jpg"),
        ("http://host/a@2x.jpg", "http://host/a@2x.jpg"),
        ("http://host:80/a@2x.jpg#secret", "http://host:80/a@2x.jpg"),
        ("http://[::1]:80/a@b.jpg", "http://[::1]:80/a@b.jpg"),
    ],
)
def test_no_secret_is_shown(text: str, expected: str):
    assert shown(text) == expected
    assert "secret@" not in without_passwords(f"no file at {text}")


@pytest.mark.parametrize(
    "words",
    [["data", "index", "rtsp://me:secret@host/x", "-o", "m.csv"], ["report", "http:/me:secret@host/x.csv", "-o", "r"]],
)
def test_no_command_prints_a_password(words: list[str], monkeypatch, capsys, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bonaface", *words])
    with pytest.raises(SystemExit):
        main()
    written = capsys.readouterr()
    assert "host" in written.err
    assert "secret" not in written.err + written.out
