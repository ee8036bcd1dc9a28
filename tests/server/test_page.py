"""The page in a real browser, with a camera that plays a drawn person."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from bonaface.inference.bundle import change_bundle, load_bundle, write_bundle
from bonaface.inference.quality_limits import Limit
from tests.server.browser import CHROMIUM, Page, browsing, write_camera
from tests.server.conftest import start_server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page is not tested"),
]


@pytest.fixture(scope="module")
def cameras(tmp_path_factory, frames, dark_frames) -> dict[str, Path]:
    folder = Path(tmp_path_factory.mktemp("cameras"))
    plays = {
        "live": frames,
        "attack": dark_frames,
        "nobody": [np.full_like(frames[0], 90)] * 5,
        "far": [far(frame) for frame in frames],
        "blurred": [cv2.GaussianBlur(frame, (0, 0), 9) for frame in frames],
    }
    return {name: write_camera(folder / f"{name}.y4m", pictures) for name, pictures in plays.items()}


def far(frame: np.ndarray) -> np.ndarray:
    small = cv2.resize(frame, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    picture = np.full_like(frame, 90)
    top, left = ((whole - part) // 2 for whole, part in zip(picture.shape, small.shape[:2], strict=False))
    picture[top : top + small.shape[0], left : left + small.shape[1]] = small
    return picture


def start(page: Page, url: str) -> None:
    page.open(url)
    page.until("document.querySelector('#model').textContent")
    page.run("document.querySelector('#start').click()")


def verdict(page: Page) -> dict[str, str]:
    page.until("document.querySelector('#stage').dataset.mode === 'camera'")
    page.run("document.querySelector('#check').click()")
    page.until("document.querySelector('#verdict').dataset.tone.match(/^(yes|no|unsure)$/)")
    return {name: page.text(f"#{name}") for name in ("outcome", "advice", "score", "compared", "frame-count")}


@pytest.mark.parametrize(
    ("camera", "outcome", "compared"),
    [
        ("live", "Living face", "≥ threshold 0.400"),
        ("attack", "Presentation attack", "< threshold 0.400"),
        ("nobody", "No face found", ""),
    ],
)
def test_a_verdict_from_the_camera(server, cameras, tmp_path: Path, camera, outcome, compared):
    with browsing(tmp_path, camera=cameras[camera]) as page:
        start(page, server.url)
        written = verdict(page)
        assert written["outcome"] == outcome
        assert page.visible("#scores") == bool(compared)
        if compared:
            assert written["compared"] == compared
            assert (float(written["score"]) >= 0.4) == (camera == "live")
            assert written["frame-count"] == "6 of 6 scored"
            assert page.run("document.querySelectorAll('#trace circle').length") == 6
        assert page.run("document.querySelectorAll('#rows tr').length") == 6
        assert "network" in page.text("#times")
        page.run("document.querySelector('#stop').click()")
        assert page.run("document.querySelector('#camera').srcObject") is None
        assert page.complaints() == []
        assert page.hosts() == {server.url.removeprefix("http://")}


def test_a_slow_camera_is_not_taken_for_a_repeating_one(server, frames, tmp_path: Path):
    with browsing(tmp_path, camera=write_camera(tmp_path / "slow.y4m", frames, fps=4)) as page:
        start(page, server.url)
        assert verdict(page)["outcome"] == "Living face"
        assert "repeat" not in page.text("#note")


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        ("live", "Good. Press Check"),
        ("nobody", "in front of the camera"),
        ("attack", "Good. Press Check"),  # dark, and sharp
        ("far", "Come closer"),
        ("blurred", "blurred"),
    ],
)
def test_the_page_guides_while_the_camera_runs(server, cameras, tmp_path: Path, camera, said):
    with browsing(tmp_path, camera=cameras[camera]) as page:
        start(page, server.url)
        page.until(f"document.querySelector('#hint').textContent.includes({json.dumps(said)})")
        page.screenshot(tmp_path / f"{camera}.png")
        page.run("document.querySelector('#check').click()")
        page.until("document.querySelector('#verdict').dataset.tone.match(/^(yes|no|unsure)$/)")
        page.until(
            f"document.querySelector('#hint').textContent.includes({json.dumps(said)})"
        )  # and again after a check
        page.run("document.querySelector('#stop').click()")
        assert page.text("#hint") == ""
        assert page.complaints() == []


@pytest.fixture(scope="module")
def shop():
    """A site of its own whose page embeds the script; the address of a Bonaface server is its query."""

    class Shop(BaseHTTPRequestHandler):
        def do_GET(self):
            address = self.path.partition("?")[2]
            body = f'<!doctype html><div id="here"></div><script src="{address}/static/bonaface.js"></script>'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()


@pytest.fixture(scope="module")
def embeddable(servers, shop, tmp_path_factory):
    """A server whose script that site may embed."""
    log = str(tmp_path_factory.mktemp("log") / "log.db")
    return servers("--allow-origin", shop, "--log", log, "--require-session")


CAPTURE = """bonaface.capture(document.querySelector("#here"), {patience: 4000, hint: (name) => hints.push(name)})
    .then((verdict) => verdict.verdict, (error) => error.code)"""


@pytest.mark.parametrize(
    ("camera", "outcome", "hint"),
    [
        ("live", "bona_fide", "ready"),
        ("attack", "attack", "ready"),
        ("nobody", "no_face", "no_face"),
        ("far", "bona_fide", "too_far"),
        ("blurred", "bona_fide", "blurred"),
    ],
)
def test_embedded_script_returns_the_verdict(embeddable, shop, cameras, tmp_path: Path, camera, outcome, hint):
    with browsing(tmp_path, camera=cameras[camera]) as page:
        for width in (390, 1280):
            page.look(width=width, height=800)
            page.open(f"{shop}/?{embeddable.url}")
            page.run("window.hints = []")
            assert page.run(CAPTURE) == outcome
            assert hint in page.run("hints")
            assert page.run("document.querySelector('#here').childElementCount") == 0
        assert page.complaints() == []


def test_embedded_script_on_a_site_that_is_not_allowed(server, shop, cameras, tmp_path: Path):
    with browsing(tmp_path, camera=cameras["live"]) as page:
        page.open(f"{shop}/?{server.url}")
        page.run("window.hints = []")
        assert page.run(CAPTURE) == "unreachable"


def test_embedded_script_without_a_camera(servers, shop, tmp_path: Path):
    server = servers("--allow-origin", shop)
    with browsing(tmp_path, allow=False) as page:
        page.open(f"{shop}/?{server.url}")
        page.run("window.hints = []")
        assert page.run(CAPTURE) == "camera_denied"
        assert page.run("document.querySelector('#here').childElementCount") == 0


def test_denied_camera(server, tmp_path: Path):
    with browsing(tmp_path, allow=False) as page:
        start(page, server.url)
        page.until("document.querySelector('#verdict').dataset.tone === 'unsure'")
        assert page.text("#outcome") == "No camera"
        assert "denied" in page.text("#advice")
        assert page.visible("#start")
        assert not page.visible("#check")


@pytest.mark.parametrize(("width", "height"), [(360, 640), (740, 340)])
def test_the_verdict_shows_on_a_phone_without_scrolling(server, cameras, tmp_path: Path, width, height):
    with browsing(tmp_path, camera=cameras["live"]) as page:
        page.look(width=width, height=height)
        start(page, server.url)
        verdict(page)
        for shown in ("outcome", "advice"):
            place = page.run(f"document.querySelector('#{shown}').getBoundingClientRect().toJSON()")
            assert 0 <= place["top"] < place["bottom"] <= height, shown
        assert page.run("document.querySelector('#stage').getBoundingClientRect().bottom") > 0.3 * height


def test_page_says_what_to_do_where_quality_is_low(bundle, cameras, tmp_path: Path):
    strict = change_bundle(load_bundle(bundle), path=tmp_path / "strict", quality={"face_size": Limit(min=500)})
    write_bundle(strict)
    running = start_server(tmp_path / "strict")
    try:
        with browsing(tmp_path / "profile", camera=cameras["live"]) as page:
            start(page, running.url)
            written = verdict(page)
            assert (written["outcome"], written["advice"]) == ("Picture not good enough", "Come closer to the camera.")
            assert not page.visible("#scores")
            assert "face_size " in page.text("#note")
    finally:
        running.stop()
        assert running.process.stdout is not None
        running.process.stdout.close()


def test_a_camera_that_goes_away_and_a_server_that_does(servers, cameras, tmp_path: Path):
    server = servers()
    with browsing(tmp_path, camera=cameras["live"]) as page:
        start(page, server.url)
        page.until("document.querySelector('#stage').dataset.mode === 'camera'")
        server.stop()
        page.run("document.querySelector('#check').click()")
        page.until("document.querySelector('#outcome').textContent === 'No answer'")
        page.run("document.querySelector('#camera').srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))")
        page.until("document.querySelector('#outcome').textContent === 'No camera'")
        assert page.visible("#start")
        assert page.run("document.querySelector('#camera').srcObject") is None


def test_page_retries_while_the_queue_is_full(server, cameras, tmp_path: Path):
    with browsing(tmp_path, camera=cameras["live"]) as page:
        start(page, server.url)
        page.until("document.querySelector('#stage').dataset.mode === 'camera'")
        page.run(
            """{const real = window.fetch, busy = '{"error": {"code": "busy"}}';
            let first = true;
            window.fetch = (...request) => {
              if (!first || !String(request[0]).includes("liveness")) return real(...request);
              first = false;
              return Promise.resolve(new Response(busy, {status: 429, headers: {"Retry-After": "1"}}));
            };}"""
        )
        page.run("document.querySelector('#check').click()")
        page.until("document.querySelector('#outcome').textContent === 'Busy'")
        assert "Asking again in 1 s" in page.text("#advice")
        page.until("document.querySelector('#outcome').textContent === 'Living face'")


def test_a_file_that_is_more_than_the_server_takes_is_not_sent(servers, tmp_path: Path):
    server = servers("--max-body-mb", "0.5")
    with browsing(tmp_path) as page:
        page.open(server.url)
        page.until("document.querySelector('#model').textContent")
        page.run(
            """{const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(600000)], "x", {type: "image/jpeg"}));
            document.dispatchEvent(new DragEvent("drop", {dataTransfer: data, cancelable: true}));}"""
        )
        page.until("document.querySelector('#outcome').textContent === 'Not scored'")
        assert "0.5 MB" in page.text("#advice")
        assert not any("liveness" in str(event) for event in page.events)


def test_a_file_that_is_dropped_and_one_that_is_refused(server, tmp_path: Path, jpeg, mp4):
    def drop(content: bytes, kind: str) -> None:
        page.run(
            f"""{{const data = new DataTransfer();
            data.items.add(new File([new Uint8Array({json.dumps(list(content))})], "x", {{type: "{kind}"}}));
            document.dispatchEvent(new DragEvent("drop", {{dataTransfer: data, cancelable: true}}));}}"""
        )

    with browsing(tmp_path) as page:
        page.open(server.url)
        drop(jpeg, "image/jpeg")
        page.until("document.querySelector('#outcome').textContent === 'Living face'")
        assert page.visible("#picture")
        assert page.text("#frame-count") == "1 of 1 scored"
        assert page.text("#compared") == "≥ threshold 0.500"
        drop(mp4, "video/mp4")
        page.until("document.querySelector('#frame-count').textContent === '6 of 6 scored'")
        assert page.visible("#clip")
        drop(b"<svg/>", "image/svg+xml")
        page.until("document.querySelector('#outcome').textContent === 'Not scored'")
        assert "JPEG, PNG or WebP" in page.text("#advice")
        assert not page.visible("#details")


def test_page_works_with_keyboard_and_screen_reader(server, cameras, tmp_path: Path):
    with browsing(tmp_path, camera=cameras["live"]) as page:
        page.open(server.url)
        page.until("document.querySelector('#model').textContent")
        for _ in range(10):
            page.press("Tab")
            if page.run("document.activeElement.id") == "start":
                break
        page.press("Enter")
        page.until("document.activeElement.id === 'check'")
        page.press(" ")
        page.until("document.querySelector('#verdict').dataset.tone === 'yes'")
        page.until("document.activeElement.id === 'check'")
        tree = page.send("Accessibility.getFullAXTree")["nodes"]
        names = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if "role" in node}
        assert ("button", "Check") in names
        assert ("button", "Stop camera") in names
        assert any(role == "image" and "threshold 0.400" in name for role, name in names)
        assert any(role == "status" for role, _ in names)
        assert all(name for role, name in names if role in {"button", "link", "textbox"})


def test_every_width_and_both_colour_schemes(server, cameras, tmp_path: Path):
    with browsing(tmp_path, camera=cameras["live"]) as page:
        start(page, server.url)
        verdict(page)
        check_sizes_and_colours(page)
        page.open(server.url + "/docs")
        check_sizes_and_colours(page)


def check_sizes_and_colours(page: Page) -> None:
    for width in (320, 390, 800, 1280):
        for dark in (False, True):
            page.look(width=width, height=800, dark=dark)
            assert page.run("document.documentElement.scrollWidth") <= width
            ground, ink = page.run(
                "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
            )
            assert (brightness(ground) < brightness(ink)) == dark
            assert contrast(ground, ink) > 7


def test_a_server_with_a_key_asks_for_it(servers, cameras, tmp_path: Path):
    file = tmp_path / "key"
    file.write_text("correct horse battery")
    server = servers("--key-file", str(file))
    with browsing(tmp_path / "profile", camera=cameras["live"]) as page:
        page.open(server.url)
        page.until("!document.querySelector('#key-row').hidden")
        page.run("document.querySelector('#start').click()")
        assert verdict(page)["advice"].startswith("This server asks for its key")
        page.until("document.activeElement.id === 'key'")
        page.run(
            "document.querySelector('#key').value = 'correct horse battery';"
            "document.querySelector('#key').dispatchEvent(new Event('change'))"
        )
        page.until("document.querySelector('#model').textContent")
        page.run("document.querySelector('#verdict').dataset.tone = 'none'")
        assert verdict(page)["outcome"] == "Living face"


def channels(colour: str) -> list[float]:
    return [float(value) for value in colour[colour.index("(") + 1 : -1].split(",")[:3]]


def brightness(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((brightness(one), brightness(other)))
    return (light + 0.05) / (dark + 0.05)
