"""The model object: time of a call, several threads, and memory over many calls.

python benchmarks/model_calls.py BUNDLE [--weights YUNET.onnx] [--seconds 3] [--calls 10000]

All in one run on a drawn person of 640x480. The peer is what one would write by hand: OpenCV's YuNet (or its Haar cascade)
and an ONNX Runtime session on the bundle's own network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

import bonaface
from bonaface.data.sources import Source
from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import Take, bona_fide_frames
from bonaface.inference.backends import as_network_input

CALL = 1.1
"""A call may cost this times the pipeline's own stages."""
THREADS, FASTER = 8, 1.6
"""So many threads give so many times the calls of one, on two cores."""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--weights", type=Path, default=None, help="the detector's file, where the bundle needs one")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each thing is timed")
    parser.add_argument("--calls", type=int, default=10_000, help="calls over which memory is watched")
    asked = parser.parse_args()
    image = bona_fide_frames(Take(Person.random(3), 5), 1, 15)[0]
    model = bonaface.load(asked.bundle, detector_weights=asked.weights)

    def call() -> object:
        return model(image, colour="RGB").logit

    def stages() -> object:
        preprocessed = model.pipeline.preprocess(Source("", (image,)), frames=1)
        return next(iter(model.pipeline.infer([preprocessed]))).frames[0].logit

    by_hand = hand_written(model, image, asked.weights)
    times = best_of({"model(image)": call, "its pipeline": stages, "by hand": by_hand}, asked.seconds)
    print(f"a call: {1000 * times['model(image)']:.1f} ms")
    print(f"  against its pipeline: {times['model(image)'] / times['its pipeline']:.3f} (at most {CALL})")
    print(f"  against OpenCV and ONNX Runtime by hand: {times['model(image)'] / times['by hand']:.3f}")
    for threads in (1, None):
        shared = bonaface.load(asked.bundle, detector_weights=asked.weights, threads=threads)

        def ask(_: object = None, shared: bonaface.Model = shared) -> object:
            return shared(image, colour="RGB").logit

        one, several = calls_a_second(ask, 1, asked.seconds), calls_a_second(ask, THREADS, asked.seconds)
        expected = ask()
        with ThreadPoolExecutor(THREADS) as pool:
            same = all(found == expected for found in pool.map(ask, range(200)))
        print(
            f"{THREADS} threads, threads={threads}: {one:.0f} calls a second from one, {several / one:.2f} times as many from "
            f"all (at least {FASTER} with threads=1); the same results: {'yes' if same else 'NO'}"
        )
    for _ in range(200):
        call()
    before = memory()
    for _ in range(asked.calls):
        call()
    print(f"memory over {asked.calls} calls: {before:.0f} MB before, {memory():.0f} MB after")


def hand_written(model: bonaface.Model, image: NDArray[np.uint8], weights: Path | None) -> Callable[[], object]:
    """Return a function that finds the largest face, crops a square around it and runs the network."""
    card = model.bundle.card
    session = ort.InferenceSession(model.bundle.contents["model.onnx"], providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    height, width = image.shape[:2]
    if weights:
        yunet = cv2.FaceDetectorYN.create(str(weights), "", (width, height))
    haar = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"))

    def run() -> object:
        if weights:
            found = yunet.detect(image[..., ::-1])[1]
            boxes = [] if found is None else [row[:4] for row in found]
        else:
            boxes = list(haar.detectMultiScale(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 1.1, 4))
        x, y, w, h = max(boxes, key=lambda box: box[2] * box[3])
        side = int(max(w, h) * card.crop_scale)
        left, top = int(x + w / 2 - side / 2), int(y + h / 2 - side / 2)
        padded = cv2.copyMakeBorder(image, side, side, side, side, cv2.BORDER_REPLICATE)
        crop = cv2.resize(padded[top + side : top + 2 * side, left + side : left + 2 * side], (card.input.size,) * 2)
        return session.run(None, {name: as_network_input(crop[None], card.input)})

    return run


def best_of(tasks: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Return the median seconds of each task, taken in turns."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    end = time.perf_counter() + seconds * len(tasks)
    while time.perf_counter() < end:
        for name, task in tasks.items():
            started = time.perf_counter()
            task()
            taken[name].append(time.perf_counter() - started)
    return {name: float(np.median(values)) for name, values in taken.items()}


def calls_a_second(task: Callable[[], object], threads: int, seconds: float) -> float:
    """Return the calls a second of so many threads together."""
    end = time.perf_counter() + seconds

    def work(_: int) -> int:
        done = 0
        while time.perf_counter() < end:
            task()
            done += 1
        return done

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(work, range(threads)))
    return done / (time.perf_counter() - started)


def memory() -> float:
    """Return the resident memory of this process, in MB."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1000


if __name__ == "__main__":
    main()
