"""Scoring and cropping on a Ray cluster next to one machine, crops in shards next to a folder, and runs with losses.

python benchmarks/distributed.py [--bundle BUNDLE] [--presentations 1000] [--kills 3] [--rows 1000000] [--quick]

On generated clips and a network of random weights. Ray with two workers on two cores is compared with one worker on one
core, and with the pipeline of one machine with two threads; the start of the cluster is not counted. Then a worker is killed
at a random moment of each of some runs, and their score tables are compared with the undisturbed one. Then crops of a
folder, of shards and of shards in an S3 server on this machine are loaded into training. Last, what planning a large
manifest costs.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from random_bundle import random_bundle
from training import images_of

import bonaface
from bonaface.config import CropSettings, load_recipe
from bonaface.data.crop_store import CropStore, fill_store
from bonaface.data.manifest import Manifest
from bonaface.data.shards import write_shards
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.inference.bundle import Bundle, load_bundle
from bonaface.inference.scoring import Scored, score_manifest
from bonaface.training.distributed import ready_to_fork
from bonaface.training.loader import frames_for_training
from bonaface.workflows import distribute
from bonaface.workflows.distribute import crop_on_ray, score_on_ray
from bonaface.workflows.partitions import Partitions

EFFICIENCY, OF_ONE_MACHINE, OF_FOLDER, OF_FOLDER_S3 = 0.8, 0.85, 1.0, 0.7
LOADERS, LOADING_SECONDS = 2, 10.0
WHOLE = "whole_frame"
CROPS = CropSettings(detector="whole_frame", frames=4, scale=1.0, side=256)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=None, help="by default a MobileNetV3-Large of random weights")
    parser.add_argument("--presentations", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="100 presentations, 1 kill, 100,000 rows")
    asked = parser.parse_args()
    if asked.quick:
        asked.presentations, asked.kills, asked.rows = 100, 1, 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = footage(folder, asked.presentations)
        bundle = load_bundle(asked.bundle) if asked.bundle else random_bundle(folder / "bundle", None)
        throughput(manifest, bundle, folder)
        with cluster(2):
            losses(manifest, bundle, folder, asked.kills)
        shards(manifest, folder)
        planning(asked.rows, folder)


def footage(folder: Path, count: int) -> Manifest:
    """Return a manifest of so many presentations, of a few clips under many names."""
    write_demo_dataset(folder / "clips", persons=2, takes=1, seconds=1)
    clips = sorted((folder / "clips").rglob("*.mp4"))
    for number in range(count):
        clip = clips[number % len(clips)]
        link = folder / "footage" / clip.relative_to(folder / "clips").parts[0] / f"person{number:06d}" / "clip.mp4"
        link.parent.mkdir(parents=True)
        # An empty box with a number makes each file a different one, so that each is cropped.
        link.write_bytes(clip.read_bytes() + (17).to_bytes(4, "big") + f"free{number:09d}".encode())
    return bonaface.index(folder / "footage", output=folder / "manifest.csv").manifest


@contextmanager
def cluster(cores: int) -> Iterator[None]:
    """Start a Ray cluster on so many of this machine's cores; nothing of it runs on the others."""
    import ray

    held = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(held)[:cores])
    try:
        ray.init(address="local", num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
    finally:
        ray.shutdown()
        os.sched_setaffinity(0, held)


def throughput(manifest: Manifest, bundle: Bundle, folder: Path) -> None:
    """Print presentations a second of each way, and the ratios."""
    few = manifest.select(np.arange(len(manifest)) < 8)
    rates = {
        ("score", 0): timed(
            "score, one machine, 2 threads",
            manifest,
            lambda: score_manifest(bundle, manifest, threads=2, detector=WHOLE),
        ),
        ("crop", 0): timed(
            "crop, one machine, 2 processes", manifest, lambda: cropped(manifest, folder / "c", workers=2)
        ),
    }
    for cores in (1, 2):
        with cluster(cores):
            on_ray(few, bundle, folder / f"warm{cores}")  # the workers load their model
            named = f"Ray, {cores} worker{'s' * (cores - 1)} on {cores} core{'s' * (cores - 1)}"
            score = partial(on_ray, manifest, bundle, folder / f"scored{cores}", workers=cores)
            crop = partial(cropped, manifest, folder / f"c{cores}", over=partial(crop_on_ray, workers=cores))
            rates["score", cores] = timed(f"score, {named}", manifest, score)
            rates["crop", cores] = timed(f"crop, {named}", manifest, crop)
    for what in ("score", "crop"):
        machine, one, two = (rates[what, cores] for cores in range(3))
        print(f"{what}: 2 workers of 2 x 1 worker {two / one / 2:.2f} (wanted: at least {EFFICIENCY})")
        print(f"{what}: 2 workers of one machine {two / machine:.2f} (wanted: at least {OF_ONE_MACHINE})")


def timed(name: str, manifest: Manifest, run: Callable[[], object]) -> float:
    """Print and return presentations a second."""
    started = time.perf_counter()
    run()
    rate = len(manifest) / (time.perf_counter() - started)
    print(f"{name:<36}{rate:>8.1f} presentations a second", flush=True)
    return rate


def on_ray(manifest: Manifest, bundle: Bundle, output: Path, *, workers: int | None = None) -> Scored:
    return score_on_ray(bundle, manifest, output, workers=workers, detector=WHOLE)


def cropped(manifest: Manifest, store: Path, **how: Any) -> CropStore:
    return fill_store(manifest, store, CROPS, **how)


def losses(manifest: Manifest, bundle: Bundle, folder: Path, kills: int) -> None:
    """Print whether the score tables of runs with a killed worker are those of an undisturbed run."""
    expected = on_ray(manifest, bundle, folder / "undisturbed").table
    equal, hit, rng = 0, 0, random.Random(0)
    started = time.perf_counter()
    on_ray(manifest, bundle, folder / "timed")
    span = time.perf_counter() - started
    for number in range(kills):
        killed: list[bool] = []
        killer = threading.Timer(rng.uniform(0, span), kill_a_worker, (rng, killed))
        killer.start()
        found = on_ray(manifest, bundle, folder / f"kill{number}").table
        killer.join()
        hit += any(killed)
        equal += bool(found.equals(expected))
    print(f"runs with a killed worker: {kills}, a busy worker hit in {hit}, score table as undisturbed in {equal}")


def kill_a_worker(rng: random.Random, killed: list[bool]) -> None:
    """Kill one of Ray's worker processes that is at work, and note whether there was one."""
    found = [
        int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if b"ray::_run" in path.read_bytes()
    ]
    if found:
        os.kill(rng.choice(found), signal.SIGKILL)
    killed.append(bool(found))


def shards(manifest: Manifest, folder: Path) -> None:
    """Print images a second into training from the folder, from shards and from shards in an S3 server on this machine."""
    store = cropped(manifest, folder / "ca", workers=2)
    write_shards(store, manifest, CROPS, folder / "shards")
    recipe = load_recipe("default", ("model.weights=none",))
    with object_storage(folder / "shards") as address:
        tables = {
            "folder": store.table,
            "shards": fill_store(manifest, folder / "shards", CROPS).table,
            "shards in S3": fill_store(manifest, Path(address), CROPS).table,
        }
        rates: dict[str, list[float]] = {name: [] for name in tables}
        with ready_to_fork():
            for _ in range(3):
                for name, table in tables.items():
                    frames = frames_for_training(manifest, table)
                    images = images_of(recipe, frames, torch.device("cpu"), workers=LOADERS)
                    started, done = time.perf_counter(), 0
                    while time.perf_counter() - started < LOADING_SECONDS:
                        done += len(next(images)[0])
                    rates[name].append(done / (time.perf_counter() - started))
                    del images
    count = sum(1 for each in (folder / "ca").rglob("*") if each.is_file())
    held = sum(1 for each in (folder / "shards").iterdir())
    middle = {name: float(np.median(found)) for name, found in rates.items()}
    print(f"into training with {LOADERS} loader processes; the folder has {count} files, the shards {held}:")
    for name, wanted in (("folder", 1.0), ("shards", OF_FOLDER), ("shards in S3", OF_FOLDER_S3)):
        print(
            f"{name:<14}{middle[name]:>8.1f} images a second, {middle[name] / middle['folder']:.2f} (wanted: {wanted})"
        )


@contextmanager
def object_storage(folder: Path) -> Iterator[str]:
    """Serve a copy of a folder by S3 from a process of its own, and give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    named = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(named, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    try:
        while server.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.2)
        import s3fs

        files = s3fs.S3FileSystem()
        files.mkdir("crops")
        files.put(str(folder), "crops/shards", recursive=True)
        yield "s3://crops/shards"
    finally:
        server.terminate()
        server.wait()


def planning(rows: int, folder: Path) -> None:
    """Print what reading and dividing a large manifest costs."""
    table = pd.DataFrame({"path": [f"clips/{row:09d}.mp4" for row in range(rows)]})
    table["label"] = np.where(table.index % 2 == 0, "bona_fide", "attack")
    table["subject"] = [f"person{row // 10}" for row in range(rows)]
    table.to_csv(folder / "large.csv", index=False)
    del table
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    manifest = bonaface.read_manifest(folder / "large.csv")
    parts = Partitions(folder / "large.partitions", "0" * 16)
    held, size = parts.complete(), distribute.part_size(len(manifest))
    starts = [start for start in range(0, len(manifest), size) if distribute.part_name(start) not in held]
    planned = sum(len(distribute.rows_from(manifest, start, size)) for start in starts)
    spent = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"planning {planned:,} rows: {spent:.0f} s (wanted: at most 60)")
    print(f"peak memory of this process: {before / 1e6:.2f} -> {after / 1e6:.2f} GB (wanted: at most 2)")


if __name__ == "__main__":
    main()
