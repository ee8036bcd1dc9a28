from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bonaface.data.manifest import read_manifest
from bonaface.errors import SettingsError
from bonaface.workflows.prepare import crop, index
from tests.corpus_folder import write_files


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"quality": 500}, r"^quality: .*less than or equal to.*\(got 500\)$"),
        ({"detector": "yunett"}, r"^detector: .*'yunet'.*\(got 'yunett'\)$"),
        ({"detector": "haar", "resize": 64}, "^resize"),
    ],
)
def test_crop_names_a_setting_that_does_not_fit(tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        crop(tmp_path / "m.csv", output=tmp_path / "crops", **options)


def test_index_writes_over_an_older_manifest(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_files(tmp_path / name, ["live/p1/a.jpg", "print/p2/b.jpg"])
        index(tmp_path / name, output=tmp_path / "m.csv")
    read = read_manifest(tmp_path / "m.csv")
    assert read.root == tmp_path / "two"
    assert read.table["subject"].tolist() == ["two/p1", "two/p2"]
