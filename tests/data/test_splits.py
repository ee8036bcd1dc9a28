from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonaface.data.manifest import Manifest, make_manifest, write_manifest
from bonaface.data.splits import PERSONS_UNKNOWN, Leak, check_no_copies, check_no_leaks, find_leaks, split_manifest
from bonaface.errors import LeakError, ManifestError, SettingsError

ROOT = Path("/footage")
CLASSES = (("bona_fide", ""), ("attack", "print"), ("attack", "replay"))


def footage(
    persons: int, *, takes: int = 4, known: bool = True, classes: tuple[tuple[str, str], ...] = CLASSES
) -> Manifest:
    rows = [
        (f"p{person:03d}/{label}{species}{take}.mp4", label, species, f"p{person:03d}" if known else "", "mine")
        for person in range(persons)
        for label, species in classes
        for take in range(takes)
    ]
    return make_manifest(pd.DataFrame(rows, columns=["path", "label", "species", "subject", "dataset"]), ROOT)


def persons_of(manifest: Manifest) -> dict[str, int]:
    return {str(split): int(n) for split, n in manifest.table.groupby("split")["subject"].nunique().items()}


def shares(manifest: Manifest) -> pd.DataFrame:
    return pd.crosstab(manifest.table["label"] + manifest.table["species"], manifest.table["split"], normalize="index")


@pytest.mark.parametrize(
    ("persons", "val", "test"),
    [(3, 1, 1), (4, 1, 1), (5, 1, 1), (10, 2, 2), (20, 4, 4), (100, 20, 20)],
)
def test_every_split_gets_its_share_of_persons(persons: int, val: int, test: int) -> None:
    split = split_manifest(footage(persons))
    assert persons_of(split) == {"train": persons - val - test, "val": val, "test": test}
    assert find_leaks(split) == []


def test_twelve_persons_round_to_two_or_three() -> None:
    split = persons_of(split_manifest(footage(12)))
    assert split["val"] in (2, 3)
    assert split["test"] in (2, 3)
    assert sum(split.values()) == 12


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.integers(0, 6)] * 3).filter(lambda each: each[0] > 0 and sum(each[1:]) > 0),
        min_size=3,
        max_size=15,
    ),
    st.integers(0, 3),
)
def test_no_person_is_shared_and_every_split_has_both_classes(counts: list[tuple[int, ...]], seed: int) -> None:
    rows = [
        (f"{person}/{label}{species}{take}", label, species, f"p{person}")
        for person, of_class in enumerate(counts)
        for (label, species), number in zip(CLASSES, of_class, strict=True)
        for take in range(number)
    ]
    manifest = make_manifest(pd.DataFrame(rows, columns=["path", "label", "species", "subject"]), ROOT)
    split = split_manifest(manifest, seed=seed)
    assert find_leaks(split) == []
    assert len(split.table.groupby(["split", "label"])) == 6
    assert split.table["path"].tolist() == manifest.table["path"].tolist()


def test_classes_and_species_keep_their_shares() -> None:
    random = np.random.default_rng(5)
    rows = [
        (f"{person}/{label}{species}{take}", label, species, f"p{person}")
        for person in range(60)
        for label, species in (*CLASSES, ("attack", "mask"))
        for take in range(int(random.integers(0, 12)))
    ]
    manifest = make_manifest(pd.DataFrame(rows, columns=["path", "label", "species", "subject"]), ROOT)
    found = shares(split_manifest(manifest))
    assert (found["val"] - 0.2).abs().max() < 0.02
    assert (found["test"] - 0.2).abs().max() < 0.02


def test_a_rare_species_reaches_every_split() -> None:
    manifest = footage(20)
    table = manifest.table.copy()
    masked = table["subject"].isin(["mine/p003", "mine/p011", "mine/p017"]) & (table["species"] == "replay")
    table.loc[masked, "species"] = "mask"
    split = split_manifest(make_manifest(table.assign(subject_known="true"), ROOT))
    assert set(split.table.loc[split.table["species"] == "mask", "split"]) == {"train", "val", "test"}


