from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bonaface.data.downloads import YUNET, Asset, cache_folder, fetch
from bonaface.errors import DownloadError

CONTENT = b"weights of a network " * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class FileHandler(http.server.BaseHTTPRequestHandler):
    """Gives the file whole, cut short, changed, not at all, or never ending."""

    served: int = 0

    def do_GET(self):
        type(self).served += 1
        if self.path == "/gone":
            self.send_error(404, "Not Found")
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.end_headers()
            return
        body = {"/changed": CONTENT[:-1] + b"!", "/long": CONTENT * 3}.get(self.path, CONTENT)
        self.send_response(200)
        if self.path != "/long":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the reader may have seen enough
            self.wfile.write(body[:1000] if self.path == "/cut" else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server() -> Iterator[str]:
    FileHandler.served = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), FileHandler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


def asset(url: str) -> Asset:
    return Asset("network.onnx", url, SHA256)


@pytest.mark.parametrize("path", ["/whole", "/moved"])
def test_a_file_is_fetched_once_and_kept(server: str, tmp_path: Path, path: str):
    steps: list[tuple[int, int]] = []
    first = fetch(asset(server + path), cache=tmp_path / "new" / "cache", progress=lambda *step: steps.append(step))
    assert first.read_bytes() == CONTENT
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    served = FileHandler.served
    assert fetch(asset(server + path), cache=tmp_path / "new" / "cache") == first
    assert FileHandler.served == served
    assert [item.name for item in first.parent.iterdir()] == ["network.onnx"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/gone", "404 Not Found"),
        ("/changed", "a different sha256"),
        ("/long", "a different sha256"),
        ("/cut", "no connection|the connection broke"),
    ],
)
def test_anything_else_is_an_error_that_says_how_to_do_it_by_hand(server: str, tmp_path: Path, path: str, said: str):
    with pytest.raises(DownloadError) as raised:
        fetch(asset(server + path), cache=tmp_path)
    assert re.search(said, str(raised.value))
    for part in ("network.onnx", f"{server}{path}", SHA256, f"put it at {tmp_path / 'network.onnx'}"):
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_file_put_there_by_hand_is_taken(tmp_path: Path):
    (tmp_path / "network.onnx").write_bytes(CONTENT)
    assert fetch(asset("https://unreachable.invalid/x"), cache=tmp_path).read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_fetched_again(server: str, tmp_path: Path):
    (tmp_path / "network.onnx").write_bytes(CONTENT[:-1])
    assert fetch(asset(f"{server}/whole"), cache=tmp_path).read_bytes() == CONTENT


def test_a_damaged_file_stays_where_the_download_fails(server: str, tmp_path: Path):
    (tmp_path / "network.onnx").write_bytes(b"else")
    with pytest.raises(DownloadError, match="404 Not Found"):
        fetch(asset(f"{server}/gone"), cache=tmp_path)
    assert (tmp_path / "network.onnx").read_bytes() == b"else"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_other_users_can_read_the_cache(server: str, tmp_path: Path):
    assert fetch(asset(f"{server}/whole"), cache=tmp_path).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("path", ["file/cache", "file"])
def test_cache_that_cannot_be_written_names_the_variable(server: str, tmp_path: Path, path: str):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DownloadError, match=r"cannot be kept in .*file.*; set BONAFACE_CACHE"):
        fetch(asset(f"{server}/whole"), cache=tmp_path / path)


def test_user_without_home_learns_of_the_variable(monkeypatch: pytest.MonkeyPatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("BONAFACE_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DownloadError, match="set BONAFACE_CACHE to a writable folder"):
        cache_folder()


def test_nothing_is_written_to_the_console(server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    fetch(asset(f"{server}/whole"), cache=tmp_path)
    assert capfd.readouterr() == ("", "")


def test_nobody_there_is_one_line(tmp_path: Path):
    with pytest.raises(DownloadError, match=r"no connection to the server, .*; fetch it by other means \(sha256"):
        fetch(asset("http://127.0.0.1:9/x"), cache=tmp_path, timeout=2)


def test_only_the_web_is_asked(tmp_path: Path):
    with pytest.raises(DownloadError, match="No connection adapters"):
        fetch(asset("file:///etc/hostname"), cache=tmp_path)


def test_the_cache_can_be_moved(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("BONAFACE_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"


def test_addresses_are_pinned():
    assert len(YUNET.sha256) == 64
    assert any(len(part) == 40 for part in YUNET.url.split("/"))
