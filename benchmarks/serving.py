"""Measure the server under load: closed-loop clients, then an open-loop generator at up to four times its capacity.

python benchmarks/serving.py [--bundle BUNDLE] [--seconds 120 | --quick] [--max-concurrent 32]

Server and generator are pinned to a core each. All phases, and the pipeline in a loop that they are compared with, are
run several times, interleaved, so that changes in the machine's speed affect all of them alike. The last column is the
server's cost: verdicts per second of its processor time. Without a bundle, one with a MobileNetV3-Large of random
weights is made (which needs the `train` extra): speed does not depend on the weights.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import Take, bona_fide_frames

CLOSED = (1, 2, 4, 8, 16, 32, 64)
OPEN = (0.5, 1.0, 2.0, 4.0)
IDLE = 3.0  # seconds after which a connection is not used again, before the server closes it


def main() -> None:
    """Print a table of phases, and under it the targets with what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="by default a MobileNetV3-Large of random weights, 224 pixels")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each phase")
    parser.add_argument("--quick", action="store_true", help="ten seconds a phase, fewer phases")
    parser.add_argument("--rounds", type=int, default=4, help="how often all phases are walked through")
    parser.add_argument("--max-concurrent", type=int, default=32, help="requests inside the server at once")
    parser.add_argument("--detector-weights", type=Path, help="the bundle's face detector, if not the cached download")
    asked = parser.parse_args()
    seconds = (10.0 if asked.quick else asked.seconds) / asked.rounds
    cores = sorted(os.sched_getaffinity(0))
    server_core, client_core = cores[0], cores[-1]
    if len(cores) < 2:
        print("only one core: server and generator share it, and the figures say little")
    with tempfile.TemporaryDirectory() as folder:
        bundle = asked.bundle or random_bundle(Path(folder) / "bundle")
        picture = Path(folder) / "face.jpg"
        picture.write_bytes(face())
        weights = ["--detector-weights", str(asked.detector_weights)] if asked.detector_weights else []
        with Server(bundle, asked.max_concurrent, server_core, weights) as server:

            def loop() -> float:
                return pipeline_rate(bundle, picture, server_core, seconds, asked.detector_weights)

            os.sched_setaffinity(0, {client_core})
            asyncio.run(measure(server, picture.read_bytes(), loop, seconds, asked))


async def measure(
    server: Server, content: bytes, loop: Callable[[], float], seconds: float, asked: argparse.Namespace
) -> None:
    """All phases against one server, in rounds."""
    client = Client(server.port, content)
    await closed(client, 2, 1.0)  # warm
    closed_phases = {clients: Phase() for clients in ((1, 4, 16, 64) if asked.quick else CLOSED)}
    open_phases = {factor: Phase() for factor in OPEN}
    alone: list[float] = []
    for number in range(asked.rounds):
        alone.append(await asyncio.to_thread(loop))
        server.processor()
        for clients, phase in closed_phases.items():
            phase.add(await closed(client, clients, seconds), server, asked.max_concurrent)
        capacity = max(phase.rate(200) for phase in closed_phases.values())
        for factor, phase in open_phases.items():
            phase.add(await opened(client, factor * capacity, seconds), server, asked.max_concurrent)
        print(f"round {number + 1} of {asked.rounds}: pipeline in a loop {alone[-1]:.1f} images a second", flush=True)
    await client.close()
    print(
        f"\n{'phase':<22}{'offered/s':>10}{'200/s':>8}{'429/s':>8}{'other':>7}"
        f"{'p50 ms':>9}{'p99 ms':>9}{'MB':>7}{'200/cpu s':>11}"
    )
    for clients, phase in closed_phases.items():
        phase.show(f"closed, {clients} clients")
    for factor, phase in open_phases.items():
        phase.show(f"open, {factor:g} x capacity")
    phases = [*closed_phases.values(), *open_phases.values()]
    others = sum(one.others for one in phases)
    pipeline = sum(alone) / len(alone)
    capacity = max(phase.rate(200) for phase in closed_phases.values())
    best = max(one.rate(200) for one in phases)
    full = open_phases[OPEN[-1]]
    wait = float(np.percentile(full.waits, 99))
    memory = phases[0].megabytes[0], full.megabytes[-1]
    print(f"\npipeline in a loop on one core: {pipeline:.1f} images a second\n\n{'target':<58}{'measured':>12}")
    for target, measured, met in (
        ("only 200 and 429", f"{others} others", others == 0),
        ("throughput over the pipeline's: at least 0.8", f"{capacity / pipeline:.2f}", capacity >= 0.8 * pipeline),
        (
            "goodput at 4 x over the best: at least 0.9",
            f"{full.rate(200) / best:.2f}",
            full.rate(200) >= 0.9 * best,
        ),
        (
            "p99 at 4 x over places x service time: at most 1.1",
            f"{wait:.2f}",
            wait <= 1.1,
        ),
        (
            "memory after the last phase over that after the first",
            f"{memory[1] / memory[0]:.2f}",
            memory[1] <= 1.1 * memory[0],
        ),
    ):
        print(f"{target:<58}{measured:>12}  {'met' if met else 'MISSED'}")


