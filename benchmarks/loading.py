"""How fast training samples come: from the crop store, and by opening, seeking and reading the video every time.

python benchmarks/loading.py [--seconds 10] [--weights YUNET.onnx]

On the same generated videos (640x480, ten seconds at 30 frames a second, the encoder's usual distance between key
frames) in one run. `training.py` measures the loader with augmentation, next to the training step that it feeds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import bonaface
from bonaface.config import AugmentSettings, CropSettings, Recipe, load_recipe
from bonaface.data.crop_store import fill_store
from bonaface.data.manifest import Manifest
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.training.loader import Key, StoredFrames, TrainingSet, frames_for_training

TARGET = 10.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each way is measured")
    parser.add_argument("--weights", type=Path, default=None, help="YuNet's file; by default Haar finds the faces")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "footage"
        write_demo_dataset(root, persons=1, takes=2, seconds=10, fps=30)
        manifest = bonaface.index(root, layout="folder").manifest
        settings = CropSettings(detector="yunet" if asked.weights else "haar", weights=asked.weights, frames=10)
        store = fill_store(manifest, Path(folder) / "crops", settings)
        frames = frames_for_training(manifest, store.table)
        plain = load_recipe("default").model_copy(update={"augment": AugmentSettings()})
        compare(manifest, frames, plain, seconds=asked.seconds)


def compare(manifest: Manifest, frames: StoredFrames, plain: Recipe, *, seconds: float) -> None:
    """Print how fast one process reads without augmentation."""
    cv2.setNumThreads(1)
    files = manifest.files()
    rng = np.random.default_rng(0)

    def from_video() -> None:
        seek_and_read(files[int(rng.integers(len(files)))], rng)

    data = TrainingSet(frames, plain)
    places = iter(range(10**9))

    def from_store() -> None:
        place = next(places)
        _ = data[Key(place // len(frames), place % len(frames), place % len(frames))]

    peer, ours = rate(from_video, seconds), rate(from_store, seconds)
    print(f"{len(files)} videos of 640x480, 10 s at 30 frames a second; one process, before augmentation\n")
    print(f"{'way to a training image':<44}{'images/s':>10}{'ratio':>8}")
    print(f"{'open the video, seek, read, resize':<44}{peer:>10.1f}{1:>8.1f}")
    print(f"{'bonaface, from the crop store':<44}{ours:>10.1f}{ours / peer:>8.1f}   (wanted: at least {TARGET:g})\n")


def seek_and_read(file: Path, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The published way: a random frame of the video, shrunk to 256 pixels and cut to 224."""
    video = cv2.VideoCapture(str(file))
    total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    video.set(cv2.CAP_PROP_POS_FRAMES, int(rng.integers(total)))
    found, frame = video.read()
    video.release()
    assert found
    height, width = frame.shape[:2]
    factor = 256 / min(height, width)
    small = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), (round(width * factor), round(height * factor)))
    top, left = (small.shape[0] - 224) // 2, (small.shape[1] - 224) // 2
    return np.asarray(small[top : top + 224, left : left + 224], dtype=np.uint8)


def rate(action: Callable[[], None], seconds: float) -> float:
    """How often a second."""
    action()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        action()
        done += 1
    return done / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
