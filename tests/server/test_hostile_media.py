"""Damaged and hostile media in some forty classes: none ends a process, hangs, takes a gigabyte, or gives an untyped error."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.hostile import box, mp4_of_samples
from tests.server import broken
from tests.server.conftest import Running, encoded, scaled

pytestmark = pytest.mark.slow
SEEDS = range(int(os.environ.get("BONAFACE_SEEDS", "3")))
"""Files of each class."""
SECONDS, MEGABYTES = 10, 1000
OUTCOMES = {"bona_fide", "attack", "no_face", "too_small", "several_faces", "unreadable"}
UNREADABLE = (
    *("empty", "noise", "noise_as_picture", "text", "flipped_png", "huge_png", "bomb_png", "declared_samples"),
    *("samples_of_a_byte", "no_samples", "sound_alone", "endless_ebml"),
)
Make = Callable[[random.Random], bytes]


def classes(frames: list[np.ndarray]) -> dict[str, tuple[str, Make]]:
    """By name a suffix and what makes a file of the class; every file differs with the seed."""
    small = [np.ascontiguousarray(frame[::2, ::2]) for frame in frames]
    jpeg, png = encoded(small[0]), encoded(small[0], "PNG")
    webp, tiff = encoded(small[0], "WEBP"), encoded(small[0], "TIFF")
    gif = broken.animated(small[:4], "GIF")
    mp4, mkv = broken.video(small), broken.video(small, "matroska")
    avi = broken.video(small, "avi", codec="mpeg4")
    moov, mdat = mp4.index(b"moov") - 4, mp4.index(b"mdat") - 4

    def cut(data: bytes) -> Make:
        return lambda rng: data[: rng.randrange(1, len(data))]

    def flipped(data: bytes, flips: int = 20) -> Make:
        return lambda rng: broken.bit_flipped(data, rng.randrange(1 << 30), flips)

    def zeroed(data: bytes) -> Make:
        def make(rng: random.Random) -> bytes:
            start = rng.randrange(20, len(data) - 20)
            return data[:start] + bytes(min(len(data) - start, 500)) + data[start + 500 :]

        return make

    def lying(atom: bytes, offset: int) -> Make:
        return lambda rng: broken.patched(
            mp4, atom, offset, struct.pack(">I", rng.choice((0, 1, 2**31 - 1, 2**32 - 1)))
        )

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    def sized_png(rng: random.Random) -> bytes:
        head = struct.pack(">IIBBBBB", rng.randrange(1, 2**31), rng.randrange(1, 2**31), 8, 2, 0, 0, 0)
        return (
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
        )

    def nested(rng: random.Random) -> bytes:
        inner = b""
        for _ in range(rng.randrange(1_000, 5_000)):
            inner = box(rng.choice(("moov", "trak", "mdia")), inner)
        return mp4[:moov] + inner

    def frames_of_gif(rng: random.Random) -> bytes:
        frame = gif[gif.index(b"\x21\xf9") : -1]
        return gif[:-1] + frame * rng.randrange(200, 400) + b";"

    return {
        "empty": (".jpg", lambda rng: b""),
        "noise": (".mp4", lambda rng: rng.randbytes(5_000)),
        "noise_as_picture": (".png", lambda rng: rng.randbytes(5_000)),
        "text": (".mov", lambda rng: b"ffconcat version 1.0\nfile a.mp4\n" * rng.randrange(1, 99)),
        "picture_named_as_video": (".mp4", flipped(jpeg)),
        "video_named_as_picture": (".jpg", flipped(mp4)),
        "cut_jpeg": (".jpg", cut(jpeg)),
        "cut_png": (".png", cut(png)),
        "cut_webp": (".webp", cut(webp)),
        "cut_gif": (".gif", cut(gif)),
        "cut_tiff": (".tif", cut(tiff)),
        "cut_mp4": (".mp4", cut(mp4)),
        "cut_mkv": (".mkv", cut(mkv)),
        "cut_avi": (".avi", cut(avi)),
        "flipped_jpeg": (".jpg", flipped(jpeg)),
        "flipped_png": (".png", flipped(png)),
        "flipped_webp": (".webp", flipped(webp)),
        "flipped_gif": (".gif", flipped(gif)),
        "flipped_tiff": (".tif", flipped(tiff)),
        "flipped_mp4_index": (".mp4", lambda rng: mp4[:moov] + flipped(mp4[moov:])(rng)),
        "flipped_mp4_frames": (".mp4", lambda rng: mp4[:mdat] + flipped(mp4[mdat:moov], 200)(rng) + mp4[moov:]),
        "flipped_mkv": (".mkv", flipped(mkv, 60)),
        "zeroed_mp4": (".mp4", zeroed(mp4)),
        "zeroed_jpeg": (".jpg", zeroed(jpeg)),
        "lying_frame_sizes": (".mp4", lying(b"stsz", 4)),
        "lying_frame_count": (".mp4", lying(b"stsz", 8)),
        "lying_places": (".mp4", lying(b"stco", 8)),
        "lying_times": (".mp4", lying(b"stts", 8)),
        "lying_sides": (".mp4", lying(b"avc1", 24)),
        "huge_png": (".png", sized_png),
        "bomb_png": (".png", lambda rng: broken.bomb_png(rng.randrange(8, 20) * 1000)),
        "many_scans": (".jpg", lambda rng: broken.many_scans_jpeg(small[0], rng.randrange(2_000, 20_000))),
        "many_gif_frames": (".gif", frames_of_gif),
        "declared_samples": (".mp4", lambda rng: mp4_of_samples(rng.randrange(1_000_000, 2**31))),
        "samples_of_a_byte": (
            ".mp4",
            lambda rng: mp4_of_samples(rng.randrange(10**6, 2**24), chunks=4096, payload=9_999),
        ),
        "no_samples": (".mp4", lambda rng: mp4_of_samples(0, sides=rng.randrange(1, 9999))),
        "sound_alone": (".mp4", flipped(broken.sound("mp4", "aac"), 1)),
        "nested_boxes": (".mp4", nested),
        "endless_ebml": (".webm", lambda rng: mkv[:40] + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + rng.randbytes(3_000)),
    }


@pytest.fixture(scope="module")
def files(frames, tmp_path_factory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("hostile") / "live"
    folder.mkdir()
    made: dict[str, list[Path]] = {}
    for name, (suffix, make) in classes([scaled(frame, 120) for frame in frames[:8]]).items():
        made[name] = [folder / f"{name}_{seed}{suffix}" for seed in SEEDS]
        for path in made[name]:
            path.write_bytes(make(random.Random(path.name)))
    (folder / "honest.jpg").write_bytes(encoded(frames[0]))
    return made


def patience() -> float:
    """Seconds for one file, on a machine that may have other work."""
    return SECONDS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


# What the system tells a parent counts the parent's own memory before the program was loaded: the process says its peak.
MAIN = """
import re, resource
from pathlib import Path
from bonaface.cli import main
try:
    main()
