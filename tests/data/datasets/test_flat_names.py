from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from bonaface.data.splits import PERSONS_UNKNOWN, split_manifest
from bonaface.workflows.prepare import count_persons
from bonaface.workflows.prepare import index as index_dataset
from tests.corpus_folder import write_files

NAMES = ["anna", "bert", "carl", "dora", "emil"]
CLASSES = ["live", "fake/printed", "fake/screen"]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("{name}_{take:02}.mp4", "**/{label}/{subject}_*"),
        ("{name}_session1_{take}.mp4", "**/{label}/{subject}_*"),
        ("{name}-{take}.jpg", "**/{label}/{subject}-*"),
        ("{name} {take}.mp4", "**/{label}/{subject} *"),
        ("{name}.{take}.mp4", "**/{label}/{subject}.*.*"),
        ("{name}{take:03}.mp4", "**/{label}/{subject}#.*"),
        ("user_{name}_{take}.mp4", "**/{label}/{subject}_#.*"),
        ("{take:02}_{name}.mp4", "**/{label}/*_{subject}.*"),
        ("{take:02}-{name}.jpg", "**/{label}/*-{subject}.*"),
        ("{number:03}_{take}.mp4", "**/{label}/{subject}_*"),
    ],
)
def test_pattern_is_suggested_that_finds_the_persons(tmp_path: Path, name: str, pattern: str) -> None:
    files = [
        f"{place}/{name.format(name=person, number=number, take=take)}"
        for place, (number, person), take in product(CLASSES, enumerate(NAMES), (1, 2))
    ]
    root = write_files(tmp_path / "f", files)
    flat = index_dataset(root)
    assert not flat.manifest.table["subject_known"].any()
    assert f"--pattern '{pattern}', which finds 5 persons" in flat.hints[0]
    written = index_dataset(root, pattern=pattern).manifest
    assert written.persons_known
    assert written.table["subject"].nunique() == 5
    assert written.table["label"].tolist() == flat.manifest.table["label"].tolist()


def test_suggested_pattern_keeps_the_split(tmp_path: Path) -> None:
    files = [f"{split}/{place}/{name}_1.mp4" for split, place, name in product(("train", "test"), CLASSES, NAMES)]
    root = write_files(tmp_path / "f", files)
    (hint,) = index_dataset(root).hints
    assert "'{split}/**/{label}/{subject}_*'" in hint
    table = index_dataset(root, pattern="{split}/**/{label}/{subject}_*").manifest.table
    assert table["split"].value_counts().to_dict() == {"train": 15, "test": 15}
    assert table["species"].value_counts().to_dict() == {"": 10, "printed": 10, "screen": 10}


@pytest.mark.parametrize("name", ["{count:04}.mp4", "IMG_{count:04}.mp4", "{place}_{count}.mp4", "clip{count}.mp4"])
def test_no_pattern_is_suggested_for_running_numbers(tmp_path: Path, name: str) -> None:
    files = [f"{place}/{name.format(place=place[:4], count=count)}" for place in CLASSES for count in range(1, 13)]
    assert index_dataset(write_files(tmp_path / "f", files)).hints == ()


def test_no_pattern_is_suggested_where_persons_are_known(tmp_path: Path) -> None:
    files = [f"{place}/{name}/{name}_1.mp4" for place, name in product(CLASSES, NAMES)]
    assert index_dataset(write_files(tmp_path / "f", files)).hints == ()


def test_split_does_not_count_unknown_persons(tmp_path: Path) -> None:
    files = [f"{place}/{name}_{take}.mp4" for place, name, take in product(CLASSES, NAMES, (1, 2))]
    flat = index_dataset(write_files(tmp_path / "f", files)).manifest
    done = split_manifest(flat)
    assert "cannot be checked" in PERSONS_UNKNOWN
    assert PERSONS_UNKNOWN in done.notes
    assert count_persons(done.where("train").table) == "18 presentations of unknown persons"
