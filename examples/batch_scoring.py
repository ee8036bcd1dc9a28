"""Score folders, globs and manifests into a CSV file, and print how many there were of each outcome.

python examples/batch_scoring.py run/bundle clips/ '*.jpg' -o verdicts.csv
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import bonaface


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Score many pictures and videos into a CSV file.")
    parser.add_argument("bundle", help="a bundle, such as run/bundle or minifas-128.bonaface")
    parser.add_argument("sources", nargs="+", help="pictures, videos, folders, globs or manifests")
    parser.add_argument("-o", "--output", type=Path, default=Path("verdicts.csv"), help="the CSV file to write")
    options = parser.parse_args(arguments)
    counts: Counter[str] = Counter()
    started = time.monotonic()
    try:
        # A generator: pictures are decoded ahead in threads, and verdicts come in the order of the sources.
        verdicts = bonaface.load(options.bundle).predict(options.sources)
        with options.output.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["presentation", "outcome", "score", "threshold", "reason"])
            for verdict in verdicts:
                table.writerow([verdict.source, verdict.outcome, verdict.score, verdict.threshold, verdict.reason])
                counts[verdict.outcome] += 1
    except (bonaface.BonafaceError, OSError) as error:
        raise SystemExit(f"{error}") from None
    seconds = time.monotonic() - started
    print(", ".join(f"{number} {outcome}" for outcome, number in counts.most_common()) or "nothing was scored")
    print(f"{counts.total() / seconds:.1f} presentations a second, in {options.output}")
    for name in verdicts.sources.not_media:
        print(f"left out, neither picture nor video: {name}")


if __name__ == "__main__":
    main()
