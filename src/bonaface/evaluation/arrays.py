"""Presentations as arrays, read once from a score table and then sliced."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.evaluation.checking import text_column
from bonaface.types import UNSPECIFIED, Label, Status

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_TRUE = ("true", "1", "yes")


def binary_cross_entropy(logits: Floats, bona_fide: Bools) -> Floats:
    """Return the loss of each logit, in nats."""
    return np.logaddexp(0, np.where(bona_fide, -logits, logits))


@dataclass(frozen=True)
class ScoreArrays:
    """Presentations, one array element each.

    `value` is the decision value: the logit where the table has logits, else the score; NaN without a score.
    `species` indexes `species_names` and is -1 for bona fide. `subject` counts from 0 in the order of the subjects'
    names, so the order of the rows has no influence. A presentation of an unknown subject is a subject of its own.
    """

    value: Floats
    score: Floats
    on_logits: bool
    ok: Bools
    status: NDArray[Any]
    bona_fide: Bools
    species: NDArray[np.intp]
    species_names: tuple[str, ...]
    subject: NDArray[np.intp]
    subjects: int
    subjects_known: bool

    @classmethod
    def from_table(cls, presentations: pd.DataFrame) -> ScoreArrays:
        """Read a table of `scores.presentations`, one row a presentation."""
        status = text_column(presentations, "status", default=Status.OK)
        ok = status == Status.OK
        logit = presentations["logit"].to_numpy(dtype=np.float64)
        score = presentations["score"].to_numpy(dtype=np.float64)
        on_logits = bool((ok & ~np.isnan(logit)).any())
        bona_fide = text_column(presentations, "label") == Label.BONA_FIDE
        species, names = _species(presentations, bona_fide)
        subject, subjects, known = _subjects(presentations)
        return cls(
            value=logit if on_logits else score,
            score=score,
            on_logits=on_logits,
            ok=ok,
            status=status,
            bona_fide=bona_fide,
            species=species,
            species_names=names,
            subject=subject,
            subjects=subjects,
            subjects_known=known,
        )

    def __len__(self) -> int:
        return len(self.value)

    def subjects_in(self, which: Bools) -> int:
        """Return the number of subjects of the presentations where `which` holds."""
        return int(np.count_nonzero(np.bincount(self.subject[which])))

    def per_subject(self, amount: Floats | Bools) -> Floats:
        """Return the sum of an amount per presentation (or the count of a mask) for each subject."""
        return np.bincount(self.subject, amount, minlength=self.subjects).astype(np.float64)

    def take(self, which: Bools) -> ScoreArrays:
        """Return the presentations where `which` holds, with subjects and species numbered from 0 again."""
        names, subject = np.unique(self.subject[which], return_inverse=True)
        present = np.unique(self.species[which & ~self.bona_fide])
        renumber = np.full(len(self.species_names) + 1, -1, dtype=np.intp)
        renumber[present] = np.arange(len(present))
        return replace(
            self,
            **{name: getattr(self, name)[which] for name in ("value", "score", "ok", "status", "bona_fide")},
            species=renumber[self.species[which]],
            species_names=tuple(self.species_names[i] for i in present),
            subject=subject.astype(np.intp),
            subjects=len(names),
        )


def _species(table: pd.DataFrame, bona_fide: Bools) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Number the species by name, as `dataset/species` where the table holds several datasets."""
    names = text_column(table, "species")[~bona_fide]
    names = np.where(names == "", UNSPECIFIED, names)
    dataset = text_column(table, "dataset")
    if len(pd.unique(dataset)) > 1:
        prefixed = [f"{of}/{name}" if of else name for of, name in zip(dataset[~bona_fide], names, strict=True)]
        names = np.array(prefixed, dtype=object)
    code, known = pd.factorize(names, sort=True)
    species = np.full(len(bona_fide), -1, dtype=np.intp)
    species[~bona_fide] = code
    return species, tuple(str(name) for name in known)


def _subjects(table: pd.DataFrame) -> tuple[NDArray[np.intp], int, bool]:
    subject = text_column(table, "subject")
    alone = np.where(subject != "", "", text_column(table, "presentation"))
    code = pd.DataFrame({"subject": subject, "alone": alone}).groupby(["subject", "alone"]).ngroup().to_numpy()
    return code.astype(np.intp), int(code.max(initial=-1)) + 1, bool(known_subjects(table).all())


def known_subjects(table: pd.DataFrame) -> Bools:
    """Return which presentations have a subject that is known."""
    known = np.asarray(text_column(table, "subject") != "", dtype=bool)
    if "subject_known" in table.columns:
        known &= np.isin(np.char.lower(text_column(table, "subject_known").astype(str)), _TRUE)
    return known
