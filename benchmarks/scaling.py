"""Cost of one presentation by stage, and what millions of them need: cores, hours and storage.

python benchmarks/scaling.py [--weights YUNET.onnx] [--quick] [--cores 64] [--photo-kb 300] [--video-kb 2500]

Measured on generated footage with one thread on one core, so that seconds are core-seconds: a photo of 640x480, and 8
frames of a video of 640x480 with 90 frames in three seconds. The network is a MobileNetV3-Large with random weights;
weights do not affect the timing. Hours on many cores assume that all of them are busy: divide by the efficiency that you
measure. `--photo-kb` and `--video-kb` replace the sizes of the generated files by those of yours.

The cost of a server verdict is that of a photo in the pipeline over `--server-ratio`, which `benchmarks/serving.py` prints
as "throughput over the pipeline's"; `--server-mb` is the memory that it prints.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import pandas as pd
from random_bundle import random_bundle

import bonaface
from bonaface.config import CropSettings
from bonaface.data.crop_store import fill_store
from bonaface.data.images import encode_jpeg
from bonaface.data.manifest import Manifest
from bonaface.data.sources import Source
from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import Take, bona_fide_frames
from bonaface.data.video_writer import write_video
from bonaface.evaluation.scores import write_scores
from bonaface.inference.backends import BATCH
from bonaface.inference.bundle import Bundle
from bonaface.inference.decision import PresentationResult, verdict_of
from bonaface.inference.pipeline import Pipeline
from bonaface.inference.scoring import score_manifest, sources_of
from bonaface.types import probability

FRAMES, FPS = 8, 30
PRESENTATIONS = (1_000_000, 10_000_000, 1_000_000_000)
VERDICTS = 10_000
"""Verdicts a second for which server processes are counted."""
BUSY = 0.7
"""Share of its time that a server process is planned to be busy: above it, waiting times grow quickly."""
STAGES = {
    "decode": "open and decode",
    "detect": "detect",
    "crop": "crop and quality",
    "network": "network",
    "rest": "fuse, decide",
}


@dataclass(frozen=True)
class Cost:
    """What one presentation costs: core-seconds by stage, core-seconds of `data crop`, bytes and score table rows.

    `crops` are the bytes of the stored squares, `parquet` and `csv` those of the score table, `memory` those of the same
    rows as a table in memory.
    """

    stages: dict[str, float]
    cropping: float
    footage: float
    crops: float
    parquet: float
    csv: float
    memory: float
    rows: int
    files: int

    @property
    def seconds(self) -> float:
        """Core-seconds to score one presentation."""
        return sum(self.stages.values())


def core_hours(seconds: float, presentations: int) -> float:
    """Return the core-hours of so many presentations.

    >>> core_hours(0.036, 1_000_000)
    10.0
    """
    return seconds * presentations / 3600


def processes_for(rate: float, seconds: float, *, busy: float = BUSY) -> int:
    """Return how many processes of one core each answer `rate` requests a second that take so many core-seconds.

    >>> processes_for(100, 0.05, busy=1), processes_for(100, 0.05, busy=0.5), processes_for(1, 0.001)
    (5, 10, 1)
    """
    return math.ceil(round(rate * seconds / busy, 6))


def size(count: float) -> str:
    """Return bytes with a decimal unit and about three digits.

    >>> size(950), size(1_234_000), size(2.5e13), size(9.99e17)
    ('950 B', '1.2 MB', '25 TB', '999 PB')
    """
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    power = min(int(math.log10(max(count, 1)) // 3), len(units) - 1)
    return f"{number(count / 1000**power)} {units[power]}"


def number(value: float) -> str:
    """Return a number with one decimal below 10, none above.

    >>> number(0.04), number(9.94), number(12345.6)
    ('0.04', '9.9', '12,346')
    """
    return f"{value:.2g}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def main() -> None:
    """Print the tables as they stand in docs/scaling.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=None, help="YuNet's file; by default Haar finds the faces")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long photos and videos are scored, each")
    parser.add_argument("--quick", action="store_true", help="three seconds each")
    parser.add_argument("--cores", type=int, default=100, help="cores of the cluster in the table of hours")
    parser.add_argument("--photo-kb", type=float, default=None, help="size of a photo, if not of the generated ones")
    parser.add_argument("--video-kb", type=float, default=None, help="size of a video, if not of the generated ones")
    parser.add_argument("--server-ratio", type=float, default=1.02, help="server's throughput over the pipeline's")
    parser.add_argument("--server-mb", type=float, default=217.0, help="memory of a server process with one thread")
    asked = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    seconds = 3.0 if asked.quick else asked.seconds
    given = {"photo": asked.photo_kb, "video": asked.video_kb}
    with tempfile.TemporaryDirectory() as folder:
        bundle = random_bundle(Path(folder), asked.weights)
        footage = generated(Path(folder))
        costs = {
            kind: measured(bundle, manifest, asked.weights, seconds=seconds, footage=given[kind])
            for kind, manifest in footage.items()
        }
    show_stages(costs, detector=bundle.card.detector.name)
    for kind, cost in costs.items():
        show_capacity(kind, cost, cores=asked.cores)
    show_server(costs["photo"], ratio=asked.server_ratio, megabytes=asked.server_mb)


