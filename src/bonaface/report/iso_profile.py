"""The table that ISO/IEC 30107-3 asks for, and what each of its lines lacks.

The standard's figures alone: how instruments were made and used, the capture device and the environment are described in
words by the evaluator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from bonaface.evaluation.arrays import Bools, ScoreArrays, known_subjects
from bonaface.evaluation.checking import text_column
from bonaface.evaluation.results import Evaluation, Rate
from bonaface.report.formatting import chosen_words
from bonaface.types import UNSPECIFIED, Threshold

STANDARD = "ISO/IEC 30107-3"
IN_WORDS = (
    "for the evaluator to describe: how the instruments were made and used, where their pictures came from, the capture "
    "device and the environment; IAPAR needs a face matcher, so it is not measured here"
)
NO_THRESHOLD = "no threshold: add validation scores (--validation) or --threshold"


@dataclass(frozen=True)
class ProfileLine:
    """One attack species, or bona fide: counts, error rate (APCER or BPCER) and non-response rate (APNRR or BPNRR).

    `presentations` include those without a score. `subjects` and `instruments` are None where the table does not name
    them. `missing` says what this line lacks, and how to add it.
    """

    name: str
    presentations: int
    subjects: int | None
    instruments: int | None
    error: Rate
    no_response: Rate
    missing: tuple[str, ...]


@dataclass(frozen=True)
class IsoProfile:
    """The table of one system at one threshold; `source` says in words where the threshold comes from."""

    standard: str
    species: tuple[ProfileLine, ...]
    bona_fide: ProfileLine
    threshold: Threshold | None
    source: str
    missing: tuple[str, ...]
    in_words: str = IN_WORDS


def iso_profile(rows: pd.DataFrame, arrays: ScoreArrays, evaluation: Evaluation) -> IsoProfile:
    """Return the table of presentations (one row each), which `arrays` hold, at the first threshold of their evaluation."""
    at = evaluation.at[0] if evaluation.at else None
    undefined = Rate(0, 0, 0, reason=NO_THRESHOLD)
    no_response = {name: _share(~arrays.ok, arrays.species == k) for k, name in enumerate(arrays.species_names)}
    species = tuple(
        _line(
            rows,
            name,
            arrays.species == k,
            at.apcer[name] if at else undefined,
            at.apnrr[name] if at else no_response[name],
        )
        for k, name in enumerate(arrays.species_names)
    )
    bona_fide = _line(
        rows,
        "",
        arrays.bona_fide,
        at.bpcer if at else undefined,
        at.bpnrr if at else _share(~arrays.ok, arrays.bona_fide),
    )
    missing = [] if species else ["attacks: none in the table; APCER and APNRR need presentations of each species"]
    if at is None:
        missing.append(NO_THRESHOLD)
    elif at.point.criterion == "given":
        missing.append("source of the threshold: not known; give the validation scores that choose it (--validation)")
    if not text_column(rows, "system").any():
        missing.append("system under test: not named; add a column system with its name and version")
    return IsoProfile(
        standard=STANDARD,
        species=species,
        bona_fide=bona_fide,
        threshold=at.point if at else None,
        source=chosen_words(at.point) if at else "",
        missing=tuple(missing),
    )


def _line(rows: pd.DataFrame, name: str, which: Bools, error: Rate, no_response: Rate) -> ProfileLine:
    """Return the line of an attack species, or of bona fide presentations where the name is empty."""
    part, attack = rows[which], name != ""
    count, missing = len(part), []
    if not count:
        missing.append("presentations: none in the table")
    if attack and name.rpartition("/")[2] == UNSPECIFIED:
        missing.append("species: not named; add a column species")
    subjects = _distinct(rows, which, "subject", missing) if count else 0
    instruments = _distinct(rows, which, "instrument", missing) if attack and count else None
    rate = "APCER" if attack else "BPCER"
    if count and not error.defined:
        missing.append(f"{rate}: {error.reason}")
    elif count and math.isnan(error.low):
        missing.append(f"bounds of {rate}: {error.reason}")
    return ProfileLine(name or "bona fide", count, subjects, instruments, error, no_response, tuple(missing))


def _distinct(rows: pd.DataFrame, which: Bools, column: str, missing: list[str]) -> int | None:
    """Return how many values a column has in some rows; None, adding what is missing, where it lacks some."""
    if not text_column(rows, column).any():
        missing.append(f"{column}s: not in the table; add a column {column}")
        return None
    part = rows[which]
    values = text_column(part, column)
    known = known_subjects(part) if column == "subject" else values != ""
    if not known.all():
        missing.append(f"{column}s: not known for {int((~known).sum())} of {len(part)} presentations")
        return None
    return len(set(values))


def _share(hit: Bools, of: Bools) -> Rate:
    return Rate(int((hit & of).sum()), int(of.sum()), 0, reason="" if of.any() else "no presentations")
