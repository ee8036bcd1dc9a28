"""Time per verdict: the network on every engine, a photo, a video, and the common approach for comparison.

python benchmarks/latency.py [--bundle MODEL.bonaface] [--peer PEER.bonaface] [--weights YUNET.onnx] [--seconds 3]

All in one run, on drawn persons. Without a bundle a MobileNetV3-Large with random weights is used; weights do not
affect the timing. The floor is the time that the network's multiplications and additions take at the rate of a large
matrix product on as many threads.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from random_bundle import random_bundle

from bonaface.config import ModelSettings
from bonaface.data.cropping import crop_face, face_square
from bonaface.data.faces.detector import load_detector
from bonaface.data.frames import Frames
from bonaface.data.images import encode_jpeg, read_image
from bonaface.data.sources import Source
from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import Take, bona_fide_frames
from bonaface.data.video_writer import write_video
from bonaface.inference.backends import as_network_input, computes_bf16, load_backend
from bonaface.inference.bundle import Bundle, change_bundle, load_bundle, write_bundle
from bonaface.inference.bundle_schema import VariantCard
from bonaface.inference.decision import verdict_of
from bonaface.inference.pipeline import Pipeline
from bonaface.inference.quality import measure
from bonaface.inference.verdict import Verdict
from bonaface.models.network import LivenessNet, network_from_bytes
from bonaface.models.openvino_export import openvino_files, search_int8

PARTS = 1.25
"""A photo to verdict may cost this times decoding, detecting and the network alone."""
USUAL_SMALL, USUAL_LARGE = 3.0, 10.0
"""How much faster than the usual way, on 640x480 and on 12 megapixels."""
QUALITY = 0.03
"""Share of a verdict that measuring the quality of the face may take."""
VIDEO = 0.85
"""Frames of a video a second, of those of decoding, detecting and the network alone."""
COLD, MEMORY, COLD_STARTS = 1.5, 300, 5
"""Seconds and megabytes of a process that scores one photo, and how many such processes are started."""
# A process's own peak: what the system tells its parent counts the parent's memory before the program was loaded too.
_SCORE = """
import sys
from pathlib import Path
from bonaface.cli import main
try:
    main()
finally:
    print(*(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line), file=sys.stderr)
