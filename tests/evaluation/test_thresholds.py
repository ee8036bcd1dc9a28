"""Operating points: counted by hand, compared with an exhaustive search, refused if undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonaface.errors import ScoreTableError, SettingsError
from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.iso30107 import evaluate
from bonaface.evaluation.scores import read_scores, write_scores
from bonaface.evaluation.thresholds import (
    accepts,
    choose_threshold,
    fixed_point,
    given_point,
)
from bonaface.types import probability
from tests.evaluation.tables import drawn, table

# Attacks at 0 ... 9, ten of one species; bona fide at 5.5, 6.5 ... 14.5, ten.
LADDER = table([("print", float(k)) for k in range(10)] + [("bona_fide", k + 5.5) for k in range(10)])


@pytest.mark.parametrize(
    ("criterion", "logit", "far", "frr"),
    [
        # Above 7 and up to 7.5: attacks 8, 9 pass (0.2), bona fide 5.5, 6.5 fail (0.2).
        ("eer", 7.25, 0.2, 0.2),
        # HTER is 0.2 for every threshold above 5 and up to 9.5, alternating with 0.25 in between: (0.2, 0.2) is chosen.
        ("bpcer10", 8.25, 0.1, 0.3),
        ("apcer<=0.1", 8.25, 0.1, 0.3),
        ("bpcer20", 9.25, 0.0, 0.4),
        ("bpcer100", 9.25, 0.0, 0.4),
        ("apcer<=1", 5.25, 0.4, 0.0),
        ("bpcer<=0.1", 6.25, 0.3, 0.1),
        ("bpcer<=0", 5.25, 0.4, 0.0),
        ("BPCER <= 0.19", 6.25, 0.3, 0.1),
    ],
)
def test_thresholds_by_hand(criterion, logit, far, frr):
    point = choose_threshold(LADDER, criterion)
    assert point.logit_threshold == logit
    assert point.threshold == float(probability(logit))
    assert (point.chosen_on["far"], point.chosen_on["frr"]) == (far, frr)
    assert point.criterion == criterion


def test_a_plateau_gives_its_middle():
    # Equal error from above -1 up to 3: one attack of four passes, one bona fide of four fails.
    rows = [("print", v) for v in (-4.0, -3.0, -1.0, 8.0)] + [("bona_fide", v) for v in (-2.0, 3.0, 5.0, 6.0)]
    assert choose_threshold(table(rows), "eer").logit_threshold == 1.0
    assert choose_threshold(table(rows), "hter").logit_threshold == 1.0


def test_a_perfect_separation_takes_the_middle_in_logits_and_says_so():
    rows = [("print", -30.0), ("print", -10.0), ("bona_fide", 40.0), ("bona_fide", 50.0)]
    for criterion in ("eer", "hter", "bpcer20", "apcer<=0.01", "bpcer<=0.05"):
        point = choose_threshold(table(rows), criterion)
        assert point.logit_threshold == 15.0, criterion
        assert (point.chosen_on["far"], point.chosen_on["frr"]) == (0.0, 0.0)
        assert "separates perfectly: every threshold between the logits -10 and 40" in point.warnings[0]
    assert not choose_threshold(LADDER, "eer").warnings


def test_bpcer_n_holds_for_the_strictest_species():
    rows = (
        [("easy", -9.0)] * 20 + [("hard", 1.0)] * 2 + [("hard", -5.0)] * 8 + [("bona_fide", float(v)) for v in range(9)]
    )
    # Pooled, 2 of 30 attacks above 1 are 6.7 %; of the hard species they are 20 %.
    assert choose_threshold(table(rows), "bpcer10").logit_threshold == 1.5
    assert choose_threshold(table(rows), "apcer<=0.2").logit_threshold == -2.5
    assert "1 of 2 species have fewer than 20 presentations" in choose_threshold(table(rows), "bpcer20").warnings[0]


def test_a_threshold_beyond_all_scores_keeps_a_margin_and_says_so():
    rows = [("print", 9.0), ("bona_fide", 1.0), ("bona_fide", 2.0)]
    point = choose_threshold(table(rows), "apcer<=0")
    assert point.logit_threshold == 10.0
    assert "rejects every validation presentation" in point.warnings[0]
    point = choose_threshold(table([("print", 9.0), ("print", 8.0), ("bona_fide", 1.0)]), "bpcer<=0")
    assert point.logit_threshold == 0.0
    assert "accepts every validation presentation" in point.warnings[0]


def test_foreign_scores_are_decided_on_their_own_scale():
    rows = [("print", -700.0), ("print", 1e6), ("bona_fide", 2e6), ("bona_fide", 3e6)]
    point = choose_threshold(table(rows, foreign=True), "eer")
    assert (point.threshold, point.logit_threshold) == (1.5e6, None)
    accepted, undefined = accepts(ScoreArrays.from_table(table(rows, foreign=True)), point)
    assert accepted.tolist() == [False, False, True, True]
    assert not undefined


def test_failed_presentations_are_left_out_and_counted():
    rows = [("print", -1.0), ("print", "no_face"), ("bona_fide", 1.0), ("bona_fide", "unreadable")]
    point = choose_threshold(table(rows))
    assert point.logit_threshold == 0.0
    assert (point.chosen_on["presentations"], point.chosen_on["failed"]) == (4, 2)
    assert (point.chosen_on["bona_fide"], point.chosen_on["attacks"]) == (1, 1)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("print", 1.0)], "validation has 0 bona fide and 1 attacks: add bona fide presentations"),
        ([("bona_fide", 1.0), ("print", "no_face")], "1 bona fide and 0 attacks: add attack presentations"),
    ],
)
def test_one_class_chooses_nothing(rows, words):
    with pytest.raises(ScoreTableError, match=words):
        choose_threshold(table(rows))
    assert choose_threshold(table(rows), "fixed=0.5") == fixed_point()


def test_test_data_chooses_nothing_and_training_data_warns():
    with pytest.raises(ScoreTableError, match="this table holds the split test"):
        choose_threshold(LADDER.assign(split="test"))
    with pytest.raises(ScoreTableError, match="this table holds the split test"):
        choose_threshold(LADDER.assign(split=["val"] * 19 + ["test"]))
    assert "training data" in choose_threshold(LADDER.assign(split="train")).warnings[0]
    assert not choose_threshold(LADDER.assign(split="")).warnings


@pytest.mark.parametrize(
    ("criterion", "words"),
    [
        ("err", r"unknown criterion 'err' \(did you mean 'eer'\?\); known: eer, hter, bpcer10"),
        ("bpcer0", "unknown criterion 'bpcer0'"),
        ("apcer<=5", "5 is not a share between 0 and 1"),
        ("apcer<=1.2.3", "1.2.3 is not a share"),
        ("fixed=1", "not a probability between 0 and 1"),
        ("fixed=nan", "unknown criterion"),
    ],
)
def test_unknown_criteria_are_refused(criterion, words):
    with pytest.raises(SettingsError, match=words):
        choose_threshold(LADDER, criterion)


def test_a_given_threshold_must_be_a_number():
    assert given_point(3).threshold == 3.0
    with pytest.raises(SettingsError, match="the threshold nan is not a number"):
        given_point(math.nan)


def test_decisions_are_the_same_after_the_file_and_through_scores(tmp_path):
    before = drawn(2, presentations=2000, digits=12)
    point = choose_threshold(before)
    write_scores(before, tmp_path / "t.csv")
    after = read_scores(tmp_path / "t.csv")
    ok = (after["status"] == "ok").to_numpy()
    expected = accepts(ScoreArrays.from_table(before), point)[0]
    np.testing.assert_array_equal(accepts(ScoreArrays.from_table(after), point)[0], expected)
    np.testing.assert_array_equal((after["score"].to_numpy() >= point.threshold)[ok], expected[ok])


def test_saturated_scores_are_decided_on_logits_and_counted():
    rows = [("print", 38.0), ("print", 39.0), ("bona_fide", 41.0), ("bona_fide", 45.0)]
    scores = table(rows)
    assert (scores["score"] == 1.0).all()
    point = choose_threshold(scores)
    assert (point.threshold, point.logit_threshold) == (1.0, 40.0)
    assert accepts(ScoreArrays.from_table(scores), point)[0].tolist() == [False, False, True, True]
    assert any("2 validation scores lie within rounding of 1.0" in warning for warning in point.warnings)


def brute(scores, criterion):
    """FAR and FRR at the best threshold, by trying all of them."""
    values = scores["logit"].to_numpy()
    real = (scores["label"] == "bona_fide").to_numpy()
    species = scores["species"].to_numpy()
    tried = []
    for threshold in [*np.unique(values[~np.isnan(values)]), np.inf]:
        accepted = values >= threshold
        ok = ~np.isnan(values)
        far, frr = accepted[ok & ~real].mean(), (~accepted)[ok & real].mean()
        worst = max(accepted[ok & (species == name)].mean() for name in set(species[ok & ~real]))
        tried.append((far, frr, worst))
    if criterion == "eer":
        return min(tried, key=lambda t: (round(abs(t[0] - t[1]), 12), t[0] + t[1]))
    if criterion == "hter":
        return min(tried, key=lambda t: round(t[0] + t[1], 12))
    if criterion == "bpcer10":
        return min((t for t in tried if t[2] <= 0.1), key=lambda t: (t[1], t[2], t[0]))
    return min((t for t in tried if t[1] <= 0.05), key=lambda t: (t[2], t[1]))


@pytest.mark.parametrize("criterion", ["eer", "hter", "bpcer10", "bpcer<=0.05"])
@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_does_better(criterion, seed):
    scores = drawn(seed, presentations=120, digits=1, separation=1.5)
    chosen = choose_threshold(scores, criterion).chosen_on
    far, frr, worst = brute(scores, criterion)
    if criterion == "hter":
        assert chosen["far"] + chosen["frr"] == pytest.approx(far + frr, abs=1e-12)
    else:
        assert chosen["frr"] == pytest.approx(frr, abs=1e-12)
        assert chosen["far" if criterion == "eer" else "apcer_max"] == pytest.approx(
            far if criterion == "eer" else worst, abs=1e-12
        )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=12),
    st.lists(st.floats(-50, 50), min_size=1, max_size=12),
    st.sampled_from(["eer", "hter", "bpcer20", "bpcer<=0.05"]),
)
def test_a_chosen_threshold_decides_as_it_was_counted(attacks, bona_fide, criterion):
    scores = table([("print", v) for v in attacks] + [("bona_fide", v) for v in bona_fide])
    point = choose_threshold(scores, criterion)
    assert math.isfinite(point.threshold)
    accepted = accepts(ScoreArrays.from_table(scores), point)[0]
    real = (scores["label"] == "bona_fide").to_numpy()
    assert accepted[~real].mean() == point.chosen_on["far"]
    assert (~accepted)[real].mean() == point.chosen_on["frr"]


def test_the_order_of_rows_does_not_matter():
    scores = drawn(7)
    shuffled = scores.sample(frac=1, random_state=3).reset_index(drop=True)
    for criterion in ("eer", "hter", "bpcer20", "bpcer<=0.05"):
        assert choose_threshold(shuffled, criterion) == choose_threshold(scores, criterion)


@pytest.mark.parametrize("foreign", [False, True])
def test_what_rejects_everything_does_so_for_scores_of_any_size(foreign):
    rows = table([("bona_fide", -1e300), ("bona_fide", 2.0), ("print", 7e299)], foreign=foreign)
    point = choose_threshold(rows, "apcer<=0")
    assert point.chosen_on["apcer_max"] == 0
    (at,) = evaluate(rows, [point]).at
    assert at.far.errors == 0


def test_widened_validation_decides_where_validation_makes_no_error():
    plain = table([("print", -10.0), ("print", -9.0), ("bona_fide", 9.0), ("bona_fide", 10.0)])
    widened = table([("simulated_print", 4.0), ("simulated_print", -3.0), ("bona_fide", 3.0), ("bona_fide", 6.0)])
    widened["presentation"] += " (simulated)"
    assert choose_threshold(plain, "eer").logit_threshold == 0.0
    point = choose_threshold(plain, "eer", widened=widened)
    assert point.logit_threshold is not None
    assert 3.0 < point.logit_threshold <= 4.0  # one of each class is wrong on either side of it
    assert (point.chosen_on["far"], point.chosen_on["frr"]) == (0.0, 0.0)
    assert point.chosen_on["presentations"] == 4
    assert point.chosen_on["widened"] == {"presentations": 4, "far": 0.5, "frr": 0.5, "apcer_max": 0.5}
    assert any("perfectly" in warning and "simulated presentations decided" in warning for warning in point.warnings)


def test_widened_presentations_do_not_hide_that_a_species_is_rare():
    plain = table([("print", float(k)) for k in range(-60, 0)] + [("bona_fide", float(k)) for k in range(-5, 60)])
    widened = plain.assign(presentation=plain["presentation"] + " (another camera)")
    point = choose_threshold(plain, "apcer<=0.01", widened=widened)
    assert any("fewer than 100 presentations" in warning for warning in point.warnings)
