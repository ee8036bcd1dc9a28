"""The measures against tables counted by hand, scikit-learn, and the figures of the published system."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from bonaface.errors import ScoreTableError, SettingsError
from bonaface.evaluation.intervals import clopper_pearson, jeffreys
from bonaface.evaluation.iso30107 import by_group, evaluate, published_summary
from bonaface.evaluation.thresholds import choose_threshold, fixed_point, given_point
from tests.evaluation.tables import drawn, table

HALF = fixed_point(0.5)


def hand():
    """4 bona fide (1 refused, 1 without a face), 3 prints (2 accepted), 4 replays (1 accepted, 1 without a face)."""
    return table(
        [
            ("bona_fide", 2.0),
            ("bona_fide", 0.0),
            ("bona_fide", -1.0),
            ("bona_fide", "no_face"),
            ("print", 1.0),
            ("print", 3.0),
            ("print", -2.0),
            ("replay", 0.5),
            ("replay", -0.5),
            ("replay", -3.0),
            ("replay", "no_face"),
        ]
    )


def test_every_rate_of_a_table_counted_by_hand():
    (at,) = evaluate(hand(), [HALF], intervals=None).at
    assert {name: (rate.errors, rate.total) for name, rate in at.apcer.items()} == {"print": (2, 3), "replay": (1, 3)}
    assert (at.apcer_max.errors, at.apcer_max.total, at.worst_species) == (2, 3, "print")
    assert (at.bpcer.errors, at.bpcer.total) == (1, 3)
    assert at.acer_max.value == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert at.acer_pooled.value == pytest.approx((3 / 6 + 1 / 3) / 2)
    # What got no score is not accepted: it is in the totals of FAR and FRR, an error for bona fide alone.
    assert (at.far.errors, at.far.total) == (3, 7)
    assert (at.frr.errors, at.frr.total) == (2, 4)
    assert at.hter.value == pytest.approx((3 / 7 + 2 / 4) / 2)
    assert (at.accuracy.errors, at.accuracy.total) == (6, 11)
    assert {name: (rate.errors, rate.total) for name, rate in at.apnrr.items()} == {"print": (0, 3), "replay": (1, 4)}
    assert (at.bpnrr.errors, at.bpnrr.total) == (1, 4)
    assert at.counts.failures == {"no_face": 2}


def test_what_got_no_score_may_be_left_out_instead():
    (at,) = evaluate(hand(), [HALF], policy="exclude", intervals=None).at
    assert (at.far.errors, at.far.total) == (3, 6)
    assert (at.frr.errors, at.frr.total) == (1, 3)
    with pytest.raises(SettingsError):
        evaluate(hand(), [HALF], policy="ignore", intervals=None)  # type: ignore[arg-type]


def test_the_published_figures_come_out_of_their_counts():
    rows = [("bona_fide", 1.0)] * (449 - 24) + [("bona_fide", -1.0)] * 24 + [("print", -1.0)] * 1300
    (at,) = evaluate(table(rows), [HALF], intervals=None).at
    summary = published_summary(at)
    for line in ("Test Acc  : 0.9863", "FAR       : 0.0000", "FRR       : 0.0535", "HTER      : 0.0267"):
        assert line in summary


def test_a_score_at_the_threshold_is_accepted():
    (at,) = evaluate(table([("bona_fide", 0.0), ("print", 0.0)]), [HALF], intervals=None).at
    assert (at.bpcer.errors, at.far.errors) == (0, 1)


@pytest.mark.parametrize("rows", [[("print", 1.0), ("print", -1.0)], [("bona_fide", 1.0)]])
def test_one_class_alone_leaves_the_rest_undefined(rows):
    evaluation = evaluate(table(rows), [HALF], intervals=None)
    (at,) = evaluation.at
    attacks = rows[0][0] == "print"
    assert at.far.defined == attacks
    assert at.frr.defined != attacks
    assert not at.hter.defined
    assert at.hter.reason
    assert not evaluation.ranking.auc.defined
    assert math.isnan(at.acer_max.value)


def test_nothing_at_all_is_refused():
    with pytest.raises(ScoreTableError, match="no presentations"):
        evaluate(hand().iloc[:0], [HALF])


@pytest.mark.parametrize("seed", range(5))
def test_ranks_and_loss_are_those_of_scikit_learn(seed):
    rows = drawn(seed)
    scored = rows[rows["status"] == "ok"]
    real = (scored["label"] == "bona_fide").to_numpy()
    evaluation = evaluate(rows, [HALF], intervals=None)
    assert evaluation.ranking.auc.value == pytest.approx(roc_auc_score(real, scored["logit"]))
    assert evaluation.at[0].loss.value == pytest.approx(log_loss(real, scored["score"]))


def test_neither_order_nor_a_rising_change_of_scores_matters_to_ranks():
    rows = drawn(1)
    first = evaluate(rows, [], intervals=None).ranking
    mixed = evaluate(rows.sample(frac=1, random_state=3), [], intervals=None).ranking
    changed = rows.assign(logit=np.nan, score=np.exp(3 * rows["logit"]) + 7)
    bent = evaluate(changed, [], intervals=None).ranking
    for other in (mixed, bent):
        assert other.auc.value == pytest.approx(first.auc.value, abs=1e-12)
        assert other.eer.value == pytest.approx(first.eer.value, abs=1e-12)
        assert {name: item.rate.value for name, item in other.at.items()} == pytest.approx(
            {name: item.rate.value for name, item in first.at.items()}
        )


def test_equal_scores_of_both_classes_count_half():
    assert evaluate(table([("bona_fide", 1.0), ("print", 1.0)]), [], intervals=None).ranking.auc.value == 0.5


def test_species_of_two_datasets_do_not_mix():
    one, two = hand().assign(dataset="one"), hand().assign(dataset="two")
    two["presentation"] = "two/" + two["presentation"]
    (at,) = evaluate(pd.concat([one, two], ignore_index=True), [HALF], intervals=None).at
    assert set(at.apcer) == {"one/print", "one/replay", "two/print", "two/replay"}


def test_intervals_hold_the_rate_and_tighten_with_persons():
    wide, narrow = (
        evaluate(drawn(2, presentations=600, persons=persons, failed=0), [HALF]).at[0] for persons in (8, 200)
    )
    for at in (wide, narrow):
        for rate in (at.far, at.frr, at.apcer_max, at.bpcer, at.hter):
            assert rate.low <= rate.value <= rate.high
    assert narrow.far.high - narrow.far.low < wide.far.high - wide.far.low


def test_the_worst_species_lower_bound_pays_for_the_choice_among_rivals_alone():
    """Nobody doubts that `bad` is the worst of three; between two equals the choice was chance."""

    def rows(**wrong):
        """20 persons, one attack of each species; the first of them get through."""
        attacks = [(kind, 1.0 if p < count else -1.0, f"p{p}") for kind, count in wrong.items() for p in range(20)]
        return attacks + [("bona_fide", 1.0, f"p{p}") for p in range(20)]

    sure = evaluate(table(rows(bad=18, good=0, fair=1)), [fixed_point(0.5)]).at[0]
    assert sure.apcer_max == sure.apcer["bad"]
    assert (sure.apcer_max.low, sure.apcer_max.high) == pytest.approx(clopper_pearson(18, 20))
    doubtful = evaluate(table(rows(bad=6, worse=7, good=0)), [fixed_point(0.5)]).at[0]
    assert doubtful.worst_species == "worse"
    # `good` ends at 16.8 %, below the 35 % of the worst: two rivals, which share the 5 % that are on the lower side alone.
    assert doubtful.apcer_max == doubtful.apcer["worse"]
    open_race = evaluate(table(rows(bad=6, worse=7, as_bad=6, good=0)), [fixed_point(0.5)]).at[0]
    assert open_race.apcer_max.low == pytest.approx(clopper_pearson(7, 20, 1 - 0.05 * 2 / 3)[0])
    assert open_race.apcer_max.high == open_race.apcer["worse"].high
    assert doubtful.acer_max.low < doubtful.acer_max.value < doubtful.acer_max.high


def test_a_half_total_is_not_wide_twice_over():
    attacks = [("a", 1.0 if p < 4 else -1.0, f"a{p}") for p in range(40)]
    bona_fide = [("bona_fide", -1.0 if p < 4 else 1.0, f"b{p}") for p in range(40)]
    measures = evaluate(table(attacks + bona_fide), [fixed_point(0.5)]).at[0]
    low, high = jeffreys(4, 40)
    # Different persons: the two rates are independent, and squares of their reaches add up.
    assert measures.hter.low == pytest.approx(0.1 - (0.1 - low) / math.sqrt(2))
    assert measures.hter.high == pytest.approx(0.1 + (high - 0.1) / math.sqrt(2))
    assert (measures.far.low, measures.far.high) == pytest.approx(clopper_pearson(4, 40))


def test_no_error_among_few_is_no_proof_of_none():
    rows = [("bona_fide", 2.0, f"p{i}") for i in range(10)] + [("print", -2.0, f"p{i}") for i in range(10)]
    (at,) = evaluate(table(rows), [HALF]).at
    assert at.far.value == 0
    assert at.far.high == pytest.approx(1 - 0.025 ** (1 / 10), abs=1e-6)  # Clopper-Pearson for ten persons


def test_groups_add_up_to_the_whole():
    rows = drawn(4)
    groups = by_group(rows, "device", HALF, intervals=None)
    (whole,) = evaluate(rows, [HALF], intervals=None).at
    assert sum(part.far.errors for part in groups.values()) == whole.far.errors
    assert sum(part.frr.total for part in groups.values()) == whole.frr.total


def test_a_threshold_on_probabilities_says_nothing_about_other_scores():
    raw = table([("bona_fide", 30.0), ("print", -7.0)], foreign=True)
    (at,) = evaluate(raw, [HALF], intervals=None).at
    assert not at.far.defined
    (given,) = evaluate(raw, [given_point(0.0)], intervals=None).at
    assert (given.far.errors, given.frr.errors) == (0, 0)
    assert not given.loss.defined


def test_the_chosen_threshold_gives_the_errors_that_it_promises():
    rows = drawn(6, failed=0)
    point = choose_threshold(rows, "eer")
    (at,) = evaluate(rows, [point], intervals=None).at
    assert at.far.value == pytest.approx(point.chosen_on["far"])
    assert at.frr.value == pytest.approx(point.chosen_on["frr"])
