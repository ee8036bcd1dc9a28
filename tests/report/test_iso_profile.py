"""The table of ISO/IEC 30107-3: its figures by hand, what each line lacks, and the same in page, JSON and console."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import bonaface
from bonaface.errors import SettingsError
from bonaface.evaluation.intervals import bound_without_error
from bonaface.report.iso_profile import NO_THRESHOLD, IsoProfile

COLUMNS = ("label", "species", "score", "status", "subject", "instrument")
ROWS = [
    ("attack", "print", 0.1, "ok", "a", "sheet 1"),
    ("attack", "print", 0.2, "ok", "b", "sheet 1"),
    ("attack", "print", 0.9, "ok", "b", "sheet 2"),
    ("attack", "print", None, "no_face", "c", "sheet 3"),
    ("attack", "replay", 0.1, "ok", "a", "phone"),
    ("attack", "replay", 0.3, "ok", "b", ""),
    ("bona_fide", "", 0.8, "ok", "a", ""),
    ("bona_fide", "", 0.7, "ok", "b", ""),
    ("bona_fide", "", None, "unreadable", "b", ""),
]


def profile(rows: pd.DataFrame, folder: Path, **options) -> IsoProfile:
    found = bonaface.report_scores(rows, output=folder / "r", profile="iso30107-3", **options).profile
    assert found is not None
    return found


@pytest.fixture
def rows() -> pd.DataFrame:
    table = pd.DataFrame(ROWS, columns=list(COLUMNS))
    return table.assign(presentation=[f"{i}.mp4" for i in range(len(table))], system="ours 1.2")


def test_figures_of_each_line(rows: pd.DataFrame, tmp_path: Path):
    found = profile(rows, tmp_path, criterion="fixed=0.5")
    printed, replayed = found.species
    assert (printed.name, printed.presentations, printed.subjects, printed.instruments) == ("print", 4, 3, 3)
    assert (printed.error.errors, printed.error.total) == (1, 3)
    assert (printed.no_response.errors, printed.no_response.total) == (1, 4)
    assert printed.missing == ()
    assert (replayed.error.errors, replayed.error.total) == (0, 2)
    assert replayed.error.high == bound_without_error(2)
    assert replayed.instruments is None
    assert replayed.missing == ("instruments: not known for 1 of 2 presentations",)
    real = found.bona_fide
    assert (real.presentations, real.subjects, real.instruments) == (3, 2, None)
    assert (real.error.errors, real.error.total) == (0, 2)
    assert (real.no_response.errors, real.no_response.total) == (1, 3)
    assert real.missing == ()
    assert found.missing == ()
    assert found.threshold is not None
    assert found.threshold.threshold == 0.5
    assert found.source == "Fixed beforehand, independent of the data."


def test_source_names_the_validation(rows: pd.DataFrame, tmp_path: Path):
    validation = rows.assign(presentation="v/" + rows["presentation"], split="val")
    assert profile(rows, tmp_path, validation=validation).source.startswith(
        "Chosen by EER on validation data: 9 present"
    )


@pytest.mark.parametrize(
    ("change", "line", "said"),
    [
        ({"instrument": None}, "print", "instruments: not in the table; add a column instrument"),
        ({"instrument": ""}, "replay", "instruments: not in the table; add a column instrument"),
        ({"subject": None}, "bona fide", "subjects: not in the table; add a column subject"),
        ({"subject": ["", *"bbcababb"]}, "print", "subjects: not known for 1 of 4 presentations"),
        ({"subject_known": [False] * 9}, "print", "subjects: not known for 4 of 4 presentations"),
        ({"species": None}, "unspecified", "species: not named; add a column species"),
        ({"subject": "a"}, "replay", "bounds of APCER: one person alone says nothing about others"),
        ({"status": "no_face", "score": None}, "replay", "APCER: no presentation of it has a score"),
        ({"status": "no_face", "score": None}, "bona fide", "BPCER: no bona fide presentation has a score"),
    ],
)
def test_each_line_says_what_it_lacks(rows: pd.DataFrame, tmp_path: Path, change: dict, line: str, said: str):
    for column, value in change.items():
        if value is None and column != "score":
            rows = rows.drop(columns=column)
        else:
            rows[column] = value
    rows["score"] = rows["score"].astype(float)
    found = profile(rows, tmp_path, criterion="fixed=0.5")
    lines = {each.name: each for each in (*found.species, found.bona_fide)}
    assert said in lines[line].missing


@pytest.mark.parametrize(
    ("kept", "options", "said"),
    [
        ("all", {"threshold": 0.4}, "source of the threshold: not known"),
        ("unnamed", {"threshold": 0.4}, "system under test: not named"),
        ("bona_fide", {"threshold": 0.4}, "attacks: none in the table"),
        ("stretched", {}, NO_THRESHOLD),
    ],
)
def test_the_table_says_what_it_lacks(rows: pd.DataFrame, tmp_path: Path, kept: str, options: dict, said: str):
    rows = rows.drop(columns="system") if kept == "unnamed" else rows
    rows = rows.assign(score=rows["score"] * 100) if kept == "stretched" else rows
    rows = rows[rows["label"] == kept] if kept == "bona_fide" else rows
    found = profile(rows, tmp_path, **options)
    assert any(what.startswith(said) for what in found.missing)
    if kept == "stretched":
        assert found.threshold is None
        assert not found.bona_fide.error.defined
        assert (found.bona_fide.no_response.errors, found.bona_fide.no_response.total) == (1, 3)


def test_no_bona_fide_is_a_line_that_lacks_them(rows: pd.DataFrame, tmp_path: Path):
    found = profile(rows[rows["label"] == "attack"], tmp_path, threshold=0.5)
    assert found.bona_fide.presentations == 0
    assert found.bona_fide.missing == ("presentations: none in the table",)


def test_page_json_and_console_hold_the_table(program, rows: pd.DataFrame, tmp_path: Path):
    rows.to_csv(tmp_path / "scores.csv", index=False)
    arguments = ["report", "scores.csv", "--threshold", "0.5", "--profile", "iso30107-3", "-o", "r"]
    done = program(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = done.stdout[done.stdout.index("ISO/IEC 30107-3") :].splitlines()
    line = next(line for line in shown if line.startswith("print"))
    assert line.split()[1:7] == ["4", "3", "3", "33.33", "%", "(1/3)"]
    assert line.split()[-3:] == ["25.00", "%", "(1/4)"]
    assert "    missing: instruments: not known for 1 of 2 presentations" in shown
    written = json.loads((tmp_path / "r" / "report.json").read_text())["profile"]
    assert [each["name"] for each in written["species"]] == ["print", "replay"]
    assert written["species"][1]["missing"] == ["instruments: not known for 1 of 2 presentations"]
    assert written["bona_fide"]["no_response"]["errors"] == 1
    page = (tmp_path / "r" / "report.html").read_text()
    assert '<h2 id="profile">ISO/IEC 30107-3</h2>' in page
    assert "instruments: not known for 1 of 2 presentations" in page
    assert "source of the threshold: not known" in page


def test_without_a_profile_there_is_no_table(rows: pd.DataFrame, tmp_path: Path):
    assert bonaface.report_scores(rows, output=tmp_path / "r", threshold=0.5).profile is None
    assert json.loads((tmp_path / "r" / "report.json").read_text())["profile"] is None
    assert 'id="profile"' not in (tmp_path / "r" / "report.html").read_text()


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [
        ("profile", "iso30107", "did you mean 'iso30107-3'"),
        ("policy", "ignore", "known: reject, exclude"),
        ("fusion", "max", "known: mean, median, max_attack, first"),
    ],
)
def test_unknown_choice_is_refused(rows: pd.DataFrame, tmp_path: Path, option: str, value: str, known: str):
    with pytest.raises(SettingsError, match=rf"unknown {option} '{value}' \(--{option}\).*{known}"):
        bonaface.report_scores(rows, output=tmp_path / "r", **{option: value})  # type: ignore[arg-type]
    assert not (tmp_path / "r").exists()
