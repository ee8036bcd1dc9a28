"""What comes from outside, broken by accident or on purpose: a typed error or a right verdict, and the server lives."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

from bonaface.data.frames import Frames
from bonaface.data.sources import Source
from bonaface.server.errors import ApiError
from bonaface.server.settings import Limits
from bonaface.server.uploads import Upload, check
from tests.server import broken
from tests.server.conftest import encoded

GIGABYTE = 1_000_000_000


def post(server, *files: bytes, name: str = "face.jpg"):
    return httpx.post(
        f"{server.url}/v1/liveness", files=[("file", (name, file, "image/jpeg")) for file in files], timeout=60
    )


def code(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "request_id"}
    return answer.status_code, error["code"]


@pytest.fixture(autouse=True)
def lives(server):
    yield
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert server.memory() < GIGABYTE


def test_no_file_or_an_empty_one(server):
    assert code(post(server, b"")) == (422, "empty")
    empty = httpx.post(f"{server.url}/v1/liveness", content=b"", headers={"Content-Type": "image/png"})
    assert code(empty) == (422, "empty")
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert code(httpx.post(f"{server.url}/v1/liveness", content=b"--x--\r\n", headers=form)) == (422, "empty")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_truncated_image(server, frames, form, share):
    content = encoded(frames[0], form)
    assert code(post(server, content[: int(len(content) * share)])) == (422, "unreadable")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_a_truncated_video(server, frames, mp4, share):
    assert code(post(server, mp4[: int(len(mp4) * share)])) == (422, "unreadable")
    webm = broken.video(frames, "webm", codec="libvpx")
    answer = post(server, webm[: int(len(webm) * share)])
    # A WebM can be read up to where it breaks off; its frames are scored, or it is refused.
    assert answer.status_code == 200 or code(answer) == (422, "unreadable")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "mp4", "mov", "webm"])
def test_flipped_bits(server, frames, form):
    small = [frame[::2, ::2] for frame in frames]
    if form.isupper():
        content = encoded(small[0], form)
    else:
        content = broken.video(small, form, codec="libvpx" if form == "webm" else "libx264")
    answers = [post(server, broken.bit_flipped(content, seed)) for seed in range(12)]
    for answer in answers:
        if answer.status_code != 200:
            assert code(answer) in {
                (422, "unreadable"),
                (415, "unsupported_format"),
                (422, "too_long"),
                (422, "too_many_pixels"),
            }


def test_a_bomb(server):
    bomb = broken.bomb_png()
    assert len(bomb) < 60_000
    before = time.perf_counter()
    assert code(post(server, bomb)) == (422, "too_many_pixels")
    assert time.perf_counter() - before < 2


def test_more_pixels_than_the_limit(server, frames):
    large = encoded(frames[0].repeat(8, axis=0).repeat(8, axis=1), "PNG", compress_level=1)
    assert code(post(server, large)) == (422, "too_many_pixels")


def test_the_largest_pictures_at_once_stay_within_the_memory(server, frames):
    large = np.asarray(Image.fromarray(frames[0]).resize((4600, 3450)))
    opacity = np.full(large.shape[:2], 200, np.uint8)
    content = encoded(np.dstack([large, opacity]), "PNG", compress_level=1)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: post(server, content), range(6)))
    assert {answer.status_code for answer in answers} == {200}


def kinds(frames) -> dict[str, bytes]:
    rgba = frames[0][..., [0, 1, 2, 0]].copy()
    rgba[..., 3] = 255
    return {
        "sixteen_bit": broken.grey16_png(frames[0]),
        "cmyk": broken.cmyk_jpeg(frames[0]),
        "alpha": encoded(rgba, "PNG"),
        "animated_webp": broken.animated(frames[:3], "WEBP"),
        "animated_png": broken.animated(frames[:3], "PNG"),
        **{f"exif_{n}": broken.turned_jpeg(frames[0], n) for n in range(1, 9)},
    }


def test_unusual_images_score_as_in_pipeline(server, pipeline, frames):
    upright = post(server, encoded(frames[0])).json()["score"]
    for name, content in kinds(frames).items():
        answer = post(server, content).json()
        (expected,) = pipeline.verdicts([Source(name, content)], kind="image")
        assert answer["verdict"] == "bona_fide" == expected.outcome, name
        assert answer["score"] == pytest.approx(expected.score, abs=1e-4), name
        assert answer["score"] == pytest.approx(upright, abs=0.1), name


@pytest.mark.parametrize(
    "content",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
        b"8BPS\x00\x01" + bytes(200),
        b"GIF89a" + bytes(200),
        b"II*\x00" + bytes(200),
        b"BM" + bytes(200),
        b"%PDF-1.7 " + bytes(200),
        b"\x00\x00\x00\x18ftypheic" + bytes(200),
        b"RIFF\x00\x00\x00\x00AVI LIST" + bytes(200),
        b"\x1aE\xdf\xa3\x93B\x82\x88mkvmovie" + bytes(200),
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"\x00",
    ],
)
def test_another_format_under_a_jpg_name(server, content):
    assert code(post(server, content)) == (415, "unsupported_format")


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("mov", "aac"), ("webm", "libopus")])
def test_a_video_with_sound_alone(server, suffix, codec):
    assert code(post(server, broken.sound(suffix, codec))) == (422, "unreadable")


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("mov", "libx264"), ("webm", "libvpx"), ("webm", "libvpx-vp9")]
)
def test_every_kind_of_video(server, pipeline, frames, suffix, codec):
    content = broken.video(frames, suffix, codec=codec)
    answer = post(server, content).json()
    (expected,) = pipeline.verdicts([Source("x", content)])
    assert answer["verdict"] == "bona_fide"
    assert answer["score"] == pytest.approx(expected.score, abs=1e-4)


def test_a_rotated_video(server, frames, mp4):
    upright, turned = post(server, mp4).json(), post(server, broken.rotated_mp4(frames)).json()
    assert turned["verdict"] == "bona_fide"
    assert turned["score"] == pytest.approx(upright["score"], abs=0.05)
    assert turned["frames"][0]["box"] == pytest.approx(upright["frames"][0]["box"], abs=20)


def test_headers_that_lie(server, mp4, frames):
    # FFmpeg goes by the samples, not by this field: the frames are scored.
    assert post(server, broken.with_duration(mp4, 3600)).json()["verdict"] == "bona_fide"
    long = broken.video([frame[::4, ::4] for frame in frames], fps=2, seconds=60)
    assert code(post(server, broken.with_duration(long, 1))) == (422, "too_long")
    # The size of the samples in the container is not the size of the pictures in the stream.
    wide = broken.patched(mp4, b"avc1" + bytes(6), 24 - 6, struct.pack(">HH", 20_000, 20_000))
    answer = post(server, wide)
    assert answer.status_code == 200 or code(answer) == (422, "too_many_pixels")
    more = broken.patched(mp4, b"stsz", 8, struct.pack(">I", 4_000_000_000))
    answer = post(server, more)
    assert answer.status_code == 200 or code(answer) in {(422, "unreadable"), (422, "too_long")}


def test_an_hour_long(server, frames):
    hour = broken.video([frame[::8, ::8] for frame in frames], fps=1, seconds=3600)
    assert len(hour) < 16_000_000
    assert code(post(server, hour)) == (422, "too_long")


def test_a_short_video_that_is_long_to_decode(mp4, frames):
    work = len(frames) * frames[0].shape[0] * frames[0].shape[1]
    upload = Upload(mp4, "video", 1)
    with Frames(mp4) as opened:
        assert check(upload, opened, Limits(video_work=work)) > 0
        with pytest.raises(ApiError, match="too_long"):
            check(upload, opened, Limits(video_work=work - 1))


def test_a_jpeg_that_passes_over_the_picture_again_and_again(server, frames):
    for passes, expected in ((20, 200), (200_000, 422)):
        content = broken.many_scans_jpeg(frames[0].repeat(4, 0).repeat(4, 1), passes)
        begun = time.perf_counter()
        answer = post(server, content)
        assert answer.status_code == expected
        assert time.perf_counter() - begun < 10
    assert code(answer) == (422, "unreadable")


def test_more_files_than_one_may_send(server, jpeg, mp4):
    assert code(post(server, *[jpeg] * 33)) == (422, "too_many_files")
    assert code(post(server, mp4, mp4)) == (422, "too_many_files")
    assert code(post(server, jpeg, mp4)) == (422, "too_many_files")


def test_a_burst_of_which_one_picture_is_damaged_has_no_verdict(server, jpeg):
    assert code(post(server, jpeg, jpeg[:2000], jpeg)) == (422, "unreadable")


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/plain", b"{}", (415, "unsupported_request")),
        ("application/x-www-form-urlencoded", b"a=b", (415, "unsupported_request")),
        ("", b"abc", (415, "unsupported_request")),
        ("multipart/form-data", b"abc", (400, "malformed")),
        ("multipart/form-data; boundary=x", b"abc", (400, "malformed")),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\nab",
            (400, "malformed"),
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\nab\r\n--x--\r\n',
            (422, "unknown_field"),
        ),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 50 + b"\r\n", (400, "malformed")),
        ("multipart/form-data; boundary=" + "x" * 999, b"abc", (400, "malformed")),
    ],
)
def test_bodies_that_are_not_what_they_announce(server, content_type, body, expected):
    headers = {"Content-Type": content_type}
    assert code(httpx.post(f"{server.url}/v1/liveness", content=body, headers=headers)) == expected


def test_a_packed_body_is_not_unpacked(server, jpeg):
    headers = {"Content-Type": "image/jpeg", "Content-Encoding": "gzip"}
    answer = httpx.post(f"{server.url}/v1/liveness", content=jpeg, headers=headers)
    assert code(answer) == (415, "unsupported_request")


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}])
@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("image/jpeg", b"x" * 40_000_000, (413, "too_large")),
        ("application/json", b"[" * 5_000_000, (400, "malformed")),
        ("text/plain", b"[" * 5_000_000, (415, "unsupported_request")),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nab\r\n' * 100_000 + b"--x--\r\n",
            (422, "too_many_files"),
        ),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_error_reaches_a_client_that_is_still_sending(server, content_type, body, expected, headers, chunked):
    pieces = (body[start : start + 1_000_000] for start in range(0, len(body), 1_000_000))
    headers = {"Content-Type": content_type, **headers}
    answer = httpx.post(f"{server.url}/v1/liveness", content=pieces if chunked else body, headers=headers, timeout=60)
    assert code(answer) == expected


def test_too_large_is_answered_before_the_body(server):
    with server.connect() as sock:
        sock.sendall(
            b"POST /v1/liveness HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
            b"Content-Length: 99999999\r\n\r\n"
        )
        answer = b""
        while not answer.endswith(b"}") and (part := sock.recv(65536)):
            answer += part
        assert b" 413 " in answer
        assert answer.endswith(b"}")


@pytest.mark.parametrize("path", ["/v1/liveness", "/healthz"])
def test_two_lengths_are_refused_and_the_connection_closed(server, path):
    with server.connect() as sock:
        sock.sendall(
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()
        )
        answer = everything(sock)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b" 400 " in answer
    assert b'"ambiguous_length"' in answer


def test_a_body_that_never_ends(server):
    with server.connect() as sock:
        sock.sendall(
            b"POST /v1/liveness HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + b"\xff\xd8\xff" + bytes(0x10000 - 3) + b"\r\n"
        begun, heard = time.perf_counter(), bytearray()
        reader = threading.Thread(target=lambda: heard.extend(everything(sock)))
        reader.start()
        with contextlib.suppress(OSError):
            while time.perf_counter() - begun < 30:
                sock.sendall(chunk)
        reader.join()
        assert b" 413 " in heard
        assert time.perf_counter() - begun < 20, "the server reads on although it has answered"


def test_a_slow_body_is_ended_and_holds_up_nobody(servers, jpeg):
    server = servers("--max-upload-seconds", "1.5", "--max-concurrent", "1")
    with server.connect() as sock:
        sock.sendall(asking(len(jpeg)))
        begun, answer = time.perf_counter(), bytearray()
        reader = threading.Thread(target=lambda: answer.extend(everything(sock)))
        reader.start()
        assert post(server, jpeg).status_code == 200
        with contextlib.suppress(OSError):
            while reader.is_alive() and time.perf_counter() - begun < 20:
                sock.sendall(b"\xff")
                reader.join(0.2)
        reader.join()
    assert b" 408 " in answer
    assert b'"too_slow"' in answer
    assert time.perf_counter() - begun < 10


def test_what_is_not_http_is_answered(server):
    with server.connect() as sock:
        sock.sendall(b"\x16\x03\x01 no\r\n\r\n")
        assert b" 400 " in everything(sock)


def test_a_body_that_turns_malformed_is_answered_once_and_nothing_is_said_of_it(servers):
    server = servers()
    for begin in (
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /v1/liveness HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n",
        b"POST /v1/liveness HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n",
    ):
        for pause in (0.0, 0.3):
            with server.connect() as sock:
                sock.sendall(begin + b"Transfer-Encoding: chunked\r\n\r\n")
                time.sleep(pause)
                sock.sendall(b"no chunk\r\n")
                assert everything(sock).count(b"HTTP/1.1 ") == 1
    assert "bonaface_inside 0.0" in httpx.get(f"{server.url}/metrics").text
    assert server.stop() == 0
    assert "Traceback" not in server.process.stdout.read()


def asking(length: int) -> bytes:
    """The head of a request."""
    lines = ["POST /v1/liveness HTTP/1.1", "Host: localhost", "Content-Type: image/jpeg", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


def everything(sock: socket.socket) -> bytes:
    """What the server says until it closes the connection."""
    heard = b""
    with contextlib.suppress(OSError):
        while piece := sock.recv(65536):
            heard += piece
    return heard
