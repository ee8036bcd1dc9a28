"""Predict: load a model and yield its verdicts on pictures, videos, folders, manifests and cameras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

from bonaface.choices import FacePolicy
from bonaface.data.frames import kind_of
from bonaface.data.sources import Colour, Input
from bonaface.data.video_process import start
from bonaface.inference.bundle import Bundle
from bonaface.inference.decision import DEFAULT_FACES
from bonaface.inference.pipeline import ScoringOptions
from bonaface.inference.verdict import Verdict
from bonaface.types import Progress
from bonaface.workflows.model import Model, load
from bonaface.workflows.verdicts import Predictions


def predict(
    bundle: str | Path | Bundle,
    *sources: Input,
    faces: FacePolicy = DEFAULT_FACES,
    frames: int | None = None,
    frames_as_video: bool = False,
    colour: Colour | None = None,
    save: str | Path | None = None,
    variant: str | None = None,
    root: str | Path | None = None,
    seconds: float | None = None,
    progress: Progress | None = None,
    **options: Unpack[ScoringOptions],
) -> Predictions:
    """Load a model and return an iterator of its verdicts, one a presentation; to score again keep what `load` returns.

    An image is scored at the operating point for one image, a video at that for a video, over `frames` frames
    spread over it (by default the bundle's). Where some of these have no face, others near them are searched; with less than
    half of them the verdict is `no_face`. With `frames_as_video` the pictures of a folder are one presentation, as a
    list of pictures always is. Of several faces the largest is scored, unless `faces` says `all` (the least bona fide
    decides) or `refuse`; `Verdict.faces` and `Verdict.reason` say how many there were. A file that cannot be read has
    the outcome `unreadable`; a file that is neither picture nor video is listed in the iterator's `sources`.

    Args:
        bundle: as `model` of `load`.
        sources: as those of `Model.predict`; verdicts come in their order, those of cameras last.
        faces: as of `load`.
        frames: how many frames of a video are scored, by default the bundle's number.
        frames_as_video: the pictures of a folder are the frames of one presentation.
        colour: the order of an array's channels, `"RGB"` or `"BGR"`.
        save: a folder for annotated copies.
        variant: as of `load`.
        root: the folder that the paths of a manifest are relative to.
        seconds: how long a camera is watched, by default forever.
        progress: called with stage, done and total.
        options: `detector`, `detector_weights`, `threads`, `backend`, `min_face` and `quality`, as of `load`.

    Returns:
        The verdicts; `sources` of the iterator lists what was found and what was left out.

    Raises:
        InputError: at once, for what does not exist or cannot be scored.
        BundleError: at once, as `load`.
        DownloadError: at once, as `load`.

    Examples:
        ```python
        for verdict in bonaface.predict("run", "photo.jpg"):
            print(verdict)
        ```
    """
    if any(isinstance(source, str | Path) and kind_of(source) == "video" for source in sources):
        start()  # while the bundle is loaded
    model = load(bundle, variant=variant, faces=faces, progress=progress, **options)
    found = model.predict(
        sources,
        frames=frames,
        frames_as_video=frames_as_video,
        colour=colour,
        save=save,
        root=root,
        seconds=seconds,
        progress=progress,
    )
    return Predictions(found.sources, _closing(model, found))


def _closing(model: Model, verdicts: Predictions) -> Iterator[Verdict]:
    with model:
        try:
            yield from verdicts
        finally:
            verdicts.close()
