"""How fast training samples come: from the crop store, and by opening, seeking and reading the video every time.

python benchmarks/loading.py [--seconds 10] [--weights YUNET.onnx] [--workers 1 2]

On the same generated videos (640x480, ten seconds at 30 frames a second, the encoder's usual distance between key
frames) in one run. The second table holds the loader with the default recipe's augmentation against the training step,
on the processor and, where there is one, on the GPU.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import bonaface
from bonaface.config import AugmentSettings, CropSettings, ModelSettings, Recipe, load_recipe
from bonaface.data.crop_store import fill_store
from bonaface.data.manifest import Manifest
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.models.network import build_network
from bonaface.training.loader import (
    EpochSampler,
    Key,
    StoredFrames,
    TrainingSet,
    frames_for_training,
    make_loader,
)

TARGET = 10.0
BATCH = 32


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each way is measured")
    parser.add_argument("--weights", type=Path, default=None, help="YuNet's file; by default Haar finds the faces")
    cores = os.cpu_count() or 1
    parser.add_argument("--workers", type=int, nargs="*", default=sorted({1, 2, cores}), help="loader processes")
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
        feed(frames, load_recipe("default"), workers=asked.workers, seconds=asked.seconds)


def compare(manifest: Manifest, frames: StoredFrames, plain: Recipe, *, seconds: float) -> None:
    """The first table: one process, no augmentation."""
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


def feed(frames: StoredFrames, recipe: Recipe, *, workers: list[int], seconds: float) -> None:
    """The second table: does the loader keep up with the network?"""
    model = ModelSettings(name=recipe.model.name, weights="none", input_size=recipe.model.input_size)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    steps = {device: step_rate(model, device, seconds) for device in devices}
    for device, images in steps.items():
        name = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
        print(f"training step of {model.name}, batch {BATCH}, {device} ({name}): {images:.0f} images/s")
    print(f"\n{'loader with default augmentation':<44}{'images/s':>10}" + "".join(f"{f'/ {d}':>8}" for d in devices))
    for count in workers:
        images = loader_rate(frames, recipe, workers=count, seconds=seconds)
        ratios = "".join(f"{images / steps[device]:>8.2f}" for device in devices)
        print(f"{f'{count} worker process' + ('es' if count != 1 else ''):<44}{images:>10.1f}{ratios}")
    one = loader_rate(frames, recipe, workers=1, seconds=seconds)
    for device, images in steps.items():
        print(f"about {max(int(np.ceil(images / one)), 1)} worker processes feed the training step on {device}")


def loader_rate(frames: StoredFrames, recipe: Recipe, *, workers: int, seconds: float) -> float:
    """Images a second out of the training loader, once it is warm."""
    many = np.tile(frames.labels, 4000)
    sampler = _Repeating(many, period=len(frames))
    loader = make_loader(TrainingSet(frames, recipe), sampler, batch_size=BATCH, workers=workers, pin=False)
    batches = iter(loader)
    for _ in range(4):
        next(batches)
    # What was fetched ahead while we waited is taken first, else it would count as if it took no time.
    for _ in range(4 * max(workers, 1)):
        next(batches)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(batches)
        done += BATCH
    return done / (time.perf_counter() - start)


class _Repeating(EpochSampler):
    """One long epoch over few presentations."""

    def __init__(self, labels: NDArray[np.bool_], *, period: int) -> None:
        super().__init__(labels, seed=0, batch_size=BATCH)
        self._period = period

    def __iter__(self) -> Iterator[Key]:
        for key in super().__iter__():
            yield key._replace(sample=key.sample % self._period)


def step_rate(model: ModelSettings, device: str, seconds: float) -> float:
    """Images a second through forward, backward and Adam; mixed precision on a GPU."""
    network = build_network(model).to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    crops = torch.randint(0, 256, (BATCH, model.input_size, model.input_size, 3), dtype=torch.uint8)
    labels = torch.arange(BATCH) % 2

    def step() -> None:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            logits, _ = network(crops.to(device))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.float().to(device))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        step()
    return BATCH * rate(step, seconds)


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
