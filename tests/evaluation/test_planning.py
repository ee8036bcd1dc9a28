"""Plans agree with what a report on such a set shows, and with the closed form where there is no error."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

import bonaface
from bonaface.errors import SettingsError
from bonaface.evaluation.iso30107 import evaluate
from bonaface.evaluation.planning import PlannedSet
from bonaface.evaluation.thresholds import given_point
from tests.evaluation.tables import table


def reported(subjects: int, per_subject: int, errors_of: dict[int, int], kind: str) -> Any:
    """The rate that an evaluation of such a set gives, `errors_of` counting the errors of some subjects."""
    wrong, right = (1.0, -1.0) if kind == "print" else (-1.0, 1.0)
    rows = [
        (kind, wrong if take < errors_of.get(subject, 0) else right, f"s{subject}")
        for subject in range(subjects)
        for take in range(per_subject)
    ]
    at = evaluate(table(rows, foreign=True), [given_point(0.0)]).at[0]
    return at.apcer["print"] if kind == "print" else at.bpcer


@pytest.mark.parametrize("kind", ["print", "bona_fide"])
@pytest.mark.parametrize(("subjects", "per_subject"), [(2, 1), (7, 1), (40, 10), (72, 10), (15, 2), (3, 20)])
def test_a_report_shows_the_planned_bounds(subjects: int, per_subject: int, kind: str):
    planned = bonaface.plan(subjects=subjects, per_subject=per_subject).planned
    assert [each.errors for each in planned] == [0, 1, 2]
    for each in planned:
        spread_out = dict.fromkeys(range(each.errors), 1)
        placements = [spread_out] if per_subject == 1 else [spread_out, {0: each.errors}]
        rates = [reported(subjects, per_subject, errors_of, kind) for errors_of in placements]
        assert all(rate.errors == each.errors and rate.total == each.presentations for rate in rates)
        worst = max(rates, key=lambda rate: rate.high)
        assert (worst.low, worst.high) == (pytest.approx(each.low, abs=1e-12), pytest.approx(each.high, abs=1e-12))


@pytest.mark.parametrize("per_subject", [1, 3, 10])
@pytest.mark.parametrize("rate", [0.3, 0.05, 0.01])
def test_needed_is_the_smallest_set(rate: float, per_subject: int):
    for each in bonaface.plan(apcer=rate, per_subject=per_subject).needed["apcer"]:
        fewer = bonaface.plan(subjects=each.subjects - 1, per_subject=per_subject).planned[each.errors]
        assert each.high <= rate < fewer.high
        assert each.presentations == each.subjects * per_subject


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("rate", [0.5, 0.05, 0.003, 1e-6])
def test_without_an_error_the_closed_form(rate: float, confidence: float):
    needed = bonaface.plan(bpcer=rate, per_subject=4, confidence=confidence).needed["bpcer"][0]
    by_hand = math.log((1 - confidence) / 2) / math.log1p(-rate)
    assert needed.subjects == max(2, math.ceil(by_hand - 1e-6))


@pytest.mark.parametrize("per_subject", [1, 2, 10])
def test_bounds_fall_with_subjects_and_rise_with_errors(per_subject: int):
    before: tuple[PlannedSet, ...] = ()
    for subjects in range(2, 80):
        planned = bonaface.plan(subjects=subjects, per_subject=per_subject).planned
        highs = [each.high for each in planned]
        assert highs == sorted(highs)
        assert all(now.high <= then.high for now, then in zip(planned, before, strict=bool(before)))
        before = planned


def test_presentations_of_the_same_subjects_hardly_help():
    few, many = (bonaface.plan(apcer=0.05, per_subject=each).needed["apcer"][0] for each in (1, 100))
    assert few.subjects == many.subjects == 72


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "nothing to plan"),
    ({"apcer": 5}, "apcer is 5; expected a share between 0 and 1, such as 0.05; for 5 % write 0.05"),
    ({"apcer": 0}, "apcer is 0"),
    ({"apcer": 1.0}, "apcer is 1.0"),
    ({"bpcer": float("nan")}, "bpcer is nan"),
    ({"bpcer": "0.05"}, "bpcer is 0.05"),
    ({"apcer": 0.05, "confidence": 95}, "for 95 % write 0.95"),
    ({"apcer": 0.05, "confidence": 1}, "confidence is 1"),
    ({"apcer": 0.05, "per_subject": 0}, "per_subject is 0; expected 1 or more"),
    ({"apcer": 0.05, "per_subject": 1.5}, "per_subject is 1.5; expected a whole number"),
    ({"apcer": 0.05, "species": 0}, "species is 0"),
    ({"subjects": 1}, "subjects is 1; expected 2 or more: one person alone"),
    ({"apcer": 1e-300}, "needs more than"),
]


@pytest.mark.parametrize(("options", "said"), BAD)
def test_bad_plans_get_one_line(options: dict[str, Any], said: str):
    with pytest.raises(SettingsError) as caught:
        bonaface.plan(**options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_command_prints_a_table_or_json(program):
    options = ["--apcer", "0.05", "--per-subject", "10", "--subjects", "40", "--species", "3"]
    shown = program("plan", *options)
    assert shown.returncode == 0, shown.stderr
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["0", "72", "720", "0", "%", "4.994", "%"] in lines
    assert ["0", "40", "400", "0", "%", "8.81", "%"] in lines
    assert "2,160 attack presentations" in shown.stdout
    found = json.loads(program("plan", *options, "--json").stdout)
    assert found["needed"]["apcer"][0]["subjects"] == 72
    assert found["planned"][0]["high"] == bonaface.plan(subjects=40, per_subject=10).planned[0].high


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to plan"),
        (["--apcer", "5"], "expected a share"),
        (["--apcer", "x"], "--apcer"),
        (["--subjects", "1"], "expected 2 or more"),
    ],
)
def test_command_refuses_bad_input(program, arguments: list[str], said: str):
    done = program("plan", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
