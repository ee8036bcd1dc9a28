"""Score a manifest through a bundle, and report its error rates at the bundle's thresholds."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, get_args

import pandas as pd

from bonaface.choices import Engine, Profile
from bonaface.data.manifest import Manifest, read_manifest
from bonaface.errors import InputError, MissingExtraError, OutputError, check_choice
from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.checking import text_column
from bonaface.evaluation.discard import discard_curves
from bonaface.evaluation.iso30107 import by_group
from bonaface.evaluation.results import Measures
from bonaface.evaluation.scores import digest, write_scores
from bonaface.inference.bundle import Bundle
from bonaface.inference.model_card import crop_line, ensemble_line
from bonaface.inference.pipeline import ScoringOptions
from bonaface.inference.scoring import Scored, score_manifest
from bonaface.io import new_folder
from bonaface.io.storage import is_remote
from bonaface.report.iso_profile import IsoProfile, iso_profile
from bonaface.report.page import MOST_GROUPS, ReportInput, write_page
from bonaface.types import Progress
from bonaface.workflows.bundle import find_bundle
from bonaface.workflows.distribute import check_engine, parts_folder, score_on_ray
from bonaface.workflows.embed import map_of
from bonaface.workflows.explain import explainer_of, gallery
from bonaface.workflows.operating_points import KINDS, Assessment, assess, rows_of
from bonaface.workflows.partitions import Partitions
from bonaface.workflows.prepare import counts_line, rows_of_split

if TYPE_CHECKING:
    from bonaface.models.network import LivenessNet

PER_GROUP = 6
MOST_FILE_NOTES = 10
_NO_GROUPS = {"path", "label", "species", "category", "split", "protocol", "fold"}
"""Columns that a report shows elsewhere."""
SPLITS = {
    "test": "the test split",
    "val": "the validation split",
    "train": "the train split",
    "all": "all presentations",
}


@dataclass(frozen=True)
class Evaluated:
    """A score table, its error rates, where both were written, and the table of a profile where one was asked for."""

    scores: pd.DataFrame
    assessment: Assessment
    path: Path
    report: Path
    profile: IsoProfile | None = None


def evaluate(
    bundle: str | Path | Bundle,
    manifest: str | Path | Manifest,
    *,
    output: str | Path,
    split: str | None = None,
    faces: bool = True,
    variant: str | None = None,
    root: str | Path | None = None,
    profile: Profile | None = None,
    engine: Engine | None = None,
    address: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[ScoringOptions],
) -> Evaluated:
    """Write a score table and a report of a bundle on a manifest's presentations.

    The thresholds are the bundle's: nothing is chosen on what is evaluated. Where the report cannot be written the scores
    are kept next to `output`.

    Args:
        bundle: the bundle, its path, or the run folder that holds it.
        manifest: the manifest, or its path.
        output: the folder to write.
        split: `train`, `val`, `test` or `all`; by default `test` where there is one.
        faces: whether the report shows pictures.
        variant: one of the bundle's variants, at its own thresholds.
        root: the folder that the manifest's paths are relative to, if it moved.
        profile: `iso30107-3` for the table of the standard, with what it lacks.
        engine: `ray` to score on a cluster; complete parts are kept in OUTPUT.partitions, where the same call resumes.
        address: the cluster, such as `auto`; by default RAY_ADDRESS, else one is started on this machine.
        workers: workers of the cluster, by default one per core.
        progress: called with stage, done and total.
        options: `detector`, `detector_weights`, `threads`, `backend`, `min_face` and `quality`, as of `bonaface.load`; the
            report names what differs from the bundle.

    Returns:
        The score table, the rates for single images and for videos, and the path of the report.

    Raises:
        BundleError: there is no bundle, or a damaged one.
        ManifestError: the manifest cannot be read.
        OutputError: the folder is in use or cannot be written.

    Examples:
        ```python
        done = bonaface.evaluate("run/bundle", "manifest.csv", output="results")
        print(done.assessment.measures("video").apcer_max, done.report)
        ```
    """
    check_choice("profile", profile, get_args(Profile))
    check_engine(engine, address=address, workers=workers)
    weights, detector, min_face = options.get("detector_weights"), options.get("detector"), options.get("min_face")
    model = find_bundle(bundle, detector_weights=weights, progress=progress)
    model = model if variant is None else model.use(variant)
    whole = manifest if isinstance(manifest, Manifest) else read_manifest(manifest, root=root)
    part, name = rows_of_split(whole, split)
    target = Path(output)
    with new_folder(target, what="evaluation") as folder:
        if engine == "ray":
            options.pop("threads", None)  # each worker of a cluster has one
            scored = score_on_ray(model, part, target, address=address, workers=workers, progress=progress, **options)
        else:
            reported = partial(progress, "score") if progress else None
            scored = score_manifest(model, part, progress=reported, **options)
        write_scores(scored.table, folder / "scores.csv")
        try:
            notes = _notes(model, whole, part, scored.table, split=name, detector=detector)
            if min_face is not None and min_face != model.card.min_face:
                notes.append(f"faces from {min_face:g} pixels are scored, in place of the bundle's own bound")
            if not options.get("quality", True) and model.card.quality:
                notes.append("the bundle's limits on quality were switched off")
            assessment = assess(scored.table, model, notes=tuple(notes))
            data = report_input(
                model,
                assessment,
                scored,
                part,
                split=name,
                faces=faces,
                detector_weights=weights,
                detector=detector,
                profile=profile,
            )
            write_page(data, folder, faces=faces)
        except (OSError, OutputError) as error:
            kept = _kept(folder / "scores.csv", target)
            raise OutputError(f"{error}; the scores are kept in {kept}, which `bonaface report` reads") from error
    if engine == "ray":
        Partitions(parts_folder(target), "").remove()
    return Evaluated(scored.table, assessment, target, target / "report.html", data.profile)


def report_input(
    bundle: Bundle,
    assessment: Assessment,
    scored: Scored,
    manifest: Manifest,
    *,
    split: str,
    faces: bool,
    history: pd.DataFrame | None = None,
    recipe: str = "",
    detector_weights: str | Path | None = None,
    detector: str | None = None,
    validation: pd.DataFrame | None = None,
    widened: pd.DataFrame | None = None,
    network: LivenessNet | None = None,
    profile: Profile | None = None,
) -> ReportInput:
    """Collect what the report of one scored manifest shows; what cannot be shown is left out with a note that says why.

    `history` and `recipe` are those of the training, `validation` is the score table that chose the thresholds,
    `widened` that of the presentations simulated to widen it, `network` is that of the bundle, if it is built already.
    """
    notes = list(assessment.notes)
    kind = assessment.last
    explainer = None
    try:
        explainer = explainer_of(bundle, network) if faces else None
    except (InputError, MissingExtraError) as error:
        notes.append(f"no Grad-CAM: {error}")
    items = gallery(
        bundle,
        manifest,
        assessment.rows[kind],
        point=bundle.operating_point(kind),
        count=PER_GROUP,
        detector_weights=detector_weights,
        detector=detector,
        explainer=explainer,
    )
    embedding = None
    if bundle.card.output.embedding is not None:
        try:
            embedding = map_of(scored)
        except (InputError, MissingExtraError) as error:
            notes.append(f"no map of embeddings: {error}")
    of_files = [f"{name}: {note}" for name, note in scored.notes.items()]
    notes += of_files[:MOST_FILE_NOTES]
    if len(of_files) > MOST_FILE_NOTES:
        notes.append(
            f"{len(of_files) - MOST_FILE_NOTES} more files with a note like these; `bonaface data crop` lists them all"
        )
    card = bundle.card
    on = assessment.rows[kind] if validation is None else rows_of(validation, bundle.operating_point(kind), kind)

    def that_chose(table: pd.DataFrame | None) -> dict[str, ScoreArrays]:
        if table is None:
            return {}
        kinds = {kind: rows_of(table, bundle.operating_point(kind), kind) for kind in assessment.evaluations}
        return {assessment.titles[kind]: ScoreArrays.from_table(rows) for kind, rows in kinds.items()}

    return ReportInput(
        title=f"Liveness report: {card.name}",
        evaluations={assessment.titles[each]: found for each, found in assessment.evaluations.items()},
        presentations={assessment.titles[each]: found for each, found in assessment.arrays.items()},
        validation=that_chose(validation),
        widened=that_chose(widened),
        groups=_groups(assessment, [str(name) for name in manifest.table]),
        notes=list(dict.fromkeys(notes)),
        facts={
            "system": f"{bundle.title}, bundle {bundle.id}",
            "evaluated on": f"{SPLITS[split]}: {counts_line(manifest)}",
            "datasets": ", ".join(sorted(set(manifest.table["dataset"]))),
            "manifest": manifest.digest[:16],
            "network": f"{card.architecture}, input {card.input.size} x {card.input.size}",
            "crop": crop_line(card),
            **({"ensemble": ensemble_line(card.ensemble)} if card.ensemble else {}),
            "face detector": card.detector.identity,
            "made": card.created,
        },
        history=history,
        embedding=embedding,
        gallery=items,
        recipe=recipe,
        discards=discard_curves(on, bundle.operating_point(kind)),
        discards_on=SPLITS[split if validation is None else "val"],
        profile=profile and iso_profile(assessment.rows[kind], assessment.arrays[kind], assessment.evaluations[kind]),
    )


def _groups(assessment: Assessment, described: Iterable[str]) -> dict[str, dict[str, Measures]]:
    """Return the measures by subject, device, session and whatever else a manifest's columns, `described`, hold."""
    kind = assessment.last
    rows, point = assessment.rows[kind], assessment.measures(kind).point
    columns = [name for name in described if name in rows and name not in _NO_GROUPS]
    found = {name: rows[name].nunique() for name in columns}
    return {
        name: by_group(assessment.arrays[kind], text_column(rows, name), point)
        for name in columns
        if 2 <= found[name] <= MOST_GROUPS and found[name] < len(rows)
    }


