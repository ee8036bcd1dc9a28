from __future__ import annotations

import contextlib
import math
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bonaface
from bonaface.errors import InputError, SettingsError
from bonaface.inference.decision_log import Decision, DecisionLog
from bonaface.types import logit, probability

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Twenty days: scores sink by a fifth of a logit a day, and every tenth presentation shows no face."""
    file = tmp_path / "log.db"
    log = DecisionLog(str(file))
    rng = np.random.default_rng(0)
    for number in range(1000):
        days = number / 50
        value = float(probability(3 - 0.2 * days + rng.normal(0, 1)))
        score = None if number % 10 == 0 else value
        verdict = "no_face" if score is None else "bona_fide" if score >= 0.5 else "attack"
        when = START + timedelta(days=days)
        log.add(Decision(f"{number:032x}", when, verdict, score, 0.5, "aaaa" if days < 15 else "bbbb"))
    log.close()
    return file


def test_what_was_decided_can_be_read_again(program, kept: Path):
    read = bonaface.log(kept)
    assert len(read.table) == 1000
    assert read.table["verdict"].value_counts()["no_face"] == 100
    assert read.table["score"].isna().sum() == 100
    assert read.table["time"].min() == START.replace(tzinfo=None)
    printed = program("log", str(kept)).stdout
    assert "1000 decisions from 2026-03-01 00:00" in printed
    assert "no_face       : 100 (10.0%)" in printed


def test_one_request_id_may_be_logged_twice(tmp_path: Path):
    lost: list[int] = []
    log = DecisionLog(str(tmp_path / "log.db"), lost=lost.append)
    for _ in range(2):
        log.add(Decision("x" * 64, START, "attack", 0.1, 0.5, "aaaa"))
    log.close()
    assert not lost
    assert list(bonaface.log(tmp_path / "log.db").table["request_id"]) == ["x" * 64] * 2


def test_log_of_an_older_version_is_read_and_written(tmp_path: Path):
    file = tmp_path / "log.db"
    with contextlib.closing(sqlite3.connect(file)) as old:
        old.execute(
            "CREATE TABLE decisions (request_id VARCHAR(32) NOT NULL PRIMARY KEY, time DATETIME NOT NULL, "
            "verdict VARCHAR(16) NOT NULL, score FLOAT(53), threshold FLOAT(53) NOT NULL, bundle VARCHAR(16) NOT NULL)"
        )
        old.execute("INSERT INTO decisions VALUES ('a', '2026-03-01 00:00:00.000000', 'attack', 0.1, 0.5, 'aaaa')")
        old.commit()
    log = DecisionLog(str(file))
    log.add(Decision("b", START + timedelta(days=1), "no_face", None, 0.5, "aaaa"))
    log.close()
    assert list(bonaface.log(file).table["request_id"]) == ["a", "b"]


def test_the_periods_are_what_a_hand_would_count(kept: Path):
    read = bonaface.log(kept)
    table, periods = read.table, read.periods
    assert periods["decisions"].sum() == 1000
    day = table[table["time"].dt.floor("D") == START.replace(tzinfo=None)]
    first = periods.iloc[0]
    assert first["decisions"] == len(day) == 50
    assert first["accepted"] == (day["verdict"] == "bona_fide").sum() / 50
    assert first["median"] == pytest.approx(day["score"].median())


def test_drift_is_seen_and_drawn(kept: Path, tmp_path: Path):
    read = bonaface.log(kept, output=tmp_path / "drift.png")
    per_day = read.periods
    days = (per_day["start"] - per_day["start"].iloc[0]).dt.total_seconds() / 86400
    slope = np.polyfit(days, [logit(score) for score in per_day["median"]], 1)[0]
    assert slope == pytest.approx(-0.2, abs=0.03)
    with Image.open(tmp_path / "drift.png") as picture:
        assert picture.width > 1000
    assert (tmp_path / "drift.csv").read_text().count("\n") == len(per_day) + 1
    assert {"aaaa", "bbbb"} == set(per_day["bundle"])


def test_a_part_of_the_log(kept: Path):
    assert len(bonaface.log(kept, since="2026-03-03", until="2026-03-05T00:00+00:00").table) == 100
    assert set(bonaface.log(kept, bundle="bb").table["bundle"]) == {"bbbb"}
    with pytest.raises(InputError, match="no decision"):
        bonaface.log(kept, since="2027-01-01")
    with pytest.raises(SettingsError, match="2026-05-01"):
        bonaface.log(kept, since="yesterday")


def test_unreachable_address_hides_its_password(tmp_path: Path):
    with pytest.raises(SettingsError, match="no decision log at"):
        bonaface.log(tmp_path / "none.db")
    with pytest.raises(SettingsError) as written:
        bonaface.log("postgresql+nothing://user:hunter2@nowhere/log")
    assert "hunter2" not in str(written.value)
    (tmp_path / "other.db").write_bytes(b"")
    with pytest.raises(InputError, match="no decision log"):
        bonaface.log(tmp_path / "other.db")
    (tmp_path / "text.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(InputError, match="no decision log"):
        bonaface.log(tmp_path / "text.db")


def test_decisions_that_cannot_be_written_are_counted(tmp_path: Path):
    lost: list[int] = []
    log = DecisionLog(str(tmp_path / "log.db"), lost=lost.append)
    with contextlib.closing(sqlite3.connect(tmp_path / "log.db")) as other:
        other.execute("DROP TABLE decisions")
        other.commit()
    log.add(Decision("1" * 32, START, "attack", 0.1, 0.5, "aaaa"))
    log.close()
    assert lost == [1]


def test_one_decision_without_a_score(tmp_path: Path):
    log = DecisionLog(str(tmp_path / "log.db"))
    log.add(Decision("1" * 32, START, "no_face", None, 0.5, "aaaa"))
    log.close()
    read = bonaface.log(tmp_path / "log.db", output=tmp_path / "one.png")
    assert math.isnan(read.periods["median"][0])
    assert read.periods["accepted"][0] == 0
    assert set(read.table["verdict"]) == {"no_face"}


def test_the_command(program, kept: Path, tmp_path: Path):
    done = program("log", str(kept), "-o", str(tmp_path / "a.png"))
    assert "bona_fide" in done.stdout
    assert (tmp_path / "a.png").is_file()
    failed = program("log", "nowhere.db")
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
