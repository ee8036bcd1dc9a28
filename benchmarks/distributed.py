"""Scoring and cropping on a Ray cluster next to one machine, crops in shards next to a folder, and runs with losses.

python benchmarks/distributed.py [--bundle BUNDLE] [--presentations 1000] [--kills 3] [--rows 1000000] [--quick]

On generated clips and a network of random weights. Ray with two workers is compared with Ray with one, and with the
pipeline of one machine with two threads, in turns; the start of the cluster is not counted. Then a worker is killed at a
random moment of each of some runs, and their score tables are compared with the undisturbed one. Last, what planning a
large manifest costs.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from latency import stand_in

import bonaface
from bonaface.config import CropSettings
from bonaface.data.crop_store import CropStore, fill_store, load_crop
from bonaface.data.manifest import Manifest
from bonaface.data.shards import write_shards
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.inference.bundle import Bundle, load_bundle
from bonaface.inference.scoring import Scored, score_manifest
from bonaface.workflows import distribute
from bonaface.workflows.distribute import crop_on_ray, score_on_ray
from bonaface.workflows.partitions import Partitions

EFFICIENCY, OF_ONE_MACHINE, OF_FOLDER = 0.8, 0.85, 1.0
CROPS = CropSettings(detector="whole_frame", frames=4, scale=1.0, side=256)


def main() -> None:
    """Print the tables."""
    import ray

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
        bundle = load_bundle(asked.bundle) if asked.bundle else stand_in(folder / "bundle", None)
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        try:
            distribute.PART = max(8, min(128, len(manifest) // 16))
            throughput(manifest, bundle, folder)
            losses(manifest, bundle, folder, asked.kills)
        finally:
            ray.shutdown()
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


def throughput(manifest: Manifest, bundle: Bundle, folder: Path) -> None:
    """Print presentations a second of each way, and the ratios."""
    ways: dict[str, Callable[[str], object]] = {
        "score, one machine, 2 threads": lambda _: score_manifest(bundle, manifest, threads=2, detector="whole_frame"),
        "score, Ray, 2 workers": lambda turn: on_ray(manifest, bundle, folder / f"two{turn}", workers=2),
        "score, Ray, 1 worker": lambda turn: on_ray(manifest, bundle, folder / f"one{turn}", workers=1),
        "crop, one machine, 2 processes": lambda turn: cropped(manifest, folder / f"c{turn}", workers=2),
        "crop, Ray, 2 workers": lambda turn: cropped(
            manifest, folder / f"r2{turn}", over=partial(crop_on_ray, workers=2)
        ),
        "crop, Ray, 1 worker": lambda turn: cropped(
            manifest, folder / f"r1{turn}", over=partial(crop_on_ray, workers=1)
        ),
    }
    few = manifest.select(np.arange(len(manifest)) < 8)
    on_ray(few, bundle, folder / "warm", workers=2)  # the workers load their model
    rates = {}
    for name, run in ways.items():
        started = time.perf_counter()
        run("a")
        rates[name] = len(manifest) / (time.perf_counter() - started)
        print(f"{name:<34}{rates[name]:>8.1f} presentations a second", flush=True)
    for what, machine in (("score", "one machine, 2 threads"), ("crop", "one machine, 2 processes")):
        two, one = rates[f"{what}, Ray, 2 workers"], rates[f"{what}, Ray, 1 worker"]
        print(f"{what}: 2 workers of 2 x 1 worker {two / one / 2:.2f} (wanted: at least {EFFICIENCY})")
        print(
            f"{what}: 2 workers of one machine {two / rates[f'{what}, {machine}']:.2f} (wanted: at least {OF_ONE_MACHINE})"
        )


def on_ray(manifest: Manifest, bundle: Bundle, output: Path, *, workers: int | None = None) -> Scored:
    return score_on_ray(bundle, manifest, output, workers=workers, detector="whole_frame")


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
    """Print crops read a second at random from the folder and from shards."""
    store = cropped(manifest, folder / "ca", workers=2)
    write_shards(store, manifest, CROPS, folder / "shards")
    tables = {"folder": store.table, "shards": fill_store(manifest, folder / "shards", CROPS).table}
    order = np.random.default_rng(0).permutation(np.flatnonzero(store.table["file"] != ""))
    rates: dict[str, list[float]] = {name: [] for name in tables}
    for _ in range(5):
        for name, table in tables.items():
            files = table["file"].to_numpy()[order]
            started = time.perf_counter()
            for file in files:
                load_crop(file)
            rates[name].append(len(files) / (time.perf_counter() - started))
    folder_rate, shard_rate = (float(np.median(rates[name])) for name in tables)
    count = sum(1 for each in (folder / "ca").rglob("*") if each.is_file())
    held = sum(1 for each in (folder / "shards").iterdir())
    print("crops read and decoded at random, a second:")
    print(f"folder {folder_rate:.0f} in {count} files, shards {shard_rate:.0f} in {held} files")
    print(f"shards of folder {shard_rate / folder_rate:.2f} (wanted: at least {OF_FOLDER})")


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
    held = parts.complete()
    starts = [start for start in range(0, len(manifest), 128) if distribute.part_name(start) not in held]
    planned = sum(len(distribute.part_of(manifest, start, 128)) for start in starts)
    spent = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"planning {planned:,} rows: {spent:.0f} s (wanted: at most 60)")
    print(f"peak memory of this process: {before / 1e6:.2f} -> {after / 1e6:.2f} GB (wanted: at most 2)")


if __name__ == "__main__":
    main()
