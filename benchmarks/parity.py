"""Compare the scores of Torch, every engine in f32, single crops and batches, and the server.

python benchmarks/parity.py [--bundle MODEL.bonaface] [--weights YUNET.onnx] [--pictures FOLDER] [--frames 1000]

The scores of the bundle's pipeline (ONNX Runtime, many at a time) are the measure; the other ways get the same JPEG
files. Without pictures persons are drawn, half of them behind a print or a screen. Without a bundle a network with
random weights is used, its logits scaled to a spread of 2 around 0, because saturated scores would hide differences.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from random_bundle import SETTINGS, random_bundle

from bonaface.config import ModelSettings
from bonaface.data.images import encode_jpeg
from bonaface.data.sources import Source
from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import Take, bona_fide_frames, presented_frames
from bonaface.inference.bundle import Bundle, change_bundle, load_bundle, write_bundle
from bonaface.inference.decision import PresentationResult
from bonaface.inference.pipeline import Pipeline
from bonaface.models.network import LivenessNet, build_network, network_from_bytes
from bonaface.types import logit

Scores = NDArray[np.float64]

A_TAKE = 20
SPECIES = ("print_flat", "print_bent", "replay_phone", "replay_monitor")
PROBABILITY, LOGIT = 1e-4, 1e-3
SATURATED = 12.0
"""Beyond this a probability in JSON says little of its logit, which is then not compared."""


def main() -> None:
    """Print a row for each way and the greatest distances from the pipeline's scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=None, help="by default random weights, scaled")
    parser.add_argument("--weights", type=Path, default=None, help="YuNet's file, where the bundle needs it")
    parser.add_argument("--pictures", type=Path, default=None, help="folder of .jpg files; by default drawn persons")
    parser.add_argument("--frames", type=int, default=1000)
    asked = parser.parse_args()
    files = pictures(asked.pictures) if asked.pictures else drawn()
    jpegs = [jpeg for jpeg, _ in zip(files, range(asked.frames), strict=False)]
    with tempfile.TemporaryDirectory() as folder:
        path = asked.bundle or stand_in(Path(folder), asked.weights, jpegs[:200])
        bundle = load_bundle(path)
        threshold = bundle.operating_point("image").threshold
        samples = list(pipeline_of(bundle, asked.weights).score(sources(jpegs), frames=1, keep_crops=True))
        faces = np.array([sample.frames[0].score is not None for sample in samples])
        ours = scores_of(samples)
        known = ours[faces]
        print(
            f"{bundle.card.name}: {len(jpegs)} pictures, {faces.sum()} with a face; logits from {known.min():.2f} to "
            f"{known.max():.2f}, {np.mean(np.abs(known) < 4):.0%} of them within ±4; threshold {threshold:.4f}\n"
        )
        print(f"{'way':<34}{'probability':>13}{'logit':>11}{'verdicts that differ':>22}")
        ways = by_engine(bundle, asked.weights, jpegs, samples)
        for name, scores in [*ways, ("server, one by one", by_server(path, asked.weights, jpegs))]:
            compare(name, ours, scores, threshold)
    print(f"\nwanted: probabilities within {PROBABILITY:g}, logits within {LOGIT:g} of their range, no other verdict")


def compare(name: str, ours: Scores, theirs: Scores, threshold: float) -> None:
    """One row."""
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    p, q = (1 / (1 + np.exp(-values[both])) for values in (ours, theirs))
    inside = both & (np.abs(ours) < SATURATED) & (np.abs(theirs) < SATURATED)
    span = max(float(np.ptp(ours[both])), 0.01)
    far = float(np.abs(ours[inside] - theirs[inside]).max() / span) if inside.any() else float("nan")
    differ = int((np.isnan(ours) != np.isnan(theirs)).sum()) + int(((p >= threshold) != (q >= threshold)).sum())
    met = np.abs(p - q).max() <= PROBABILITY and not far > LOGIT and not differ
    print(f"{name:<34}{np.abs(p - q).max():>13.1e}{far:>11.1e}{differ:>22}   {'met' if met else 'MISSED'}", flush=True)


