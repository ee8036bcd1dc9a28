"""Score a manifest through a bundle, and report what comes of it at the bundle's thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from bonaface.data.manifest import Manifest, read_manifest
from bonaface.errors import writing
from bonaface.evaluation.scores import write_scores
from bonaface.inference.bundle import Bundle, load_bundle
from bonaface.inference.scoring import score_manifest
from bonaface.io import fresh_folder
from bonaface.types import Progress
from bonaface.workflows.assess import Assessment, assess
from bonaface.workflows.prepare import part_of
from bonaface.workflows.reporting import write_report

__all__ = ["Evaluated", "evaluate"]


@dataclass(frozen=True)
class Evaluated:
    """A score table, what it says, and where both were written."""

    scores: pd.DataFrame
    assessment: Assessment
    path: Path
    report: Path

    def summary(self) -> str:
        """The figures as the published system prints them, and where the report lies."""
        return f"{self.assessment.summary()}\nscores: {self.path / 'scores.csv'}\nreport: {self.report}"


def evaluate(
    bundle: str | Path | Bundle,
    manifest: str | Path | Manifest,
    *,
    output: str | Path,
    split: str | None = None,
    faces: bool = True,
    detector_weights: Path | None = None,
    threads: int | None = None,
    detector: str | None = None,
    variant: str | None = None,
    backend: str | None = None,
    root: str | Path | None = None,
    progress: Progress | None = None,
) -> Evaluated:
    """Write a score table and a report of a bundle on a manifest's presentations.

    `split` is `train`, `val`, `test` or `all`; by default `test` where the manifest has one, else all of it. The
    thresholds are the bundle's: nothing here is chosen on what is evaluated. `detector` replaces the bundle's own, for
    footage that it does not suit, such as `whole_frame` for ready crops; the report then says so. `variant` is one of the
    bundle's, with thresholds of its own; `backend` (`onnxruntime`, `openvino`) runs `model.onnx` in f32 on another engine.
    """
    model = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    model = model if variant is None else model.use(variant)
    whole = manifest if isinstance(manifest, Manifest) else read_manifest(manifest, root=root)
    part, name = part_of(whole, split)
    folder = fresh_folder(output, what="evaluation")
    scored = score_manifest(
        model,
        part,
        detector_weights=detector_weights,
        threads=threads,
        detector=detector,
        backend=backend,
        progress=partial(progress, "score") if progress else None,
    )
    notes = list(whole.notes)
    notes += [f"training: {note}" for note in model.card.notes if note not in notes]
    if name in ("train", "all") and "train" in set(part.table["split"]):
        notes.append("these figures include presentations of the train split")
    if "val" in set(part.table["split"]):
        notes.append(
            "these figures include presentations of the val split, which chose the thresholds: they are too good"
        )
    if detector is not None and detector != model.card.detector.name:
        notes.append(
            f"faces come from {detector} in place of the bundle's own detector {model.card.detector.name}, with which the "
            "thresholds were chosen: expect other errors than those that the bundle promises"
        )
    with writing(folder):
        write_scores(scored.table, folder / "scores.csv")
    assessment = assess(scored.table, model, notes=tuple(notes))
    report = write_report(
        folder,
        model,
        assessment,
        scored,
        part,
        split=name,
        faces=faces,
        detector_weights=detector_weights,
        detector=detector,
    )
    return Evaluated(scored.table, assessment, folder, report)
