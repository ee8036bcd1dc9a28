"""Grad-CAM pictures of images, videos, folders, or of a whole manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bonaface.data.frames import kind_of
from bonaface.data.manifest import read_manifest
from bonaface.errors import InputError, writing
from bonaface.inference.bundle import Bundle, OperatingPoint, load_bundle
from bonaface.inference.pipeline import Pipeline, Sample, Source, verdict_of
from bonaface.inference.scoring import score_manifest
from bonaface.io import TABLE_SUFFIXES, fresh_folder
from bonaface.report.pictures import GalleryItem, contact_sheet
from bonaface.report.strips import strip
from bonaface.types import Progress, Status, Verdict
from bonaface.workflows.assess import rows_of
from bonaface.workflows.gallery import Explainer, gallery
from bonaface.workflows.prepare import part_of

__all__ = ["Explained", "explain"]


@dataclass(frozen=True)
class Explained:
    """The pictures that were written, and the verdict of each presentation in them."""

    path: Path
    pictures: tuple[Path, ...]
    verdicts: tuple[Verdict, ...]

    def summary(self) -> str:
        """A line a presentation, and where the pictures are."""
        lines = []
        for verdict in self.verdicts:
            score = "no score" if verdict.score is None else f"score {verdict.score:.4f}"
            reason = f" ({verdict.reason})" if verdict.reason else ""
            lines.append(f"{verdict.source}: {verdict.outcome}, {score}, threshold {verdict.threshold:.4f}{reason}")
        return "\n".join([*lines, f"pictures: {len(self.pictures)} in {self.path}"])


def explain(
    bundle: str | Path | Bundle,
    *inputs: str | Path,
    output: str | Path,
    frames: int = 6,
    count: int = 6,
    split: str | None = None,
    detector_weights: Path | None = None,
    root: str | Path | None = None,
    progress: Progress | None = None,
) -> Explained:
    """Write a picture an input: each crop, and over it what spoke for bona fide and what for attack.

    A video gives a strip of `frames` frames, a folder all its images and videos, a manifest (.csv, .parquet) one gallery
    with `count` presentations a row: the most wrong, and the most certain of each class.
    """
    model = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    if not inputs:
        raise InputError("nothing to explain: name images, videos, folders or a manifest")
    sources = list(_sources([Path(item) for item in inputs]))
    explainer = Explainer(model)
    files = [source for source in sources if isinstance(source, Source)]
    tables = [source for source in sources if isinstance(source, Path)]
    galleries = [(path, part_of(read_manifest(path, root=root), split)[0]) for path in tables]
    folder = fresh_folder(output, what="pictures")
    pictures: list[Path] = []
    verdicts: list[Verdict] = []
    pipeline = Pipeline(model, detector_weights=detector_weights) if files else None
    for done, source in enumerate(files, start=1):
        assert pipeline is not None
        point = _point(model, source)
        # The verdict rests on as many frames as its threshold was chosen for, whatever is drawn.
        (judged,) = pipeline.score([source], frames=point.frames, keep_crops=True)
        verdict = verdict_of(judged, point, bundle=model.id)
        verdicts.append(verdict)
        sample = judged
        if point.frames not in (1, frames):
            (sample,) = pipeline.score([source], frames=frames, keep_crops=True)
        if items := _frames(sample, explainer, verdict):
            file = Path(source.name)
            target = folder / f"{done:03d}-{file.stem}.png"
            subtitle = f"{verdict.outcome}, score {verdict.score:.4f}, threshold {verdict.threshold:.4f}"
            with writing(target):
                target.write_bytes(strip(items, title=file.name, subtitle=subtitle))
            pictures.append(target)
        if progress:
            progress("explain", done, len(files))
    for path, manifest in galleries:
        point = model.operating_point("video")
        scored = score_manifest(
            model,
            manifest,
            detector_weights=detector_weights,
            progress=partial(progress, "score") if progress else None,
        )
        items = gallery(
            model,
            manifest,
            rows_of(scored.table, point, "video"),
            point=point,
            count=count,
            detector_weights=detector_weights,
            explainer=explainer,
        )
        for group in dict.fromkeys(item.group for item in items):
            shown = [item for item in items if item.group == group and item.pictures()]
            if shown:
                target = folder / f"{path.stem}-{group}.png"
                with writing(target):
                    target.write_bytes(contact_sheet(shown))
                pictures.append(target)
    return Explained(folder, tuple(pictures), tuple(verdicts))


def _point(bundle: Bundle, source: Source) -> OperatingPoint:
    return bundle.operating_point("image" if kind_of(source.name) == "image" else "video")


def _frames(sample: Sample, explainer: Explainer, verdict: Verdict) -> list[GalleryItem]:
    """The frames of one presentation that have a crop, each with its maps."""
    if sample.crops is None or not len(sample.crops):
        return []
    judged = [frame for frame in sample.frames if frame.status is Status.OK]
    return [
        GalleryItem(
            presentation=sample.source.name,
            label="",
            group="frames",
            crop=crop,
            bona_fide=bona_fide,
            attack=attack,
            score=frame.score,
            threshold=verdict.threshold,
            note="" if frame.time is None else f"{frame.time:.2f} s",
        )
        for frame, crop, bona_fide, attack in zip(judged, sample.crops, *explainer.maps(sample.crops), strict=True)
    ]


def _sources(inputs: Sequence[Path]) -> Iterator[Source | Path]:
    for path in inputs:
        if path.is_dir():
            found = [item for item in sorted(path.rglob("*")) if item.is_file() and kind_of(item) is not None]
            if not found:
                raise InputError(f"{path} holds no image or video")
            yield from (Source(str(item), item) for item in found)
        elif not path.exists():
            raise InputError(f"{path} does not exist; expected an image, a video, a folder or a manifest")
        elif path.suffix.lower() in TABLE_SUFFIXES:
            yield path
        elif kind_of(path) is None:
            raise InputError(f"{path} is neither an image nor a video nor a manifest, by its name")
        else:
            yield Source(str(path), path)