def by_engine(
    bundle: Bundle, weights: Path | None, jpegs: Sequence[bytes], samples: Sequence[PresentationResult]
) -> Iterator[tuple[str, Scores]]:
    """Each engine's logits, NaN where it found no face."""
    if "model.safetensors" in bundle.contents:
        settings = ModelSettings.model_validate(bundle.card.network)
        network = network_from_bytes(bundle.contents["model.safetensors"], settings)
        yield "torch, one by one", by_torch(network, samples)
    for backend in ("onnxruntime", "openvino"):
        many = pipeline_of(bundle, weights, backend=backend, threads=2)
        if backend != "onnxruntime":
            yield f"{backend}, in batches", scores_of(list(many.score(sources(jpegs), frames=1)))
        one = pipeline_of(bundle, weights, backend=backend, threads=1)
        alone = [next(iter(one.infer([one.preprocess(source, frames=1)]))) for source in sources(jpegs)]
        yield f"{backend}, one by one, 1 thread", scores_of(alone)


def by_torch(network: LivenessNet, samples: Sequence[PresentationResult]) -> Scores:
    """The trained network itself, on the crops that the pipeline cut."""
    found = []
    with torch.inference_mode():
        for sample in samples:
            crop = sample.crops[0] if sample.crops is not None and len(sample.crops) else None
            found.append(np.nan if crop is None else float(network(torch.from_numpy(np.asarray(crop)[None]))[0][0]))
    return np.array(found)


def by_server(bundle: Path, weights: Path | None, jpegs: Sequence[bytes]) -> Scores:
    """Each picture sent to `bonaface serve`, which answers with a probability."""
    program = "from bonaface.cli import main; main()"
    options = ["--detector-weights", str(weights)] if weights else []
    command = [sys.executable, "-c", program, "serve", str(bundle), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split("http://")[1].split()[0]
            connection = http.client.HTTPConnection(address, timeout=30)
            found = []
            for jpeg in jpegs:
                connection.request("POST", "/v1/liveness", jpeg, {"Content-Type": "image/jpeg"})
                answer = connection.getresponse()
                written = json.loads(answer.read())
                assert answer.status == 200, written
                found.append(np.nan if written["score"] is None else logit(written["score"]))
            connection.close()
        finally:
            server.terminate()
    return np.array(found)


def pipeline_of(
    bundle: Bundle, weights: Path | None, *, backend: str | None = None, threads: int | None = None
) -> Pipeline:
    """A pipeline that scores the largest face."""
    return Pipeline(bundle, detector_weights=weights, backend=backend, threads=threads)


def sources(jpegs: Sequence[bytes]) -> list[Source]:
    """The files as sources."""
    return [Source(str(number), jpeg) for number, jpeg in enumerate(jpegs)]


def scores_of(samples: Sequence[PresentationResult]) -> Scores:
    """The logit of each first frame, NaN where there is none."""
    logits = [sample.frames[0].logit for sample in samples]
    return np.array([np.nan if value is None else value for value in logits], dtype=np.float64)


def pictures(folder: Path) -> Iterator[bytes]:
    """The .jpg files below a folder, by name."""
    for file in sorted(folder.rglob("*.jpg")):
        yield file.read_bytes()


def drawn() -> Iterator[bytes]:
    """Frames of drawn persons, every second take of them an attack, as JPEG of 640 x 480."""
    number = 0
    while True:
        take = Take(Person.random(number // 2), number)
        if number % 2:
            place = Take(Person.random(number // 2), number + 1_000_000)
            frames = presented_frames(take, place, SPECIES[number // 2 % len(SPECIES)], A_TAKE, 15)
        else:
            frames = bona_fide_frames(take, A_TAKE, 15)
        for frame in frames:
            yield encode_jpeg(np.asarray(frame, np.uint8), quality=90)
        number += 1


def stand_in(folder: Path, weights: Path | None, jpegs: Sequence[bytes]) -> Path:
    """A MobileNetV3-Large of random weights whose logits spread by 2 around 0 over the pictures."""
    torch.manual_seed(0)
    network = build_network(SETTINGS).eval()
    bundle = random_bundle(folder, weights, network)
    logits = scores_of(list(pipeline_of(bundle, weights).score(sources(jpegs), frames=1)))
    middle, spread = float(np.nanmean(logits)), float(np.nanstd(logits))
    last = network.backbone.get_classifier()
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.weight.mul_(2 / spread)
        last.bias.sub_(middle).mul_(2 / spread)
    bundle = change_bundle(random_bundle(folder, weights, network), path=folder / "random.bonaface")
    write_bundle(bundle)
    return bundle.path


if __name__ == "__main__":
    main()