@dataclass
class Phase:
    """What came back in some stretches of time: how often which status, and the seconds that accepted requests took."""

    seconds: float = 0.0
    offered: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    processor: float = 0.0
    megabytes: list[float] = field(default_factory=list)

    @property
    def others(self) -> int:
        """Answers other than 200 and 429, and connections that broke (status 0)."""
        return sum(count for status, count in self.statuses.items() if status not in {200, 429})

    def take(self, status: int, spent: float) -> None:
        self.statuses[status] += 1
        if status == 200:
            self.times.append(spent)

    def rate(self, status: int) -> float:
        return self.statuses[status] / max(self.seconds, 1e-9)

    def percentile(self, share: float) -> float:
        """In milliseconds, of accepted requests."""
        return 1000 * float(np.percentile(self.times, share)) if self.times else float("nan")

    def add(self, other: Phase, server: Server, places: int) -> None:
        """Another stretch, and what the server took for it."""
        self.seconds += other.seconds
        self.offered += other.offered
        self.statuses += other.statuses
        self.times += other.times
        # With all places taken, a request waits for that many services of this stretch, give or take how they differ.
        self.waits += [spent * other.rate(200) / places for spent in other.times]
        self.processor += server.processor()
        self.megabytes.append(server.megabytes())

    def show(self, name: str) -> None:
        print(
            f"{name:<22}{self.offered / self.seconds:>10.1f}{self.rate(200):>8.1f}{self.rate(429):>8.1f}{self.others:>7}"
            f"{self.percentile(50):>9.0f}{self.percentile(99):>9.0f}{self.megabytes[-1]:>7.0f}"
            f"{self.statuses[200] / max(self.processor, 0.01):>11.1f}"
        )


async def closed(client: Client, clients: int, seconds: float) -> Phase:
    """Closed-loop clients: send the next request after each response, and wait for Retry-After after a 429."""
    phase = Phase()
    begun = time.perf_counter()
    until = begun + seconds

    async def ask() -> None:
        while time.perf_counter() < until:
            started = time.perf_counter()
            status, wait = await client.post()
            phase.offered += 1
            phase.take(status, time.perf_counter() - started)
            if status == 429:
                await asyncio.sleep(min(wait, max(until - time.perf_counter(), 0)))

    await asyncio.gather(*[ask() for _ in range(clients)])
    phase.seconds = time.perf_counter() - begun
    return phase


async def opened(client: Client, rate: float, seconds: float) -> Phase:
    """Requests at random times, `rate` a second on average, whether or not the earlier ones are answered."""
    phase = Phase()
    rng = random.Random(0)
    asked: set[asyncio.Task[None]] = set()

    async def ask(due: float) -> None:
        status, _ = await client.post()
        phase.take(status, time.perf_counter() - due)

    begun = time.perf_counter()
    due = begun
    while (due := due + rng.expovariate(rate)) < begun + seconds:
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        phase.offered += 1
        task = asyncio.create_task(ask(due))
        asked.add(task)
        task.add_done_callback(asked.discard)
    await asyncio.gather(*asked)
    phase.seconds = time.perf_counter() - begun
    return phase


