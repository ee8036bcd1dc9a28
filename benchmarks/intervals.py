"""Do 95 % intervals hold the truth 95 times in 100? Simulated datasets whose truth is known, subjects drawn at random.

    python benchmarks/intervals.py [--datasets 2000] [--others 1000] [--seed 0] [--jobs 2]

A presentation's logit is its class's mean, plus the subject's effect (partly shared by both classes: some faces look more
bona fide than others), plus noise; subjects bring unequal numbers of presentations. The first table is what Bonaface
reports, with the share of datasets whose truth lies above the upper bound. The second is what it would have reported with
methods in common use: a bootstrap, Clopper-Pearson bounds and DeLong's variance over presentations, as if these were
independent, and a plain percentile bootstrap over subjects.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.compare import differences_of
from bonaface.evaluation.iso30107 import evaluate_arrays
from bonaface.types import Threshold

Pair = tuple[float, float]
PERSONS = (10, 20, 50, 100)
POINT = Threshold(0.5, 0.0, "fixed=0.5")
OURS = ("far", "frr", "hter", "apcer_max", "acer_max", "accuracy", "auc")
RIGHT = ("accuracy", "auc")
THEIRS = ("exact:far", "boot:far", "person:far", "boot:hter", "person:hter", "delong:auc")
RESAMPLES = 1000


class Scenario(NamedTuple):
    """How presentations come about; `error` is the rate of bona fide rejected and of the first species accepted."""

    title: str
    error: float
    correlation: float  # of two presentations of one person and class
    shared: float  # part of the person's effect that both classes share
    presentations: float  # mean number a person and class
    spread: float  # of that number: negative binomial's size; 0: all alike
    easier: tuple[float, ...]  # by how many deviations each species is easier to detect


SCENARIOS = (
    Scenario("typical: 5 % errors", 0.05, 0.3, 0.5, 10, 2, (0.0, 0.3)),
    Scenario("strong persons: 10 %", 0.10, 0.6, 0.3, 10, 0, (0.0, 0.2)),
    Scenario("many errors: 20 %", 0.20, 0.2, 0.5, 6, 2, (0.0, 0.0)),
    Scenario("rare errors: 2 %", 0.02, 0.3, 0.5, 20, 3, (0.0,)),
    Scenario("one each: 10 %", 0.10, 0.0, 0.0, 1, 0, (0.0,)),
    Scenario("a few persons err: 3 %", 0.03, 0.7, 0.3, 30, 2, (0.0,)),
)


def main() -> None:
    """Simulate, and print how often each interval held the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=2000, help="for each row of the first table")
    parser.add_argument("--others", type=int, default=1000, help="for each row of the second")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    start = time.perf_counter()
    chunk = 50
    tasks = [
        (
            scenario,
            persons,
            range(first, min(first + chunk, arguments.datasets)),
            arguments.others,
            arguments.seed,
        )
        for scenario in range(len(SCENARIOS))
        for persons in PERSONS
        for first in range(0, arguments.datasets, chunk)
    ]
    held: dict[tuple[int, int, str], list[bool]] = defaultdict(list)
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for (scenario, persons, *_), found in zip(tasks, pool.map(_simulate, tasks), strict=True):
            for name, truth in found:
                held[scenario, persons, name].append(truth)
    error = 100 * np.sqrt(0.95 * 0.05 / arguments.datasets)
    print(
        f"Coverage of 95 % intervals in %, {arguments.datasets} datasets a row (each cell ± {error:.1f}), seed {arguments.seed}"
    )
    _table("Bonaface", (*OURS, "difference"), held)
    print("\nTruth above the upper bound (below the lower one for accuracy and AUC) in %; 2.5 by design")
    _table("Bonaface", OURS, held, prefix="missed:")
    most = [scenario for scenario in SCENARIOS if scenario.correlation]
    _target("50 persons or more", held, most, lambda persons: persons >= 50)
    _target("10 or 20 persons", held, most, lambda persons: persons < 50)
    if not arguments.others:
        return
    print(f"\n{min(arguments.others, arguments.datasets)} datasets a row")
    _table("Not used", THEIRS, held)
    print("exact: Clopper-Pearson, boot: bootstrap, delong: DeLong's variance, all over presentations;")
    print("person: percentile bootstrap over persons")
    print(f"{time.perf_counter() - start:.0f} s on {arguments.jobs} processes")


