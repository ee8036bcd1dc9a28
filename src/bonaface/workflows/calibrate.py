"""Choose a bundle's thresholds again: by a different criterion, or for one's own camera."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from bonaface.choices import FusionRule, HigherIs
from bonaface.data.manifest import read_manifest
from bonaface.errors import ScoreTableError, format_list
from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.own_camera import STATISTICS, camera_shift, like_attacks
from bonaface.evaluation.scores import oriented, read_scores
from bonaface.inference.bundle import Bundle, make_bundle, write_bundle
from bonaface.inference.bundle_schema import OperatingPoint
from bonaface.inference.scoring import score_manifest
from bonaface.io import read_table
from bonaface.io.storage import is_remote
from bonaface.types import Label, Progress
from bonaface.workflows.bundle import find_bundle
from bonaface.workflows.operating_points import choose_operating_points, refuse_inverted, rows_of
from bonaface.workflows.prepare import rows_of_split


def calibrate_bundle(
    bundle: str | Path | Bundle,
    scores: str | Path | pd.DataFrame,
    *,
    output: str | Path,
    criterion: str = "eer",
    frames: int | None = None,
    fusion: FusionRule | None = None,
    higher_is: HigherIs = "bona_fide",
    allow_low_scores: bool = False,
    detector_weights: str | Path | None = None,
    threads: int | None = None,
    root: str | Path | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Write a bundle with thresholds that a criterion picks on its own scores of validation presentations.

    Bona fide footage of one's own camera alone is enough for `bpcer<=X`. The notes of the new thresholds then say how far
    the camera's scores are from those of the bundle's validation. The variants are left out, since their thresholds were
    chosen otherwise.

    Args:
        bundle: the bundle, its path, or the run folder that holds it.
        scores: footage that the bundle will not be tested on: a score table that `evaluate` wrote with this bundle, or a
            manifest, which is scored first (its split val where it has one).
        output: the bundle to write.
        criterion: `eer`, `hter`, `bpcer20`, `apcer<=0.01`, `bpcer<=0.05` or `fixed=0.5`.
        frames: frames of a video to fuse, by default the bundle's number.
        fusion: `mean`, `median`, `max_attack` or `first`, by default the bundle's.
        higher_is: what a higher score in the table means, `bona_fide` or `attack`.
        allow_low_scores: accept bona fide footage that scores like the attacks of the bundle's validation.
        detector_weights: the file of the detector's weights, by default the cached download.
        threads: threads to use, by default one per core.
        root: the folder that the paths of a manifest are relative to.
        progress: called with the stage `score`, done and total.

    Returns:
        The new bundle; its card says what chose the thresholds.

    Raises:
        ScoreTableError: the scores are of a different bundle, of split test, rank attacks above bona fide presentations, or
            are bona fide alone and of unknown subjects, of one subject, or like those of attacks.
        SettingsError: the criterion or an option is not known.

    Examples:
        ```python
        done = bonaface.calibrate_bundle("run/bundle", "val.csv", criterion="apcer<=0.1", output="strict")
        print(done.operating_point("video").threshold)
        ```
    """
    model = find_bundle(bundle, detector_weights=detector_weights, progress=progress).use(None)
    given: pd.DataFrame
    if not isinstance(scores, str | Path):
        given = scores
    elif _is_manifest(Path(scores)):
        manifest = read_manifest(scores, root=root)
        part, _ = rows_of_split(manifest, "val" if "val" in set(manifest.table["split"]) else "all")
        report = partial(progress, "score") if progress else None
        given = score_manifest(model, part, detector_weights=detector_weights, threads=threads, progress=report).table
    else:
        given = read_scores(scores)
    table, _ = oriented(given, higher_is)
    systems = sorted({str(name) for name in table["system"].unique()}) if "system" in table else []
    if systems and systems != [model.card.name]:
        raise ScoreTableError(
            f"the scores are of {format_list(systems)}, the bundle is {model.card.name}; score validation with this bundle"
        )
    if "logit" not in table or table["logit"].isna().all():
        raise ScoreTableError(
            "the scores have no logits (column logit), which a bundle decides on; expected a table that "
            "`bonaface evaluate` wrote with this bundle, complete"
        )
    point = model.operating_point("video")
    points = choose_operating_points(
        table, criterion=criterion, frames=frames or point.frames, fusion=fusion or point.fusion
    )
    if (table["label"] == Label.ATTACK).any():
        refuse_inverted(table)  # after a test split was refused, whose ranking says nothing about the bundle
    for kind, each in points.items():
        if each.chosen_on.get("attacks") == 0:
            rows = rows_of(table, each, kind)
            points[kind] = _with_shift(each, rows, model.operating_point(kind), allow_low_scores)
    card = model.card.model_copy(update={"operating_points": points, "variants": {}, "results": {}})
    left_out = {"bundle.json", *(file for variant in model.card.variants.values() for file in variant.files)}
    done = make_bundle(Path(output), card, {k: model.contents[k] for k in model.contents if k not in left_out})
    write_bundle(done)
    return done


def _is_manifest(path: Path) -> bool:
    if not is_remote(path) and not path.is_file():
        return False
    columns = read_table(path, error=ScoreTableError).columns
    return "path" in columns and "presentation" not in columns


def _with_shift(
    point: OperatingPoint, rows: pd.DataFrame, before: OperatingPoint, allow_low_scores: bool
) -> OperatingPoint:
    """Return a threshold from bona fide footage alone with a note on how its scores differ from those of validation."""
    arrays = ScoreArrays.from_table(rows)
    if (question := like_attacks(arrays, before.chosen_on)) and not allow_low_scores:
        raise ScoreTableError(
            f"{question} If so, training with this footage helps more than a threshold; to choose one all the same add "
            "--allow-low-scores"
        )
    shift = camera_shift(arrays, before.chosen_on) or (
        "the bundle has no scores of its validation, so the shift of this camera is unknown"
    )
    notes = (*point.warnings, shift, question)
    # The next calibration compares with the bundle's validation again, not with this footage.
    kept = {name: before.chosen_on[name] for name in STATISTICS if name in before.chosen_on}
    return replace(point, chosen_on={**point.chosen_on, **kept}, warnings=tuple(note for note in notes if note))
