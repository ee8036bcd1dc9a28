"""How long a report on a million score rows takes, and how much memory: reading, measuring, intervals, drawings, page.

python benchmarks/report.py [--rows 1000000] [--persons 2000]

Two tables of as many rows: one row a presentation, and videos of twenty rows (nineteen frames and their fused score).
Each is reported on in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

SECONDS, GIGABYTES = 60.0, 2.0
FRAMES = 19
PROGRAM = """
import resource, sys
import bonaface
bonaface.report_scores(sys.argv[1], validation=sys.argv[2], output=sys.argv[3], by=["device"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> None:
    """Print a row for each table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--persons", type=int, default=2000)
    asked = parser.parse_args()
    print(f"{asked.rows} score rows of {asked.persons} persons\n")
    print(f"{'table':<38}{'seconds':>9}{'GB':>7}   (wanted: under {SECONDS:g} s and {GIGABYTES:g} GB)")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        scores(20_000, asked.persons, seed=1, frames=1).to_csv(root / "val.csv", index=False)
        for title, frames in (("one row a presentation", 1), (f"videos of {FRAMES} frames", FRAMES)):
            table = scores(asked.rows // (frames + (frames > 1)), asked.persons, seed=2, frames=frames)
            table.to_csv(root / "test.csv", index=False)
            seconds, gigabytes = measured(root, str(frames))
            print(f"{title:<38}{seconds:>9.1f}{gigabytes:>7.2f}")


def measured(root: Path, name: str) -> tuple[float, float]:
    """Seconds and gigabytes of one report."""
    command = [sys.executable, "-c", PROGRAM, "test.csv", "val.csv", f"report-{name}"]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    unit = 1e9 if sys.platform == "darwin" else 1e6
    return time.perf_counter() - start, int(done.stdout.split()[-1]) / unit


def scores(presentations: int, persons: int, *, seed: int, frames: int) -> pd.DataFrame:
    """Score rows of presentations whose persons differ, with five attack species and three devices."""
    rng = np.random.default_rng(seed)
    person = rng.integers(0, persons, presentations)
    real = rng.random(presentations) < 0.4
    base = np.where(real, 1.6, -1.6) + 0.8 * rng.normal(size=persons)[person] + rng.normal(size=presentations)
    names = np.char.add("clips/", np.char.mod("%07d.mp4", np.arange(presentations)))
    facts = pd.DataFrame(
        {
            "presentation": names,
            "label": np.where(real, "bona_fide", "attack"),
            "species": np.where(real, "", np.char.mod("species%d", rng.integers(0, 5, presentations))),
            "subject": np.char.mod("d/%d", person),
            "dataset": "d",
            "split": "val" if seed == 1 else "test",
            "device": np.char.mod("device%d", person % 3),
        }
    )
    if frames == 1:
        return facts.assign(frame="", logit=base, status="ok")
    logits = base[:, None] + 0.5 * rng.normal(size=(presentations, frames))
    every = facts.loc[facts.index.repeat(frames)].assign(
        frame=np.tile(np.arange(frames), presentations).astype(str), logit=logits.ravel(), status="ok"
    )
    return pd.concat([every, facts.assign(frame="", logit=logits.mean(axis=1), status="ok")], ignore_index=True)


if __name__ == "__main__":
    main()
