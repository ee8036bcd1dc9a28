"""Names described by a pattern such as `{subject}/{label}/*`, and the search for the pattern that names subjects."""

from __future__ import annotations

import re
from typing import cast

import pandas as pd

from bonaface.data.datasets.adapter import Request
from bonaface.data.datasets.label_names import IGNORE, UNDERSTOOD, Kind, Words, normal, split_of_word
from bonaface.errors import ManifestError, SettingsError, did_you_mean, format_list
from bonaface.types import Label

_OWN = ("path", "dataset", "subject_known", "protocol", "fold")
_WILDCARDS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "#": r"\d+"}
_SUBJECT_ENDINGS = (
    *("{subject}_*", "{subject}-*", "{subject} *", "{subject}.*.*", "{subject}_#.*", "{subject}-#.*", "{subject}#.*"),
    *("*_{subject}.*", "*-{subject}.*", "{subject}.*", "{subject}"),
)
"""Patterns that are tried for the subject; of equally likely ones the first is suggested."""
_AT_THE_END = ("{subject}#.*", "*_{subject}.*", "*-{subject}.*", "{subject}.*", "{subject}")
"""Those where a running number would be taken for the subject."""
_ENOUGH_NAMES = 5000
"""Names that a pattern is tried on: each candidate costs some microseconds a name."""


def pattern_rows(names: pd.DataFrame, words: Words, request: Request) -> pd.DataFrame:
    """Return rows from the fields of `--pattern`; other fields than the manifest's become columns.

    Raises ManifestError where the pattern leaves out files and the request does not allow that.
    """
    pattern, frames = request.pattern, request.frames
    expression = compile_pattern(pattern)
    matches = [
        expression.fullmatch(path) or (expression.fullmatch(frames[path]) if path in frames else None)
        for path in names["path"].tolist()
    ]
    fits = pd.Series([match is not None for match in matches], index=names.index)
    rest = names.loc[~fits, "path"].tolist()
    if not fits.any():
        raise ManifestError(f"{request.root}: no name fits --pattern '{pattern}'; found: {format_list(rest, limit=3)}")
    request.left_out["names that do not fit the pattern"] += len(rest)
    fields = pd.DataFrame([match.groupdict() for match in matches if match is not None], index=names.index[fits])
    rows = pd.concat([names[fits], fields], axis=1)
    said = rows["label"] if "label" in rows else rows["species"]
    kinds = {name: words.kind(name) for name in said.unique()}
    unknown = sorted(name for name, kind in kinds.items() if kind is None)
    if unknown:
        raise ManifestError(
            f"{request.root}: --pattern finds {format_list(map(repr, unknown))} as the class; recognised are {UNDERSTOOD}; "
            f"or map it (--map {unknown[0]}=bona_fide or {unknown[0]}=attack:NAME)"
        )
    words.refuse_unused(sorted(kinds))
    wanted = said.map(lambda name: kinds[name] != IGNORE).astype(bool)
    request.left_out["left out by the mapping"] += int((~wanted).sum())
    rows, said = rows[wanted], said[wanted]
    rows = rows.assign(label=said.map(lambda name: str(cast("Kind", kinds[name]).label)))
    own_species = rows["species"].map(normal) if "species" in rows and "label" in fields else ""
    attack = rows["label"] == "attack"
    if rest and not request.allow_unmatched:
        lacking = "" if attack.any() and not attack.all() else "bona fide" if attack.all() else "attack"
        whole = f" and finds no {lacking} presentation" if lacking else ""
        raise ManifestError(
            f"{request.root}: --pattern '{pattern}' leaves out {len(rest)} of {len(names)} files{whole}: "
            f"{format_list(rest, limit=3)}; correct it, or leave them out with --allow-unmatched"
        )
    from_label = said.map(lambda name: cast("Kind", kinds[name]).species)
    species = pd.Series(own_species, index=rows.index, dtype="str").where(attack, "")
    rows = rows.assign(species=species.where(species != "", from_label))
    return _with_splits(rows, request)