def _notes(
    model: Bundle, whole: Manifest, part: Manifest, table: pd.DataFrame, *, split: str, detector: str | None
) -> list[str]:
    """Return what a reader must know of the manifest, of the training, and of what both have in common."""
    notes = list(whole.notes)
    notes += [f"training: {note}" for note in model.card.notes if note not in notes]
    if split in ("train", "all") and "train" in set(part.table["split"]):
        notes.append("these figures include presentations of the train split")
    if "val" in set(part.table["split"]) and _chose(model, whole, table):
        notes.append(
            "these figures include presentations of the val split, which chose the thresholds: they are too good"
        )
    if detector is not None and detector != model.card.detector.name:
        notes.append(
            f"faces come from {detector} in place of the bundle's own detector {model.card.detector.name}, with which the "
            "thresholds were chosen: expect other errors than those that the bundle promises"
        )
    return notes


def _chose(model: Bundle, whole: Manifest, table: pd.DataFrame) -> bool:
    """Whether the bundle's thresholds were chosen on the val split of this manifest, by what the bundle records."""
    val = table[table["split"] == "val"]
    same_manifest = model.card.training.get("manifest") == whole.digest
    for kind in KINDS:
        point = model.operating_point(kind)
        if not point.chosen_on:
            continue
        rows = rows_of(val, point, kind)
        if same_manifest and point.chosen_on.get("presentations") == len(rows):
            return True
        if point.chosen_on.get("digest") == digest(rows):
            return True
    return False


def _kept(scores: Path, output: Path) -> Path:
    """Move a score table next to the output folder that could not be completed, or to this folder if that is in storage."""
    folder = Path.cwd() if is_remote(output) else output.parent
    handle, name = tempfile.mkstemp(prefix=f"{output.name}.scores-", suffix=".csv", dir=folder)
    os.close(handle)
    return Path(shutil.move(scores, name))
