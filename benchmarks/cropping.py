"""What `data crop` costs over decoding and detecting alone: frames a second, with one process and with all cores.

python benchmarks/cropping.py [--weights YUNET.onnx] [--persons 2] [--rounds 3]

On generated videos of 640x480. The peer decodes every frame and runs the same detector on it, and keeps nothing. Both
take turns, and the ratio is the middle one of the rounds, so that a busy machine slows neither more than the other.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2

import bonaface
from bonaface.config import CropSettings
from bonaface.data.crop_store import fill_store
from bonaface.data.faces.detector import Detector, load_detector
from bonaface.data.manifest import Manifest
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.data.video import VideoReader

TARGET = 0.8


def main() -> None:
    """Print a row for one process and one for all cores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=None, help="YuNet's file; by default Haar finds the faces")
    parser.add_argument("--persons", type=int, default=2, help="six videos each, three seconds long")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each, the middle one counts")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "footage"
        write_demo_dataset(root, persons=asked.persons, takes=2, seconds=3, fps=30)
        manifest = bonaface.index(root, layout="folder").manifest
        settings = CropSettings(detector="yunet" if asked.weights else "haar", weights=asked.weights, frames="all")
        print(f"{len(manifest.table)} videos of 640x480 with 90 frames, detector {settings.detector}, every frame\n")
        print(f"{'processes':<12}{'decode + detect':>18}{'data crop':>12}{'ratio':>8}")
        for workers in sorted({1, os.cpu_count() or 1}):
            turns = []
            for turn in range(asked.rounds):
                peer = alone(manifest, settings, workers=workers)
                store = Path(folder) / f"crops-{workers}-{turn}"
                turns.append((cropped(manifest, settings, store, workers=workers) / peer, peer))
            ratio, peer = sorted(turns)[len(turns) // 2]
            print(
                f"{workers:<12}{peer:>14.1f} f/s{ratio * peer:>8.1f} f/s{ratio:>8.2f}   (wanted: at least {TARGET:g})"
            )


_loaded: dict[tuple[str, Path | None], Detector] = {}


def alone(manifest: Manifest, settings: CropSettings, *, workers: int) -> float:
    """Frames a second, decoded and searched for faces; starting the processes counts, as it does for `data crop`."""
    start = time.perf_counter()
    search = partial(decode_and_detect, detector=settings.detector, weights=settings.weights)
    files = manifest.files()
    if workers == 1:
        found = [search(file) for file in files]
    else:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            found = list(pool.map(search, files))
    return sum(found) / (time.perf_counter() - start)


def decode_and_detect(file: Path, *, detector: str, weights: Path | None) -> int:
    """How many frames it decoded; an importable function, for other processes."""
    key = (detector, weights)
    if key not in _loaded:
        cv2.setNumThreads(1)
        _loaded[key] = load_detector(detector, weights=weights)
    frames = 0
    for frames, (_, _, picture) in enumerate(VideoReader(file).frames(None), start=1):  # noqa: B007
        _loaded[key].detect(picture)
    return frames


def cropped(manifest: Manifest, settings: CropSettings, store: Path, *, workers: int) -> float:
    """Frames a second through `data crop`, the hashing of files included."""
    if workers == 1:
        cv2.setNumThreads(1)
    start = time.perf_counter()
    table = fill_store(manifest, store, settings, workers=workers).table
    return len(table) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