@pytest.mark.parametrize("known", [True, False])
def test_the_order_of_rows_does_not_matter(known: bool) -> None:
    manifest = footage(9, known=known)
    shuffled = manifest.table.sample(frac=1, random_state=1)
    shuffled = shuffled.assign(subject_known=shuffled["subject_known"].astype(str))
    one = split_manifest(manifest, seed=3).table.set_index("path")["split"]
    other = split_manifest(make_manifest(shuffled, ROOT), seed=3).table.set_index("path")["split"]
    pd.testing.assert_series_equal(one.sort_index(), other.sort_index())


def test_the_seed_decides() -> None:
    manifest = footage(12)
    splits = [split_manifest(manifest, seed=seed).table["split"].tolist() for seed in (0, 0, 1, 2, 3)]
    assert splits[0] == splits[1]
    assert len({tuple(each) for each in splits}) >= 3


@pytest.mark.parametrize("name", ["p002", "mine/p002", " p002 "])
def test_persons_are_named_with_or_without_their_dataset(name: str) -> None:
    split = split_manifest(footage(4), val=[name], test=["p003"])
    of_person = split.table.groupby("subject")["split"].unique().map(list).to_dict()
    assert of_person == {"mine/p000": ["train"], "mine/p001": ["train"], "mine/p002": ["val"], "mine/p003": ["test"]}
    assert split.notes == ()


def test_persons_who_are_named_for_nothing_are_left_out() -> None:
    split = split_manifest(footage(4), train=["p000"], val=["p001"], test=["p002"])
    assert persons_of(split) == {"": 1, "train": 1, "val": 1, "test": 1}
    assert split.notes == ("split: 12 presentations of persons that were not named are left out",)


