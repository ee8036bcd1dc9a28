"""Subject-disjoint train, val and test splits, and the check that a manifest has no leak."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.identity import alike
from bonaface.data.manifest import SPLITS, Manifest
from bonaface.errors import LeakError, ManifestError, SettingsError, did_you_mean, format_list
from bonaface.types import Label

PERSONS_UNKNOWN = "persons are unknown: whether one person is in two splits cannot be checked"
SPLIT_NOTE = "split: "
"""How a note begins that describes the present split; a new split drops it."""

Counts = NDArray[np.float64]


@dataclass(frozen=True)
class Leak:
    """A subject in more than one split; `subject` joins the spellings by ` = ` where there are several."""

    subject: str
    splits: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.subject} ({', '.join(self.splits)})"


def find_leaks(manifest: Manifest) -> list[Leak]:
    """Return the known subjects in more than one split, sorted by name.

    Names that differ only in case, blanks or the writing of a number count as one subject, unless the manifest
    declares them distinct.
    """
    table = manifest.table
    seen = table.loc[table["subject_known"] & (table["split"] != ""), ["subject", "split"]].drop_duplicates()
    one = {name: group[0] for group in alike(seen["subject"].unique(), manifest.about) for name in group}
    seen = seen.assign(person=seen["subject"].map(lambda name: one.get(name, name)))
    across = seen.groupby("person")["split"].transform("nunique") > 1
    return [
        Leak(
            " = ".join(sorted(set(rows["subject"]))),
            tuple(split for split in SPLITS if split in set(rows["split"])),
        )
        for _, rows in seen[across].groupby("person", sort=True)
    ]


def check_no_leaks(manifest: Manifest, *, allow: bool = False) -> tuple[str, ...]:
    """Raise LeakError naming the subjects in more than one split; with `allow`, return it as a note.

    Returns the notes that every report must carry in addition to the manifest's own.
    """
    leaks = find_leaks(manifest)
    persons = f"{_persons(len(leaks))} {'is' if len(leaks) == 1 else 'are'} in more than one split"
    if leaks and not allow:
        spelt = any(" = " in leak.subject for leak in leaks)
        names = " (say with --same-person or --distinct whether names that are alike are one person)" if spelt else ""
        raise LeakError(
            f"{persons}: {format_list(leaks)}; split the manifest again with `bonaface data split`{names}, "
            "or, for a published protocol that leaks, allow it with --allow-leak"
        )
    notes = []
    if leaks:
        notes.append(f"leak allowed: {persons}, {format_list(leaks)}; error rates are too low where it does")
    if not manifest.persons_known and PERSONS_UNKNOWN not in " ".join(manifest.notes):
        notes.append(_unknown_note(manifest.table))
    return tuple(notes)


def check_no_copies(manifest: Manifest, hashes: Sequence[str], *, allow: bool = False) -> tuple[str, ...]:
    """Raise LeakError naming files of equal content in more than one split; with `allow`, return it as a note.

    `hashes` are the files' content hashes in the manifest's order, "" for a file that could not be read.
    """
    table = manifest.table[["path", "split"]].assign(content=list(hashes))
    table = table[(table["content"] != "") & (table["split"] != "")]
    across = table.groupby("content")["split"].transform("nunique") > 1
    if not across.any():
        return ()
    groups = table[across].groupby("content", sort=False)["path"]
    shown = format_list([" = ".join(paths.tolist()[:2]) for _, paths in groups], limit=3)
    what = f"{groups.ngroups} file{'s' if groups.ngroups != 1 else ''} with the same content in more than one split"
    if not allow:
        raise LeakError(
            f"{what}: {shown}; leave the copies out (`bonaface data audit` lists them all), or allow it with --allow-leak"
        )
    return (f"leak allowed: {what}, {shown}; error rates are too low where it does",)


def split_manifest(
    manifest: Manifest,
    *,
    val: float | Sequence[str] | None = None,
    test: float | Sequence[str] | None = None,
    train: Sequence[str] | None = None,
    keep: Collection[str] = (),
    seed: int = 0,
) -> Manifest:
    """Return the manifest with a new `split` column, by subject; the order of the rows does not matter.

    `val` and `test` are shares of the subjects, 0.2 each by default. Among the possible choices of subjects, one is
    searched for in which every class and species is near the same share. Presentations of unknown subjects are split
    one by one, and a note says so. Subjects may be named instead (`nuaa-0007` or `nuaa/nuaa-0007`): those not named go
    to train, or nowhere if those of train are named too; a share next to names is a share of the subjects not named.
    Splits in `keep` stay as they are (an official test set) and the rest is split into the others. A share of 0 leaves
    a split empty. Raises ManifestError where there are too few subjects to give each split one, or both classes.
    """
    parts = {"train": train, "val": val, "test": test}
    named = {name: list(part) for name, part in parts.items() if part is not None and not isinstance(part, float | int)}
    given = {name: float(part) for name, part in parts.items() if isinstance(part, float | int)}
    wanted = given if named else {"val": 0.2, "test": 0.2} | given
    _check_shares(wanted, named, keep)
    table = manifest.table
    kept = table["split"].isin(list(keep)).to_numpy()
    free = table[~kept]
    if len(free) == 0:
        raise ManifestError(f"nothing to split: every presentation is in {format_list(keep)}, which is kept")
    split = _as_named(free, named, keep)
    drawn = (split == "").to_numpy() if "train" in named else (split == "train").to_numpy()
    shares = {"train": 1 - sum(share for name, share in wanted.items() if name not in keep), **wanted}
    shares = {name: share for name, share in shares.items() if share > 0 and name not in keep}
    if wanted and not shares:
        raise SettingsError("every split is kept or has a share of 0: no split is left to fill")
    if wanted and drawn.any():
        split[drawn] = _by_share(free[drawn], shares, np.random.default_rng(seed))
    about: dict[str, object] = {**wanted, **({"seed": seed} if wanted else {}), **named}
    notes = []
    if named:
        filled = [name for name in SPLITS if (split == name).any()]
        notes += [f"{SPLIT_NOTE}{name} has no {label} presentation" for name, label in _lacking(free, split, filled)]
        if left := int((split == "").sum()):
            notes.append(f"{SPLIT_NOTE}{left} presentations of persons that were not named are left out")
    if keep:
        notes.append(f"{SPLIT_NOTE}{format_list(sorted(keep))} kept, the others drawn by person (seed {seed})")
    result = table["split"].to_numpy(dtype=object).copy()
    result[~kept] = split.to_numpy(dtype=object)
    resplit = table.assign(split=pd.Series(result, dtype="str"))
    notes += _untested_notes(resplit)
    if not keep:
        resplit = resplit.assign(protocol="", fold="").astype({"protocol": "str", "fold": "str"})
    before = [note for note in manifest.notes if keep or not note.startswith(SPLIT_NOTE)]
    before = [note for note in before if PERSONS_UNKNOWN not in note]
    if not manifest.persons_known:
        notes.append(_unknown_note(table))
    about = {**manifest.about, "split": {**about, "keep": sorted(keep)}}
    return replace(manifest, table=resplit, source=None, notes=(*before, *notes), about=about)


def _check_shares(shares: dict[str, float], named: Collection[str], keep: Collection[str]) -> None:
    if not (all(share >= 0 for share in shares.values()) and sum(shares.values()) < 1):
        said = " and ".join(f"{name}={share:g}" for name, share in shares.items())
        raise SettingsError(f"{said}: expected shares of at least 0 that leave some for train")
    for name in shares:
        if "train" in named:
            raise SettingsError(f"{name} has a share, and persons are named for train: expected one or the other")
    for name in keep:
        if name not in SPLITS:
            raise SettingsError(f"no split {name!r} to keep: expected {', '.join(SPLITS)}{did_you_mean(name, SPLITS)}")


def _as_named(free: pd.DataFrame, named: dict[str, list[str]], keep: Collection[str]) -> pd.Series:
    both = sorted(set(named) & set(keep))
    if both:
        raise SettingsError(f"split {both[0]} is kept as it is, so no persons can be named for it")
    split_of: dict[str, str] = {}
    for name, persons in named.items():
        for person in persons:
            subject = _resolve(person, free)
            if split_of.setdefault(subject, name) != name:
                raise SettingsError(f"{subject} is named for {split_of[subject]} and for {name}: expected one of them")
    rest = "" if "train" in named else "train"
    return pd.Series([split_of.get(subject, rest) for subject in free["subject"]], index=free.index, dtype="str")


def _resolve(person: str, free: pd.DataFrame) -> str:
    """Return the subject that a name means: in full, or without the dataset before it."""
    person = unicodedata.normalize("NFC", person.strip())
    subjects = free["subject"].drop_duplicates()
    if (subjects == person).any():
        return person
    bare = subjects.str.partition("/")[2]
    matches = subjects[bare == person].tolist()
    if len(matches) > 1:
        raise SettingsError(f"{person!r} could be {' or '.join(matches)}: write it in full")
    if not matches:
        known = free.loc[free["subject_known"], "subject"].drop_duplicates()
        names = known.str.partition("/")[2].where(known.str.contains("/", regex=False), known).tolist()
        hint = did_you_mean(person, [*names, *known.tolist()])
        raise SettingsError(
            f"no person {person!r} in the manifest{hint}; found: {format_list(sorted(names), limit=12)}"
        )
    return str(matches[0])


def _by_share(free: pd.DataFrame, shares: dict[str, float], random: np.random.Generator) -> pd.Series:
    names = list(shares)
    fractions = np.array(list(shares.values()))
    fractions = fractions / fractions.sum()
    known = free["subject_known"].to_numpy()
    persons = free.loc[known, "subject"].nunique()
    if known.all() and persons < len(names):
        raise ManifestError(
            f"{_persons(persons)} cannot fill {', '.join(names)}: each needs at least one; "
            "add footage of more persons, or set the share of a split to 0"
        )
    split = pd.Series("", index=free.index, dtype="str")
    strata = free.groupby(["dataset", "label", "species"]).ngroup()
    split[~known] = _one_by_one(free["path"][~known], strata[~known], fractions, names, random)
    if persons:
        every = range(int(strata.max()) + 1)
        label = free["label"].groupby(strata).first().tolist()
        base = pd.crosstab(split[~known], strata[~known]).reindex(index=names, columns=every, fill_value=0)
        counts = pd.crosstab(free["subject"][known], strata[known]).reindex(columns=every, fill_value=0)
        choice = _choose(counts, base, label, fractions, random)
        split_of = dict(zip(counts.index, (names[each] for each in choice), strict=True))
        split[known] = free["subject"][known].map(split_of)
    _refuse_one_class(free, split, names)
    return split


def _one_by_one(
    paths: pd.Series, strata: pd.Series, fractions: Counts, names: Sequence[str], random: np.random.Generator
) -> pd.Series:
    """Return the split of each path, drawn within each stratum; the next stratum evens out what rounding took."""
    split = pd.Series("", index=paths.index, dtype="str")
    carry = np.zeros(len(names))
    for _, members in paths.groupby(strata):
        number = len(members)
        want = fractions * number + carry
        share = np.maximum(np.floor(want), 1.0 if number >= len(names) else 0.0)
        while share.sum() > number:
            share[np.argmax(share - want)] -= 1
        while share.sum() < number:
            share[np.argmax(want - share)] += 1
        carry = want - share
        dealt = np.repeat(np.array(names, dtype=object), share.astype(int))
        split[members.sort_values().index] = random.permutation(dealt)
    return split


def _choose(
    counts: pd.DataFrame,
    base: pd.DataFrame,
    label: Sequence[str],
    fractions: Counts,
    random: np.random.Generator,
) -> NDArray[np.intp]:
    """Return the split of each subject (rows of `counts`) on top of what the splits already have (`base`).

    Columns are strata, and `label` is the class of each. Greedy, subjects with most presentations first, then moves and
    swaps while they help: a local optimum.
    """
    rows, sums = _with_classes(counts, label, 1.0), _with_classes(base, label, 0.0)
    attacks = max(1, label.count(Label.ATTACK))
    species = np.array([0.0 if each == Label.BONA_FIDE else 1.0 for each in label])
    total = rows.sum(axis=0) + sums.sum(axis=0)
    target = fractions[:, None] * total
    weight = np.concatenate([[1.0, 1.0, 1.0], species / attacks]) / np.maximum(total, 1) ** 2
    price_of_none = np.where(total > 0, np.concatenate([[1e6, 1e3, 1e3], species]), 0.0)

    def cost(sums: Counts, split: int | slice = slice(None)) -> Counts:
        """Return the cost of missing the share of subjects, classes and species, by split."""
        deviation: Counts = weight * (sums - target[split]) ** 2 + price_of_none * (sums < 0.5)
        return np.asarray(deviation.sum(axis=-1))

    order = random.permutation(len(rows))
    order = order[np.argsort(-rows[order, 1:3].sum(axis=1), kind="stable")]
    choice = np.zeros(len(rows), dtype=np.intp)
    for person in order:
        gain = cost(sums + rows[person]) - cost(sums)
        choice[person] = int(np.argmin(gain))
        sums[choice[person]] += rows[person]
    for _ in range(500):
        if not _improve(choice, sums, rows, cost, random):
            break
    return choice


def _with_classes(counts: pd.DataFrame, label: Sequence[str], persons: float) -> Counts:
    """Return the columns subjects, bona fide, attack, and then the strata."""
    values = counts.to_numpy(dtype=np.float64)
    classes = [values[:, [each == name for each in label]].sum(axis=1) for name in Label]
    return np.column_stack([np.full(len(values), persons), *classes, values])


def _improve(
    choice: NDArray[np.intp], sums: Counts, rows: Counts, cost: Callable[..., Counts], random: np.random.Generator
) -> bool:
    """Make the one move or swap of subjects between two splits that helps most; return False if none helps."""
    before = cost(sums)
    best, change = -1e-9, None
    for a, b in combinations(range(len(sums)), 2):
        of_a, of_b = (_some(np.flatnonzero(choice == split), random) for split in (a, b))
        # row 0 is no subject, so that a swap with it is a move
        gives, takes = (np.vstack([np.zeros(rows.shape[1]), rows[who]]) for who in (of_a, of_b))
        delta = takes[None, :] - gives[:, None]
        gain = cost(sums[a] + delta, a) + cost(sums[b] - delta, b) - before[a] - before[b]
        i, j = np.unravel_index(int(np.argmin(gain)), gain.shape)
        if gain[i, j] < best:
            best, change = float(gain[i, j]), (a, b, of_a[i - 1 : i], of_b[j - 1 : j], delta[i, j])
    if change is None:
        return False
    a, b, from_a, from_b, moved = change
    choice[from_a], choice[from_b] = b, a
    sums[a] += moved
    sums[b] -= moved
    return True


def _some(who: NDArray[np.intp], random: np.random.Generator) -> NDArray[np.intp]:
    """Return at most 96 of them, so that a step costs the same for ten thousand subjects as for two hundred."""
    return who if len(who) <= 96 else np.sort(random.choice(who, 96, replace=False))


def _refuse_one_class(free: pd.DataFrame, split: pd.Series, names: Sequence[str]) -> None:
    lacking = _lacking(free, split, names)
    if not lacking:
        return
    name, label = lacking[0]
    persons = sorted(free.loc[free["label"] == label, "subject"].unique())
    raise ManifestError(
        f"{name} would have no {label} presentation: they come from {_persons(len(persons))} "
        f"({format_list(persons)}) and {', '.join(names)} need one each; "
        "add footage, set the share of a split to 0, or name the persons of each split"
    )


def _lacking(free: pd.DataFrame, split: pd.Series, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return (split, class) for each class that the footage has and the split does not."""
    there = set(zip(split, free["label"], strict=True))
    return [(name, each) for name in names for each in sorted(set(free["label"])) if (name, each) not in there]


def _untested_notes(table: pd.DataFrame) -> list[str]:
    """Return a note on the species that the test split lacks."""
    held = table[(table["split"] != "") & (table["species"] != "")]
    tested = set(held.loc[held["split"] == "test", "species"])
    lacking = sorted(set(held["species"]) - tested)
    if not lacking or not (table["split"] == "test").any():
        return []
    persons = held.loc[held["species"].isin(lacking), "subject"].nunique()
    them = "it" if len(lacking) == 1 else "them"
    return [
        f"{SPLIT_NOTE}test has no {format_list(lacking)} ({_persons(persons)}), so its error rates do not cover {them}"
    ]


def _unknown_note(table: pd.DataFrame) -> str:
    unknown = int((~table["subject_known"]).sum())
    if unknown == len(table):
        return PERSONS_UNKNOWN
    return f"{PERSONS_UNKNOWN} ({unknown} of {len(table)} presentations)"


def _persons(number: int) -> str:
    return f"{number} {'person' if number == 1 else 'persons'}"
