"""Manifests of several sources in one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bonaface.data.manifest import Manifest, make_manifest
from bonaface.data.merge import merge_manifests
from bonaface.errors import ManifestError
from bonaface.io.storage import shown


def manifest(root: Path, dataset: str, *, notes: tuple[str, ...] = ()) -> Manifest:
    rows = {
        "path": ["live/a.mp4", "print/b.mp4"],
        "label": ["bona_fide", "attack"],
        "subject": ["7", ""],
        "dataset": dataset,
        "split": ["train", "val"],
    }
    boxes = pd.DataFrame({"path": ["live/a.mp4"], "frame": [0], "x": [1.0], "y": [2.0], "w": [3.0], "h": [4.0]})
    return make_manifest(pd.DataFrame(rows), root, boxes=boxes, notes=notes)


def test_paths_and_boxes_lie_below_the_shared_folder(tmp_path: Path):
    merged = merge_manifests([manifest(tmp_path / "x", "one"), manifest(tmp_path / "y" / "z", "two")])
    assert merged.root == tmp_path.resolve()
    assert merged.table["path"].tolist() == ["x/live/a.mp4", "x/print/b.mp4", "y/z/live/a.mp4", "y/z/print/b.mp4"]
    assert merged.boxes is not None
    assert merged.boxes["path"].tolist() == ["x/live/a.mp4", "y/z/live/a.mp4"]


def test_labels_splits_and_subjects_stay(tmp_path: Path):
    merged = merge_manifests([manifest(tmp_path, "one"), manifest(tmp_path / "y", "two")])
    assert merged.table["split"].tolist() == ["train", "val"] * 2
    assert merged.table["subject"].tolist()[::2] == ["one/7", "two/7"]
    assert merged.table["subject_known"].tolist() == [True, False] * 2


def in_storage(root: str, name: str) -> Manifest:
    return make_manifest(pd.DataFrame({"path": ["a.mp4"], "label": ["attack"], "dataset": [name]}), root)


def test_footage_in_one_bucket_is_merged():
    merged = merge_manifests([in_storage("s3://b/one", "A"), in_storage("s3://b/two", "B")])
    assert [shown(file) for file in merged.files()] == ["s3://b/one/a.mp4", "s3://b/two/a.mp4"]


@pytest.mark.parametrize("other", ["s3://c/two", "gs://b/two", "/footage"])
def test_footage_that_shares_no_bucket_is_refused(other: str):
    with pytest.raises(ManifestError, match="share no folder or bucket"):
        merge_manifests([in_storage("s3://b/one", "A"), in_storage(other, "B")])


def test_notes_of_all_stay(tmp_path: Path):
    merged = merge_manifests(
        [manifest(tmp_path, "one", notes=("a",)), manifest(tmp_path / "y", "two", notes=("a", "b"))]
    )
    assert merged.notes == ("a", "b")


def test_one_manifest_is_itself(tmp_path: Path):
    only = manifest(tmp_path, "one")
    assert merge_manifests([only]) is only


@pytest.mark.parametrize(
    ("names", "said"), [(("one", "one"), "two manifests"), (("one", ""), "does not name its dataset")]
)
def test_an_unclear_source_is_refused(tmp_path: Path, names: tuple[str, str], said: str):
    with pytest.raises(ManifestError, match=said):
        merge_manifests([manifest(tmp_path / name / str(place), name) for place, name in enumerate(names)])
