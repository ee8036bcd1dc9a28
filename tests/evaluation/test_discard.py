"""Error-versus-discard curves: counted by hand, and undefined where they would mislead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bonaface.evaluation.checking import check_scores
from bonaface.evaluation.discard import DiscardCurve, discard_curves
from bonaface.evaluation.scores import presentations
from bonaface.evaluation.thresholds import fixed_point
from tests.evaluation.tables import drawn, table

# 20 bona fide and 20 attacks; the six blurred ones hold all errors: 2 bona fide refused, 3 attacks accepted.
ROWS = [("bona_fide", -1.0 if i < 2 else 1.0) for i in range(20)] + [
    ("print", 1.0 if i < 3 else -1.0) for i in range(20)
]
SHARPNESS = [10.0 + i if i < 2 else 100.0 + i for i in range(20)] + [
    20.0 + i if i < 4 else 200.0 + i for i in range(20)
]


def by_name(rows: pd.DataFrame) -> dict[str, DiscardCurve]:
    return {curve.name: curve for curve in discard_curves(rows, fixed_point(0.5))}


def test_errors_fall_as_the_worst_are_discarded():
    curve = by_name(table(ROWS).assign(quality_sharpness=SHARPNESS))["sharpness"]
    whole = curve.points[0]
    assert (whole.limit, whole.share, whole.frr, whole.far) == ("", 0.0, 0.1, 0.15)
    found = curve.at(0.15)
    assert found is not None
    assert found.share == pytest.approx(6 / 40)
    assert (found.bona_fide, found.attacks) == pytest.approx((2 / 20, 4 / 20))
    assert (found.far, found.frr, found.hter, found.eer) == (0, 0, 0, 0)
    name, bound = found.limit.split(">=")
    assert name == "sharpness"
    assert 23 < float(bound) <= 102


@pytest.mark.parametrize(
    ("name", "sign"), [("sharpness", ">="), ("face_size", ">="), ("face_cut", "<="), ("head_pose_yaw", "<=")]
)
def test_printed_limit_discards_what_is_said(name: str, sign: str):
    values = np.random.default_rng(2).normal(0.5, 0.17, 300).round(2)
    rows = drawn(4).assign(**{f"quality_{name}": values})
    scored = (rows["status"] == "ok").to_numpy()
    curve = by_name(rows)[name]
    assert len(curve.points) > 10
    for point in curve.points[1:]:
        bound = float(point.limit.partition(sign)[2])
        kept = values >= bound if sign == ">=" else values <= bound
        assert point.share == pytest.approx(1 - kept[scored].mean())
        real = scored & (rows["label"] == "bona_fide").to_numpy()
        assert point.bona_fide == pytest.approx(1 - kept[real].mean())
        assert point.frr == pytest.approx((rows["score"].to_numpy()[real & kept] < 0.5).mean())
    assert [point.share for point in curve.points] == sorted({point.share for point in curve.points})


def test_order_of_rows_and_text_columns_change_nothing():
    rows = drawn(4).assign(quality_sharpness=np.random.default_rng(2).normal(100, 30, 300))
    shuffled = rows.sample(frac=1, random_state=1).reset_index(drop=True)
    assert by_name(rows) == by_name(shuffled)
    assert by_name(rows) == by_name(rows.assign(quality_sharpness=rows["quality_sharpness"].map(repr)))


@pytest.mark.parametrize(
    "rows",
    [
        drawn(1),
        drawn(1).assign(quality_sharpness=7.0),
        drawn(1).assign(quality_sharpness=""),
        table(ROWS[:20]).assign(quality_sharpness=SHARPNESS[:20]),
        table(ROWS[:5] + ROWS[20:25]).assign(quality_sharpness=range(10)),
    ],
    ids=["no column", "one value", "no value", "one class", "few"],
)
def test_nothing_to_discard_is_no_curve(rows: pd.DataFrame):
    assert discard_curves(rows, fixed_point(0.5)) == ()


def test_share_that_no_limit_discards_is_left_out():
    curve = by_name(table(ROWS).assign(quality_face_cut=[0.0] * 36 + [0.3] * 4))["face_cut"]
    assert [point.share for point in curve.points] == [0, 0.1]
    assert 0 <= float(curve.points[1].limit.removeprefix("face_cut<=")) < 0.3
    assert curve.at(0.1) == curve.points[1]
    assert curve.at(0.2) is None


@pytest.mark.parametrize("rule", [None, "mean", "first"])
def test_quality_of_a_video_is_that_of_its_fused_row(rule):
    rows = check_scores(
        pd.DataFrame(
            {
                "presentation": ["a", "a", "a", "b"],
                "frame": pd.array([None, 0, 1, 0], dtype="Int64"),
                "logit": [2.0, 1.0, 3.0, 4.0],
                "label": "attack",
                "quality_sharpness": [20.0, 10.0, 30.0, 40.0],
            }
        )
    )
    assert presentations(rows, rule=rule)["quality_sharpness"].tolist() == [20.0, 40.0]
    assert presentations(rows, mode="image")["quality_sharpness"].tolist() == [10.0, 40.0]
