"""Run a protocol of several folds: train and test each, and report mean and standard deviation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bonaface.config import load_recipe
from bonaface.config.recipe import with_new_keys
from bonaface.data.datasets.adapter import Request
from bonaface.data.datasets.registry import folds_of, index_layout
from bonaface.data.manifest import Manifest
from bonaface.data.merge import merge_manifests
from bonaface.data.splits import split_manifest
from bonaface.errors import InputError, SettingsError, format_list, reraise_os_error
from bonaface.evaluation.results import Evaluation
from bonaface.io import fresh_folder, read_json, write_json, write_text
from bonaface.types import Progress, counted
from bonaface.workflows.train import Run, train

MEASURES = ("far", "frr", "hter", "apcer_max", "bpcer", "acer_max", "auc")
VAL_SHARE = 0.2


@dataclass(frozen=True)
class Folded:
    """The measures of every fold (`table`: a row per fold and kind of input), and the runs that gave them."""

    table: pd.DataFrame
    runs: Mapping[str, Run]
    path: Path

    def spread(self) -> pd.DataFrame:
        """Return mean and sample standard deviation over the folds of every measure, by kind."""
        grouped = self.table.groupby("kind", sort=False)[list(MEASURES)]
        return pd.concat({"mean": grouped.mean(), "sd": grouped.std(ddof=1), "folds": grouped.count()}, axis=1)


def folds(
    recipe: str | Path,
    *overrides: str,
    manifests: Mapping[str, Manifest],
    output: str | Path,
    faces: bool = True,
    progress: Progress | None = None,
) -> Folded:
    """Train and test the recipe on each manifest, a fold each, with one crop store for all of them.

    Writes a run folder per fold, `folds.csv` and `folds.json`. A fold that is complete in `output` is not trained again, so
    an interrupted call can be repeated.

    Args:
        recipe: a YAML file, or the name of a shipped recipe.
        overrides: `section.key=value`, such as `training.epochs=20`.
        manifests: the manifests of the folds, by the folds' names.
        output: the folder to write.
        faces: whether the reports show pictures.
        progress: called with stage, done and total.

    Returns:
        A table with the rates of each fold.

    Raises:
        InputError: a fold has no test split, or cannot be trained on.

    Examples:
        ```python
        manifest = bonaface.read_manifest("manifest.csv")
        folded = bonaface.folds("default", "training.epochs=1", manifests={"a": manifest, "b": manifest}, output="folds")
        print(folded.table[["fold", "kind", "hter"]])
        ```
    """
    settings = load_recipe(recipe, overrides)
    without = [name for name, manifest in manifests.items() if not len(manifest.where("test"))]
    if without:
        raise InputError(
            f"nothing to test on in {format_list(without)}: each fold needs presentations in the split test"
        )
    if not manifests:
        raise SettingsError("no fold to train; give a manifest for each")
    folder = Path(output)
    if not (folder / "folds").is_dir():
        fresh_folder(folder, what="folds")
    with reraise_os_error(folder):
        (folder / "folds").mkdir(parents=True, exist_ok=True)
    crops, as_json = settings.data.crops or folder / "crops", settings.model_dump_json(exclude={"data"})
    rows: list[dict[str, object]] = []
    runs: dict[str, Run] = {}
    report = partial(progress, "folds") if progress else None
    if report:
        report(0, len(manifests))
    for name, manifest in counted(manifests.items(), report, len(manifests)):
        run = folder / "folds" / name
        kept = folder / "folds" / f"{name}.json"
        held = _held(kept, manifest, as_json)
        if held is None:
            done = train(
                recipe,
                *overrides,
                f"data.crops={crops}",
                manifest=manifest,
                output=run,
                resume=(run / "run.json").is_file(),
                faces=faces,
                progress=progress,
            )
            if done.assessment is None:
                raise KeyboardInterrupt  # Ctrl-C ended the training, and ends the folds; the same call resumes them
            runs[name] = done
            titles = done.assessment.titles
            held = [
                {"fold": name, "kind": titles[kind], **_figures(evaluation)}
                for kind, evaluation in done.assessment.evaluations.items()
            ]
            write_json(kept, {"manifest": manifest.digest, "recipe": as_json, "rows": held})
        rows += held
    table = pd.DataFrame(rows)
    write_text(folder / "folds.csv", table.to_csv(index=False, lineterminator="\n"))
    result = Folded(table, runs, folder)
    spread: dict[Any, Any] = result.spread().to_dict(orient="index")
    measures = {
        str(kind): {name: {part: row[part, name] for part in ("mean", "sd", "folds")} for name in MEASURES}
        for kind, row in spread.items()
    }
    write_json(folder / "folds.json", {"folds": rows, "spread": measures})
    return result


def protocol_folds(
    root: str | Path,
    *,
    layout: str,
    protocol: str | None = None,
    boxes: bool | None = None,
    seed: int = 0,
    allow_missing: bool = False,
) -> dict[str, Manifest]:
    """Return all folds of a layout's protocol by name, or the whole protocol if it has none.

    If a dataset has no split val, a fifth of its training subjects becomes one, and a note says so. Raises what indexing
    does.
    """
    folds = range(1, folds_of(layout, protocol or "") + 1)
    names = {f"fold{fold}": fold for fold in folds} or {f"{layout}_{protocol}" if protocol else layout: 0}
    requests = {
        name: Request(Path(root), protocol=protocol or "", fold=fold, boxes=boxes, allow_missing=allow_missing or None)
        for name, fold in names.items()
    }
    found = {name: index_layout(layout, request) for name, request in requests.items()}
    for name, manifest in found.items():
        if {"val", "train"} & set(manifest.table["split"]) == {"train"}:
            found[name] = split_manifest(manifest, val=VAL_SHARE, keep=["test"], seed=seed)
    return found


def leave_one_dataset_out(manifests: Sequence[Manifest], *, seed: int = 0) -> dict[str, Manifest]:
    """Return a fold for each dataset, in which all of it is tested and the others train and validate.

    Of the others, the split val validates and the rest trains; if a dataset has no split val, a fifth of its subjects
    becomes one. Raises ManifestError if two manifests hold the same dataset.
    """
    merged = merge_manifests(manifests)
    datasets = list(dict.fromkeys(merged.table["dataset"]))
    if len(datasets) < 2:
        raise SettingsError(f"leaving one dataset out needs two or more; found {format_list(datasets) or 'none'}")
    split = merged.table["split"].where(merged.table["split"] == "val", "train")
    for name in datasets:
        rows = merged.table["dataset"] == name
        if not (split[rows] == "val").any():
            drawn = split_manifest(merged.select(rows), val=VAL_SHARE, test=0.0, seed=seed)
            split[rows] = drawn.table["split"].to_numpy()
    return {
        f"without_{out}": replace(
            merged,
            table=merged.table.assign(split=split.mask(merged.table["dataset"] == out, "test")),
            notes=(*merged.notes, f"trained without any presentation of {out}, tested on it alone"),
        )
        for out in datasets
    }


def _held(path: Path, manifest: Manifest, recipe: str) -> list[dict[str, object]] | None:
    """Return the measures of a fold that was done before, on the same manifest with the same recipe."""
    held = read_json(path)
    if not held:
        return None
    if held.get("manifest") != manifest.digest or with_new_keys(json.loads(held["recipe"])) != json.loads(recipe):
        raise InputError(f"{path} was made with a different recipe or manifest; name another folder")
    rows: list[dict[str, object]] = held["rows"]
    return rows


def _figures(evaluation: Evaluation) -> dict[str, float]:
    at = evaluation.at[0]
    found = {name: float(getattr(at, name).value) for name in MEASURES if name != "auc"}
    return {**found, "auc": float(evaluation.ranking.auc.value), "threshold": at.point.threshold}
