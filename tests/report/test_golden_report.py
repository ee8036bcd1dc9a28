from __future__ import annotations

import json
from pathlib import Path

import bonaface
from tests.golden import FOLDER, assert_as_before


def test_report_json_is_as_before(tmp_path: Path) -> None:
    bonaface.report_scores(FOLDER / "scores.csv", output=tmp_path / "r", by=["device"])
    assert_as_before(json.loads((tmp_path / "r" / "report.json").read_text()), "report.json")