class Client:
    """As little HTTP as will do, over connections that are kept."""

    def __init__(self, port: int, content: bytes) -> None:
        self._port = port
        self._request = (
            b"POST /v1/liveness HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
            % len(content)
        ) + content
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self) -> tuple[int, float]:
        """Status and the seconds of Retry-After; status 0 where the connection broke."""
        try:
            reader, writer = await self._connection()
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            return 0, 0.0
        if b"connection: close" in head:
            writer.close()
        else:
            self._idle.append((time.perf_counter(), reader, writer))
        wait = float(head.split(b"retry-after: ")[1].split(b"\r\n")[0]) if b"retry-after: " in head else 0.0
        return int(head.split()[1]), wait

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            since, reader, writer = self._idle.pop()
            if time.perf_counter() - since < IDLE:
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def close(self) -> None:
        for _, _, writer in self._idle:
            writer.close()


class Server:
    """`bonaface serve` in a process on one core."""

    def __init__(self, bundle: Path, places: int, core: int, options: list[str]) -> None:
        program = f"import os; os.sched_setaffinity(0, {{{core}}}); from bonaface.cli import main; main()"
        arguments = ["serve", str(bundle), "--port", "0", "--threads", "1", "--max-concurrent", str(places), *options]
        self._process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Server:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if "http://" not in line:
            raise SystemExit("the server did not start")
        self._used = 0.0
        self.processor()
        self.port = int(line.split("http://")[1].split()[0].rsplit(":", 1)[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def processor(self) -> float:
        """Seconds of processor time that the process took since this was last asked."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        before, self._used = self._used, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return self._used - before

    def megabytes(self) -> float:
        """Memory that the process holds now."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def pipeline_rate(bundle: Path, picture: Path, core: int, seconds: float, weights: Path | None) -> float:
    """Images a second of the pipeline alone, in a process on one core."""
    program = f"""
import itertools, os, time
os.sched_setaffinity(0, {{{core}}})
from pathlib import Path
from bonaface.inference.bundle import load_bundle
from bonaface.data.sources import Source
from bonaface.inference.pipeline import Pipeline
weights = {str(weights) if weights else None!r}
pipeline = Pipeline(load_bundle({str(bundle)!r}), threads=1, detector_weights=Path(weights) if weights else None)
content = Path({str(picture)!r}).read_bytes()
verdicts = pipeline.verdicts((Source(str(n), content) for n in itertools.count()), kind="image")
for _ in range(40): next(verdicts)
done, begun = 0, time.perf_counter()
while time.perf_counter() < begun + {seconds}: next(verdicts); done += 1
print(done / (time.perf_counter() - begun))
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def face() -> bytes:
    """A drawn person before a camera, as a JPEG of 640 x 480."""
    (frame,) = bona_fide_frames(Take(Person.random(3), 5), 1, 15)
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=90)
    return file.getvalue()


def random_bundle(path: Path) -> Path:
    """A bundle with a MobileNetV3-Large of random weights and the Haar detector."""
    from bonaface.config import ModelSettings
    from bonaface.data.faces.detector import load_detector
    from bonaface.inference.bundle import make_bundle, write_bundle
    from bonaface.inference.bundle_schema import BundleCard, DetectorCard, InputCard, OutputCard
    from bonaface.models.network import build_network
    from bonaface.models.onnx_export import export_onnx

    settings = ModelSettings(weights="none")
    network = build_network(settings)
    onnx = export_onnx(network)
    card = BundleCard(
        name="random",
        created="",
        files={},
        architecture=settings.name,
        input=InputCard(size=settings.input_size),
        output=OutputCard(),
        crop_scale=settings.crop_scale,
        detector=DetectorCard(name="haar", identity=load_detector("haar").identity),
    )
    write_bundle(make_bundle(path, card, {"model.onnx": onnx}))
    return path


if __name__ == "__main__":
    main()
