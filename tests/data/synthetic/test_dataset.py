from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bonaface.data.faces.detector import load_detector
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import SPECIES, Take, bona_fide_frames, presented_frames
from bonaface.data.video import VideoReader
from bonaface.errors import OutputError


def test_haar_finds_at_least_95_percent_of_drawn_heads():
    detector = load_detector("haar")
    found = []
    for person in range(24):
        frames = bona_fide_frames(Take(Person.random(person), 100 * person), 2, 2)
        found += [bool(detector.detect(frame)) for frame in frames]
    assert np.mean(found) >= 0.95


def test_people_differ_and_takes_move():
    one, other = (bona_fide_frames(Take(Person.random(seed), 1), 6, 10) for seed in (1, 2))
    assert np.abs(one[0].astype(int) - other[0]).mean() > 5
    assert np.abs(one[0].astype(int) - one[5]).mean() > 0.5


@pytest.mark.parametrize("species", SPECIES)
def test_a_presentation_shows_another_take_of_the_person(species: str):
    person = Person.random(4)
    take, place = Take(person, 1), Take(person, 2)
    frames = presented_frames(take, place, species, 2, 10)
    assert frames[0].shape == (480, 640, 3)
    assert np.abs(frames[0].astype(int) - bona_fide_frames(place, 1, 10)[0]).mean() > 5


def test_the_dataset_is_real_video_in_class_and_person_folders(tmp_path: Path):
    write_demo_dataset(tmp_path / "d", persons=2, takes=1, seconds=0.3, workers=1)
    files = sorted(path.relative_to(tmp_path / "d").as_posix() for path in (tmp_path / "d").rglob("*.mp4"))
    assert len(files) == 2 * (1 + len(SPECIES))
    assert files[0].startswith("live/person01/")
    info = VideoReader(tmp_path / "d" / files[0]).info
    assert (info.codec, info.width, info.height, info.frames) == ("h264", 640, 480, 3)


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(OutputError, match="not empty"):
        write_demo_dataset(tmp_path, persons=1)
    assert (tmp_path / "mine.txt").read_text() == "precious"
