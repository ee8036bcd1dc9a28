from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save

from bonaface.errors import DownloadError
from bonaface.model.weights import fetch_weights

CONTENT = save({"conv.weight": torch.arange(6.0).reshape(2, 3)})
COMMIT = "a" * 40


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as its client asks for: one small repository at one commit."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        if "known/model" not in self.path:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = CONTENT if "/resolve/" in self.path else json.dumps({"sha": COMMIT}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


@contextmanager
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_weights_come_from_the_hub_once_and_then_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with hub() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        fetched = fetch_weights("tiny", "known/model", cache=tmp_path)
    assert fetched.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert torch.equal(fetched.tensors["conv.weight"], torch.arange(6.0).reshape(2, 3))
    again = fetch_weights("tiny", "known/model", cache=tmp_path)  # the server is gone
    assert again.sha256 == fetched.sha256


def test_a_hub_that_is_not_there_says_what_to_fetch_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://nowhere.invalid")
    with pytest.raises(DownloadError) as caught:
        fetch_weights("tiny", "known/model", cache=tmp_path)
    said = str(caught.value)
    assert "\n" not in said
    for word in (
        "tiny",
        "sha256",
        "http://nowhere.invalid/known/model/resolve/main/model.safetensors",
        "model.weights",
    ):
        assert word in said


def test_a_repository_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with hub() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(DownloadError, match="tiny") as caught:
            fetch_weights("tiny", "unknown/other", cache=tmp_path)
    assert "\n" not in str(caught.value)
