"""How fast a network trains: the step alone, the loader alone, both together, and by two processes.

python benchmarks/training.py [--seconds 4] [--workers 1 2] [--batch 32] [--compile] [KEY=VALUE ...]

With the default recipe and its augmentation, on stored squares of generated faces, on the GPU where there is one and else on
the CPU. A step is a forward and a backward pass and Adam's; for the step alone one synthetic batch lies on the device. tf32
and bf16 are measured where the device has them, torch.compile on a GPU or with --compile. The device waits for data while no
step runs on it. The last lines compare a training by two processes, each limited to one core of the CPU, with one.
"""

from __future__ import annotations

import argparse
import math
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count, repeat
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import Sampler

import bonaface
from bonaface.config import CropSettings, Recipe, load_recipe
from bonaface.data.crop_store import fill_store
from bonaface.data.manifest import Manifest, make_manifest
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.inference.backends import computes_bf16
from bonaface.models.network import build_network
from bonaface.training.distributed import ready_to_fork
from bonaface.training.loader import Batch, Key, StoredFrames, TrainingSet, batches, frames_for_training, make_loader
from bonaface.training.trainer import Trainer

PROCESSES = 1.6
"""Images a second of two processes on a core each, of those of one process on one core."""
STEPS = 10
"""Training steps that are timed in each of these processes."""
Step = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class Way:
    """How a step computes."""

    precision: str = "fp32"
    channels_last: bool = True
    compiled: bool = False

    def __str__(self) -> str:
        return self.precision + ("" if self.channels_last else ", channels first") + (", compiled" * self.compiled)


class Measured(NamedTuple):
    """A step, and its images a second without a loader."""

    step: Step
    rate: float


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings of the recipe `default` to change")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each thing is timed")
    parser.add_argument("--batch", type=int, default=32, help="images of a batch")
    parser.add_argument(
        "--workers", type=int, nargs="*", default=None, help="loader processes; by default 1 to all cores"
    )
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    parser.add_argument("--process", type=Path, default=None, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.process:
        train_on_one_core(asked.process)
        return
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    workers = asked.workers or sorted({1, math.ceil(len(cores) / 4), len(cores)})
    recipe = load_recipe("default", ("model.weights=none", f"training.batch_size={asked.batch}", *asked.overrides))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest, crops = stored_faces(folder)
        frames = frames_for_training(manifest, crops)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        steps = steps_alone(recipe, device, compiled=asked.compile, seconds=asked.seconds)
        with ready_to_fork():
            both_together(recipe, frames, device, steps, workers=workers, seconds=asked.seconds)
        if len(cores) < 2:
            print("\ntraining by two processes, each limited to one core, is not measured: this one has no two")
        else:
            two_processes(manifest, crops, recipe, folder, cores=cores[:2])


def stored_faces(folder: Path) -> tuple[Manifest, pd.DataFrame]:
    """Return a manifest of generated videos and the table of their crop store."""
    write_demo_dataset(folder / "footage", persons=1, takes=2, seconds=1)
    manifest = bonaface.index(folder / "footage", layout="folder").manifest
    store = fill_store(manifest, folder / "crops", CropSettings(detector="haar", frames=4))
    return manifest, store.table


def steps_alone(recipe: Recipe, device: torch.device, *, compiled: bool, seconds: float) -> dict[Way, Measured]:
    """Print and return steps with the images a second of each alone."""
    ways = [Way(), Way(channels_last=False)]
    if device.type == "cuda" and torch.cuda.get_device_capability() >= (8, 0):
        ways += [Way("tf32"), Way("bf16")]
    elif device.type == "cpu" and computes_bf16():
        ways += [Way("bf16")]
    ways += [replace(way, compiled=True) for way in ways[-1:] if compiled]
    size, batch = recipe.model.input_size, recipe.training.batch_size
    crops = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, device=device)
    labels = (torch.arange(batch, device=device) % 2).float()
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{recipe.model.name}, {size} pixels, batch of {batch}, {name}, torch {torch.__version__}\n")
    print(f"{'step alone':<30}{'images/s':>10}{'of fp32':>10}")
    measured: dict[Way, Measured] = {}
    for way in ways:
        step = make_step(recipe, way, device)
        for _ in range(3):
            step(crops, labels)
        rate, _ = timed(step, repeat((crops, labels)), device, seconds)
        measured[way] = Measured(step, rate)
        print(f"{way!s:<30}{rate:>10.1f}{rate / measured[Way()].rate:>10.2f}")
    print()
    return {way: each for way, each in measured.items() if way.channels_last}


def make_step(recipe: Recipe, way: Way, device: torch.device) -> Step:
    """Return a training step on a batch of crops and labels."""
    products = "tf32" if way.precision == "tf32" else "ieee"
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    network = build_network(recipe.model).to(device).to(memory_format=layout).train()
    forward = torch.compile(network.forward_images) if way.compiled else network.forward_images
    adam = torch.optim.Adam(network.parameters(), lr=recipe.training.learning_rate)

    def step(crops: Tensor, labels: Tensor) -> None:
        torch.backends.cuda.matmul.fp32_precision = products
        torch.backends.cudnn.conv.fp32_precision = products  # type: ignore[attr-defined]
        images = crops.to(device, non_blocking=True).permute(0, 3, 1, 2).float().contiguous(memory_format=layout) / 255
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=way.precision == "bf16"):
            logits, _ = forward(images)
        loss = binary_cross_entropy_with_logits(logits, labels.to(device, non_blocking=True))
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()

    return step


