"""The model object: a bundle that is loaded once and scores any number of times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

import numpy as np
from numpy.typing import NDArray

from bonaface.choices import FacePolicy
from bonaface.data.addresses import shown
from bonaface.data.camera import camera_of
from bonaface.data.sources import Colour, Input, Source, expand, fetched
from bonaface.errors import InputError, SettingsError, needs_extra
from bonaface.inference.bundle import Bundle
from bonaface.inference.decision import DEFAULT_FACES
from bonaface.inference.pipeline import Pipeline, ScoringOptions
from bonaface.inference.verdict import Verdict
from bonaface.types import Box, Progress
from bonaface.workflows.bundle import find_bundle
from bonaface.workflows.verdicts import Predictions, check_frames, folder_for, verdicts_on

if TYPE_CHECKING:
    import pandas as pd

    from bonaface.data.manifest import Manifest
    from bonaface.workflows.embed import Embedded
    from bonaface.workflows.evaluate import Evaluated
    from bonaface.workflows.explain import Explained

Boxes = Sequence[Any] | NDArray[Any]
"""(left, top, width, height) of each face of a picture, or such lists for a list of pictures."""


class Model:
    """A bundle, loaded once, that scores from any number of threads at a time.

    Made by `bonaface.load`; for calls from several threads at a time load it with `threads=1`, so that each call uses one core.
    `bundle` is what was loaded. The end of a `with` block, or `close`, ends the threads that
    decode ahead; a later call starts new ones.
    """

    def __init__(self, bundle: Bundle, *, faces: FacePolicy = DEFAULT_FACES, **options: Unpack[ScoringOptions]) -> None:
        self.bundle = bundle
        self.pipeline = Pipeline(bundle, faces=faces, **options)
        self._options = options
        self._faces = faces

    def __repr__(self) -> str:
        return f"<Model {self.bundle.card.name}, bundle {self.bundle.id}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads that decode; a later call starts new ones."""
        self.pipeline.close()

    def __call__(
        self,
        source: Input,
        *,
        frames: int | None = None,
        colour: Colour | None = None,
        boxes: Boxes | None = None,
    ) -> Verdict:
        """Return the verdict on one presentation.

        Args:
            source: the path of a picture, a video or a folder of frames; an encoded picture or video as bytes or as an
                open binary file; a NumPy array `(height, width, 3)` of uint8; a Pillow image; or a list of pictures,
                which are the frames of one presentation.
            frames: how many frames of a video, spread over it, are scored, by default the bundle's number.
            colour: the order of an array's channels, `"RGB"` or `"BGR"`; it must be given for arrays.
            boxes: the faces, where you found them yourself, so that none are searched: for one picture a list of
                (left, top, width, height) in pixels; for a list of pictures a list of such lists.

        Returns:
            The verdict; a presentation without a face or that cannot be decoded is a verdict with that `status`.

        Raises:
            InputError: for what cannot be one presentation, and for boxes that do not fit the picture.
        """
        check_frames(frames)
        return self.pipeline.verdict(self._source(source, colour, boxes), frames=frames)

    def predict(
        self,
        sources: Input | Iterable[Input],
        *,
        frames: int | None = None,
        frames_as_video: bool = False,
        colour: Colour | None = None,
        save: str | Path | None = None,
        root: str | Path | None = None,
        seconds: float | None = None,
        progress: Progress | None = None,
    ) -> Predictions:
        """Return an iterator of verdicts, one a presentation, in the order given and cameras last.

        Decoding runs ahead in threads and the network runs on several presentations at a time, so this is the fastest way
        to score many.

        Args:
            sources: one source, or any number of them: files, folders, globs, manifests, http(s) addresses of files, cameras
                (a number, a device or an rtsp address), and whatever calling the model takes. A file at an address is
                fetched to a temporary folder when its turn has come. Verdicts name addresses without user, password and query.
            frames: as in a call of the model.
            frames_as_video: the pictures of a folder are the frames of one presentation.
            colour: as in a call of the model.
            save: a folder for annotated copies.
            root: the folder that the paths of a manifest are relative to.
            seconds: how long a camera is watched, by default forever.
            progress: called with stage, done and total.

        Returns:
            The verdicts; `sources` of the iterator lists what was found and what was left out.

        Raises:
            InputError: at once, for what does not exist or cannot be scored.
        """
        one = isinstance(sources, str | bytes | bytearray | memoryview | np.ndarray) or hasattr(sources, "read")
        given = list(sources) if isinstance(sources, Iterable) and not one else [sources]
        if not given:
            raise InputError(
                "nothing to score: name images, videos, folders, a glob, a manifest, an address or a camera"
            )
        check_frames(frames)
        cameras = [camera for source in given if (camera := camera_of(source)) is not None]
        files = cast("list[Input]", [source for source in given if camera_of(source) is None])
        found = expand(files, root=root, frames_as_video=frames_as_video, colour=colour)
        folder = folder_for(save)
        verdicts = verdicts_on(
            self.pipeline, found.items, cameras, frames=frames, folder=folder, seconds=seconds, progress=progress
        )
        return Predictions(found, verdicts)

    def evaluate(self, manifest: str | Path | Manifest, *, output: str | Path, **options: Any) -> Evaluated:
        """Write a score table and a report on a manifest's presentations: `bonaface.evaluate` with this model."""
        with needs_extra("Model.evaluate"):
            from bonaface.workflows.evaluate import evaluate
        return evaluate(self.bundle, manifest, output=output, **{**self._options, **options})

    def explain(self, *inputs: str | Path, output: str | Path, **options: Any) -> Explained:
        """Write Grad-CAM pictures of presentations: `bonaface.explain` with this model."""
        with needs_extra("Model.explain", extra="train"):
            from bonaface.workflows.explain import explain
        weights = self._options.get("detector_weights")
        return explain(self.bundle, *inputs, output=output, **{"detector_weights": weights, **options})

    def embed(self, manifest: str | Path | Manifest, *, output: str | Path, **options: Any) -> Embedded:
        """Write a t-SNE map of a manifest's presentations: `bonaface.embed` with this model."""
        with needs_extra("Model.embed"):
            from bonaface.workflows.embed import embed
        weights = self._options.get("detector_weights")
        return embed(self.bundle, manifest, output=output, **{"detector_weights": weights, **options})

    def calibrate(self, scores: str | Path | pd.DataFrame, *, output: str | Path, **options: Any) -> Model:
        """Return the model with thresholds chosen on its scores of validation footage: `bonaface.calibrate_bundle`."""
        with needs_extra("Model.calibrate"):
            from bonaface.workflows.calibrate import calibrate_bundle
        known = {name: self._options.get(name) for name in ("detector_weights", "threads")}
        own = {name: value for name, value in self._options.items() if name not in known and value is not None}
        if own not in ({}, {"quality": True}):
            raise SettingsError(
                "thresholds belong to the bundle's own detector, backend, smallest face and limits; load the model without "
                "a different one"
            )
        done = calibrate_bundle(self.bundle, scores, output=output, **{**known, **options})
        return Model(done, faces=self._faces, **self._options)

    def _source(self, item: Any, colour: Colour | None, boxes: Boxes | None) -> Source:
        """Return one presentation. Raises InputError where it is none, or more than one."""
        if camera_of(item) is not None:
            raise InputError(f"{shown(str(item))} is a camera; watch it with model.predict")
        if isinstance(item, list | tuple):
            item = [_read(each) if isinstance(each, str | Path) else each for each in item]
        found = expand([item], frames_as_video=True, colour=colour, allow_tables=False).items
        if len(found) != 1:
            raise InputError(f"{item} holds {len(found)} presentations; score them with model.predict")
        source = fetched(found[0])
        return source if boxes is None else _with_boxes(source, boxes)