@pytest.mark.parametrize(
    ("options", "error", "expected"),
    [
        ({"val": ["p00"]}, SettingsError, r"no person 'p00'.*did you mean 'p00\d'.*found: p000, p001"),
        (
            {"val": ["p001"], "test": ["mine/p001"]},
            SettingsError,
            "mine/p001 is named for val and for test",
        ),
        ({"val": 0.6, "test": 0.4}, SettingsError, "leave some for train"),
        ({"val": -0.1}, SettingsError, "shares of at least 0"),
        ({"val": 0.2, "train": ["p001"]}, SettingsError, "a share, and persons are named for train"),
        ({"keep": ["tset"]}, SettingsError, "did you mean 'test'"),
        ({"keep": ["test"], "test": ["p001"]}, SettingsError, "split test is kept"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], error: type[Exception], expected: str) -> None:
    with pytest.raises(error, match=expected):
        split_manifest(footage(4), **options)  # type: ignore[arg-type]


def test_one_name_in_two_datasets_must_be_written_in_full() -> None:
    table = footage(2).table.assign(subject_known="true")
    table.loc[0, "subject"] = "yours/p001"
    with pytest.raises(SettingsError, match=r"could be yours/p001 or mine/p001|could be mine/p001 or yours/p001"):
        split_manifest(make_manifest(table, ROOT), val=["p001"])


@pytest.mark.parametrize(("persons", "said"), [(1, "1 person cannot"), (2, "2 persons cannot fill train, val, test")])
def test_fewer_than_three_persons_cannot_be_split(persons: int, said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        split_manifest(footage(persons))


def test_two_persons_can_fill_two_splits() -> None:
    assert persons_of(split_manifest(footage(2), test=0)) == {"train": 1, "val": 1}


def test_a_class_of_too_few_persons_is_refused() -> None:
    manifest = footage(6)
    table = manifest.table
    few = table[(table["label"] == "attack") | table["subject"].isin(["mine/p000", "mine/p001"])]
    with pytest.raises(
        ManifestError, match=r"no bona_fide presentation: they come from 2 persons \(mine/p000, mine/p001\)"
    ):
        split_manifest(make_manifest(few.assign(subject_known="true"), ROOT))


def test_classes_of_different_persons_still_reach_every_split() -> None:
    live = footage(5, classes=CLASSES[:1]).table
    attacks = footage(5, classes=CLASSES[1:]).table
    attacks = attacks.assign(subject="mine/q" + attacks["subject"].str[-3:])
    split = split_manifest(make_manifest(pd.concat([live, attacks]).assign(subject_known="true"), ROOT))
    assert len(split.table.groupby(["split", "label"])) == 6


def test_attacks_alone_can_be_split() -> None:
    assert set(persons_of(split_manifest(footage(6, classes=CLASSES[1:])))) == {"train", "val", "test"}


def test_unknown_persons_are_split_one_by_one_and_it_is_said() -> None:
    split = split_manifest(footage(5, known=False, takes=10))
    counts = pd.crosstab(split.table["label"] + split.table["species"], split.table["split"])
    assert counts.to_dict() == {
        "test": dict.fromkeys(counts.index, 10),
        "train": dict.fromkeys(counts.index, 30),
        "val": dict.fromkeys(counts.index, 10),
    }
    assert split.notes == (PERSONS_UNKNOWN,)
    assert find_leaks(split) == []
    assert check_no_leaks(split) == ()


def test_some_unknown_persons_are_counted() -> None:
    known, unknown = footage(5, takes=2).table, footage(5, takes=2, known=False).table
    unknown = unknown.assign(path="u/" + unknown["path"], subject="", subject_known="false")
    split = split_manifest(make_manifest(pd.concat([known.assign(subject_known="true"), unknown]), ROOT))
    assert split.notes == (f"{PERSONS_UNKNOWN} (30 of 60 presentations)",)
    assert find_leaks(split) == []
    assert (shares(split)["val"] - 0.2).abs().max() < 0.1


def test_what_is_kept_stays() -> None:
    table = footage(10).table.assign(subject_known="true")
    table["split"] = np.where(table["subject"] < "mine/p004", "test", "train")
    manifest = make_manifest(table.assign(protocol="1"), ROOT, notes=["split: official", "else"])
    split = split_manifest(manifest, keep=["test"], val=0.34)
    assert persons_of(split) == {"test": 4, "train": 4, "val": 2}
    assert set(split.table.loc[split.table["subject"] < "mine/p004", "split"]) == {"test"}
    assert set(split.table["protocol"]) == {"1"}
    assert split.notes == ("split: official", "else", "split: test kept, the others drawn by person (seed 0)")


def test_a_new_split_drops_what_was_said_of_the_old() -> None:
    table = footage(6).table.assign(subject_known="true", protocol="baseline", fold="1")
    split = split_manifest(make_manifest(table, ROOT, notes=["split: shares persons", "else"]))
    assert split.notes == ("else",)
    assert set(split.table["protocol"]) == set(split.table["fold"]) == {""}


def leaky() -> Manifest:
    table = footage(3).table.assign(subject_known="true")
    table["split"] = ["train", "val", "test"] * 12
    table.loc[table["subject"] == "mine/p001", "split"] = "train"
    return make_manifest(table, ROOT)


def test_leaks_are_found_by_name() -> None:
    assert find_leaks(leaky()) == [
        Leak("mine/p000", ("train", "val", "test")),
        Leak("mine/p002", ("train", "val", "test")),
    ]


def test_leaks_are_refused_or_noted() -> None:
    with pytest.raises(
        LeakError, match=r"2 persons are in more than one split: mine/p000 \(train, val, test\).*--allow-leak"
    ):
        check_no_leaks(leaky())
    (note,) = check_no_leaks(leaky(), allow=True)
    assert "mine/p002" in note


def test_an_unknown_person_in_given_splits_is_noted() -> None:
    table = footage(2, known=False).table.assign(subject_known="false")
    table["split"] = ["train", "val"] * 12
    assert check_no_leaks(make_manifest(table, ROOT)) == (PERSONS_UNKNOWN,)


def test_three_thousand_persons_are_split_in_seconds() -> None:
    split = split_manifest(footage(3000, takes=1))
    assert persons_of(split) == {"train": 1800, "val": 600, "test": 600}


def test_files_of_equal_content_in_two_splits_are_refused():
    table = pd.DataFrame(
        {
            "path": ["a.mp4", "b.mp4", "c.mp4", "d.mp4"],
            "label": ["bona_fide", "bona_fide", "attack", "attack"],
            "species": ["", "", "print", "print"],
            "subject": ["1", "2", "1", "2"],
            "split": ["train", "test", "train", "test"],
        }
    )
    manifest = make_manifest(table, ".")
    assert check_no_copies(manifest, ["x", "y", "z", ""]) == ()
    assert check_no_copies(manifest, ["", "", "z", "w"]) == ()
    with pytest.raises(LeakError, match=r"1 file with the same content in more than one split: a\.mp4 = b\.mp4"):
        check_no_copies(manifest, ["x", "x", "z", "w"])
    (note,) = check_no_copies(manifest, ["x", "x", "z", "w"], allow=True)
    assert note.startswith("leak allowed")


def test_a_share_beside_names_is_one_of_the_persons_who_are_left() -> None:
    split = split_manifest(footage(10), val=0.25, test=["p003", "p008"])
    assert persons_of(split) == {"train": 6, "val": 2, "test": 2}
    tested = split.table.loc[split.table["split"] == "test", "subject"]
    assert set(tested) == {"mine/p003", "mine/p008"}


def test_names_alone_draw_nobody() -> None:
    assert persons_of(split_manifest(footage(10), test=["p003"])) == {"train": 9, "test": 1}


def test_a_species_that_nobody_is_tested_with_is_named() -> None:
    table = footage(6).table.drop(columns="subject_known")
    rare = table.iloc[[1]].assign(path="rare.mp4", label="attack", species="mask", category="", subject="mine/p000")
    split = split_manifest(make_manifest(pd.concat([table, rare]), ROOT), test=["p001"])
    assert split.notes == ("split: test has no mask (1 person), so its error rates do not cover it",)


_WITHOUT_PYARROW = """
import sys
sys.modules["pyarrow"] = None
import pandas as pd
from bonaface.data.manifest import read_manifest
from bonaface.data.splits import split_manifest
from bonaface.evaluation.arrays import _subjects

manifest = read_manifest(sys.argv[1], root=".")
table = manifest.table.assign(presentation=manifest.table["path"])
print(split_manifest(manifest).table["split"].tolist(), _subjects(table.assign(subject=""))[1])
"""


@pytest.mark.parametrize("known", [True, False])
def test_split_same_without_pyarrow(tmp_path: Path, known: bool) -> None:
    manifest = footage(9, known=known)
    write_manifest(manifest, tmp_path / "manifest.csv")
    command = [sys.executable, "-c", _WITHOUT_PYARROW, str(tmp_path / "manifest.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == f"{split_manifest(manifest).table['split'].tolist()} {len(manifest)}"


def test_split_strata_are_not_joined() -> None:
    """Two strata whose names give the same text when joined are two strata."""
    rows = [
        (f"{dataset}{species}{person}.mp4", label, species, f"{dataset}p{person}", dataset)
        for person in range(10)
        for dataset, species in (("a", "b-c"), ("a-b", "c"))
        for label in ("attack",)
    ] + [(f"live{person}.mp4", "bona_fide", "", f"p{person}", "z") for person in range(10)]
    manifest = make_manifest(pd.DataFrame(rows, columns=["path", "label", "species", "subject", "dataset"]), ROOT)
    table = split_manifest(manifest, val=0.5, test=0).table
    counts = table.groupby(["dataset", "species", "split"]).size()
    assert set(counts) == {5}
