"""Measure the audit's copy search on drawn persons: copies found of 100 planted ones, and false alarms per million pairs.

Persons are drawn, each in several takes. Some takes repeat the place and the light of an earlier one some seconds later: of
all different pairs these are the hardest to tell from copies. Copies of stills and videos are then planted: re-encoded,
resized, mirrored, brightened or cropped by 2 to 15 % at each side, all of them with a lower quality too. The manifest names
no subjects and no splits, so the audit compares every pair.

python benchmarks/audit.py [--persons 240] [--first 0] [--copies 100] [--folder DIR]

The bounds were chosen on `--first 0`. A different `--first` draws persons in places on which nothing was chosen.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.attack_simulation.simulated_camera import Camera, capture
from bonaface.data.images import read_image
from bonaface.data.manifest import make_manifest
from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import Take
from bonaface.data.video import VideoReader
from bonaface.data.video_writer import write_video
from bonaface.workflows.audit import audit

KINDS = ("re-encoded", "resized", "mirrored", "brightened", "cropped")
TAKES = 5
FRAMES, FPS = 5, 3
WORKERS = 2

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Shot:
    """A presentation to draw: one picture, or a video, of a person at a place, from a moment on."""

    path: str
    person: int
    place: int
    moment: float
    video: bool
    folder: Path


def main() -> None:
    """Draw, plant, audit, and print a table: found and planted by kind, then false alarms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", type=int, default=240)
    parser.add_argument("--first", type=int, default=0, help="number of the first person: others for other numbers")
    parser.add_argument("--copies", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=None, help="where to write the files; by default the system's")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        folder = Path(place)
        start = time.perf_counter()
        paths, planted = make(folder, asked.first, asked.persons, asked.copies)
        drawn = time.perf_counter() - start
        print(f"{len(paths)} presentations drawn in {drawn:.0f} s", flush=True)
        measure(folder, paths, planted)


def make(folder: Path, first: int, persons: int, copies: int) -> tuple[list[str], dict[frozenset[str], str]]:
    """Draw the presentations and plant the copies; return all paths, and the kind of each planted pair."""
    shots = plan(folder, range(first, first + persons))
    with ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(draw, shots, chunksize=8))
    planted = plant(shots, folder, copies, seed=first)
    return [*(shot.path for shot in shots), *(copy for copy, _ in planted.values())], {
        frozenset((source, copy)): kind for source, (copy, kind) in planted.items()
    }


def measure(folder: Path, paths: list[str], planted: dict[frozenset[str], str]) -> None:
    """Audit the presentations and print what was found, missed and mistaken for a copy."""
    rows = [{"path": path, "label": ("bona_fide", "attack")[number % 2]} for number, path in enumerate(paths)]
    start = time.perf_counter()
    found = audit(make_manifest(pd.DataFrame(rows), folder), detector="whole_frame", workers=WORKERS)
    print(f"{len(paths)} presentations audited in {time.perf_counter() - start:.0f} s\n")
    pairs = {frozenset(shared.paths) for shared in found.shared}
    of_kind, hits = Counter(planted.values()), Counter(planted[pair] for pair in pairs & planted.keys())
    print(f"{'copy':<14}{'found':>8}{'planted':>9}")
    for kind in KINDS:
        print(f"{kind:<14}{hits[kind]:>8}{of_kind[kind]:>9}")
    print(f"{'all':<14}{hits.total():>8}{of_kind.total():>9}\n")
    false = pairs - planted.keys()
    different = len(paths) * (len(paths) - 1) // 2 - len(planted)
    print(f"false alarms: {len(false)} in {different:,} pairs, {1e6 * len(false) / different:.2f} per million")
    for what, some in (("false", false), ("missed", planted.keys() - pairs)):
        for pair in sorted(map(sorted, some))[:20]:
            print(f"  {what}:", *pair, planted.get(frozenset(pair), ""))


