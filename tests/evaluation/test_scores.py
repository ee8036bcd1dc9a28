"""The score table: what goes in comes out to the bit, and what breaks a rule is refused with its rows."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonaface.errors import MissingExtraError, OutputError, ScoreTableError
from bonaface.evaluation.checking import SCORE_COLUMNS, check_scores
from bonaface.evaluation.scores import digest, join_manifest, read_scores, write_scores
from bonaface.types import Label, Status, probability
from tests.evaluation.tables import drawn, table

GOOD = {
    "presentation": ["a.mp4", "a.mp4", "b.mp4", "c.mp4"],
    "frame": [0, None, 0, None],
    "logit": [2.0, 1.5, None, -1.0],
    "status": ["ok", "ok", "no_face", "ok"],
    "label": ["bona_fide", "bona_fide", "attack", "attack"],
    "species": ["", "", "", "print"],
}


def good(**changes):
    return pd.DataFrame({**GOOD, **changes})


def test_a_checked_table_has_every_column_in_its_type():
    checked = check_scores(good())
    assert list(checked.columns[:6]) == list(SCORE_COLUMNS)
    assert checked["frame"].dtype == "Int64"
    assert checked["frame"].isna().tolist() == [False, True, False, True]
    np.testing.assert_array_equal(checked["score"], probability(np.array([2.0, 1.5, np.nan, -1.0])))
    assert checked["species"].tolist() == ["", "", "unspecified", "print"]
    assert checked["subject"].tolist() == [""] * 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": ["bona_fide", "bona_fide", "", "attack"]}, "label missing: row 3 (b.mp4)"),
        ({"label": ["bona_fide", "bona_fide", "spoof", "attack"]}, "one of bona_fide, attack: row 3 (b.mp4: 'spoof')"),
        ({"status": ["ok", "ok", "lost", "ok"]}, "row 3 (b.mp4: 'lost')"),
        ({"logit": [2.0, "much", None, -1.0]}, "logit is not a number though status is ok: row 2 (a.mp4)"),
        ({"logit": [2.0, 1.5, None, np.inf]}, "row 4 (c.mp4)"),
        ({"logit": [2.0, 1.5, 0.1, -1.0]}, "status says that the sample failed: row 3 (b.mp4)"),
        ({"logit": [2.0, None, None, -1.0]}, "logit is not a number though status is ok: row 2 (a.mp4)"),
        ({"frame": [0, 0, 0, None]}, "repeated (presentation, frame): row 2 (a.mp4)"),
        ({"frame": [0, -1, 0, None]}, "frame is not a whole number from 0: row 2 (a.mp4)"),
        ({"frame": [0, 0.5, 0, None]}, "frame is not a whole number from 0: row 2 (a.mp4)"),
        ({"frame": [0, "first", 0, None]}, "frame is not a whole number from 0: row 2 (a.mp4)"),
        ({"presentation": ["a.mp4", "a.mp4", "", "c.mp4"]}, "no presentation named: row 3 (unnamed)"),
        ({"score": [0.5, 0.5, None, 0.5]}, "score is not the probability of its logit: row 1 (a.mp4), row 2"),
        ({"label": ["bona_fide", "attack", "attack", "attack"]}, "two values of label: row 2 (a.mp4)"),
        ({"subject": ["1", "2", "1", "1"]}, "two values of subject: row 2 (a.mp4)"),
    ],
)
def test_a_bad_row_is_named(changes, words):
    with pytest.raises(ScoreTableError) as caught:
        check_scores(good(**changes), name="t.csv")
    message = str(caught.value)
    assert words in message
    assert message.startswith("t.csv: ")
    assert "\n" not in message


def test_all_faults_are_reported_at_once():
    rows = pd.DataFrame({"presentation": [f"{i}" for i in range(9)], "score": ["x"] * 9, "label": ["live"] * 9})
    with pytest.raises(ScoreTableError, match=r"row 4 \(3: 'live'\) and 5 more; score is not a number"):
        check_scores(rows)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["presentation", "score"], "has no column label; found: presentation, score; join"),
        (["presentation", "label"], "has no column score or logit"),
        (["presentaton", "label", "score"], "did you mean 'presentaton'?"),
        (["presentation", "label", "score", "score"], "has the column score twice"),
        (["presentation", "label", "score"], "holds no rows"),
    ],
)
def test_missing_columns_are_named(columns, words):
    with pytest.raises(ScoreTableError) as caught:
        check_scores(pd.DataFrame([], columns=columns))
    assert words in str(caught.value)


def test_a_rounded_score_still_belongs_to_its_logit():
    logit = np.array([2.0, 1.5, np.nan, -1.0])
    rounded = check_scores(good(score=np.round(probability(logit), 7)))
    assert rounded["score"][0] == np.round(probability(2.0), 7)


def test_enum_members_are_as_good_as_their_text():
    enums = good(
        label=[Label.BONA_FIDE, Label.BONA_FIDE, Label.ATTACK, Label.ATTACK],
        status=[Status.OK, Status.OK, Status.NO_FACE, Status.OK],
    )
    pd.testing.assert_frame_equal(check_scores(enums), check_scores(good()))
    assert all(type(text) is str for text in check_scores(enums)["status"])


@settings(deadline=None)  # it writes files
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=1, max_size=20),
    st.booleans(),
)
def test_any_number_survives_the_file_exactly(tmp_path_factory, values, foreign):
    path = tmp_path_factory.mktemp("scores") / "t.csv"
    before = table([("print", value) for value in values], foreign=foreign)
    write_scores(before, path)
    after = read_scores(path)
    pd.testing.assert_frame_equal(after, before, check_exact=True)
    assert after["score"].to_numpy().tobytes() == before["score"].to_numpy().tobytes()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_comes_back_as_it_was(tmp_path, suffix):
    path = tmp_path / "deep" / f"t{suffix}"
    before = drawn(1, presentations=50).assign(session=["NA", "null", "", "1e5", "007"] * 10)
    write_scores(before, path)
    after = read_scores(path)
    pd.testing.assert_frame_equal(after, before, check_exact=True, check_dtype=suffix == ".csv")
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_names_with_commas_quotes_and_unicode_survive(tmp_path):
    before = table([("bona_fide", 1.0), ("print", -1.0)]).assign(presentation=['a,"b".mp4', "Ünï/ré\u2028.mp4"])
    write_scores(before, tmp_path / "t.csv")
    assert read_scores(tmp_path / "t.csv")["presentation"].tolist() == before["presentation"].tolist()


def test_a_file_that_cannot_be_read_or_written_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(ScoreTableError, match="no file at"):
        read_scores(tmp_path / "none.csv")
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScoreTableError, match="damaged UTF-16"):
        read_scores(tmp_path / "t.csv")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(ScoreTableError, match="cannot be read as Parquet"):
        read_scores(tmp_path / "t.parquet")
    with pytest.raises(OutputError, match=r"name ends in \.csv"):
        write_scores(table([("print", 1.0)]), tmp_path / "t.json")
    with pytest.raises(OutputError, match="cannot write"):
        write_scores(table([("print", 1.0)]), tmp_path / "t.csv" / "inside.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[eval\]"'):
        read_scores(tmp_path / "t.parquet")
    with pytest.raises(MissingExtraError, match=r"u\.parquet"):
        write_scores(table([("print", 1.0)]), tmp_path / "u.parquet")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    write_scores(table([("print", 1.0)]), path)
    old = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bonaface.io.files.os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_scores(table([("print", 2.0)]), path)
    assert path.read_bytes() == old
    assert [item.name for item in tmp_path.iterdir()] == ["t.csv"]


MANIFEST = pd.DataFrame(
    {
        "path": ["a.mp4", "b.mp4", "c.mp4", "t.mp4"],
        "label": ["bona_fide", "attack", "attack", "attack"],
        "species": ["", "print", "replay", "print"],
        "subject": ["x/1", "x/1", "x/2", "x/3"],
        "subject_known": [True, True, True, True],
        "split": ["test", "test", "test", "train"],
    }
)


def test_two_columns_and_a_manifest_make_a_table():
    foreign = pd.DataFrame({"presentation": ["c.mp4", "a.mp4", "b.mp4"], "score": ["-12.5", "340", "7"], "note": "x"})
    joined = join_manifest(foreign, MANIFEST)
    assert joined["presentation"].tolist() == ["c.mp4", "a.mp4", "b.mp4"]
    assert joined["score"].tolist() == [-12.5, 340.0, 7.0]
    assert joined["logit"].isna().all()
    assert joined["species"].tolist() == ["replay", "", "print"]
    assert joined["subject"].tolist() == ["x/2", "x/1", "x/1"]
    assert joined["note"].tolist() == ["x"] * 3


def test_a_presentation_without_a_score_is_refused_or_counted_but_never_dropped():
    foreign = pd.DataFrame({"presentation": ["a.mp4", "b.mp4"], "score": [1.0, 2.0]})
    with pytest.raises(ScoreTableError, match=r"1 presentations of the manifest have no score, such as c\.mp4"):
        join_manifest(foreign, MANIFEST)
    joined = join_manifest(foreign, MANIFEST, missing="unreadable")
    assert joined["presentation"].tolist() == ["a.mp4", "b.mp4", "c.mp4"]
    assert joined["status"].tolist() == ["ok", "ok", "unreadable"]
    assert joined["species"].tolist() == ["", "print", "replay"]


def test_a_strange_presentation_and_a_missing_column_are_named():
    with pytest.raises(ScoreTableError, match=r"1 scored presentations .* such as z\.mp4; .* such as a\.mp4"):
        join_manifest(pd.DataFrame({"presentation": ["a.mp4", "z.mp4"], "score": [1.0, 2.0]}), MANIFEST)
    with pytest.raises(ScoreTableError, match="the scores have no column presentation; found: file, score"):
        join_manifest(pd.DataFrame({"file": ["a.mp4"], "score": [1.0]}), MANIFEST)


def test_the_digest_knows_scores_but_not_the_order_of_rows():
    one = drawn(3, presentations=60)
    shuffled = one.sample(frac=1, random_state=1).reset_index(drop=True)
    assert digest(one) == digest(shuffled) == digest(one[one.columns[::-1]])
    changed = one.copy()
    row = int(np.flatnonzero(changed["status"] == "ok")[0])
    changed.loc[row, "logit"] = np.nextafter(changed.loc[row, "logit"], 9.0)
    assert digest(changed) != digest(one)
    assert digest(one.iloc[1:]) != digest(one)


def test_repeated_column_is_refused(tmp_path):
    (tmp_path / "s.csv").write_text("presentation,label,score,score\na.mp4,attack,0.1,0.9\n")
    with pytest.raises(ScoreTableError, match="has the column 'score' more than once"):
        read_scores(tmp_path / "s.csv")