def load(
    model: str | Path | Bundle,
    *,
    variant: str | None = None,
    faces: FacePolicy = DEFAULT_FACES,
    detector: str | None = None,
    detector_weights: str | Path | None = None,
    threads: int | None = None,
    backend: str | None = None,
    min_face: float | None = None,
    quality: bool = True,
    progress: Progress | None = None,
) -> Model:
    """Load a model, ready to score.

    Args:
        model: a bundle, the run folder that holds one, or the name of an open model, which is downloaded once.
        variant: one of the bundle's variants, at its own thresholds.
        faces: which of several faces is scored: `"largest"`, `"all"` (the least bona fide decides) or `"refuse"`.
        detector: a face detector other than the bundle's.
        detector_weights: the file of the detector's weights, by default the cached download.
        threads: threads to use in a call, by default one per core; 1 where several threads call at a time.
        backend: `"onnxruntime"` or `"openvino"`, by default what the bundle says.
        min_face: the longer side in pixels that a face needs to be scored, by default the bundle's; where it has none, a
            face is `too_small` whose crop would be enlarged more than twice.
        quality: whether the bundle's limits on quality apply; quality is measured anyway.
        progress: called with the stage `download`, bytes so far and bytes in all.

    Returns:
        The model.

    Raises:
        BundleError: where there is no bundle, or a damaged one.
        DownloadError: where an open model or a detector cannot be downloaded.

    Examples:
        ```python
        model = bonaface.load("run")
        verdict = model("photo.jpg")
        print(verdict.accepted, verdict.score, verdict.threshold)
        for verdict in model.predict(["photo.jpg", "*.mp4"]):
            print(verdict.source, verdict.outcome)
        ```
    """
    bundle = find_bundle(model, detector_weights=detector_weights, progress=progress).use(variant)
    return Model(
        bundle,
        faces=faces,
        detector=detector,
        detector_weights=detector_weights,
        threads=threads,
        backend=backend,
        min_face=min_face,
        quality=quality,
    )


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"the frame {path} cannot be read: {error.strerror or error}") from None


def _with_boxes(source: Source, boxes: Boxes) -> Source:
    """Return a picture, or a list of pictures, with the caller's faces."""
    pictures = len(source.path) if isinstance(source.path, tuple) else 1
    if source.kind == "video" and not isinstance(source.path, tuple):
        raise InputError("boxes belong to a picture or a list of pictures, not to a video; pass its frames as a list")
    of_each = boxes if pictures > 1 else [boxes]
    if len(of_each) != pictures:
        raise InputError(
            f"boxes for {len(of_each)} pictures, but there are {pictures}; expected a list of boxes for each"
        )
    return replace(
        source, boxes=tuple(_boxes(each) for each in of_each), held=source
    )  # a fetched file goes with its source


def _boxes(boxes: Any) -> tuple[Box, ...]:
    try:
        values = np.asarray(boxes, dtype=np.float64).reshape(len(boxes), 4) if len(boxes) else np.empty((0, 4))
    except (TypeError, ValueError):
        raise InputError(
            f"boxes {boxes!r}: expected a list of (left, top, width, height) in pixels for each picture"
        ) from None
    return tuple(Box(*(float(value) for value in row)) for row in values)
