"""How many of 100 planted leaks the audit finds among generated presentations, and how often it calls different ones copies.

Persons are drawn, each in several takes, two of them in one place under one light: the pairs that are hardest to tell from
copies. Leaks are then planted in another split: a take of the same person, the same bytes, and copies under another
person's name, coded anew, resized, cropped or mirrored; of pictures and of videos.

python benchmarks/audit.py [--persons 240] [--first 0] [--leaks 100] [--folder DIR]

Another `--first` draws other persons in other places: figures for data on which nothing was chosen.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.attack_simulation.camera import Camera, capture
from bonaface.data.images import read_image
from bonaface.data.manifest import make_manifest
from bonaface.data.synthetic.dataset import write_video
from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import Take
from bonaface.data.video import VideoReader
from bonaface.workflows.audit import audit

KINDS = ("same person", "same bytes", "coded anew", "resized", "cropped", "mirrored")
TAKES = 5
SPLITS = ("train", "val", "test")
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

    @property
    def split(self) -> str:
        return SPLITS[self.person % 3]


def main() -> None:
    """Draw, plant, audit, and print a table: found and planted by kind, then false alarms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=240)
    parser.add_argument("--first", type=int, default=0, help="number of the first person: others for other numbers")
    parser.add_argument("--leaks", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=None, help="where to write the files; by default the system's")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        folder = Path(place)
        start = time.perf_counter()
        shots = plan(folder, range(asked.first, asked.first + asked.persons))
        with ProcessPoolExecutor(WORKERS) as pool:
            list(pool.map(draw, shots, chunksize=8))
        rows = [row(shot.path, shot.person, shot.split) for shot in shots]
        planted = plant(shots, rows, folder, asked.leaks, seed=asked.first)
        drawn = time.perf_counter() - start
        start = time.perf_counter()
        found = audit(make_manifest(pd.DataFrame(rows), folder), detector="whole_frame", workers=WORKERS)
        seconds = time.perf_counter() - start
        persons = {leak.subject for leak in found.persons}
        pairs = {frozenset(shared.paths) for shared in found.shared}
        print(f"{len(rows)} presentations drawn in {drawn:.0f} s, audited in {seconds:.0f} s\n")
        print(f"{'leak':<14}{'found':>8}{'planted':>9}")
        right: set[frozenset[str]] = set()
        total = 0
        for kind in KINDS:
            of_kind = [leak for leak in planted if leak[0] == kind]
            hits = [name in persons if kind == "same person" else frozenset(two) in pairs for _, name, two in of_kind]
            right |= {frozenset(two) for _, _, two in of_kind}
            total += sum(hits)
            print(f"{kind:<14}{sum(hits):>8}{len(hits):>9}")
        print(f"{'all':<14}{total:>8}{len(planted):>9}\n")
        false = pairs - right
        different = len(rows) * (len(rows) - 1) // 2 - len(right)
        print(f"false alarms: {len(false)} in {different:,} pairs, {1e6 * len(false) / different:.2f} per million")
        for pair in sorted(map(sorted, false))[:10]:
            print("  ", *pair)


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


def plant(
    shots: list[Shot], rows: list[dict[str, str]], folder: Path, leaks: int, *, seed: int
) -> list[tuple[str, str, list[str]]]:
    """Write the leaks, add their rows, and tell of each its kind, its person and the two paths."""
    rng = np.random.default_rng(seed)
    planted = []
    videos = [shot for shot in shots if shot.path.endswith("/video.mp4")]
    stills = [shot for shot in shots if shot.path.endswith(("/1.jpg", "/2.jpg"))]
    rng.shuffle(videos)
    rng.shuffle(stills)
    sources = [shot for pair in itertools.zip_longest(stills, videos) for shot in pair if shot is not None]
    for number, (shot, kind) in enumerate(zip(sources, itertools.cycle(KINDS), strict=False)):
        if number == leaks:
            break
        split = SPLITS[(shot.person + 1) % 3]
        suffix = Path(shot.path).suffix
        path = f"leaks/{number:03d}{suffix}"
        if kind == "same person":
            again = Shot(path, shot.person, shot.person * 100 + 50 + number % 50, 0.0, shot.video, folder)
            draw(again)
            rows.append(row(path, shot.person, split))
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            if kind == "same bytes":
                (folder / path).write_bytes((folder / shot.path).read_bytes())
            else:
                pictures = changed(frames(folder / shot.path), kind, rng)
                write(folder / path, pictures, quality=int(rng.integers(30, 80)))
            rows.append(row(path, shot.person + 1, split))
        planted.append((kind, f"p{shot.person}", [shot.path, path]))
    return planted


def changed(pictures: list[Picture], kind: str, rng: np.random.Generator) -> list[Picture]:
    """The pictures as a copy of that kind has them."""
    height, width = pictures[0].shape[:2]
    left, top, right, bottom = rng.uniform(0.02, 0.15, 4) if kind == "cropped" else np.zeros(4)
    factor = float(rng.uniform(0.4, 1.5)) if kind == "resized" else 1.0
    result = []
    for picture in pictures:
        cut = picture[round(top * height) : height - round(bottom * height)]
        cut = cut[:, round(left * width) : width - round(right * width)]
        if kind == "mirrored":
            cut = cut[:, ::-1]
        # H.264 needs even sides.
        size = tuple(2 * round(side * factor / 2) for side in (cut.shape[1], cut.shape[0]))
        result.append(np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), dtype=np.uint8))
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


def row(path: str, person: int, split: str) -> dict[str, str]:
    """A manifest's row; which class it has does not matter here."""
    return {"path": path, "label": ("bona_fide", "attack")[len(path) % 2], "subject": f"p{person}", "split": split}


if __name__ == "__main__":
    main()
