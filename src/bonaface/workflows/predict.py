"""Verdicts on pictures, videos, folders, manifests and cameras."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bonaface.data.camera import BURST_SECONDS, Camera, camera_number
from bonaface.data.frames import kind_of
from bonaface.data.sources import Colour, Input, Source, Sources, expand
from bonaface.data.video_process import start
from bonaface.errors import InputError, MediaError, OutputError, reraise_os_error
from bonaface.inference.annotate import write_annotated_image, write_annotated_video
from bonaface.inference.bundle import Bundle, load_bundle
from bonaface.inference.pipeline import DEFAULT_FACES, FacePolicy, Pipeline, verdict_of
from bonaface.types import Progress, Verdict


class Predictions:
    """Iterator over the verdicts on sources; `sources` lists the presentations that were found.

    Closing it early stops all decoding.
    """

    def __init__(self, sources: Sources, verdicts: Iterator[Verdict]) -> None:
        self.sources = sources
        self._verdicts = verdicts

    def __iter__(self) -> Iterator[Verdict]:
        return self

    def __next__(self) -> Verdict:
        return next(self._verdicts)

    def close(self) -> None:
        """Stop, and abandon what is being decoded."""
        self._verdicts.close()  # type: ignore[attr-defined]


class Predictor:
    """A bundle that is loaded once and scores any number of times, from any number of threads.

    Raises what `load_bundle` and `Pipeline` raise.
    """

    def __init__(
        self,
        bundle: str | Path | Bundle,
        *,
        faces: FacePolicy = DEFAULT_FACES,
        detector: str | None = None,
        detector_weights: str | Path | None = None,
        threads: int | None = None,
        variant: str | None = None,
        backend: str | None = None,
    ) -> None:
        loaded = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
        self.bundle = loaded if variant is None else loaded.use(variant)
        self.pipeline = Pipeline(
            self.bundle,
            detector=detector,
            detector_weights=detector_weights,
            faces=faces,
            threads=threads,
            backend=backend,
        )

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads that decode; a later call starts new ones."""
        self.pipeline.close()

    def predict(
        self,
        sources: Sequence[Input],
        *,
        frames: int | None = None,
        frames_as_video: bool = False,
        colour: Colour = "RGB",
        save: str | Path | None = None,
        root: str | Path | None = None,
        seconds: float | None = None,
        progress: Progress | None = None,
    ) -> Predictions:
        """Return the verdicts on sources; see `bonaface.predict`."""
        if not sources:
            raise InputError("nothing to score: name images, videos, folders, a glob, a manifest or a camera's number")
        if frames is not None and frames < 1:
            raise InputError(f"frames is {frames}; expected 1 or more")
        cameras = [number for source in sources if (number := camera_number(source)) is not None]
        files = [source for source in sources if camera_number(source) is None]
        found = expand(files, root=root, frames_as_video=frames_as_video, colour=colour)
        folder = _folder(save)
        return Predictions(
            found,
            self._verdicts(found.items, cameras, frames=frames, folder=folder, seconds=seconds, progress=progress),
        )

    def _verdicts(
        self,
        files: Sequence[Source],
        cameras: Sequence[int],
        *,
        frames: int | None,
        folder: Path | None,
        seconds: float | None,
        progress: Progress | None,
    ) -> Iterator[Verdict]:
        verdicts = self.pipeline.verdicts(files, frames=frames)
        for done, (source, verdict) in enumerate(zip(files, verdicts, strict=True), start=1):
            if folder is not None:
                self._save(source, verdict, folder)
            if progress:
                progress("scored", done, len(files))
            yield verdict
        for camera in cameras:
            yield from self._watch(camera, frames=frames, seconds=seconds, folder=folder)

    def _watch(
        self, number: int, *, frames: int | None, seconds: float | None, folder: Path | None
    ) -> Iterator[Verdict]:
        """Yield a verdict about every second on the newest frames of a camera, and save one annotated frame of each."""
        point = self.bundle.operating_point("video")
        name = f"camera {number}"
        with Camera(number, frames or point.frames) as stream:
            until = None if seconds is None else time.monotonic() + seconds
            while until is None or time.monotonic() < until:
                started = time.monotonic()
                pictures = stream.newest()
                (sample,) = self.pipeline.score([Source(name, pictures)], frames=len(pictures))
                verdict = verdict_of(sample, point, bundle=self.bundle.id, kind="video")
                if folder is not None:
                    self._save(Source(name, pictures[:1]), verdict, folder)
                yield verdict
                time.sleep(max(0.0, BURST_SECONDS - (time.monotonic() - started)))

    def _save(self, source: Source, verdict: Verdict, folder: Path) -> None:
        """Save the annotated copy of one presentation, unless it cannot be read."""
        target = _free(folder / f"{Path(source.name).stem}{'.jpg' if source.kind == 'image' else '.mp4'}")
        try:
            if source.problem:
                return
            if source.kind == "image":
                write_annotated_image(source, verdict, target)
            else:
                write_annotated_video(self.pipeline, source, self.bundle.operating_point("video"), target)
        except MediaError:
            return