def _with_splits(rows: pd.DataFrame, request: Request) -> pd.DataFrame:
    if "split" not in rows:
        return rows
    splits = {name: split_of_word(name) for name in rows["split"].unique()}
    unknown = sorted(name for name, split in splits.items() if split is None)
    if unknown:
        raise ManifestError(
            f"{request.root}: --pattern finds {format_list(map(repr, unknown))} as the split; recognised are train, val, dev, "
            "devel, test and the like"
        )
    return rows.assign(split=rows["split"].map(splits))


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return the expression for a pattern such as `{subject}/{label}/*`.

    A field and `*` match within one level, `#` a whole number, `**` across levels. Raises SettingsError for a pattern
    that cannot be read or has neither `{label}` nor `{species}`.

    >>> compile_pattern("{subject}/{label}/*").fullmatch("p1/live/a.mp4").groupdict()
    {'subject': 'p1', 'label': 'live'}
    """
    parts: list[str] = []
    fields: list[str] = []
    for piece in re.split(r"(\{[^{}/]*\}|\*\*/?|\*|#)", pattern.strip("/")):
        if piece.startswith("{") and piece.endswith("}"):
            name = piece[1:-1]
            if not name.isidentifier() or name in _OWN:
                reason = "is a column of the manifest's own" if name in _OWN else "is not a name"
                raise SettingsError(f"--pattern '{pattern}': {{{name}}} {reason}; expected {{subject}} or {{label}}")
            parts.append(f"(?P={name})" if name in fields else f"(?P<{name}>[^/]+?)")
            fields.append(name)
        elif "{" in piece or "}" in piece:
            raise SettingsError(f"--pattern '{pattern}': a brace is not closed; expected '{{subject}}/{{label}}/*'")
        else:
            parts.append(_WILDCARDS.get(piece) or re.escape(piece))
    if "label" not in fields and "species" not in fields:
        hint = "".join(did_you_mean(name, ["label", "species"]) for name in fields[:1])
        raise SettingsError(f"--pattern '{pattern}' has neither {{label}} nor {{species}}{hint}; add one of them")
    return re.compile("".join(parts), re.DOTALL)


def subject_pattern(rows: pd.DataFrame) -> tuple[str, list[str]] | None:
    """Return the pattern that finds the subjects in the file names, and those subjects; None where none is likely.

    A pattern is likely if every file fits it, most files are of subjects who have both classes, and there are at least
    two such subjects. Names are preferred to numbers, and
    what is at the end of a name must not be a running number. `rows` have `path`, `label`, `split`.
    """
    on_top = {split_of_word(path.partition("/")[0]) is not None for path in rows["path"].tolist()}
    if len(on_top) > 1 or on_top != {bool(split) for split in rows["split"]}:
        return None
    prefix = "{split}/**/{label}/" if on_top == {True} else "**/{label}/"
    some = rows.iloc[:: max(1, len(rows) // _ENOUGH_NAMES)]
    best, chosen = (False, 0.5), ""
    for ending in _SUBJECT_ENDINGS:
        subjects = _subjects(prefix + ending, some)
        if subjects is None or (ending in _AT_THE_END and subjects.str.contains(r"[\d_\W](?:\.|$)").any()):
            continue
        of_subject = some["label"].groupby(subjects).agg(["nunique", "size"])
        both = of_subject[of_subject["nunique"] == len(Label)]
        share = float(both["size"].sum()) / len(some)
        likely = (not all(name.isdecimal() for name in subjects.unique()), share)
        if len(both) > 1 and share > 0.5 and likely > best:
            best, chosen = likely, prefix + ending
    found = _subjects(chosen, rows) if chosen else None
    return None if found is None else (chosen, sorted(found.unique()))


def _subjects(pattern: str, rows: pd.DataFrame) -> pd.Series | None:
    """Return the subject of each row by a pattern; None if a row does not fit it."""
    expression = compile_pattern(pattern)
    matches = [expression.fullmatch(path) for path in rows["path"].tolist()]
    found = [match["subject"] for match in matches if match is not None]
    return pd.Series(found, index=rows.index, dtype="str") if len(found) == len(rows) else None