def plan(folder: Path, persons: range) -> list[Shot]:
    """Takes in places of their own, and the first place again some moments later; a video of it for every third person."""
    shots = []
    for person in persons:
        shots += [
            Shot(f"p{person}/{take}.jpg", person, person * 100 + take, 0.0, False, folder) for take in range(TAKES)
        ]
        shots.append(Shot(f"p{person}/later.jpg", person, person * 100, 1.7, False, folder))
        if person % 3 == 0:
            shots += [
                Shot(f"p{person}/{name}.mp4", person, person * 100, moment, True, folder)
                for name, moment in (("video", 4.0), ("video_later", 9.3))
            ]
    return shots


def draw(shot: Shot) -> None:
    """Write a shot's file."""
    cv2.setNumThreads(1)
    take = Take(Person.random(shot.person), shot.place)
    camera = Camera.random(np.random.default_rng([shot.place, 20]))
    rng = np.random.default_rng([shot.place, round(10 * shot.moment)])
    count = FRAMES if shot.video else 1
    pictures = [capture(take.light(shot.moment + index / FPS), camera, rng) for index in range(count)]
    write(shot.folder / shot.path, pictures, quality=92)


def plant(shots: list[Shot], folder: Path, copies: int, *, seed: int) -> dict[str, tuple[str, str]]:
    """Write the copies, of stills and videos in turn; return each source's copy and its kind."""
    rng = np.random.default_rng(seed)
    videos = [shot.path for shot in shots if shot.path.endswith("/video.mp4")]
    stills = [shot.path for shot in shots if shot.path.endswith(("/1.jpg", "/2.jpg"))]
    rng.shuffle(videos)
    rng.shuffle(stills)
    sources = [path for pair in itertools.zip_longest(stills, videos) for path in pair if path is not None]
    planted = {}
    for number, (source, kind) in enumerate(zip(sources[:copies], itertools.cycle(KINDS), strict=False)):
        copy = f"copies/{number:03d}{Path(source).suffix}"
        pictures = changed(frames(folder / source), kind, rng)
        write(folder / copy, pictures, quality=int(rng.integers(30, 80)))
        planted[source] = (copy, kind)
    return planted


def changed(pictures: list[Picture], kind: str, rng: np.random.Generator) -> list[Picture]:
    """The pictures as a copy of that kind has them."""
    height, width = pictures[0].shape[:2]
    left, top, right, bottom = rng.uniform(0.02, 0.15, 4) if kind == "cropped" else np.zeros(4)
    factor = float(rng.uniform(0.4, 1.5)) if kind == "resized" else 1.0
    gain, gamma = (rng.uniform(1.1, 1.4), rng.uniform(0.7, 1.0)) if kind == "brightened" else (1.0, 1.0)
    tones = np.clip(255 * gain * (np.arange(256) / 255) ** gamma, 0, 255).astype(np.uint8)
    result = []
    for picture in pictures:
        cut = picture[round(top * height) : height - round(bottom * height)]
        cut = cut[:, round(left * width) : width - round(right * width)]
        if kind == "mirrored":
            cut = cut[:, ::-1]
        # H.264 needs even sides.
        size = tuple(2 * round(side * factor / 2) for side in (cut.shape[1], cut.shape[0]))
        result.append(tones[cv2.resize(cut, size, interpolation=cv2.INTER_AREA)])
    return result


def frames(file: Path) -> list[Picture]:
    """All pictures of a file."""
    if file.suffix == ".jpg":
        return [read_image(file)]
    reader = VideoReader(file)
    try:
        return [picture for _, _, picture in reader.frames(None)]
    finally:
        reader.close()


def write(file: Path, pictures: list[Picture], *, quality: int) -> None:
    """A JPEG of `quality`, or an H.264 video of about the same."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".mp4":
        write_video(file, pictures, fps=FPS, quality=round(44 - quality / 4))
        return
    coded = cv2.imencode(".jpg", cv2.cvtColor(pictures[0], cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    file.write_bytes(bytes(coded))


if __name__ == "__main__":
    main()