def generated(folder: Path) -> dict[str, Manifest]:
    """Return four videos of drawn persons, a second played forth, back and forth again, and the first frame of each."""
    roots = {kind: folder / kind for kind in ("photo", "video")}
    for number in range(4):
        drawn = bona_fide_frames(Take(Person.random(number), number), FPS, FPS)
        folders = {kind: root / "live" / f"person{number}" for kind, root in roots.items()}
        for each in folders.values():
            each.mkdir(parents=True)
        (folders["photo"] / "1.jpg").write_bytes(encode_jpeg(drawn[0], quality=90))
        write_video(folders["video"] / "1.mp4", [*drawn, *drawn[::-1], *drawn], fps=FPS)
    return {kind: bonaface.index(root, layout="folder").manifest for kind, root in roots.items()}


def measured(
    bundle: Bundle, manifest: Manifest, weights: Path | None, *, seconds: float, footage: float | None
) -> Cost:
    """Measure one kind of presentation through the pipeline, the crop store and the score table."""
    table = many(score_manifest(bundle, manifest, frames=FRAMES, detector_weights=weights, threads=1).table)
    count = table["presentation"].nunique()
    detector = bundle.card.detector.name
    settings = CropSettings.model_validate({"detector": detector, "weights": weights, "frames": FRAMES})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stages = by_stage(bundle, sources_of(manifest), weights, seconds=seconds)
        spent = {
            suffix: seconds_of(partial(write_scores, table, folder / f"s{suffix}")) for suffix in (".parquet", ".csv")
        }
        stores = [folder / f"crops-{turn}" for turn in range(3)]
        cropping = min(seconds_of(partial(fill_store, manifest, store, settings, workers=1)) for store in stores)
        stored = [file for file in (stores[0] / "entries").rglob("*") if file.is_file()]
        return Cost(
            stages={**stages, "write": spent[".parquet"] / count},
            cropping=cropping / len(manifest),
            footage=1000 * footage
            if footage
            else sum(file.stat().st_size for file in manifest.files()) / len(manifest),
            crops=sum(file.stat().st_size for file in stored) / len(manifest),
            parquet=(folder / "s.parquet").stat().st_size / count,
            csv=(folder / "s.csv").stat().st_size / count,
            memory=float(table.memory_usage(deep=True).sum()) / count,
            rows=len(table) // count,
            files=round(len(stored) / len(manifest)),
        )


def by_stage(bundle: Bundle, sources: Sequence[Source], weights: Path | None, *, seconds: float) -> dict[str, float]:
    """Return the core-seconds a presentation of each stage, in batches as `Pipeline.score` makes them.

    The pipeline's clock is set to processor time, so that a shared core costs nothing. What the video decoder's process
    takes counts as decoding.
    """
    pipeline = Pipeline(bundle, detector_weights=weights, threads=1)
    point = bundle.operating_point(sources[0].kind)
    batch = 1 if sources[0].kind == "video" else BATCH
    rotation = itertools.cycle(sources)

    def turn() -> list[PresentationResult]:
        chosen = itertools.islice(rotation, batch)
        samples = list(pipeline.infer([pipeline.preprocess(source, frames=FRAMES) for source in chosen]))
        verdicts = [verdict_of(sample, point) for sample in samples]
        assert all(verdict.score is not None for verdict in verdicts), "no face was found in the drawn footage"
        return samples

    with patch.object(time, "perf_counter", time.process_time):
        turn()  # libraries load parts of themselves on first use
        spent = dict.fromkeys(STAGES, 0.0)
        done, own, whole = 0, time.process_time(), processor()
        while processor() < whole + seconds:
            for sample in turn():
                done += 1
                for stage, part in sample.seconds.items():
                    spent[stage] += part
        own, whole = time.process_time() - own, processor() - whole
    spent["rest"] = own - sum(spent.values())
    spent["decode"] += whole - own
    return {stage: part / done for stage, part in spent.items()}