def predict(
    bundle: str | Path | Bundle,
    *sources: Input,
    faces: FacePolicy = DEFAULT_FACES,
    frames: int | None = None,
    frames_as_video: bool = False,
    colour: Colour = "RGB",
    save: str | Path | None = None,
    detector: str | None = None,
    detector_weights: str | Path | None = None,
    threads: int | None = None,
    variant: str | None = None,
    backend: str | None = None,
    root: str | Path | None = None,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """Return an iterator of verdicts, one a presentation, in the order given and cameras last, at the bundle's thresholds.

    An image is scored at the operating point for one image, a video at that for a video, over `frames` evenly spaced
    frames (by default the bundle's). Where some of these have no face, others between them are searched; with less than
    half of them the verdict is `no_face`. With `frames_as_video` the pictures of a folder are one presentation, as a
    list of pictures always is. Of several faces the largest is scored, unless `faces` says `all` (the least bona fide
    decides) or `refuse`; `Verdict.faces` and `Verdict.reason` say how many there were. A file that cannot be read has
    the outcome `unreadable`; a file that is neither picture nor video is listed in the iterator's `sources`.

    `colour` is the channel order of arrays. A camera gives a verdict about every second until `seconds` have passed, or
    forever. `variant` is one of the bundle's, at its own thresholds. `save` is a folder for annotated pictures and
    videos.

    Wrong arguments are raised at once: InputError if there is nothing to score, and what `load_bundle` and `Pipeline`
    raise.
    """
    if any(isinstance(source, str | Path) and kind_of(source) == "video" for source in sources):
        start()  # while the bundle is loaded
    predictor = Predictor(
        bundle,
        faces=faces,
        detector=detector,
        detector_weights=detector_weights,
        threads=threads,
        variant=variant,
        backend=backend,
    )
    found = predictor.predict(
        sources,
        frames=frames,
        frames_as_video=frames_as_video,
        colour=colour,
        save=save,
        root=root,
        seconds=seconds,
        progress=progress,
    )
    return Predictions(found.sources, _closing(predictor, found))


def _closing(predictor: Predictor, verdicts: Predictions) -> Iterator[Verdict]:
    with predictor:
        try:
            yield from verdicts
        finally:
            verdicts.close()


def _folder(save: str | Path | None) -> Path | None:
    if save is None:
        return None
    folder = Path(save)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; expected a folder for the annotated pictures")
    with reraise_os_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _free(target: Path) -> Path:
    """Return the path, numbered if it exists, so that neither a source nor an earlier copy is overwritten."""
    numbers = itertools.count(2)
    free = target
    while free.exists():
        free = target.with_name(f"{target.stem}-{next(numbers)}{target.suffix}")
    return free
