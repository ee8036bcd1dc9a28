"""Train, export, score and report: from a manifest and a recipe to a run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bonaface.config import Recipe, dump_recipe, load_recipe
from bonaface.data.crop_store import CropStore, fill_store
from bonaface.data.manifest import Manifest, read_manifest
from bonaface.data.merge import merge_manifests
from bonaface.data.splits import check_no_copies, check_no_leaks
from bonaface.errors import InputError, SettingsError, format_list, needs_extra
from bonaface.evaluation.probability_calibration import fit_scale_and_offset
from bonaface.evaluation.scores import write_scores
from bonaface.evaluation.thresholds import parse_criterion
from bonaface.inference.bundle import Bundle, change_bundle, write_bundle
from bonaface.inference.scoring import Scored, score_manifest
from bonaface.io import new_folder, now
from bonaface.report.page import write_page
from bonaface.types import Label, Progress, Status, probability
from bonaface.workflows.ensemble import SecondNetwork, add_second, ensemble_notes, second_network
from bonaface.workflows.evaluate import report_input
from bonaface.workflows.export import export_network, results_of
from bonaface.workflows.fine_tune import differences_from, started_from
from bonaface.workflows.operating_points import Assessment, assess, choose_operating_points
from bonaface.workflows.prepare import small_faces_note, too_small
from bonaface.workflows.runs import open_run, update_run

Source = str | Path | Manifest


@dataclass(frozen=True)
class Run:
    """A training; `bundle`, `assessment` and `report` are None if it was interrupted, or in further processes of torchrun."""

    path: Path
    stopped: str
    best_epoch: int
    bundle: Path | None = None
    assessment: Assessment | None = None
    report: Path | None = None
    notes: tuple[str, ...] = ()


def train(
    recipe: str | Path | Recipe,
    *overrides: str,
    output: str | Path,
    manifest: Source | Sequence[Source] | None = None,
    resume: bool = False,
    faces: bool = True,
    progress: Progress | None = None,
) -> Run:
    """Train with a recipe, and write a run folder with the bundle, score tables and report.

    Ctrl-C ends the training cleanly. Under torchrun each process calls this, and the first one writes.

    Args:
        recipe: a recipe, a YAML file, or the name of a shipped recipe.
        overrides: `section.key=value`, such as `training.epochs=20`; `bonaface.recipe_settings()` lists them.
        output: the run folder to write.
        manifest: the manifest, its path, or several of them, in place of `data.manifest`.
        resume: whether the interrupted run in `output` is continued.
        faces: whether the report shows pictures.
        progress: called with stage, done and total, and with the line of each epoch.

    Returns:
        The run: paths of bundle and report, and the test figures.

    Raises:
        InputError: the manifest cannot train, or a setting does not fit.
        OutputError: the folder is in use.

    Examples:
        ```python
        run = bonaface.train("default", "training.epochs=1", manifest="manifest.csv", output="new-run")
        print(run.bundle, run.report)
        ```
    """
    settings = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, overrides)
    if isinstance(recipe, Recipe) and overrides:
        raise SettingsError("overrides apply to a recipe's name or file; change a Recipe with model_copy(update=...)")
    source = manifest if manifest is not None else settings.data.manifest
    if source is None:
        raise SettingsError("no manifest to train on; add data.manifest=FILE, as `bonaface data index` writes it")
    several = [source] if isinstance(source, str | Path | Manifest) else list(source)
    if len(several) > 1 and settings.data.root is not None:
        raise SettingsError("data.root is the folder of one manifest's footage; with several manifests leave it out")
    footage = merge_manifests(
        [each if isinstance(each, Manifest) else read_manifest(each, root=settings.data.root) for each in several]
    )
    notes = [
        *footage.notes,
        *_one_class_notes(footage, settings),
        *check_no_leaks(footage, allow=settings.data.allow_leak),
    ]
    _check_trainable(footage)
    parse_criterion(settings.scoring.criterion)
    settings, before = started_from(settings)
    is_main = os.environ.get("RANK", "0") == "0"  # under torchrun, the first process alone writes
    second = second_network(settings, progress=progress) if is_main else None
    with needs_extra("training"):  # takes seconds, so every cheap check comes first
        from bonaface.training.trainer import Trainer
    run = Path(output)
    with open_run(run, settings, footage, resume=resume) if is_main else nullcontext():
        trainer = Trainer(settings)
        store = trainer.from_main_process(lambda: _crop(settings, footage, run, notes, progress))
        result = trainer.fit(footage, store.table, run, resume=resume, progress=progress)
        if result.stopped == "interrupted" and is_main:
            update_run(run, status="interrupted")
        if result.stopped == "interrupted" or not is_main:
            return Run(run, result.stopped, result.best_epoch, notes=tuple(notes))
        return _evaluate(
            settings,
            footage,
            store,
            result,
            trainer.network,
            run,
            notes,
            before=before,
            second=second,
            faces=faces,
            progress=progress,
        )


def _one_class_notes(footage: Manifest, settings: Recipe) -> Iterator[str]:
    """Yield a note on each of several datasets that has one class alone, and gets no simulated attacks either."""
    labels = footage.table.groupby("dataset")["label"].unique()
    for name, found in labels.items() if len(labels) > 1 else ():
        if len(found) == 1 and not (found[0] == Label.BONA_FIDE.value and settings.augment.simulate):
            yield (
                f"dataset {name} has {found[0]} presentations alone, so a network can learn the dataset in place of the class: "
                "add the other class, filmed alike"
            )


def _crop(settings: Recipe, footage: Manifest, run: Path, notes: list[str], progress: Progress | None) -> CropStore:
    folder, min_face = settings.data.crops or run / "crops", settings.model.min_face
    store = fill_store(footage, folder, settings.crop, min_face=min_face, progress=progress)
    notes += check_no_copies(footage, store.hashes, allow=settings.data.allow_leak)
    return store


def _evaluate(
    settings: Recipe,
    footage: Manifest,
    store: CropStore,
    result: Any,
    network: Any,
    run: Path,
    notes: list[str],
    *,
    before: Bundle | None,
    second: SecondNetwork | None,
    faces: bool,
    progress: Progress | None,
) -> Run:
    """Export the trained network, score val and test with it, choose thresholds, and write bundle and report.

    `notes` describe the model, and become part of the bundle; those in `own` concern the figures of this run alone.
    `before` is the bundle that the training continued from, `second` that of an ensemble's second network.
    """
    own: list[str] = []
    if len(store.unusable):
        shown = format_list([f"{row.path} ({row.status})" for row in store.unusable.itertuples()])
        own.append(f"{len(store.unusable)} of {len(footage)} presentations have no usable frame: {shown}")
    if small := small_faces_note(store, settings.crop, settings.model):
        own.append(small)
    if unseen := result.left_out.get("val", ()):
        own.append(
            f"{len(unseen)} validation presentations without a face in the first frame did not count in choosing the epoch: "
            f"{format_list(unseen)}"
        )

    about: dict[str, Any] = {"best_epoch": result.best_epoch}
    if before is not None:
        about["started_from"] = before.id
        if before.card.ensemble and second is None:
            notes.append(
                f"the bundle that this training started from adds the logit of {before.card.ensemble.name}, this one does not: "
                "model.ensemble_with is not set"
            )
    widened, scale = None, 1.0
    if settings.scoring.widen:
        widened, scale = _calibrated(
            network, footage.where("val"), store, settings, about, second=second, progress=progress
        )
        if widened is not None:
            write_scores(widened, run / "scores" / "widened.csv")
    draft = export_network(network, run / "bundle", settings, footage, store, training=about)
    if second is not None:
        draft = add_second(draft, second.bundle, weight=scale)
        notes += ensemble_notes(draft, second.bundle)
    scored: dict[str, Scored] = {}
    for split in ("val", "test"):
        part = footage.where(split)
        if not len(part):
            own.append("there is no test split: the figures are of validation, which also chose the threshold")
            continue
        scored[split] = score_manifest(
            draft,
            part,
            frames=settings.scoring.frames,
            fusion=settings.scoring.fusion,
            detector_weights=settings.crop.weights,
            progress=partial(progress, f"score {split}") if progress else None,
        )
        write_scores(scored[split].table, run / "scores" / f"{split}.csv")
    points = choose_operating_points(
        scored["val"].table,
        criterion=settings.scoring.criterion,
        frames=settings.scoring.frames,
        fusion=settings.scoring.fusion,
        widened=widened,
    )
    draft = change_bundle(draft, operating_points=points, notes=tuple(notes))
    last = "test" if "test" in scored else "val"
    if before is not None and last == "val":
        own.append("without a test split the result is not compared with the bundle that this training started from")
    elif before is not None:
        counted = partial(progress, "score the bundle before") if progress else None
        scores = score_manifest(
            before, footage.where(last), detector_weights=settings.crop.weights, progress=counted
        ).table
        own += differences_from(before, scores, scored[last].table, points["video"])
    assessment = assess(scored[last].table, draft, notes=(*notes, *own))
    bundle = change_bundle(draft, results=results_of(assessment, last))
    write_bundle(bundle)
    data = report_input(
        bundle,
        assessment,
        scored[last],
        footage.where(last),
        split=last,
        history=result.history,
        recipe=dump_recipe(settings),
        faces=faces,
        detector_weights=settings.crop.weights,
        validation=scored["val"].table if last == "test" else None,
        widened=widened if last == "test" else None,
        network=network,
    )
    with new_folder(run / "report", what="report", replace=True) as folder:
        write_page(data, folder, faces=faces)
    report = run / "report" / "report.html"
    update_run(
        run,
        status="complete",
        finished=now(),
        stopped=result.stopped,
        best_epoch=result.best_epoch,
        training_seconds=round(result.seconds, 1),
        bundle=bundle.id,
    )
    return Run(run, result.stopped, result.best_epoch, run / "bundle", assessment, report, (*notes, *own))


def _calibrated(
    network: Any,
    validation: Manifest,
    store: CropStore,
    settings: Recipe,
    about: dict[str, Any],
    *,
    second: SecondNetwork | None,
    progress: Progress | None,
) -> tuple[pd.DataFrame | None, float]:
    """Make the logits those of probabilities on widened validation; return its simulated part and the scale of the logits.

    Scale and offset become part of the network. The logits of `second` need the same scale.
    """
    from bonaface.training.widened_validation import PLAIN, score_widened_validation

    report = partial(progress, "widen val") if progress else None
    scored = store.table[~too_small(store.table, settings.crop, settings.model)]  # as evaluation and use do
    usable = validation.table["path"].isin(scored.loc[scored["status"] == Status.OK.value, "path"])
    if validation.table.loc[usable, "label"].nunique() < 2:
        return None, 1.0  # choosing the thresholds says what is missing
    table = score_widened_validation(network, validation, scored, settings, second=second, progress=report)
    fused = table[table["frame"].isna()]
    scale, offset = fit_scale_and_offset(
        fused["logit"].to_numpy(dtype=np.float64),
        (fused["label"] == Label.BONA_FIDE.value).to_numpy(dtype=bool),
        fused["dataset"].to_numpy(),
        presentations=int((fused["widened"] == PLAIN).sum()),
    )
    network.rescale(scale, offset)
    about["calibration"] = {"scale": scale, "offset": offset, "presentations": len(fused)}
    logits = scale * table["logit"] + offset
    simulated = table["widened"] != PLAIN
    return table.assign(logit=logits, score=probability(logits.to_numpy()))[simulated].reset_index(drop=True), scale


def _check_trainable(manifest: Manifest) -> None:
    for split in ("train", "val"):
        labels = set(manifest.where(split).table["label"])
        if not labels:
            raise InputError(
                f"the manifest has no presentation in split {split!r}; `bonaface data split` assigns them by subject, and "
                "keeps a dataset's own test split with --keep test"
            )
        if len(labels) == 1:
            raise InputError(
                f"split {split!r} holds {next(iter(labels))} presentations only; "
                "training needs bona fide and attack presentations in both train and val"
            )