def timed(
    step: Step, data: Iterator[tuple[Tensor, Tensor]], device: torch.device, seconds: float
) -> tuple[float, float]:
    """Return images a second, and the share of the time in which no step runs on the device."""
    done, busy = 0, 0.0
    events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        crops, labels = next(data)
        began = time.perf_counter()
        if device.type == "cuda":
            events.append((_event(), _event()))
            events[-1][0].record()
            step(crops, labels)
            events[-1][1].record()
            if len(events) > 1:
                events[-2][1].synchronize()  # one step ahead, so that the clock measures the device
        else:
            step(crops, labels)
            busy += time.perf_counter() - began
        done += len(crops)
    if device.type == "cuda":
        torch.cuda.synchronize()
        busy = sum(first.elapsed_time(last) for first, last in events) / 1e3
    took = time.perf_counter() - start
    return done / took, max(1 - busy / took, 0)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def both_together(
    recipe: Recipe,
    frames: StoredFrames,
    device: torch.device,
    steps: dict[Way, Measured],
    *,
    workers: list[int],
    seconds: float,
) -> None:
    """Print images a second of the loader alone and of steps that it feeds, by its number of processes."""
    print(f"{'':<20}{'loader alone':>14}" + "".join(f"{f'with {way}':>26}" for way in steps))
    print(f"{'loader processes':<20}{'images/s':>14}" + f"{'images/s':>10}{'of slower':>10}{'waits':>6}" * len(steps))
    loader_of: dict[int, float] = {}
    for number in workers:
        loader = images_of(recipe, frames, device, workers=number)
        loader_of[number], _ = timed(lambda *_: None, loader, device, seconds)
        line = f"{number:<20}{loader_of[number]:>14.1f}"
        for step, alone in steps.values():
            step(*next(loader))
            rate, waits = timed(step, loader, device, seconds)
            line += f"{rate:>10.1f}{rate / min(alone, loader_of[number]):>10.2f}{waits:>6.0%}"
        print(line)
    one = loader_of[workers[0]] / max(workers[0], 1)
    print(f"\nloader: {1e3 / one:.1f} ms of one core for each image; ", end="")
    print("; ".join(f"{way} takes what {each.rate / one:.1f} cores load" for way, each in steps.items()))
    if device.type == "cpu":
        print("steps and loader processes share the cores here")


def images_of(
    recipe: Recipe, frames: StoredFrames, device: torch.device, *, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over loaded batches, after those that were fetched ahead."""
    order = _Endless(len(frames), recipe.training.batch_size)
    loader = make_loader(TrainingSet(frames, recipe), order, workers=workers, pin=device.type == "cuda")
    loaded: Iterator[Batch] = batches(loader)
    for _ in range(4 * workers + 1):
        next(loaded)
    return ((batch.crops, batch.labels) for batch in loaded)


class _Endless(Sampler[list[Key]]):
    """Batches of an epoch without end over few presentations."""

    def __init__(self, samples: int, batch_size: int) -> None:
        self._samples, self._batch_size = samples, batch_size

    def __iter__(self) -> Iterator[list[Key]]:
        for first in count(0, self._batch_size):
            yield [Key(0, place, place % self._samples) for place in range(first, first + self._batch_size)]


def two_processes(manifest: Manifest, crops: pd.DataFrame, recipe: Recipe, folder: Path, *, cores: list[int]) -> None:
    """Print images a second of a training by one and by two processes, each limited to one core."""
    changed = {"accelerator": "cpu", "workers": 0, "epochs": 1}
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update=changed)})
    # The first steps of each process are not timed.
    copies = math.ceil((STEPS + 3) * recipe.training.batch_size / len(manifest))
    given = (recipe, *repeated(manifest, crops, copies), cores)
    rates = []
    for number in (1, 2):
        file = folder / f"{number}.pickle"
        file.write_bytes(pickle.dumps(given))
        torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={number}"]
        done = subprocess.run(
            [*torchrun, __file__, "--process", str(file)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # torchrun sets it for several processes alone
        )
        rates.append(float(done.stdout.split()[-1]))
    one, two = rates
    print(f"\ntraining on the CPU, a core for each process: one {one:.1f} images/s, two {two:.1f}, ", end="")
    print(f"ratio {two / one:.2f}   (wanted: at least {PROCESSES:g})")


def repeated(manifest: Manifest, crops: pd.DataFrame, copies: int) -> tuple[Manifest, pd.DataFrame]:
    """Return the presentations so many times under different names to train on, and once to validate on."""
    splits = [*["train"] * copies, "val"]
    rows = [manifest.table.assign(path=f"{n}/" + manifest.table["path"], split=s) for n, s in enumerate(splits)]
    stored = [crops.assign(path=f"{n}/" + crops["path"]) for n in range(len(splits))]
    return make_manifest(pd.concat(rows), manifest.root), pd.concat(stored, ignore_index=True)


def train_on_one_core(given: Path) -> None:
    """Train as one process of torchrun's, on a core of its own, and let the first one print images a second."""
    recipe, manifest, crops, cores = pickle.loads(given.read_bytes())
    os.sched_setaffinity(0, {cores[int(os.environ["LOCAL_RANK"])]})
    torch.set_num_threads(1)
    at: list[float] = []

    class Steps:
        """A progress that notes when each step began to be followed by the next."""

        def __call__(self, stage: str, done: int, total: int, /) -> None:
            at.append(time.perf_counter())

        def epoch(self, line: str, figures: object, /) -> None:
            pass

    trainer = Trainer(recipe)
    trainer.fit(manifest, crops, given.with_suffix(""), progress=Steps())
    if trainer.is_main:
        print(recipe.training.batch_size * STEPS / (at[STEPS + 1] - at[1]))


if __name__ == "__main__":
    main()
