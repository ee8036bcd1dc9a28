"""The measures against tables counted by hand, scikit-learn, and the figures of the published system."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score

from bonaface.errors import ScoreTableError
from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.iso30107 import by_group, evaluate, published_summary
from bonaface.evaluation.results import Figure, Rate
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
    (at,) = evaluate(hand(), [HALF]).at
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
    (at,) = evaluate(hand(), [HALF], policy="exclude").at
    assert (at.far.errors, at.far.total) == (3, 6)
    assert (at.frr.errors, at.frr.total) == (1, 3)


def test_the_published_figures_come_out_of_their_counts():
    rows = [("bona_fide", 1.0)] * (449 - 24) + [("bona_fide", -1.0)] * 24 + [("print", -1.0)] * 1300
    (at,) = evaluate(table(rows), [HALF]).at
    summary = published_summary(at)
    for line in ("Test Acc  : 0.9863", "FAR       : 0.0000", "FRR       : 0.0535", "HTER      : 0.0267"):
        assert line in summary


def test_a_score_at_the_threshold_is_accepted():
    (at,) = evaluate(table([("bona_fide", 0.0), ("print", 0.0)]), [HALF]).at
    assert (at.bpcer.errors, at.far.errors) == (0, 1)


@pytest.mark.parametrize("rows", [[("print", 1.0), ("print", -1.0)], [("bona_fide", 1.0)]])
def test_one_class_alone_leaves_the_rest_undefined(rows):
    evaluation = evaluate(table(rows), [HALF])
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
    evaluation = evaluate(rows, [HALF])
    assert evaluation.ranking.auc.value == pytest.approx(roc_auc_score(real, scored["logit"]))
    assert evaluation.at[0].loss.value == pytest.approx(log_loss(real, scored["score"]))


def test_equal_scores_of_both_classes_count_half():
    assert evaluate(table([("bona_fide", 1.0), ("print", 1.0)]), []).ranking.auc.value == 0.5


def test_species_of_two_datasets_do_not_mix():
    one, two = hand().assign(dataset="one"), hand().assign(dataset="two")
    two["presentation"] = "two/" + two["presentation"]
    (at,) = evaluate(pd.concat([one, two], ignore_index=True), [HALF]).at
    assert set(at.apcer) == {"one/print", "one/replay", "two/print", "two/replay"}


def test_intervals_hold_the_rate_and_tighten_with_persons():
    wide, narrow = (
        evaluate(drawn(2, presentations=600, persons=persons, failed=0), [HALF]).at[0] for persons in (8, 200)
    )
    for at in (wide, narrow):
        for rate in (at.far, at.frr, at.apcer_max, at.bpcer, at.hter):
            assert rate.low <= rate.value <= rate.high
    assert narrow.far.high - narrow.far.low < wide.far.high - wide.far.low


def test_one_count_has_one_interval():
    """The worst species' rate is that species' row, and groups use the same method however many there are."""
    rows = drawn(2, presentations=600, persons=70, failed=0)
    (at,) = evaluate(rows, [HALF]).at
    assert at.apcer_max == at.apcer[at.worst_species]
    rows["pair"] = rows["subject"].str.extract(r"(\d+)")[0].astype(int) // 2
    groups = by_group(ScoreArrays.from_table(rows), rows["pair"].to_numpy(), HALF)
    few = rows[rows["pair"] < 3]
    for name, measures in by_group(ScoreArrays.from_table(few), few["pair"].to_numpy(), HALF).items():
        assert groups[name].far == measures.far
        assert groups[name].hter == measures.hter
        assert measures.far == evaluate(few[few["pair"] == int(name)], [HALF]).at[0].far
    assert len(groups) == 35


def test_thresholds_picked_here_have_no_interval():
    ranking = evaluate(drawn(3), []).ranking
    assert not math.isnan(ranking.auc.low)
    picked: list[Rate | Figure] = [ranking.eer, *(item.rate for item in ranking.at.values())]
    for measured in picked:
        assert measured.defined
        assert math.isnan(measured.low)
        assert measured.reason == "threshold chosen on the scores that are measured"


@pytest.mark.parametrize("persons_apart", [True, False])
def test_half_total_is_a_rate_of_both_classes(persons_apart):
    """Different persons in each class are twice as many persons for the mean."""
    attacks = [("a", 1.0 if p < 4 else -1.0, f"p{p}") for p in range(40)]
    bona_fide = [("bona_fide", -1.0 if p < 4 else 1.0, f"{'b' if persons_apart else 'p'}{p}") for p in range(40)]
    measures = evaluate(table(attacks + bona_fide), [HALF]).at[0]
    errors, total = (8, 80) if persons_apart else (4, 40)
    expected = stats.binomtest(errors, total).proportion_ci(method="exact")
    assert (measures.hter.low, measures.hter.high) == pytest.approx((expected.low, expected.high))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 3.0))
def test_swapped_labels_swap_the_rates(seed, separation):
    """Attacks called bona fide, with the sign of the scores turned: APCER becomes BPCER, and the intervals with it."""
    rows = drawn(seed, presentations=60, persons=6, species=1, separation=separation, failed=0)
    rows = rows[rows["logit"] != 0]
    swapped = rows.assign(
        logit=-rows["logit"],
        score=1 - rows["score"],
        label=np.where(rows["label"] == "attack", "bona_fide", "attack"),
        species=np.where(rows["label"] == "attack", "", "species0"),
    )
    one, other = (evaluate(each, [HALF]) for each in (rows, swapped))
    (first,), (second,) = one.at, other.at
    assert second.bpcer == first.apcer_max
    assert second.apcer_max == first.bpcer
    assert second.hter.value == first.hter.value
    assert second.accuracy == first.accuracy
    assert other.ranking.auc.value == pytest.approx(one.ranking.auc.value, abs=1e-12)
    assert other.ranking.eer.value == pytest.approx(one.ranking.eer.value, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 4]))
def test_order_and_monotone_scores_do_not_matter(seed, digits):
    rows = drawn(seed, presentations=50, persons=5, digits=digits)
    first = evaluate(rows, [HALF])
    mixed = evaluate(rows.sample(frac=1, random_state=seed % 1000), [HALF])
    for name in ("apcer", "bpcer", "acer_max", "far", "hter", "accuracy", "apnrr", "counts"):
        assert getattr(mixed.at[0], name) == getattr(first.at[0], name)
    assert (mixed.at[0].loss.value, mixed.at[0].loss.high) == pytest.approx(
        (first.at[0].loss.value, first.at[0].loss.high)
    )
    assert mixed.ranking.eer == first.ranking.eer
    bent = evaluate(rows.assign(logit=np.nan, score=np.exp(3 * rows["logit"]) + 7), []).ranking
    for ranking in (mixed.ranking, bent):
        assert ranking.auc.value == pytest.approx(first.ranking.auc.value, abs=1e-12)
        assert ranking.eer.value == pytest.approx(first.ranking.eer.value, abs=1e-12)
        assert {name: item.rate for name, item in ranking.at.items()} == {
            name: item.rate for name, item in first.ranking.at.items()
        }


def test_parts_add_up_whatever_the_batch():
    rows = drawn(8)
    whole = evaluate(rows, [HALF]).at[0]
    parts = [evaluate(rows.iloc[i : i + 37], [HALF]).at[0] for i in range(0, len(rows), 37)]
    for name in ("far", "frr", "bpcer", "accuracy"):
        assert sum(getattr(part, name).errors for part in parts) == getattr(whole, name).errors
        assert sum(getattr(part, name).total for part in parts) == getattr(whole, name).total


def test_no_error_among_few_is_no_proof_of_none():
    rows = [("bona_fide", 2.0, f"p{i}") for i in range(10)] + [("print", -2.0, f"p{i}") for i in range(10)]
    (at,) = evaluate(table(rows), [HALF]).at
    assert at.far.value == 0
    assert at.far.high == pytest.approx(1 - 0.025 ** (1 / 10), abs=1e-6)  # Clopper-Pearson for ten persons


def test_groups_add_up_to_the_whole():
    rows = drawn(4)
    groups = by_group(ScoreArrays.from_table(rows), rows["device"].to_numpy(), HALF)
    (whole,) = evaluate(rows, [HALF]).at
    assert sum(part.far.errors for part in groups.values()) == whole.far.errors
    assert sum(part.frr.total for part in groups.values()) == whole.frr.total


def test_a_threshold_on_probabilities_says_nothing_about_other_scores():
    raw = table([("bona_fide", 30.0), ("print", -7.0)], foreign=True)
    (at,) = evaluate(raw, [HALF]).at
    assert not at.far.defined
    (own,) = evaluate(raw, [given_point(0.0)]).at
    assert (own.far.errors, own.frr.errors) == (0, 0)
    assert not own.loss.defined


def test_the_chosen_threshold_gives_the_errors_that_it_promises():
    rows = drawn(6, failed=0)
    point = choose_threshold(rows, "eer")
    (at,) = evaluate(rows, [point]).at
    assert at.far.value == pytest.approx(point.chosen_on["far"])
    assert at.frr.value == pytest.approx(point.chosen_on["frr"])
