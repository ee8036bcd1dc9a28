"""Sessions good for one verdict, base64 in JSON, and pages of other sites."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select, text

from bonaface.errors import SettingsError
from bonaface.inference.decision_log import Decision, DecisionLog, open_log
from bonaface.server.errors import ApiError
from bonaface.server.sessions import SECONDS, SESSIONS, Sessions
from bonaface.server.settings import ServerSettings
from tests.server.conftest import encoded

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def guarded(servers, tmp_path_factory):
    """Two servers on one database."""
    log = str(tmp_path_factory.mktemp("log") / "decisions.db")
    return [servers("--log", log, "--require-session", "--max-concurrent", "64") for _ in range(2)]


def token(server) -> str:
    answer = httpx.post(f"{server.url}/v1/sessions")
    assert (answer.status_code, answer.json()["expires_in"]) == (201, 120)
    return str(answer.json()["token"])


def post(server, content: bytes, session: str | None = None) -> httpx.Response:
    headers = {"Content-Type": "image/jpeg"} | ({} if session is None else {"X-Session": session})
    return httpx.post(f"{server.url}/v1/liveness", content=content, headers=headers, timeout=60)


def test_a_token_is_good_for_one_verdict(guarded, jpeg):
    one, other = guarded
    mine = token(one)
    assert post(other, jpeg, mine).json()["verdict"] == "bona_fide"
    for server in guarded:
        again = post(server, jpeg, mine)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "session_used")


def test_one_request_sent_many_times_is_answered_once(guarded, jpeg):
    mine = token(guarded[0])
    with ThreadPoolExecutor(8) as pool:
        codes = Counter(pool.map(lambda number: post(guarded[number % 2], jpeg, mine).status_code, range(60)))
    assert codes == {200: 1, 409: 59}


@pytest.mark.parametrize("given", [None, "", "x", "ä", "a" * 5000], ids=["none", "empty", "unknown", "umlaut", "long"])
def test_without_a_token_there_is_no_verdict(guarded, jpeg, given):
    answer = httpx.post(
        f"{guarded[0].url}/v1/liveness",
        content=jpeg,
        headers=[(b"content-type", b"image/jpeg")] + ([] if given is None else [(b"x-session", given.encode())]),
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unknown_session")


def test_a_request_without_verdict_leaves_the_token_good(guarded, jpeg):
    mine = token(guarded[0])
    assert post(guarded[0], jpeg[:300], mine).status_code == 422
    assert post(guarded[0], jpeg, mine).status_code == 200


def test_tokens_expire_and_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sessions = Sessions(str(tmp_path / "log.db"))
    now = time.time()
    old = sessions.create()
    monkeypatch.setattr(time, "time", lambda: now + SECONDS + 1)
    with pytest.raises(ApiError) as error:
        sessions.use(old)
    assert error.value.code == "unknown_session"
    fresh = sessions.create()
    sessions.use(fresh)
    with sessions._engine.connect() as connection:
        digests = [row.digest for row in connection.execute(select(SESSIONS))]
    assert len(digests) == 1
    assert fresh not in digests
    sessions.close()


def test_a_database_that_fails_gives_no_verdict(tmp_path: Path):
    sessions = Sessions(str(tmp_path / "log.db"))
    mine = sessions.create()
    with sessions._engine.begin() as connection:
        SESSIONS.drop(connection)
    with pytest.raises(ApiError) as error:
        sessions.use(mine)
    assert (error.value.code, error.value.status) == ("sessions_unavailable", 503)
    sessions.close()


def test_sessions_need_a_database():
    with pytest.raises(SettingsError, match="add --log FILE"):
        ServerSettings(require_session=True)


def test_a_server_without_sessions_says_so(server, guarded, jpeg):
    answer = httpx.post(f"{server.url}/v1/sessions")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert "--require-session" in answer.json()["error"]["message"]
    assert post(server, jpeg, "whatever").status_code == 200
    needed = [httpx.get(f"{each.url}/v1/model").json()["session_required"] for each in (server, guarded[0])]
    assert needed == [False, True]


@pytest.fixture(scope="module")
def postgres():
    """The address of a PostgreSQL server of its own."""
    pytest.importorskip("psycopg", reason="needs the package psycopg")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "")]
    if not found[-1].is_file() or shutil.which("runuser") is None:
        pytest.skip("needs PostgreSQL (Debian: postgresql)")
    binaries, folder = found[-1].parent, Path(tempfile.mkdtemp())  # pytest's own folders are root's alone
    shutil.chown(folder, "postgres")
    as_user = ["runuser", "-u", "postgres", "--"]
    data = folder / "data"
    subprocess.run([*as_user, binaries / "initdb", "-D", data, "-A", "trust"], check=True, capture_output=True)
    options = f"-c listen_addresses= -c unix_socket_directories={folder}"
    subprocess.run(
        [*as_user, binaries / "pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start"],
        check=True,
        capture_output=True,
    )
    yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    subprocess.run([*as_user, binaries / "pg_ctl", "-D", data, "-m", "fast", "stop"], check=True, capture_output=True)
    shutil.rmtree(folder)


def test_sessions_in_postgresql(postgres: str):
    sessions, other = Sessions(postgres), Sessions(postgres)
    mine = sessions.create()

    def use(database: Sessions) -> str:
        try:
            database.use(mine)
        except ApiError as error:
            return error.code
        return "good"

    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(pool.map(use, [sessions, other] * 50))
    assert outcomes == {"good": 1, "session_used": 99}
    other.give_back(mine)
    assert use(sessions) == "good"
    sessions.close()
    other.close()


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"], ids=["bare", "data URL"])
def test_json_with_base64_is_scored_as_the_files(server, jpeg, frames, prefix):
    def text(content: bytes) -> str:
        return prefix + base64.b64encode(content).decode()

    one = httpx.post(f"{server.url}/v1/liveness", json={"images": [text(jpeg)]}).json()
    assert (one["score"], one["kind"]) == (post(server, jpeg).json()["score"], "image")
    burst = httpx.post(
        f"{server.url}/v1/liveness", json={"images": [text(encoded(each)) for each in frames[:4]]}
    ).json()
    assert (burst["kind"], len(burst["frames"])) == ("video", 4)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed"),
        (b"[]", 400, "malformed"),
        (b'{"images": [' + b"{}," * 1_000_000 + b"{}]}", 400, "malformed"),
        (b'{"images": [' + b'"a",' * 1_000_000 + b'"a"]}', 422, "too_many_files"),
        (b"\xff", 400, "malformed"),
        (b"[" * 100_000, 400, "malformed"),
        (b'{"images": "aGk="}', 400, "malformed"),
        (b'{"images": [1]}', 400, "malformed"),
        (b'{"images": ["no base64!"]}', 400, "malformed"),
        (b'{"images": ["\xc3\xa4"]}', 400, "malformed"),
        (b'{"images": []}', 422, "empty"),
        (b"{}", 422, "empty"),
        (b'{"images": [""]}', 422, "empty"),
        (b'{"image": "aGk="}', 422, "unknown_field"),
        (b'{"\\ud800": 1}', 422, "unknown_field"),
        (json.dumps({"images": ["aGk="] * 33}).encode(), 422, "too_many_files"),
        (b'{"images": ["aGk="]}', 415, "unsupported_format"),
    ],
)
def test_json_that_is_wrong_is_refused(server, body: bytes, status: int, code: str):
    answer = httpx.post(f"{server.url}/v1/liveness", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_repeated_pictures_of_a_burst_are_noted(server, jpeg, frames):
    def reason(*contents: bytes) -> str:
        files = [("file", ("x", content)) for content in contents]
        return str(httpx.post(f"{server.url}/v1/liveness", files=files).json()["reason"])

    assert "2 of 3 pictures repeat an earlier one" in reason(jpeg, jpeg, jpeg)
    assert "repeat" not in reason(*(encoded(frame) for frame in frames[:3]))


@pytest.fixture(scope="module")
def shared_with(servers):
    return servers("--allow-origin", "https://shop.example", "--allow-origin", "http://localhost:3000")


def test_named_origins_may_call_the_api(shared_with, server, jpeg):
    url = f"{shared_with.url}/v1/liveness"
    for origin, allowed in (
        ("https://shop.example", True),
        ("http://localhost:3000", True),
        ("https://evil.example", False),
    ):
        ask = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-session"}
        preflight = httpx.options(url, headers=ask)
        answer = httpx.post(url, content=jpeg, headers={"Origin": origin, "Content-Type": "image/jpeg"})
        failed = httpx.post(url, content=b"", headers={"Origin": origin, "Content-Type": "image/jpeg"})
        for given in (preflight, answer, failed):
            assert given.headers.get("access-control-allow-origin") == (origin if allowed else None)
        assert preflight.status_code == (200 if allowed else 400)
    plain = httpx.post(f"{server.url}/v1/liveness", content=jpeg, headers={"Origin": "https://shop.example"})
    assert "access-control-allow-origin" not in plain.headers


@pytest.mark.parametrize(
    "origin",
    [
        "shop.example",
        "https://shop.example/",
        "https://shop.example/x",
        "*",
        "ftp://x",
        "",
        "https://[x",
        "https://Shop.example",
        "https://shop.example:443",
    ],
)
def test_origin_that_is_none_is_refused(origin):
    with pytest.raises(SettingsError, match="--allow-origin"):
        ServerSettings(allow_origins=(origin,))


def test_decisions_in_postgresql_outnumber_32_bits(postgres: str):
    DecisionLog(postgres).close()
    engine = open_log(postgres)
    with engine.begin() as connection:
        connection.execute(text("ALTER SEQUENCE decisions_id_seq RESTART WITH 2147483647"))
    lost: list[int] = []
    log = DecisionLog(postgres, lost=lost.append)
    for number in range(3):
        log.add(Decision(str(number), datetime.now(UTC), "bona_fide", 0.9, 0.5, "bundle"))
    log.close()
    assert not lost
    with engine.connect() as connection:
        assert connection.execute(text("SELECT max(id) FROM decisions")).scalar() == 2_147_483_649
    engine.dispose()
