"""A protocol of several folds as one job: train and test each, report mean and spread."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bonaface.config import load_recipe
from bonaface.data.datasets.adapter import Request
from bonaface.data.datasets.registry import folds_of, index_layout
from bonaface.data.identity import DISTINCT, declared_distinct
from bonaface.data.manifest import Manifest, make_manifest
from bonaface.data.splits import split_manifest
from bonaface.errors import InputError, ManifestError, SettingsError, few, writing
from bonaface.evaluation.results import Evaluation
from bonaface.io import fresh_folder, read_json, write_json, write_text
from bonaface.types import Progress
from bonaface.workflows.train import Run, train

MEASURES = ("far", "frr", "hter", "apcer_max", "bpcer", "acer_max", "auc")
VAL_SHARE = 0.2


@dataclass(frozen=True)
class Folded:
    """Every fold's figures (`table`: a row per fold and kind of judging), and the runs they come from."""

    table: pd.DataFrame
    runs: Mapping[str, Run]
    path: Path

    def spread(self) -> pd.DataFrame:
        """Mean and standard deviation (over folds, of a sample) of every measure, by kind."""
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

    Leaves a run folder a fold, `folds.csv` and `folds.json`. A fold that is complete in `output` already is not trained
    again, so an interrupted call goes on where it was. Raises InputError where a fold has no test split.
    """
    settings = load_recipe(recipe, overrides)
    without = [name for name, manifest in manifests.items() if not len(manifest.where("test"))]
    if without:
        raise InputError(f"nothing to test on in {few(without)}: each fold needs presentations of split test")
    if not manifests:
        raise SettingsError("no fold to train; give a manifest for each")
    folder = Path(output)
    if not (folder / "folds").is_dir():
        fresh_folder(folder, what="folds")
    with writing(folder):
        (folder / "folds").mkdir(parents=True, exist_ok=True)
    crops = settings.data.crops or folder / "crops"
    rows: list[dict[str, object]] = []
    runs: dict[str, Run] = {}
    for number, (name, manifest) in enumerate(manifests.items(), start=1):
        if progress:
            progress("folds", number - 1, len(manifests))
        run = folder / "folds" / name
        kept = folder / "folds" / f"{name}.json"
        held = _held(kept, manifest, settings.model_dump_json(exclude={"data"}))
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
                raise InputError(f"fold {name} was interrupted; run the same command again to go on")
            runs[name] = done
            titles = done.assessment.titles
            held = [
                {"fold": name, "kind": titles[kind], **_figures(evaluation)}
                for kind, evaluation in done.assessment.evaluations.items()
            ]
            told = {"manifest": manifest.digest, "recipe": settings.model_dump_json(exclude={"data"}), "rows": held}
            write_json(kept, told)
        rows += held
    if progress:
        progress("folds", len(manifests), len(manifests))
    table = pd.DataFrame(rows)
    write_text(folder / "folds.csv", table.to_csv(index=False, lineterminator="\n"))
    result = Folded(table, runs, folder)
    spread = result.spread()
    write_json(
        folder / "folds.json",
        {
            "folds": rows,
            "spread": {
                str(kind): {
                    name: {part: _plain(spread[part].at[kind, name]) for part in ("mean", "sd", "folds")}
                    for name in MEASURES
                }
                for kind in spread.index
            },
        },
    )
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
    """All folds of a layout's protocol by name, or the whole of it where it has none.

    A dataset that brings no split val of its own gives a fifth of its training persons, and a note says so. Raises what
    indexing does.
    """
    folds = range(1, folds_of(layout, protocol or "") + 1)
    names = {f"fold{fold}": fold for fold in folds} or {f"{layout}_{protocol}" if protocol else layout: 0}
    requests = {
        name: Request(Path(root), protocol=protocol or "", fold=fold, boxes=boxes, allow_missing=allow_missing or None)
        for name, fold in names.items()
    }
    return {name: _validated(index_layout(layout, request), seed) for name, request in requests.items()}


def _validated(manifest: Manifest, seed: int) -> Manifest:
    """The manifest with a split val: its own, or a fifth of the persons who train."""
    splits = set(manifest.table["split"])
    if "val" in splits or "train" not in splits:
        return manifest
    return split_manifest(manifest, val=VAL_SHARE, keep=["test"], seed=seed)


def leave_one_dataset_out(manifests: Sequence[Manifest], *, seed: int = 0) -> dict[str, Manifest]:
    """A fold for each dataset: all of it is tested, the others train and validate.

    Of the others, presentations of split val validate and the rest train; a dataset without split val gives a fifth of
    its persons. Raises ManifestError where two manifests hold the same dataset.
    """
    parts: dict[str, pd.DataFrame] = {}
    boxes: list[pd.DataFrame] = []
    distinct = [group for manifest in manifests for group in declared_distinct(manifest.about)]
    root = Path(os.path.commonpath([manifest.root.resolve() for manifest in manifests])) if manifests else Path()
    for manifest in manifests:
        prefix = manifest.root.resolve().relative_to(root)
        if manifest.boxes is not None:
            moved = [(prefix / path).as_posix() for path in manifest.boxes["path"]]
            boxes.append(manifest.boxes.assign(path=moved))
        for name, table in manifest.table.groupby("dataset", sort=True):
            if str(name) in parts:
                raise ManifestError(f"dataset {name} is in two manifests; index them under other names (--dataset)")
            own = table
            if "val" not in set(table["split"]):
                rows = manifest.select(manifest.table["dataset"] == name)
                drawn = split_manifest(rows, val=VAL_SHARE, test=0.0, seed=seed).table["split"]
                own = table.assign(split=drawn.to_numpy())
            moved = [(prefix / path).as_posix() for path in own["path"]]
            known = np.where(own["subject_known"].to_numpy(dtype=bool), "true", "false")
            parts[str(name)] = own.assign(path=moved, subject_known=known)
    if len(parts) < 2:
        raise SettingsError(f"leaving one dataset out needs two or more; found {few(parts) or 'none'}")
    found = {}
    for out in parts:
        tables = [
            part.assign(split="test" if name == out else part["split"].where(part["split"] == "val", "train"))
            for name, part in parts.items()
        ]
        found[f"without_{out}"] = make_manifest(
            pd.concat(tables, ignore_index=True).fillna(""),
            root,
            boxes=pd.concat(boxes, ignore_index=True) if boxes else None,
            notes=[f"trained without any presentation of {out}, tested on it alone"],
            about={DISTINCT: distinct},
        )
    return found


def _held(path: Path, manifest: Manifest, recipe: str) -> list[dict[str, object]] | None:
    """The figures of a fold that was done before, on the same manifest by the same recipe."""
    told = read_json(path)
    if not told:
        return None
    if told.get("manifest") != manifest.digest or told.get("recipe") != recipe:
        raise InputError(f"{path} is of another recipe or manifest; name another folder")
    rows: list[dict[str, object]] = told["rows"]
    return rows


def _figures(evaluation: Evaluation) -> dict[str, float]:
    at = evaluation.at[0]
    found = {name: float(getattr(at, name).value) for name in MEASURES if name != "auc"}
    return {**found, "auc": float(evaluation.ranking.auc.value), "threshold": at.point.threshold}


def _plain(value: Any) -> float | None:
    number = float(value)
    return None if math.isnan(number) else number
