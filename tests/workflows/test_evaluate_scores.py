"""Measuring arrays: right values by hand, the same values as from a table, and what bad arrays get."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bonaface
from bonaface.errors import InputError, ScoreTableError, SettingsError
from bonaface.evaluation.checking import check_scores
from bonaface.evaluation.iso30107 import evaluate
from bonaface.evaluation.results import Figure, Rate
from bonaface.evaluation.threshold_free import CHOSEN_HERE
from bonaface.evaluation.thresholds import choose_threshold
from tests.evaluation.tables import drawn

SCORES = [0.9, 0.8, 0.3, 0.7, 0.2, 0.1]
LABELS = [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        tuple(LABELS),
        np.array(LABELS),
        np.array(LABELS, dtype=bool),
        np.array(LABELS, dtype=float),
        pd.Series(LABELS, index=[9, 8, 7, 6, 5, 4]),
        ["bona_fide"] * 3 + ["attack"] * 3,
        ["live", "Genuine", "real", "spoof", "fake", "attack"],
        pd.Series(["live"] * 3 + ["spoof"] * 3, dtype="category"),
        [True, 1, "live", False, 0, "spoof"],
    ],
)
@pytest.mark.parametrize("kind", [list, np.array, pd.Series])
def test_rates_at_a_given_threshold(labels, kind):
    at = bonaface.evaluate_scores(kind(SCORES), labels, threshold=0.5).at[0]
    assert (at.bpcer.errors, at.bpcer.total) == (1, 3)
    assert (at.far.errors, at.far.total) == (1, 3)
    assert at.point.threshold == 0.5


def test_same_figures_as_from_a_table():
    val, test = (drawn(seed, failed=0) for seed in (1, 2))
    test = test.assign(presentation="t/" + test["presentation"], subject="t/" + test["subject"], split="test")
    columns = ["score", "label", "species", "subject"]
    table = bonaface.evaluate_scores(
        test["score"],
        test["label"],
        species=test["species"],
        subjects=test["subject"],
        validation=[val[name] for name in columns],
        criterion="apcer<=0.1",
    ).at[0]
    measured, chooses = (check_scores(frame.drop(columns=["logit"])) for frame in (test, val))
    want = evaluate(measured, [choose_threshold(chooses, "apcer<=0.1")]).at[0]
    assert table.apcer == want.apcer
    assert table.bpcer == want.bpcer
    assert table.hter == want.hter
    assert not math.isnan(table.bpcer.low)


def test_species_come_from_words_or_from_their_own_array():
    labels = ["live", "live", "live", "print", "replay_ipad", "attack"]
    assert set(bonaface.evaluate_scores(SCORES, labels, threshold=0.5).at[0].apcer) == {
        "print",
        "replay_ipad",
        "unspecified",
    }
    own = bonaface.evaluate_scores(SCORES, LABELS, species=[None, "", "x", "mask", "mask", None], threshold=0.5)
    assert own.counts.species == {"mask": 2, "unspecified": 1}


def test_threshold_chosen_on_the_measured_scores_has_no_interval():
    subjects = ["a", "b", "c"] * 2
    for validation in (None, (SCORES, LABELS, None, subjects)):
        found = bonaface.evaluate_scores(SCORES, LABELS, subjects=subjects, validation=validation)
        at = found.at[0]
        rates: list[Rate | Figure] = [at.far, at.frr, at.bpcer, at.apcer_max, at.hter, at.accuracy, *at.apcer.values()]
        for rate in rates:
            assert math.isnan(rate.low)
            assert rate.reason == CHOSEN_HERE
        assert not math.isnan(at.bpnrr.high)
        assert any(note.startswith(CHOSEN_HERE) for note in found.notes)


@pytest.mark.parametrize("arguments", [{"threshold": 0.5}, {"criterion": "fixed=0.5"}])
def test_threshold_of_its_own_has_intervals(arguments):
    found = bonaface.evaluate_scores(SCORES, LABELS, subjects=["a", "b", "c"] * 2, **arguments)
    assert found.at[0].far.low < found.at[0].far.value < found.at[0].far.high
    assert not any(note.startswith(CHOSEN_HERE) for note in found.notes)


def test_subjects_unknown_count_one_each_with_a_note():
    found = bonaface.evaluate_scores(SCORES, LABELS, threshold=0.5)
    assert found.counts.persons == 6
    assert not found.counts.persons_known
    assert any("persons are not known" in note for note in found.notes)
    some = bonaface.evaluate_scores(SCORES, LABELS, subjects=["a", "a", None, "b", float("nan"), "b"], threshold=0.5)
    assert some.counts.persons == 4


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_scores_of_which_a_higher_one_means_attack(scale):
    turned = [scale * (1 - score) for score in SCORES]
    at = bonaface.evaluate_scores(turned, LABELS, higher_is="attack", threshold=scale * 0.5).at[0]
    assert (at.bpcer.errors, at.far.errors) == (1, 1)
    validation = (turned, LABELS)
    more = [*turned, scale * 0.05]
    at = bonaface.evaluate_scores(more, [*LABELS, 1], higher_is="attack", validation=validation).at[0]
    assert at.bpcer.total == 4
    assert at.bpcer.errors == 1


def test_one_class_is_measured_at_a_threshold_from_elsewhere():
    at = bonaface.evaluate_scores([0.9, 0.2], [0, 0], threshold=0.5).at[0]
    assert (at.far.errors, at.far.total) == (1, 2)
    assert not at.bpcer.defined
    assert at.bpcer.reason == "no bona fide presentations"


BAD: dict[str, tuple[tuple[Any, Any], dict[str, Any], str]] = {
    "NaN": (([0.1, float("nan"), 0.3], [1, 0, 1]), {}, "1 of 3 are NaN or infinite (index 1)"),
    "infinite": (([0.1, np.inf], [1, 0]), {}, "NaN or infinite (index 1)"),
    "None": (([0.1, None], [1, 0]), {}, "NaN or infinite (index 1)"),
    "text": (([0.1, "x"], [1, 0]), {}, "scores[1] is 'x'; expected a number"),
    "text after NaN": (([float("nan"), "x"], [1, 0]), {}, "scores[1] is 'x'; expected a number"),
    "two columns": ((np.zeros((4, 2)), [1, 0, 1, 0]), {}, "scores have the shape (4, 2)"),
    "no array": ((0.5, [1]), {}, "got float"),
    "a string": (("0.5", [1]), {}, "got str"),
    "ragged": (([[1, 2], [3]], [1, 0]), {}, "differ in length"),
    "lengths": (([0.1, 0.2], [1, 0, 1]), {}, "labels has 3 elements but there are 2 scores"),
    "empty": (([], []), {}, "scores are empty"),
    "label 2": (([0.1, 0.2], [1, 2]), {}, "labels[1] is 2; expected 1 or True"),
    "label -1": (([0.1, 0.2], [1, -1]), {}, "labels[1] is -1"),
    "label word": (([0.1, 0.2], ["live", "lively"]), {}, "labels[1] is 'lively'"),
    "label text of a number": (([0.1, 0.2], ["1", "0"]), {}, "labels[0] is '1'"),
    "label missing": (([0.1, 0.2], [1, None]), {}, "labels[1] is None"),
    "label NaN": (([0.1, 0.2], [1, float("nan")]), {}, "labels[1] is nan"),
    "species": (([0.1, 0.2], [1, 0]), {"species": ["a"]}, "species has 1 elements"),
    "subjects": (([0.1, 0.2], [1, 0]), {"subjects": [["a"], ["b"]]}, "subjects have the shape (2, 1)"),
    "one class": (([0.1, 0.2], [1, 1]), {}, "needs bona fide and attack presentations"),
    "other class": (([0.1, 0.2], [0, 0]), {"criterion": "bpcer20"}, "add bona fide presentations"),
    "validation of one class": (([0.1, 0.2], [1, 0]), {"validation": ([0.1], [1])}, "validation has 1 bona fide"),
    "validation NaN": (([0.1, 0.2], [1, 0]), {"validation": ([np.nan], [1])}, "validation scores: 1 of 1"),
    "validation alone": (([0.1, 0.2], [1, 0]), {"validation": ([0.1],)}, "validation holds 1 sequences"),
    "validation of a wrong type": (([0.1, 0.2], [1, 0]), {"validation": 5}, "validation is 5"),
    "text among numbers as text": ((["0.5", "x"], [1, 0]), {}, "scores[1] is 'x'"),
    "complex": ((np.array([1j, 2.0]), [1, 0]), {}, "scores[0] is 1j"),
    "missing of pandas": ((pd.Series([0.5, pd.NA], dtype="object"), [1, 0]), {}, "scores[1] is <NA>"),
    "a generator": (((x for x in [0.1]), [1]), {}, "got generator"),
    "a set": (({0.1, 0.2}, [1, 0]), {}, "scores have the shape ()"),
    "label unhashable": (([0.1, 0.2], [{}, {}]), {}, "labels[0] is {}"),
    "threshold of text": (([0.1, 0.2], [1, 0]), {"threshold": "0.5"}, "is not a number"),
    "both": (([0.1, 0.2], [1, 0]), {"validation": ([0.1], [1]), "threshold": 0.5}, "both threshold and validation"),
    "criterion": (([0.1, 0.2], [1, 0]), {"criterion": "eerr"}, "did you mean 'eer'"),
    "threshold": (([0.1, 0.2], [1, 0]), {"threshold": float("nan")}, "is not a number"),
    "orientation": (([0.1, 0.2], [1, 0]), {"higher_is": "spoof"}, "expected bona_fide or attack"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arrays_get_one_line(name):
    arguments, options, said = BAD[name]
    with pytest.raises(InputError) as caught:
        bonaface.evaluate_scores(*arguments, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ScoreTableError | SettingsError)
