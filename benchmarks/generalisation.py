"""Leave one dataset out: how a recipe does on cameras that it was not trained on, by seeds, next to other systems.

python benchmarks/generalisation.py [a.csv b.csv c.csv -o results] [--recipe default baseline] [--seeds 3]
    [--peer NAME=BUNDLE] [--bona-fide 0 1 3 5 10] [KEY=VALUE ...]

Each manifest is one dataset, cropped alike. A row a recipe, dataset left out and seed: AUC, EER, HTER at the bundle's own
threshold (with its interval over subjects) and at 0.5, APCER of the worst species, APCER at BPCER 5 % and BPCER at APCER 5 %,
expected calibration error, all of a whole video; then mean and standard deviation over the seeds, and of all. A manifest with
the splits train, val and test is also trained and tested within itself. `species.csv` has the APCER of each species.
`--bona-fide` chooses the threshold again on that many subjects of the
dataset left out, bona fide alone (`bpcer<=0.05`), and measures the other subjects. A peer is a bundle, measured on the same
presentations without training. Everything is kept in the output folder: a second call does what is missing. Without
manifests two small generated datasets show how it works; their figures say nothing about real faces.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bonaface
from bonaface.data.manifest import Manifest
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.errors import BonafaceError
from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.iso30107 import evaluate_arrays
from bonaface.evaluation.probability_calibration import reliability
from bonaface.evaluation.scores import presentations
from bonaface.evaluation.thresholds import choose_threshold, fixed_point
from bonaface.types import Threshold
from bonaface.workflows.cross_validate import leave_one_dataset_out

FIGURES = (
    "auc",
    "eer",
    "hter",
    "hter low",
    "hter high",
    "hter at 0.5",
    "apcer worst",
    "apcer at bpcer 5 %",
    "bpcer at apcer 5 %",
    "ece",
)


def main() -> None:
    """Print a row for each training and system, then means and standard deviations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", metavar="MANIFEST or KEY=VALUE")
    parser.add_argument("-o", "--output", type=Path, default=None)
    parser.add_argument("--recipe", nargs="+", default=["default"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peer", nargs="*", default=[], metavar="NAME=BUNDLE")
    parser.add_argument("--bona-fide", nargs="*", type=int, default=[], metavar="SUBJECTS")
    asked = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as folder:
        asked.output = asked.output or Path(folder)
        if not asked.sources:
            asked.sources, asked.recipe, asked.seeds = [*generated(Path(folder)), "training.epochs=10"], ["demo"], 1
        run(asked)


def generated(folder: Path) -> Iterator[str]:
    """Yield the manifests of two generated datasets."""
    for number in (1, 2):
        write_demo_dataset(folder / f"generated{number}", persons=6, takes=2, seconds=0.5, seed=number)
        bonaface.index(folder / f"generated{number}", output=folder / f"generated{number}.csv")
        yield str(folder / f"generated{number}.csv")


def run(asked: argparse.Namespace) -> None:
    """Train, measure and print what is asked for."""
    overrides = [item for item in asked.sources if "=" in item]
    manifests = [bonaface.read_manifest(item) for item in asked.sources if "=" not in item]
    within = [manifest for manifest in manifests if {"train", "val", "test"} <= set(manifest.table["split"])]
    folds = {
        **leave_one_dataset_out(manifests),
        **{f"within_{manifest.table['dataset'].iloc[0]}": manifest for manifest in within},
    }
    rows: list[dict[str, object]] = []
    species: list[dict[str, object]] = []
    for recipe in asked.recipe:
        for seed in range(asked.seeds):
            output = asked.output / f"{Path(recipe).stem}-{seed}"
            settings = (*overrides, f"seed={seed}", f"data.crops={asked.output / 'crops'}")
            bonaface.folds(recipe, *settings, manifests=folds, output=output, faces=False)
            for name in folds:
                done = output / "folds" / name
                point = bonaface.load_bundle(done / "bundle").operating_point("video")
                scores = bonaface.read_scores(done / "scores" / "test.csv")
                about = {"system": Path(recipe).stem, "tested": name, "seed": seed}
                rows += measured(scores, point, asked.bona_fide, about)
                species += by_species(scores, point, about)
    for peer in asked.peer:
        system, _, bundle = peer.partition("=")
        for name, manifest in folds.items():
            scores = peer_scores(bundle, manifest, asked.output / f"{system}-{name}")
            point = bonaface.load_bundle(bundle).operating_point("video")
            about = {"system": system, "tested": name, "seed": 0}
            rows += measured(scores, point, asked.bona_fide, about)
            species += by_species(scores, point, about)
    table = pd.DataFrame(rows)
    table.to_csv(asked.output / "generalisation.csv", index=False)
    pd.DataFrame(species).to_csv(asked.output / "species.csv", index=False)
    with pd.option_context("display.width", 200, "display.max_columns", 20, "display.max_rows", 500):
        print(table.round(3).to_string(index=False))
        figures = [name for name in table if name not in ("system", "tested", "seed", "calibrated on")]
        for keys in (["system", "calibrated on", "tested"], ["system", "calibrated on"]):
            grouped = table.groupby(keys, sort=False)[figures]
            print("\n", pd.concat({"mean": grouped.mean(), "sd": grouped.std()}, axis=1).round(3).to_string())


def peer_scores(bundle: str, manifest: Manifest, output: Path) -> pd.DataFrame:
    """Return the scores of a peer on the presentations that are left out, evaluated once."""
    if not output.exists():
        bonaface.evaluate(bundle, manifest, split="test", output=output, faces=False)
    return bonaface.read_scores(output / "scores.csv")


def measured(
    scores: pd.DataFrame, point: Threshold, subjects: list[int], about: dict[str, Any]
) -> Iterator[dict[str, object]]:
    """Yield the figures at the bundle's threshold, then at those chosen on bona fide presentations of a few subjects."""
    table = presentations(scores)
    yield {**about, "calibrated on": 0, **figures_of(table, point)}
    bona_fide = table[(table["label"] == "bona_fide") & (table["status"] == "ok")]
    known = np.random.default_rng(about["seed"]).permutation(np.unique(bona_fide["subject"]))
    for count in subjects:
        own = table["subject"].isin(set(known[:count]))
        try:
            again = choose_threshold(table[own & (table["label"] == "bona_fide")].assign(split="val"), "bpcer<=0.05")
            figures = figures_of(table[~own], again)
        except BonafaceError as error:
            print(f"{about['system']}, {about['tested']}, {count} subjects: {error}")
            continue
        yield {**about, "calibrated on": count, **figures}


def by_species(scores: pd.DataFrame, point: Threshold, about: dict[str, Any]) -> Iterator[dict[str, object]]:
    """Yield the APCER of each species at the bundle's threshold, with its interval."""
    measures = evaluate_arrays(ScoreArrays.from_table(presentations(scores)), [point]).at[0]
    for name, rate in measures.apcer.items():
        yield {**about, "species": name, "apcer": rate.value, "low": rate.low, "high": rate.high, "attacks": rate.total}


def figures_of(table: pd.DataFrame, point: Threshold) -> dict[str, float]:
    """Return the figures of one table at a threshold."""
    arrays = ScoreArrays.from_table(table)
    found = evaluate_arrays(arrays, [point, fixed_point(0.5)])
    ranking = found.ranking
    values = (
        ranking.auc.value,
        ranking.eer.value,
        found.at[0].hter.value,
        found.at[0].hter.low,
        found.at[0].hter.high,
        found.at[1].hter.value,
        found.at[0].apcer_max.value,
        ranking.at["apcer_at_bpcer_5"].rate.value,
        ranking.at["bpcer20"].rate.value,
        reliability(arrays.score[arrays.ok], arrays.bona_fide[arrays.ok]).ece,
    )
    return dict(zip(FIGURES, values, strict=True))


if __name__ == "__main__":
    main()
