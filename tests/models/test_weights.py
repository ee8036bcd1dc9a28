from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save

from bonaface.config import ModelSettings
from bonaface.errors import DownloadError, WeightsError
from bonaface.models import weights
from bonaface.models.network import build_network
from bonaface.models.weights import PINNED, fetch_weights

CONTENT = save({"conv.weight": torch.arange(6.0).reshape(2, 3)})
SHA256 = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "a" * 40


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as is asked for: one repository, whose file is sent on to another address as the hub does."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        known = {f"/known/model/resolve/{revision}/model.safetensors" for revision in ("main", COMMIT)}
        if self.path in known:
            self.send_response(302)
            self.send_header("Location", "/storage")
        elif self.path == "/storage":
            self.send_response(200)
        else:
            self.send_response(404)
        content = CONTENT if self.path == "/storage" else b""
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


@contextmanager
def hub() -> Iterator[str]:
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this machine's caches nor its proxies."""
    monkeypatch.setenv("BONAFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "PINNED", {"known/model": (COMMIT, SHA256)})


@pytest.mark.usefixtures("pinned")
def test_weights_come_from_the_hub_once_and_then_from_the_cache(monkeypatch: pytest.MonkeyPatch):
    with hub() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        fetched = fetch_weights("tiny", "known/model")
    assert fetched.sha256 == SHA256
    assert torch.equal(fetched.tensors["conv.weight"], torch.arange(6.0).reshape(2, 3))
    assert Hub.asked == [f"/known/model/resolve/{COMMIT}/model.safetensors", "/storage"]
    again = fetch_weights("tiny", "known/model")  # the server is gone
    assert again.sha256 == fetched.sha256


def in_hubs_cache(folder: Path, content: bytes, *, main: str = "b" * 40) -> Path:
    """What the hub's own client leaves behind; `main` is the revision that it last saw there."""
    home = folder / "hub" / "models--known--model"
    snapshot = home / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(content)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(main)
    return snapshot / "model.safetensors"


@pytest.mark.usefixtures("pinned")
def test_a_file_that_the_hubs_own_client_has_fetched_is_not_fetched_again(tmp_path: Path):
    file = in_hubs_cache(tmp_path, CONTENT)
    assert fetch_weights("tiny", "known/model").source == str(file)


@pytest.mark.usefixtures("pinned")
@pytest.mark.parametrize("content", [save({"conv.weight": torch.ones(2, 3)}), CONTENT[:30]], ids=["other", "damaged"])
def test_other_content_in_the_hubs_cache_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes):
    in_hubs_cache(tmp_path, content)
    with hub() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert fetch_weights("tiny", "known/model").sha256 == SHA256


def test_other_content_than_what_is_pinned_is_refused_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(weights, "PINNED", {"known/model": (COMMIT, "0" * 64)})
    with hub() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(DownloadError, match="a different sha256"):
            fetch_weights("tiny", "known/model")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("pinned")
def test_a_hub_that_is_not_there_says_what_to_put_where_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://nowhere.invalid")
    with pytest.raises(DownloadError) as caught:
        fetch_weights("tiny", "known/model")
    said = str(caught.value)
    place = tmp_path / "cache" / "weights" / f"known--model-{SHA256[:8]}.safetensors"
    assert "\n" not in said
    assert said.endswith("or train from scratch with model.weights=none")
    for word in (SHA256, f"http://nowhere.invalid/known/model/resolve/{COMMIT}/model.safetensors", str(place)):
        assert word in said
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(CONTENT)
    assert fetch_weights("tiny", "known/model").sha256 == SHA256


def test_weights_of_another_network_need_a_sha256_that_the_user_gives(monkeypatch: pytest.MonkeyPatch):
    with hub() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(DownloadError, match=r"model\.weights_sha256") as caught:
            fetch_weights("tiny", "known/model")
        assert Hub.asked == []
        assert fetch_weights("tiny", "known/model", sha256=SHA256).sha256 == SHA256
    assert f"{address}/known/model/raw/main/model.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_repository_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch):
    with hub() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(DownloadError, match="unknown--other") as caught:
            fetch_weights("tiny", "unknown/other", sha256=SHA256)
    assert "404" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_networks_of_the_recipes_have_their_weights_pinned():
    import timm

    for name in ("mobilenetv3_large_100", "mobilenetv3_small_100"):
        _, sha256 = PINNED[timm.models.get_pretrained_cfg(name).hf_hub_id]
        assert len(sha256) == 64


def test_a_file_is_held_against_the_sha256_that_is_given(tmp_path: Path):
    path = tmp_path / "some.safetensors"
    path.write_bytes(CONTENT)
    with pytest.raises(WeightsError, match=SHA256):
        build_network(ModelSettings(weights=str(path), weights_sha256="0" * 64))
