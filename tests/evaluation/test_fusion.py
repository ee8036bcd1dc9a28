"""From frames to presentations, compared with the function that the pipeline uses."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import pytest

from bonaface.choices import FusionRule
from bonaface.errors import ScoreTableError
from bonaface.evaluation.checking import check_scores
from bonaface.evaluation.scores import presentations
from bonaface.types import fuse, probability


def frames(*rows, logits=True):
    """(presentation, frame or None, value or status) rows."""
    return check_scores(
        pd.DataFrame(
            {
                "presentation": [name for name, *_ in rows],
                "frame": pd.array([frame for _, frame, _ in rows], dtype="Int64"),
                ("logit" if logits else "score"): [np.nan if isinstance(v, str) else v for *_, v in rows],
                "status": [v if isinstance(v, str) else "ok" for *_, v in rows],
                "label": "attack",
            }
        )
    )


MIXED = frames(
    ("late", 9, 3.0),
    ("late", 4, -1.0),
    ("fused", 0, 5.0),
    ("fused", None, 2.0),
    ("fused", 3, 1.0),
    ("lost", 0, "no_face"),
    ("lost", 7, 4.0),
    ("never", 0, "unreadable"),
    ("late", 6, 7.0),
)


def logits(result):
    return dict(zip(result["presentation"], result["logit"].tolist(), strict=True))


def test_an_image_is_the_first_frame_and_a_failed_first_frame_fails():
    result = presentations(MIXED, mode="image")
    assert result["presentation"].tolist() == ["late", "fused", "lost", "never"]
    assert result["status"].tolist() == ["ok", "ok", "no_face", "unreadable"]
    np.testing.assert_array_equal(result["logit"], [-1.0, 5.0, np.nan, np.nan])
    assert result["frame"].isna().all()


@pytest.mark.parametrize(
    ("rule", "late", "fused", "lost"),
    [(None, 3.0, 2.0, 4.0), ("mean", 3.0, 3.0, 4.0), ("max_attack", -1.0, 1.0, 4.0), ("first", -1.0, 5.0, 4.0)],
)
def test_a_video_is_its_fused_row_or_its_frames_by_a_rule(rule, late, fused, lost):
    result = presentations(MIXED, mode="video", rule=rule)
    found = logits(result)
    assert (found["late"], found["fused"], found["lost"]) == (late, fused, lost)
    assert np.isnan(found["never"])
    assert result["status"].tolist() == ["ok", "ok", "ok", "unreadable"]
    np.testing.assert_array_equal(result["score"][:3], probability(result["logit"].to_numpy()[:3]))


@pytest.mark.parametrize("rule", get_args(FusionRule))
def test_fusion_is_the_runtime_s_to_the_bit(rule):
    generator = np.random.default_rng(5)
    rows = []
    for name in range(60):
        rows += [(f"{name}.mp4", int(k), float(v)) for k, v in enumerate(generator.normal(size=1 + name % 17) * 9)]
    order = generator.permutation(len(rows))
    result = logits(presentations(frames(*[rows[i] for i in order]), rule=rule))
    for name in range(60):
        own = [value for other, _, value in rows if other == f"{name}.mp4"]
        assert result[f"{name}.mp4"] == fuse(own, rule=rule)


def test_a_foreign_system_s_frames_are_fused_on_its_own_scale():
    result = presentations(frames(("a", 0, 100.0), ("a", 1, 300.0), ("b", 0, -5.0), logits=False))
    assert result["score"].tolist() == [200.0, -5.0]
    assert result["logit"].isna().all()


def test_a_table_of_presentations_passes_through():
    table = frames(("b", None, 1.0), ("a", None, "no_face"))
    pd.testing.assert_frame_equal(presentations(table), table)
    pd.testing.assert_frame_equal(presentations(table, rule="median"), table)


def test_what_a_first_frame_gave_is_not_guessed_from_a_fused_score():
    table = frames(("a", None, 1.0), ("b", 0, 1.0), ("c", None, "unreadable"))
    with pytest.raises(ScoreTableError, match=r"1 presentations have a fused score but no frame rows \(a\)"):
        presentations(table, mode="image")
    assert presentations(table.iloc[1:], mode="image")["status"].tolist() == ["ok", "unreadable"]
