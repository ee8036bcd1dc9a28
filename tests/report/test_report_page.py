from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd

from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.checking import text_column
from bonaface.evaluation.discard import discard_curves
from bonaface.evaluation.iso30107 import by_group, evaluate
from bonaface.evaluation.thresholds import choose_threshold, fixed_point
from bonaface.report.page import ReportInput, write_page
from bonaface.report.pictures import GalleryItem
from tests.evaluation.tables import drawn

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Nesting(HTMLParser):
    """Fails where a tag is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[int] = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag, tag


def page_of(data: ReportInput, folder: Path, **more) -> str:
    write_page(data, folder, **more)
    return (folder / "report.html").read_text()


def example(**more) -> ReportInput:
    validation, test = drawn(1), drawn(2).assign(split="test")
    point = choose_threshold(validation)
    crop = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    heat = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    item = GalleryItem("clips/<b>.mp4", "attack", "wrong", crop, heat, 1 - heat, "print", 0.7, 0.5, True)
    return ReportInput(
        title="A & B",
        evaluations={"one image": evaluate(test, [point, fixed_point(0.5)])},
        presentations={"one image": ScoreArrays.from_table(test)},
        validation={"one image": ScoreArrays.from_table(validation)},
        groups={"device": by_group(ScoreArrays.from_table(test), text_column(test, "device"), point)},
        history=pd.DataFrame({"epoch": range(1, 61), "train_loss": 0.5, "val_loss": 0.4, "val_hter": 0.1, "lr": 1e-4}),
        embedding=pd.DataFrame({"x": [0.0, 1, 2], "y": [1.0, 0, 2], "label": ["bona_fide", "attack", "attack"]}),
        gallery=[item],
        notes=["read <this>"],
        **more,
    )


def test_the_page_is_whole_safe_and_needs_nothing_from_outside(tmp_path: Path):
    page = page_of(example(), tmp_path)
    parser = Nesting()
    parser.feed(page)
    assert parser.open == []
    assert parser.headings[0] == 1
    assert "read &lt;this&gt;" in page.lower()
    assert "<b>.mp4" not in page
    assert "A &amp; B" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "<script" not in page
    assert "\\math" not in page
    for title in ("How well it does", "Which attacks get through", "Errors and scores", "Training", "All measures"):
        assert title in page


def test_text_in_figures_is_legible_on_a_phone(tmp_path: Path):
    page = page_of(example(), tmp_path)
    figures = re.findall(r'<figure>.*?src="data:image/svg\+xml;base64,([^"]+)"', page, flags=re.DOTALL)
    assert len(figures) >= 6
    for figure in figures:
        svg = base64.b64decode(figure).decode()
        (width,) = re.findall(r'viewBox="0 0 ([\d.]+)', svg)
        sizes = [float(size) for size in re.findall(r"font(?:-size)?: ([\d.]+)px", svg)]
        assert min(sizes) * 330 / float(width) >= 10


def test_page_shows_what_limits_on_quality_would_do(tmp_path: Path):
    rows = drawn(2).assign(quality_sharpness=np.random.default_rng(0).normal(100, 30, 300), quality_face_cut=0.0)
    curves = discard_curves(rows, fixed_point(0.5))
    text = page_of(example(discards=curves, discards_on="the validation split"), tmp_path)
    assert "Measured on the validation split" in text
    assert (tmp_path / "figures" / "discards.png").is_file()
    content = json.loads((tmp_path / "report.json").read_text())["discards"]
    assert [curve["name"] for curve in content] == ["sharpness"]
    found = curves[0].at(0.1)
    assert found is not None
    assert found.limit.replace(">=", "&gt;=") in text
    assert found.limit in {point["limit"] for point in content[0]["points"]}
    (tmp_path / "none").mkdir()
    assert "What limits on quality would do" not in page_of(example(), tmp_path / "none")


def test_figures_and_json_lie_beside_it(tmp_path: Path):
    write_page(example(), tmp_path)
    written = json.loads((tmp_path / "report.json").read_text())
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in written["figures"])
    at = written["evaluations"]["one image"]["at"][0]
    assert 0 <= at["far"]["low"] <= at["far"]["value"] <= at["far"]["high"] <= 1
    assert any("det" in name for name in written["figures"])


def test_without_faces_no_picture_of_anybody_is_left(tmp_path: Path):
    write_page(example(), tmp_path / "faces")
    assert list((tmp_path / "faces" / "figures").glob("gallery_*"))
    page = page_of(example(), tmp_path, faces=False)
    assert "data:image/jpeg" not in page
    assert not list((tmp_path / "figures").glob("gallery_*"))


def test_the_same_input_gives_the_same_bytes(tmp_path: Path):
    one, two = (page_of(example(), tmp_path / name) for name in ("a", "b"))
    assert one == two


def test_one_class_and_no_score_are_still_a_page(tmp_path: Path):
    attacks = drawn(3).query("label == 'attack'")
    lost = attacks.assign(status="no_face", logit=np.nan, score=np.nan)
    for name, rows in (("attacks", attacks), ("lost", lost)):
        evaluation = evaluate(rows, [fixed_point(0.5)])
        data = ReportInput("t", {"all": evaluation}, {"all": ScoreArrays.from_table(rows)})
        assert "undefined" in page_of(data, tmp_path / name)


def test_groups_stand_in_the_order_that_people_count_in_and_say_once_that_one_person_is_not_many(tmp_path):
    test, point = drawn(2, failed=0), fixed_point(0.5)
    data = ReportInput(
        title="t",
        evaluations={"all": evaluate(test, [point])},
        presentations={"all": ScoreArrays.from_table(test)},
        groups={"subject": by_group(ScoreArrays.from_table(test), text_column(test, "subject"), point)},
    )
    page = page_of(data, tmp_path, faces=False)
    assert page.index(">d/2</th>") < page.index(">d/10</th>")
    assert page.count("one person alone says nothing about others") == 1
