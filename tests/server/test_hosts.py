"""Which hosts are answered, and the public address."""

from __future__ import annotations

import httpx
import pytest

from bonaface.errors import SettingsError
from bonaface.server.settings import ServerSettings

URL = "/v1/liveness"


@pytest.mark.parametrize("address", ["https://faces.example/liveness", "https://faces.example/liveness/"])
def test_docs_name_the_public_address(servers, address):
    server = servers("--public-url", address)
    page = httpx.get(f"{server.url}/docs", headers={"Host": "faces.example"}).text
    assert "curl -F file=@face.mp4 https://faces.example/liveness/v1/liveness" in page
    assert server.url not in page
    document = httpx.get(f"{server.url}/openapi.json").json()
    assert document["servers"] == [{"url": "https://faces.example/liveness"}]


@pytest.mark.parametrize("address", ["faces.example", "ftp://faces.example", "https://"])
def test_public_url_that_is_no_address_is_refused(address):
    with pytest.raises(SettingsError, match="--public-url"):
        ServerSettings(public_url=address)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8000", True),
        ("LOCALHOST:8000", True),
        ("localhost.", True),
        ("[::1]:8000", True),
        ("evil.example", False),
        ("evil.example:8000", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8000", False),
        ("localhost@evil.example", False),
        ("evil.example, localhost", False),
        ("192.168.1.7:8000", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("path", ["/", "/v1/model", "/docs", "/metrics", URL])
def test_only_known_hosts_are_answered(server, jpeg, host, allowed, path):
    headers = {"Host": host, "Content-Type": "image/jpeg"}
    answer = httpx.request("POST" if path == URL else "GET", server.url + path, headers=headers, content=jpeg)
    assert answer.status_code == (200 if allowed else 421)
    if not allowed:
        assert answer.json()["error"]["code"] == "unknown_host"


def test_allow_host_adds_names(servers):
    server = servers("--allow-host", "faces.example", "--allow-host", "Other.example")
    statuses = [
        httpx.get(f"{server.url}/v1/model", headers={"Host": host}).status_code
        for host in ("faces.example:8000", "other.example", "evil.example")
    ]
    assert statuses == [200, 200, 421]


@pytest.mark.parametrize(
    ("settings", "host", "allowed"),
    [
        (ServerSettings(allow_hosts=("*",)), "evil.example", True),
        (ServerSettings(host="0.0.0.0"), "192.168.1.7", True),
        (ServerSettings(host="::"), "fe80::1", True),
        (ServerSettings(host="0.0.0.0"), "evil.example", False),
        (ServerSettings(host="faces.local"), "faces.local", True),
        (ServerSettings(host="192.168.1.7"), "192.168.1.7", True),
        (ServerSettings(host="192.168.1.7"), "192.168.1.8", False),
        (ServerSettings(public_url="https://faces.example/x"), "faces.example", True),
    ],
)
def test_hosts_follow_from_the_settings(settings, host, allowed):
    assert settings.allows_host(host) == allowed
