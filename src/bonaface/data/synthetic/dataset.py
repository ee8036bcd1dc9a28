"""A small dataset of generated videos, in the layout of class and person folders."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2

from bonaface.data.parallel import parallel_map
from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import SPECIES, Take, bona_fide_frames, presented_frames
from bonaface.data.video_writer import write_video
from bonaface.errors import reraise_os_error
from bonaface.io import new_folder
from bonaface.types import counted


class _Clip(NamedTuple):
    file: Path
    person: int
    seed: int
    species: str


def write_demo_dataset(
    folder: Path,
    *,
    persons: int = 12,
    seed: int = 0,
    takes: int = 3,
    seconds: float = 1.2,
    fps: int = 10,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `live/PERSON/`, `print_flat/PERSON/`, ... with H.264 videos, 640x480: `takes` live and one of each species.

    The same seed draws the same frames. Raises OutputError where the folder exists and is not empty.
    """
    with new_folder(folder, what="generated videos") as fresh, reraise_os_error(folder):
        frames = max(round(seconds * fps), 1)
        clips = []
        for person in range(persons):
            for number, species in enumerate([*["live"] * takes, *SPECIES]):
                file = fresh / species / f"person{person + 1:02d}" / f"{number + 1:02d}.mp4"
                who = seed * 1000 + person
                clips.append(_Clip(file, who, who * 100 + number, species))
        for _ in counted(parallel_map(partial(_write, frames, fps), clips, workers=workers), progress, len(clips)):
            pass


def _write(count: int, fps: int, clip: _Clip) -> None:
    cv2.setNumThreads(1)
    person = Person.random(clip.person)
    take = Take(person, clip.seed)
    if clip.species == "live":
        frames = bona_fide_frames(take, count, fps)
    else:
        frames = presented_frames(Take(person, clip.seed + 50), take, clip.species, count, fps)
    clip.file.parent.mkdir(parents=True, exist_ok=True)
    write_video(clip.file, frames, fps=fps)