def processor() -> float:
    """Return the seconds of processor time that this process and its children have taken."""
    total = 0.0
    for process in (os.getpid(), *map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())):
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        total += sum(map(int, fields[11:15])) / os.sysconf(
            "SC_CLK_TCK"
        )  # user and system, its own and of ended children
    return total


def many(table: pd.DataFrame, copies: int = 750) -> pd.DataFrame:
    """Return a score table with so many times the presentations, under names of their own."""
    tables = [table.assign(presentation=f"{copy:06d}/" + table["presentation"]) for copy in range(copies)]
    joined = pd.concat(tables, ignore_index=True)
    numbers = joined.select_dtypes("float64")  # repeated, they would compress too well
    joined[numbers.columns] = numbers * np.random.default_rng(0).uniform(0.9, 1, numbers.shape)
    joined["score"] = probability(joined["logit"].to_numpy())
    return joined


def seconds_of(action: Callable[[], object]) -> float:
    """Return the core-seconds of one call."""
    before = processor()
    action()
    return processor() - before


def show_stages(costs: dict[str, Cost], *, detector: str) -> None:
    """Print milliseconds by stage."""
    print(f"One thread on one core, detector {detector}, {FRAMES} frames of a video.\n")
    print(f"| stage | {' | '.join(f'{kind}, ms' for kind in costs)} |\n|---|{'---:|' * len(costs)}")
    rows = {**STAGES, "write": "write the score rows (Parquet)"}
    for stage, title in rows.items():
        print(f"| {title} | {' | '.join(f'{1e3 * cost.stages[stage]:.2f}' for cost in costs.values())} |")
    print(f"| **score one presentation** | {' | '.join(f'**{1e3 * cost.seconds:.1f}**' for cost in costs.values())} |")
    print(f"| `data crop`, all of it | {' | '.join(f'{1e3 * cost.cropping:.1f}' for cost in costs.values())} |\n")
    print(f"| of one presentation | {' | '.join(costs)} |\n|---|{'---:|' * len(costs)}")
    for title, values in (
        ("footage", [size(cost.footage) for cost in costs.values()]),
        ("crop store", [f"{size(cost.crops)} in {cost.files} files" for cost in costs.values()]),
        ("score table rows", [str(cost.rows) for cost in costs.values()]),
        ("score table, Parquet", [size(cost.parquet) for cost in costs.values()]),
        ("score table, CSV", [size(cost.csv) for cost in costs.values()]),
        ("score table in memory", [size(cost.memory) for cost in costs.values()]),
    ):
        print(f"| {title} | {' | '.join(values)} |")


def show_capacity(kind: str, cost: Cost, *, cores: int) -> None:
    """Print what millions of one kind of presentation need."""
    print(
        f"\n| {kind}s | core-hours to score | hours on {cores} cores | core-hours of `data crop` | footage read | crops, "
        "if kept | files of the crop store | score table rows | Parquet | in memory |\n|" + "---:|" * 10
    )
    for count in PRESENTATIONS:
        hours = core_hours(cost.seconds, count)
        cells = (
            f"{count // 1_000_000:,} million",
            number(hours),
            number(hours / cores),
            number(core_hours(cost.cropping, count)),
            size(cost.footage * count),
            size(cost.crops * count),
            f"{cost.files * count // 1_000_000:,} million",
            f"{cost.rows * count // 1_000_000:,} million",
            size(cost.parquet * count),
            size(cost.memory * count),
        )
        print(f"| {' | '.join(cells)} |")


def show_server(photo: Cost, *, ratio: float, megabytes: float) -> None:
    """Print what a service of photos needs."""
    verdict = (photo.seconds - photo.stages["write"]) / ratio
    count = processes_for(VERDICTS, verdict)
    print(f"\n| {VERDICTS:,} verdicts a second on photos | |\n|---|---:|")
    for title, value in (
        ("a server verdict", f"{1e3 * verdict:.1f} ms of a core"),
        ("cores, all busy", f"{processes_for(VERDICTS, verdict, busy=1):,}"),
        (f"cores, {BUSY:.0%} busy: server processes of one thread", f"{count:,}"),
        ("memory of these processes", size(1e6 * megabytes * count)),
        ("uploads through the balancer", f"{8 * VERDICTS * photo.footage / 1e9:.1f} Gbit/s"),
        ("rows of the decision log a day", f"{VERDICTS * 86_400 / 1e6:,.0f} million"),
    ):
        print(f"| {title} | {value} |")


if __name__ == "__main__":
    main()