def _table(title: str, names: Iterable[str], held: dict[tuple[int, int, str], list[bool]], *, prefix: str = "") -> None:
    print(f"{title:<24}{'persons':>8}" + "".join(f"{name:>12}" for name in names))
    for i, scenario in enumerate(SCENARIOS):
        for persons in PERSONS:
            cells = (held.get((i, persons, prefix + name)) for name in names)
            shown = "".join(f"{100 * np.mean(cell):>12.1f}" if cell else f"{'-':>12}" for cell in cells)
            print(f"{scenario.title:<24}{persons:>8}{shown}")


def _target(
    title: str,
    held: dict[tuple[int, int, str], list[bool]],
    scenarios: Sequence[Scenario],
    asked: Callable[[int], bool],
) -> None:
    """The lowest and highest cell of some scenarios."""
    cells = [
        100 * np.mean(held[i, persons, name])
        for i, scenario in enumerate(SCENARIOS)
        if scenario in scenarios
        for persons in PERSONS
        if asked(persons)
        for name in (*OURS, "difference")
    ]
    print(f"correlated presentations, {title}; {len(cells)} cells from {min(cells):.1f} to {max(cells):.1f}")


def _simulate(task: tuple[int, int, range, int, int]) -> list[tuple[str, bool]]:
    which, persons, datasets, others, seed = task
    scenario = SCENARIOS[which]
    truth = _truth(scenario)
    found: list[tuple[str, bool]] = []
    for dataset in datasets:
        generator = np.random.default_rng([seed, which, persons, dataset])
        arrays, other = _draw(scenario, persons, generator)
        evaluations = {
            "first": evaluate_arrays(arrays, [POINT]),
            "second": evaluate_arrays(other, [POINT]),
        }
        first = evaluations["first"]
        figures = {**{name: getattr(first.at[0], name) for name in OURS[:-1]}, "auc": first.ranking.auc}
        found += [(name, figure.low <= truth[name] <= figure.high) for name, figure in figures.items()]
        # For a share of right decisions the dangerous side is the lower bound.
        found += [
            (f"missed:{name}", truth[name] < figure.low if name in RIGHT else truth[name] > figure.high)
            for name, figure in figures.items()
        ]
        # Two systems that are equally good: their true difference is zero.
        differences = differences_of({"first": arrays, "second": other}, evaluations)
        found += [("difference", bool(d.low <= 0 <= d.high)) for d in differences if d.measure == "hter"]
        found += [
            (name, low <= truth[name.split(":")[1]] <= high)
            for name, (low, high) in (_others(arrays, first.ranking.auc.value, generator) if dataset < others else ())
        ]
    return found


def _draw(scenario: Scenario, persons: int, generator: np.random.Generator) -> tuple[ScoreArrays, ScoreArrays]:
    """One dataset, and the scores of a second system of the same quality on it."""
    species_count = len(scenario.easier)
    means = _means(scenario)
    shared = generator.normal(size=persons) * np.sqrt(scenario.correlation * scenario.shared)
    parts: list[tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]] = []
    for attack in (False, True):
        own = shared + generator.normal(size=persons) * np.sqrt(scenario.correlation * (1 - scenario.shared))
        number = _sizes(scenario, persons, generator)
        person = np.repeat(np.arange(persons), number)
        species = generator.integers(0, species_count, len(person)) if attack else np.full(len(person), -1)
        parts.append((means[species + 1] + own[person], person, species))
    centre, person, species = (np.concatenate(items) for items in zip(*parts, strict=True))
    noise = np.sqrt(1 - scenario.correlation)
    both = [_arrays(centre + noise * generator.normal(size=len(centre)), person, species, species_count) for _ in "ab"]
    return both[0], both[1]