"""
FPS = 15
ENGINES = (
    ("ONNX Runtime", "", None),
    ("OpenVINO f32", "", "openvino"),
    ("OpenVINO bf16", "bf16", None),
    ("OpenVINO int8", "int8", None),
)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=None, help="by default random weights")
    parser.add_argument("--peer", type=Path, default=None, help="bundle of a different system, timed in the same run")
    parser.add_argument("--weights", type=Path, default=None, help="YuNet's file; by default Haar finds the faces")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each thing is timed")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = load_bundle(asked.bundle) if asked.bundle else random_bundle(Path(folder), asked.weights)
        bundle = with_variants(bundle)
        networks_alone(bundle, seconds=asked.seconds)
        frames = bona_fide_frames(Take(Person.random(3), 5), 3 * FPS, FPS)
        systems = {"ours": bundle, **({"peer": load_bundle(asked.peer)} if asked.peer else {})}
        for name, system in systems.items():
            for threads in (1, 2):
                photos(
                    name, system, frames[0], asked.weights, seconds=asked.seconds, folder=Path(folder), threads=threads
                )
            cold_start(name, system, frames[0], asked.weights, folder=Path(folder))
        files = [Path(folder) / f"{number}.mp4" for number in range(4)]
        for file in files:
            write_video(file, frames, fps=FPS)
        for name, system in systems.items():
            videos(name, system, files, asked.weights, count=len(frames))


def with_variants(bundle: Bundle) -> Bundle:
    """The bundle with bf16 and int8, where it lacks them: made for their speed, and not held to any verdict."""
    onnx = bundle.contents["model.onnx"]
    variants = dict(bundle.card.variants)
    files: dict[str, bytes] = {}
    if "bf16" not in variants:
        variants["bf16"] = VariantCard(backend="openvino", precision="bf16", files=("bf16.xml", "bf16.bin"))
        files |= dict(zip(variants["bf16"].files, openvino_files(onnx), strict=True))
    if "int8" not in variants:
        variants["int8"] = VariantCard(backend="openvino", precision="int8", files=("int8.xml", "int8.bin"))
        size = bundle.card.input.size
        crops = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), dtype=np.uint8)
        made = search_int8(onnx, as_network_input(crops, bundle.card.input), changed=lambda _: 0, limit=0)
        files |= dict(zip(variants["int8"].files, made.files, strict=True))
    return change_bundle(bundle, variants=variants, files=files)


def networks_alone(bundle: Bundle, *, seconds: float) -> None:
    """The first table: one crop through the network."""
    network = network_from_bytes(
        bundle.contents["model.safetensors"], ModelSettings.model_validate(bundle.card.network)
    )
    size = bundle.card.input.size
    crop = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    work = operations(network, torch.from_numpy(crop))
    print(f"{bundle.card.architecture}, one crop of {size} x {size}, {work / 1e6:.0f} million operations\n")
    print(f"{'engine':<16}{'threads':>8}{'p50':>12}{'p99':>12}{'x floor':>10}")
    for threads in (1, 2):
        floor = work / matrix_rate(threads)
        print(f"{'floor':<16}{threads:>8}{1e3 * floor:>9.2f} ms{'':>12}{1:>10.1f}")
        torch.set_num_threads(threads)
        runs: dict[str, Callable[[], Any]] = {"torch": lambda: torch_run(network, crop)}
        for title, variant, backend in ENGINES:
            if variant == "bf16" and not computes_bf16():
                print(f"{title:<16}{threads:>8}   not available: this processor does not compute in bf16")
                continue
            engine = load_backend(bundle.use(variant), backend=backend, threads=threads)
            runs[title] = lambda engine=engine: engine.run(crop)  # type: ignore[misc]
        for title, run in runs.items():
            took = timed(run, seconds)
            row = f"{title:<16}{threads:>8}{ms(took, 50)}{ms(took, 99)}"
            print(f"{row}{np.percentile(took, 50) / floor:>10.1f}")
    torch.set_num_threads(os.cpu_count() or 1)
    print()


def torch_run(network: LivenessNet, crop: NDArray[np.uint8]) -> float:
    with torch.inference_mode():
        return float(network(torch.from_numpy(crop))[0])


def operations(network: LivenessNet, crop: torch.Tensor) -> float:
    """Multiplications and additions of the convolutions and linear layers for one crop."""
    total = 0.0

    def count(module: Any, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        weight = module.weight
        total += 2 * output.numel() * weight[0].numel()

    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.inference_mode():
        network(crop)
    for hook in hooks:
        hook.remove()
    return total


def matrix_rate(threads: int) -> float:
    """Operations a second of a large f32 matrix product: what this machine can do."""
    torch.set_num_threads(threads)
    side = 1024
    left, right = torch.rand(side, side), torch.rand(side, side)
    return 2 * side**3 / float(np.percentile(timed(lambda: left @ right, 1.0), 20))


def photos(
    name: str,
    bundle: Bundle,
    frame: NDArray[np.uint8],
    weights: Path | None,
    *,
    seconds: float,
    folder: Path,
    threads: int,
) -> None:
    """A JPEG to verdict, against its parts alone and against the usual way."""
    path = folder / f"{name}.onnx"
    path.write_bytes(bundle.contents["model.onnx"])
    cv2.setNumThreads(threads)
    pipeline = Pipeline(bundle, detector_weights=weights, threads=threads)
    point = bundle.operating_point("image")
    given = f"{threads} thread{'s' if threads > 1 else ''}"
    print(f"{name} ({bundle.card.architecture}, {bundle.card.detector.name}): a JPEG to verdict, {given}\n")
    print(
        f"{'photo':<14}{'p50':>12}{'p99':>12}{'parts alone':>14}{'ratio':>8}"
        f"{'usual, ONNX':>14}{'faster by':>11}{'usual, torch':>14}{'faster by':>11}"
    )
    for title, picture, faster in (
        ("640 x 480", frame, USUAL_SMALL),
        ("12 megapixels", cv2.resize(frame, (4000, 3000), interpolation=cv2.INTER_CUBIC), USUAL_LARGE),
    ):
        jpeg = encode_jpeg(np.asarray(picture, np.uint8), quality=90)

        def verdict(jpeg: bytes = jpeg) -> Verdict:
            (sample,) = pipeline.infer([pipeline.preprocess(Source("photo", jpeg), frames=1)])
            return verdict_of(sample, point)

        assert verdict().score is not None, "no face was found in the drawn picture"
        ways = {"ONNX": session_of(path, threads), "torch": network_of(bundle)}
        usual = {
            title: lambda jpeg=jpeg, run=run: usual_way(bundle, jpeg, weights, run)
            for title, run in ways.items()
            if run is not None
        }
        torch.set_num_threads(threads)
        each = parts(bundle, jpeg, weights, threads=threads)
        ours, of_quality, *others = together(
            [verdict, measuring(bundle, jpeg, weights), *each, *usual.values()], seconds
        )
        alone = sum(float(np.percentile(took, 50)) for took in others[: len(each)])
        slower = dict(zip(usual, others[len(each) :], strict=True))
        row = f"{title:<14}{ms(ours, 50)}{ms(ours, 99)}{1e3 * alone:>11.1f} ms{np.percentile(ours, 50) / alone:>8.2f}"
        for way in ways:
            times = np.percentile(slower[way], 50) / np.percentile(ours, 50) if way in slower else 0.0
            row += f"{ms(slower[way], 50):>14}{times:>11.1f}" if way in slower else f"{'-':>14}{'':>11}"
        print(f"{row}   (wanted: ratio at most {PARTS:g}, faster by {faster:g} or more)")
        spent = float(np.percentile(of_quality, 50))
        share = spent / float(np.percentile(ours, 50))
        print(
            f"  of it quality of the face {1e3 * spent:.3f} ms, {100 * share:.2f} %   (wanted: at most {100 * QUALITY:g} %)"
        )
    torch.set_num_threads(os.cpu_count() or 1)
    cv2.setNumThreads(-1)
    print()


def cold_start(name: str, bundle: Bundle, frame: NDArray[np.uint8], weights: Path | None, *, folder: Path) -> None:
    """`bonaface predict photo.jpg` from a cold shell: seconds to the end of the process, and the most memory it took."""
    file, photo = folder / f"{name}.bonaface", folder / "photo.jpg"
    write_bundle(replace(bundle, path=file))
    photo.write_bytes(encode_jpeg(frame, quality=90))
    command = [sys.executable, "-c", _SCORE, "predict", str(file), str(photo)]
    command += ["--detector-weights", str(weights)] if weights else []
    took, memory = [], []
    for _ in range(COLD_STARTS):
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        took.append(time.perf_counter() - start)
        assert done.returncode in (0, 1), f"no verdict on the drawn picture: {done.stderr}"
        memory.append(int(done.stderr.split()[-2]) / 1024)
    print(
        f"{name}: first verdict from a cold shell {np.median(took):.2f} s, at the best {min(took):.2f} s, "
        f"{max(memory):.0f} MB of memory   (wanted: under {COLD:g} s, under {MEMORY} MB)\n"
    )


def parts(bundle: Bundle, jpeg: bytes, weights: Path | None, *, threads: int) -> list[Callable[[], Any]]:
    """Decoding, detecting and the network, each by itself."""
    card = bundle.card
    image = read_image(jpeg)
    detector = load_detector(card.detector.name, weights=weights)
    crop = crop_face(image, detector.detect(image)[0].box, scale=card.crop_scale, size=card.input.size)[None]
    backend = load_backend(bundle, threads=threads)
    return [lambda: read_image(jpeg), lambda: detector.detect(image), lambda: backend.run(crop)]


def measuring(bundle: Bundle, jpeg: bytes, weights: Path | None) -> Callable[[], Any]:
    """Measuring the quality of a face whose crop is cut already."""
    card, image = bundle.card, read_image(jpeg)
    (face, *_) = load_detector(card.detector.name, weights=weights).detect(image)
    height, width = image.shape[:2]
    square = face_square(face.box, scale=card.crop_scale, width=width, height=height)
    crop = crop_face(image, face.box, scale=card.crop_scale, size=card.input.size)
    return lambda: measure(crop, square, face.box, face)


def session_of(path: Path, threads: int) -> Callable[[NDArray[Any], Bundle], float]:
    """Loads the network as a session of ONNX Runtime, and runs it, at every call."""

    def run(given: NDArray[Any], bundle: Bundle) -> float:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return float(np.ravel(session.run([bundle.card.output.name], {bundle.card.input.name: given})[0])[0])

    return run


def network_of(bundle: Bundle) -> Callable[[NDArray[Any], Bundle], float] | None:
    """Builds the network in torch, loads its weights and runs it, at every call; None where there is no torch network."""
    if "model.safetensors" not in bundle.contents:
        return None
    settings = ModelSettings.model_validate(bundle.card.network)

    def run(given: NDArray[Any], bundle: Bundle) -> float:
        network = network_from_bytes(bundle.contents["model.safetensors"], settings)
        with torch.inference_mode():
            return float(network(torch.from_numpy(given))[0])

    return run


def usual_way(bundle: Bundle, jpeg: bytes, weights: Path | None, run: Callable[[NDArray[Any], Bundle], float]) -> float:
    """As scripts of the field do it: everything loaded for each picture, faces looked for at full resolution."""
    card = bundle.card
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    height, width = image.shape[:2]
    x, y, side = width // 4, height // 4, height // 2
    if card.detector.name == "yunet":
        net = cv2.FaceDetectorYN.create(str(weights), "", (width, height), 0.6)
        found = net.detect(image)[1]
        if found is not None:
            x, y, side = int(max(found[0][0], 0)), int(max(found[0][1], 0)), int(found[0][2])
    else:
        folder: str = getattr(cv2, "data").haarcascades  # noqa: B009 (a submodule that the stubs lack)
        cascade = cv2.CascadeClassifier(f"{folder}haarcascade_frontalface_default.xml")
        boxes = cascade.detectMultiScale(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), 1.1, 4)
        if len(boxes):
            x, y, side, _ = (int(value) for value in boxes[0])
    crop = cv2.resize(image[y : y + side, x : x + side, ::-1], (card.input.size, card.input.size))
    return run(as_network_input(np.asarray(crop, np.uint8)[None], card.input), bundle)


def videos(name: str, bundle: Bundle, files: list[Path], weights: Path | None, *, count: int) -> None:
    """Frames a second through the pipeline, against decoding, detecting and the network one after the other."""
    pipeline = Pipeline(bundle, detector_weights=weights)
    sources = [Source(str(file), file) for file in files]
    list(pipeline.score(sources[:1], frames=2))
    start = time.perf_counter()
    done = sum(len(sample.frames) for sample in pipeline.score(sources, frames=count))
    ours = done / (time.perf_counter() - start)
    detector = load_detector(bundle.card.detector.name, weights=weights)
    start = time.perf_counter()
    images = [frame.image for file in files for frame in Frames(file, count=count)]
    faces = [detector.detect(image) for image in images]
    spent = time.perf_counter() - start
    card = bundle.card
    crops = np.stack(
        [
            crop_face(image, found[0].box, scale=card.crop_scale, size=card.input.size)
            for image, found in zip(images, faces, strict=True)
            if found
        ]
    )
    start = time.perf_counter()
    pipeline.run_network(crops)
    alone = len(images) / (spent + time.perf_counter() - start)
    print(
        f"{name}: {len(files)} videos of {count} frames: {ours:.1f} frames a second, the parts alone {alone:.1f},",
        end=" ",
    )
    print(f"ratio {ours / alone:.2f}   (wanted: at least {VIDEO:g})")


def together(runs: Sequence[Callable[[], Any]], seconds: float) -> list[NDArray[np.float64]]:
    """Seconds of every call, by turns: what slows the machine for a while slows them all."""
    for run in runs:
        run()
    took: list[list[float]] = [[] for _ in runs]
    while min(spent := [sum(times) for times in took]) < seconds:
        next_one = int(np.argmin(spent))
        start = time.perf_counter()
        runs[next_one]()
        took[next_one].append(time.perf_counter() - start)
    return [np.array(times) for times in took]


def timed(action: Callable[[], Any], seconds: float) -> NDArray[np.float64]:
    """Seconds of each call, once it is warm."""
    action()
    action()
    took: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(took) < 3:
        start = time.perf_counter()
        action()
        took.append(time.perf_counter() - start)
    return np.asarray(took)


def ms(took: NDArray[np.float64], percentile: int) -> str:
    return f"{1e3 * np.percentile(took, percentile):>9.2f} ms"


if __name__ == "__main__":
    main()
