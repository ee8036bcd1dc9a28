from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import bonaface
from bonaface.cli import app
from bonaface.errors import InputError, SettingsError
from bonaface.inference.bundle import write_bundle
from tests.networks import pictures, tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = Path(tmp_path_factory.mktemp("explained"))
    write_bundle(tiny_bundle(folder / "bundle"))
    return folder / "bundle"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, crop in enumerate(pictures(12)):
        Image.fromarray(crop).save(folder / f"{number}.png")
    return folder


def test_explain_finds_what_predict_finds(bundle: Path, photos: Path, tmp_path: Path):
    (photos / ".hidden").mkdir()
    (photos / "0.png").rename(photos / ".hidden" / "0.png")
    (photos / "1.png").rename(photos / "no suffix")
    (photos / "notes.txt").write_text("no picture")
    (photos / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(600))
    if sys.platform != "win32":
        (photos / "gone.png").symlink_to(photos / "nothing")
    shown = bonaface.explain(bundle, photos, output=tmp_path / "why")
    verdicts = list(bonaface.predict(bundle, photos))
    assert [(one.source, one.outcome) for one in shown.verdicts] == [(one.source, one.outcome) for one in verdicts]
    assert len(shown.pictures) == 11
    assert all(picture.stat().st_size > 1000 for picture in shown.pictures)
    assert shown.sources.left_out == {"hidden folders": 1}
    assert not shown.complete


def test_explain_takes_globs_and_folders_of_frames(bundle: Path, photos: Path, tmp_path: Path):
    shown = bonaface.explain(bundle, photos / "1*.png", output=tmp_path / "glob")
    assert len(shown.pictures) == 3
    (verdict,) = bonaface.explain(bundle, photos, output=tmp_path / "clip", frames_as_video=True).verdicts
    assert (verdict.kind, len(verdict.frames)) == ("video", 4)


@pytest.mark.parametrize(
    ("names", "code"), [(["0.png"], 0), (["tiny.png"], 3), (["0.png", "tiny.png"], 3), (["broken.png"], 3)]
)
def test_explain_exit_code_reports_unscored(bundle: Path, photos: Path, tmp_path: Path, names: list[str], code: int):
    Image.new("RGB", (12, 12)).save(photos / "tiny.png")
    (photos / "broken.png").write_bytes(b"")
    files = [str(photos / name) for name in names]
    done = CliRunner().invoke(app, ["explain", str(bundle), *files, "-o", str(tmp_path / "why")])
    assert done.exit_code == code, done.output


@pytest.fixture
def manifest(photos: Path) -> Path:
    """Twelve presentations, with columns of the names that score tables and maps use."""
    names = [f"{number}.png" for number in range(12)]
    labels = ["bona_fide", "attack"] * 6
    own = {column: np.arange(12) % 3 for column in ("score", "frame", "logit", "status", "system", "x", "presentation")}
    pd.DataFrame({"path": names, "label": labels, "device": ["a", "b"] * 6, **own}).to_csv(
        photos / "manifest.csv", index=False
    )
    return photos / "manifest.csv"


@pytest.mark.parametrize(
    "column", ["path", "label", "subject", "subject_known", "split", "device", "score", "frame", "x", "presentation"]
)
def test_embed_colours_by_any_column(bundle: Path, manifest: Path, tmp_path: Path, column: str):
    mapped = bonaface.embed(bundle, manifest, output=tmp_path / "map", colour=column, split="all")
    assert mapped.plot.is_file()
    assert len(pd.read_csv(mapped.table)) == 12
    assert mapped.coordinates["x"].nunique() == 12


def test_embed_leaves_nothing_where_it_fails(bundle: Path, manifest: Path, tmp_path: Path):
    with pytest.raises(SettingsError, match="no column 'devise'"):
        bonaface.embed(bundle, manifest, output=tmp_path / "map", colour="devise")
    for file in manifest.parent.glob("*.png"):
        Image.new("RGB", (12, 12)).save(file)
    with pytest.raises(InputError, match="not one presentation has an embedding"):
        bonaface.embed(bundle, manifest, output=tmp_path / "map", split="all")
    assert not (tmp_path / "map").exists()