def _arrays(
    value: NDArray[np.float64], person: NDArray[np.intp], species: NDArray[np.intp], species_count: int
) -> ScoreArrays:
    names = tuple(f"species {k}" for k in range(species_count))
    ok = np.ones(len(value), dtype=bool)
    return ScoreArrays(
        value=value,
        score=np.asarray(1 / (1 + np.exp(-value))),
        on_logits=True,
        ok=ok,
        status=np.full(len(value), "ok", dtype=object),
        bona_fide=species < 0,
        species=species,
        species_names=names,
        subject=person,
        subjects=int(person.max()) + 1,
        subjects_known=True,
    )


def _sizes(scenario: Scenario, persons: int, generator: np.random.Generator) -> NDArray[np.intp]:
    if not scenario.spread:
        return np.full(persons, int(scenario.presentations))
    extra = scenario.presentations - 1
    return 1 + generator.negative_binomial(scenario.spread, scenario.spread / (scenario.spread + extra), persons)


def _means(scenario: Scenario) -> NDArray[np.float64]:
    """Mean logit of bona fide, then of each species: the threshold is 0, the deviation 1."""
    distance = float(stats.norm.isf(scenario.error))
    return np.array([distance, *(-distance - easier for easier in scenario.easier)])


def _truth(scenario: Scenario) -> dict[str, float]:
    means = _means(scenario)
    frr, species = float(stats.norm.cdf(-means[0])), stats.norm.sf(-means[1:])
    far, worst = float(species.mean()), float(species.max())
    return {
        "far": far,
        "frr": frr,
        "hter": (far + frr) / 2,
        "apcer_max": worst,
        "acer_max": (worst + frr) / 2,
        "accuracy": 1 - (far + frr) / 2,
        # Of two different persons: the population's AUC, in which pairs within one person vanish.
        "auc": float(stats.norm.cdf((means[0] - means[1:]) / np.sqrt(2)).mean()),
    }


def _others(arrays: ScoreArrays, area: float, generator: np.random.Generator) -> Iterable[tuple[str, Pair]]:
    """The intervals that are in use elsewhere, for the same data."""
    accepted = arrays.value >= 0
    wrong = accepted != arrays.bona_fide
    classes = {"far": ~arrays.bona_fide, "frr": arrays.bona_fide}
    errors = {name: int((wrong & of).sum()) for name, of in classes.items()}
    totals = {name: int(of.sum()) for name, of in classes.items()}
    exact = stats.binomtest(errors["far"], totals["far"]).proportion_ci(method="exact")
    yield "exact:far", (exact.low, exact.high)
    # Presentations drawn one by one give binomial numbers of errors.
    drawn = {name: generator.binomial(n, errors[name] / n, RESAMPLES) / n for name, n in totals.items()}
    yield "boot:far", _quantiles(drawn["far"])
    yield "boot:hter", _quantiles((drawn["far"] + drawn["frr"]) / 2)
    shares = np.full(arrays.subjects, 1 / arrays.subjects)
    weights = generator.multinomial(arrays.subjects, shares, size=RESAMPLES)
    drawn = {
        name: weights @ arrays.per_subject(wrong & of) / (weights @ arrays.per_subject(of))
        for name, of in classes.items()
    }
    yield "person:far", _quantiles(drawn["far"])
    yield "person:hter", _quantiles((drawn["far"] + drawn["frr"]) / 2)
    yield "delong:auc", _delong(arrays, area)


def _quantiles(replicates: NDArray[np.float64]) -> Pair:
    low, high = np.nanquantile(replicates, [0.025, 0.975])
    return float(low), float(high)


def _delong(arrays: ScoreArrays, area: float) -> Pair:
    """The interval of DeLong, DeLong and Clarke-Pearson (1988)."""
    bona_fide, attack = arrays.value[arrays.bona_fide], arrays.value[~arrays.bona_fide]
    above = np.searchsorted(np.sort(attack), bona_fide) / len(attack)
    below = 1 - np.searchsorted(np.sort(bona_fide), attack) / len(bona_fide)
    reach = 1.96 * np.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
    return area - float(reach), area + float(reach)


if __name__ == "__main__":
    main()