finally:
    own = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    Path("peak").write_text(str(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)))
"""


def run(folder: Path, *words: object) -> list[str]:
    """Run a command, and check how it and its processes ended; return its lines."""
    command = [sys.executable, "-c", MAIN, *map(str, words), "-q"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1, 2, 3), done.stderr
    assert "Internal error" not in done.stderr
    assert "Traceback" not in done.stderr
    assert int((folder / "peak").read_text()) / 1000 < MEGABYTES
    return done.stdout.splitlines()


def test_predict(bundle: Path, files, tmp_path: Path):
    began = time.monotonic()
    rows = [json.loads(line) for line in run(tmp_path, "predict", bundle, files["empty"][0].parent, "--json")]
    assert time.monotonic() - began < patience() * len(rows) / 2
    verdicts = {Path(row["source"]).name: row["verdict"] for row in rows}
    assert set(verdicts.values()) <= OUTCOMES
    assert len(verdicts) >= len(SEEDS) * (len(files) - 1)  # noise may be left out as no media
    for name in UNREADABLE:
        assert {verdicts.get(file.name, "unreadable") for file in files[name]} == {"unreadable"}, name
    assert verdicts["honest.jpg"] in ("bona_fide", "attack")


def test_index_and_crop(files, tmp_path: Path):
    began = time.monotonic()
    run(tmp_path, "data", "index", files["empty"][0].parents[1], "-o", tmp_path / "m.csv", "--check")
    run(tmp_path, "data", "crop", tmp_path / "m.csv", "-o", tmp_path / "crops", "--detector", "haar")
    assert time.monotonic() - began < patience() * len(SEEDS) * len(files)
    assert "honest.jpg" in (tmp_path / "m.csv").read_text()


def test_server(servers, files, jpeg: bytes):
    server: Running = servers()
    for name, made in files.items():
        for file in made:
            began = time.monotonic()
            answer = httpx.post(f"{server.url}/v1/liveness", files={"file": file.read_bytes()}, timeout=120)
            assert time.monotonic() - began < patience(), name
            assert answer.status_code in (200, 400, 413, 415, 422), (name, answer.text)
            found = answer.json()
            assert found["verdict"] in OUTCOMES if answer.status_code == 200 else found["error"]["code"], name
            assert answer.status_code != 200 or name not in UNREADABLE
        assert httpx.post(f"{server.url}/v1/liveness", files={"file": jpeg}, timeout=60).status_code == 200, name
        assert server.memory() < MEGABYTES * 1e6, name
