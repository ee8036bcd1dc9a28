"""Prepare score tables of any system: labels, orientation, splits and thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from bonaface.choices import FusionRule, HigherIs
from bonaface.data.datasets.label_names import IGNORE, UNDERSTOOD, Kind, Words
from bonaface.data.manifest import Manifest, make_manifest
from bonaface.errors import InputError, ManifestError, ScoreTableError, check_choice, format_list
from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.auc import auc
from bonaface.evaluation.checking import check_scores, text_column
from bonaface.evaluation.results import Figure
from bonaface.evaluation.scores import Turned, join_manifest, oriented, presentations
from bonaface.evaluation.thresholds import choose_threshold, fixed_point, given_point
from bonaface.io import TextTable, read_json, read_table, relative_paths
from bonaface.types import Label, Status, Threshold

ScoreSource = str | Path | pd.DataFrame


@dataclass(frozen=True)
class Measurable:
    """Presentations to measure, one row each, and those that may choose the threshold.

    `turned` says how scores were turned round because a higher one means attack: `1 - score`, `-score`, or not (`""`).
    """

    rows: pd.DataFrame
    validation: pd.DataFrame | None
    notes: list[str]
    turned: Turned = ""

    def thresholds(self, *, criterion: str, threshold: float | None) -> list[Threshold]:
        """Return the thresholds to measure at, never chosen on what is measured; may add to the notes.

        `threshold` is on the scale of the scores as they were given. None is returned for scores of unknown scale without
        validation.
        """
        if threshold is not None:
            value = given_point(threshold).threshold  # refuses NaN and text
            return [given_point({"": value, "1 - score": 1 - value, "-score": -value}[self.turned])]
        scored = self.rows[self.rows["status"] == Status.OK.value]
        has_logits = bool(scored["logit"].notna().any())
        # Whether a different system's scores are probabilities is not known; those between 0 and 1 may be taken for them.
        alike = not has_logits and bool(scored["score"].between(0, 1).all())
        if criterion.strip().lower().startswith("fixed"):
            point = choose_threshold(self.rows, criterion)
            return [given_point(point.threshold, criterion=point.criterion) if alike else point]
        if self.validation is not None:
            arrays = ScoreArrays.from_table(self.validation)
            self.notes.extend(inverted(auc(arrays), "validation"))
            return [choose_threshold(self.validation, criterion, arrays=arrays)]
        if not alike and not has_logits:
            self.notes.append(
                "no threshold: give validation scores (--validation) or the threshold itself (--threshold); "
                "what needs one is left out"
            )
            return []
        self.notes.append(
            "no validation scores were given (--validation): errors are measured at the fixed threshold 0.5 alone"
        )
        return [given_point(0.5, criterion="fixed=0.5") if alike else fixed_point(0.5)]


class ScoreReader:
    """Reader of score tables with one manifest and one mapping of labels.

    `mapping` gives labels a meaning (`bona_fide`, `attack`, a species, `ignore`); `higher_is` is what a higher score
    means; `fusion` fuses the scores of frames again; `allow_missing` counts presentations of the manifest without a score
    as unreadable. Raises ManifestError, SettingsError.
    """

    def __init__(
        self,
        *,
        manifest: str | Path | Manifest | None = None,
        mapping: Mapping[str, str] | None = None,
        fusion: FusionRule | None = None,
        allow_missing: bool = False,
    ) -> None:
        check_choice("fusion", fusion, get_args(FusionRule))
        self._words = Words(mapping)
        self._mapped = bool(mapping)
        self._labels: set[str] = set()
        self._fusion = fusion
        self._allow_missing = allow_missing
        self._root = Path()
        self._manifest = None if manifest is None else self._described(manifest)

    def read(
        self, scores: ScoreSource, validation: ScoreSource | None = None, *, higher_is: HigherIs = "bona_fide"
    ) -> Measurable:
        """Read the scores to measure, and validation scores if they lie in a table of their own.

        Without `validation` a table's own rows of split val choose, and are not measured; nor are its rows of split train
        where it has a test split. Raises ScoreTableError where a presentation would choose the threshold it is measured
        at.
        """
        table = self._table(scores, allow_missing=self._allow_missing)
        other = None if validation is None else self._table(validation, allow_missing=True)
        table, how = oriented(table, higher_is, *([other["score"]] if other is not None else []))
        other = None if other is None else oriented(other, higher_is, table["score"])[0]
        notes = [f"a higher score means attack here: {how} was measured in place of the score"] if how else []
        split = table["split"].astype(str)
        if other is None and (split == "val").any() and (split != "val").any():
            other = table[split == "val"]
            table = table[split != "val"]
            split = table["split"].astype(str)
        trained = split == "train"
        if trained.any() and (split == "test").any():
            count = table.loc[trained, "presentation"].nunique()
            notes.append(f"{count:,} presentations of split train are not measured")
            table, split = table[~trained], split[~trained]
        notes += [
            f"these figures include presentations of the {name} split: they may be too good"
            for name in ("train", "val")
            if (split == name).any()
        ]
        rows = presentations(table, rule=self._fusion)
        chosen_on = None if other is None else presentations(other, rule=self._fusion)
        if chosen_on is not None:
            notes += _apart(rows, chosen_on)
        return Measurable(rows, chosen_on, notes, how)

    def refuse_unused(self) -> None:
        """Raise SettingsError where the mapping names a label that no table has."""
        self._words.refuse_unused(sorted(self._labels))

    def _table(self, scores: ScoreSource, *, allow_missing: bool) -> pd.DataFrame:
        """Return a checked score table, with the manifest's columns where there is one."""
        table = TextTable("the scores", {})
        if isinstance(scores, pd.DataFrame):
            frame = scores
        else:
            table = read_table(scores, error=ScoreTableError)
            frame = table.frame
        if self._manifest is None and "label" in frame.columns:
            frame, table = self._labelled(frame, table, ScoreTableError)
        elif self._manifest is None:
            found = ", ".join(map(str, frame.columns)) or "none"
            raise ScoreTableError(
                f"{table.name} has no column label; found: {found}; add one, or give the manifest that the presentations "
                "come from (--manifest)"
            )
        if self._manifest is None:
            return check_scores(frame, name=table.name, places=table.places)
        if "presentation" in frame.columns:
            names = relative_paths(text_column(frame, "presentation"), self._root)
            frame = frame.assign(presentation=names)
        missing: Literal["refuse", "unreadable"] = "unreadable" if allow_missing else "refuse"
        return join_manifest(frame, self._manifest, missing=missing)

    def _described(self, manifest: str | Path | Manifest) -> pd.DataFrame:
        """Return a manifest's table; its footage need not be there."""
        if isinstance(manifest, Manifest):
            self._root = manifest.root
            return manifest.table
        table = read_table(manifest, error=ManifestError)
        path = Path(manifest)
        about: dict[str, Any] = {}
        with suppress(InputError):  # storage may say of a file that is not there that it must not be read
            about = read_json(path.with_name(f"{path.stem}.meta.json"))
        self._root = path.absolute().parent / str(about.get("root", "."))
        frame = table.frame
        if "label" in frame.columns:
            frame, table = self._labelled(frame, table, ManifestError)
        try:
            return make_manifest(frame, self._root, row_names=table.places(range(len(frame)))).table
        except ManifestError as error:
            raise ManifestError(f"{path}: {error}") from None

    def _labelled(
        self, frame: pd.DataFrame, table: TextTable, error: type[InputError]
    ) -> tuple[pd.DataFrame, TextTable]:
        """Return a table with labels as Bonaface writes them, and the places of the rows that are left."""
        texts = text_column(frame, "label")
        words = [str(word) for word in pd.unique(texts)]
        self._labels.update(words)
        if not self._mapped and set(words) <= {*map(str, Label), ""}:
            return frame, table
        # A missing label is a fault of the table, which is named with the others.
        kinds = {word: Kind(Label.ATTACK) if word == "" else self._words.kind(word) for word in words}
        unknown = np.flatnonzero([kinds[text] is None for text in texts])
        if len(unknown):
            where = zip(table.places(unknown.tolist()), texts[unknown], strict=True)
            word = texts[unknown[0]]
            raise error(
                f"{table.name}: a label that is not recognised in "
                f"{format_list([f'{line} ({text!r})' for line, text in where])}; "
                f"recognised are {UNDERSTOOD}; or map it: --map {word}=bona_fide, --map {word}=attack or "
                f"--map {word}=attack:SPECIES"
            )
        kept = np.array([kinds[text] != IGNORE for text in texts])
        frame, texts = frame[kept].reset_index(drop=True), texts[kept]
        found = [kind for text in texts if isinstance(kind := kinds[text], Kind)]
        own = text_column(frame, "species") if "species" in frame.columns else np.full(len(frame), "", dtype=object)
        frame = frame.assign(
            label=["" if text == "" else str(kind.label) for text, kind in zip(texts, found, strict=True)],
            species=[text if text or kind.generic else kind.species for text, kind in zip(own, found, strict=True)],
        )
        lines = None if table.lines is None else [table.lines[row] for row in np.flatnonzero(kept).tolist()]
        return frame, TextTable(table.name, {}, lines)


