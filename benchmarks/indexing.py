"""How long it takes to index, write, read and split 600,000 presentations, by real (empty) files in a temporary folder.

python benchmarks/indexing.py [--files 600000] [--folder DIR]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bonaface.data.datasets.adapter import Request
from bonaface.data.datasets.registry import index_layout
from bonaface.data.manifest import read_manifest, write_manifest
from bonaface.data.splits import split_manifest

PER_PERSON = 60
TARGET = 60.0
Result = TypeVar("Result")


def main() -> None:
    """Print a table of seconds, the first three rows being those with a target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=600_000)
    parser.add_argument("--folder", type=Path, default=None, help="where to write the files; by default the system's")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        root = Path(folder) / "Data"
        start = time.perf_counter()
        persons = write_images(root, asked.files)
        print(f"{asked.files} empty files of {persons} persons written in {time.perf_counter() - start:.1f} s\n")
        print(f"{'step':<34}{'seconds':>9}{'rows a second':>16}")
        public = timed(
            f"index, by names (target {TARGET:.0f} s)",
            asked.files,
            lambda: index_layout("celeba_spoof", Request(root, boxes=False)),
        )
        timed(f"index, by folders (target {TARGET:.0f} s)", asked.files, lambda: index_layout("folder", Request(root)))
        write_boxes(root)
        timed(
            f"index, with boxes (target {TARGET:.0f} s)",
            asked.files,
            lambda: index_layout("celeba_spoof", Request(root)),
        )
        path = Path(folder) / "manifest.csv"
        timed("write the manifest", asked.files, lambda: write_manifest(public, path))
        timed("read and validate the manifest", asked.files, lambda: read_manifest(path))
        timed("digest", asked.files, lambda: public.digest)
        timed("split by person", asked.files, lambda: split_manifest(public))


def write_images(root: Path, files: int) -> int:
    """Empty images in the layout of CelebA-Spoof, a quarter of them live; the number of persons."""
    persons = max(3, files // PER_PERSON)
    for person in range(persons):
        side = "train" if person % 10 < 8 else "test"
        images = range(person, files, persons)
        for kind, numbers in (("live", images[::4]), ("spoof", [each for each in images if each not in images[::4]])):
            folder = root / side / str(person) / kind
            folder.mkdir(parents=True)
            for number in numbers:
                (folder / f"{number:06d}.jpg").touch()
    return persons


def write_boxes(root: Path) -> None:
    """Write a small file next to each image, as in CelebA-Spoof."""
    for image in root.rglob("*.jpg"):
        image.with_name(f"{image.stem}_BB.txt").write_bytes(b"56 28 112 140 0.9876543\n")


def timed(step: str, rows: int, run: Callable[[], Result]) -> Result:
    """Run once, print how long it took, return what came of it."""
    start = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - start
    print(f"{step:<34}{seconds:>9.1f}{rows / seconds:>16,.0f}")
    return result


if __name__ == "__main__":
    main()
