"""A set of presentations as arrays: read once from the table, then only sliced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.evaluation.checking import UNSPECIFIED, text_column
from bonaface.types import Label, Status

__all__ = ["Sample"]

_TRUE = {"true", "1", "yes"}


@dataclass(frozen=True)
class Sample:
    """Presentations, an array element each.

    `value` is what is decided on: the logit where the table has logits, else the score; NaN where there is
    none. `species` indexes `species_names`, -1 for bona fide. `person` runs from 0 in the order of the
    persons' names, so that nothing depends on the order of the rows; a presentation whose person is unknown
    stands for itself.
    """

    value: NDArray[np.float64]
    score: NDArray[np.float64]
    on_logits: bool
    ok: NDArray[np.bool_]
    status: NDArray[Any]
    bona_fide: NDArray[np.bool_]
    species: NDArray[np.intp]
    species_names: tuple[str, ...]
    person: NDArray[np.intp]
    persons: int
    persons_known: bool

    @classmethod
    def of(cls, presentations: pd.DataFrame) -> Sample:
        """Read a table of `scores.presentations`, one row a presentation."""
        status = text_column(presentations, "status", default=Status.OK)
        ok = status == Status.OK
        logit = presentations["logit"].to_numpy(dtype=np.float64)
        score = presentations["score"].to_numpy(dtype=np.float64)
        on_logits = bool((ok & ~np.isnan(logit)).any())
        bona_fide = text_column(presentations, "label") == Label.BONA_FIDE
        species, names = _species(presentations, bona_fide)
        person, persons, known = _persons(presentations)
        return cls(
            value=logit if on_logits else score,
            score=score,
            on_logits=on_logits,
            ok=ok,
            status=status,
            bona_fide=bona_fide,
            species=species,
            species_names=names,
            person=person,
            persons=persons,
            persons_known=known,
        )

    def __len__(self) -> int:
        return len(self.value)

    def persons_in(self, which: NDArray[np.bool_]) -> int:
        """How many persons stand behind the presentations where `which` holds."""
        return int(np.count_nonzero(np.bincount(self.person[which])))

    def take(self, which: NDArray[np.bool_]) -> Sample:
        """The presentations where `which` holds, their persons and species counted anew."""
        names, person = np.unique(self.person[which], return_inverse=True)
        present = np.unique(self.species[which & ~self.bona_fide])
        renumber = np.full(len(self.species_names) + 1, -1, dtype=np.intp)
        renumber[present] = np.arange(len(present))
        return Sample(
            value=self.value[which],
            score=self.score[which],
            on_logits=self.on_logits,
            ok=self.ok[which],
            status=self.status[which],
            bona_fide=self.bona_fide[which],
            species=renumber[self.species[which]],
            species_names=tuple(self.species_names[i] for i in present),
            person=person.astype(np.intp),
            persons=len(names),
            persons_known=self.persons_known,
        )


def _species(table: pd.DataFrame, bona_fide: NDArray[np.bool_]) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Species by name, with their dataset before it where the attacks come from several."""
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


def _persons(table: pd.DataFrame) -> tuple[NDArray[np.intp], int, bool]:
    subject = text_column(table, "subject")
    named = subject != ""
    known = bool(named.all())
    if "subject_known" in table.columns:
        known &= all(str(value).lower() in _TRUE for value in pd.unique(text_column(table, "subject_known")))
    alone = np.where(named, "", text_column(table, "presentation"))
    code = pd.DataFrame({"subject": subject, "alone": alone}).groupby(["subject", "alone"]).ngroup().to_numpy()
    return code.astype(np.intp), int(code.max(initial=-1)) + 1, known