def inverted(area: Figure, what: str = "") -> list[str]:
    """Return a note where attacks score higher than bona fide presentations by more than chance; else none."""
    if not area.value < 0.5 or area.high >= 0.5:
        return []
    return [
        f"{f'{what}: ' if what else ''}attacks score higher than bona fide (AUC {area.value:.4f}), so the scores look "
        "inverted: if a higher score means attack, add --higher-is attack; if the labels are swapped, correct them (--map)"
    ]


def _apart(rows: pd.DataFrame, validation: pd.DataFrame) -> list[str]:
    """Raise if a presentation is in validation and in what is measured; return a note on such subjects."""
    keys = ["presentation", "label", "species", "subject", "dataset", "split", "status", "logit", "score"]
    named = rows["presentation"].isin(validation["presentation"])
    both = rows.loc[named, keys].merge(validation[keys], on=keys)["presentation"]
    # Two folders may use the same file names for different footage: then some of these differ in what they hold.
    if len(both) and len(both) == named.sum():
        raise ScoreTableError(
            f"{len(both)} presentations would choose the threshold and be measured at it, such as {both.iloc[0]}; leave "
            "them out of the scores or of the validation scores"
        )
    return shared_subjects(rows, validation)


def shared_subjects(rows: pd.DataFrame, validation: pd.DataFrame) -> list[str]:
    """Return a note where subjects are in validation and in what is measured; else none."""
    persons = set(rows["subject"]) & set(validation["subject"]) - {""}
    if not persons:
        return []
    return [f"{len(persons)} persons are in validation and in what is measured, such as {min(persons)}"]
