from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from bonaface.data.identity import DISTINCT, name_key, settle_names
from bonaface.data.manifest import Manifest, make_manifest, read_manifest, write_manifest
from bonaface.data.splits import check_no_leaks, find_leaks, split_manifest
from bonaface.errors import LeakError, ManifestError, SettingsError
from bonaface.workflows.prepare import index, split

NFC, NFD = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))


def of_subjects(subjects: list[str], root: Path = Path("/footage"), **columns: object) -> Manifest:
    rows = {"path": [f"{number}.mp4" for number in range(len(subjects))], "subject": subjects, "dataset": "d"}
    return make_manifest(pd.DataFrame({**rows, "label": "bona_fide", **columns}), root)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("José", "josé"),
        ("José", unicodedata.normalize("NFD", "JOSÉ")),
        ("Zoë Ek", "Zoë  Ek"),
        ("Zoë Ek", " Zoë\N{NO-BREAK SPACE}Ek "),
        ("Anna", "A\N{ZERO WIDTH SPACE}nna"),
        ("7", "7.0"),
        ("7", "007"),
        ("0", "00.0"),
        ("p7", "P 07"),
        ("3-12", "03-012.0"),
        ("STRASSE", "straße"),
        ("７", "7"),
    ],
)
def test_alike_names_share_a_key(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("7", "70"), ("7", "7.5"), ("1.05", "1.5"), ("1.1", "1.10"), ("anna", "anna2"), ("p1_2", "p12"), ("José", "Jose")],
)
def test_other_names_do_not_share_a_key(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)


def test_unicode_forms_are_one_person(tmp_path: Path) -> None:
    made = of_subjects([NFC, NFD], split=["train", "test"])
    assert made.table["subject"].tolist() == [f"d/{NFC}"] * 2
    assert [leak.subject for leak in find_leaks(made)] == [f"d/{NFC}"]
    (tmp_path / "m.csv").write_text(f"path,label,subject\na.mp4,attack,{NFC}\nb.mp4,attack,{NFD}\n", encoding="utf-8")
    assert read_manifest(tmp_path / "m.csv").table["subject"].nunique() == 1


@pytest.mark.parametrize("typed", [NFC, NFD])
def test_person_is_named_in_either_unicode_form(typed: str) -> None:
    made = of_subjects([NFD, "anna", "bert"], label=["bona_fide", "attack", "bona_fide"])
    table = split_manifest(made, test=[typed]).table
    assert table["split"].tolist() == ["test", "train", "train"]


@pytest.mark.parametrize("names", [("José", "josé"), ("Zoë Ek", "Zoë  Ek"), ("7", "007"), ("7", "7.0")])
def test_alike_names_are_refused_until_decided(names: tuple[str, str]) -> None:
    made = of_subjects([names[0], names[0], names[1], "anna"])
    with pytest.raises(ManifestError, match=r"--same-person .* --distinct") as caught:
        settle_names(made)
    assert all(repr(f"d/{name}").replace("  ", " \\x20") in str(caught.value) for name in names)
    same = settle_names(made, same_person=True)
    assert same.table["subject"].tolist() == [f"d/{names[0]}"] * 3 + ["d/anna"]
    assert settle_names(same) is same
    distinct = settle_names(made, distinct=True)
    assert distinct.table["subject"].tolist() == made.table["subject"].tolist()
    assert settle_names(distinct) is distinct
    with pytest.raises(SettingsError, match="exclude each other"):
        settle_names(made, same_person=True, distinct=True)


def test_alike_names_across_splits_are_a_leak(tmp_path: Path) -> None:
    made = of_subjects(["José", "josé", "anna"], split=["train", "test", "test"])
    assert str(find_leaks(made)[0]) == "d/José = d/josé (train, test)"
    with pytest.raises(LeakError, match="--same-person"):
        check_no_leaks(made)
    declared = settle_names(made, distinct=True)
    assert find_leaks(declared) == []
    write_manifest(declared, tmp_path / "m.csv")
    assert find_leaks(read_manifest(tmp_path / "m.csv", root=tmp_path)) == []
    assert json.loads((tmp_path / "m.meta.json").read_text())[DISTINCT] == [["d/José", "d/josé"]]


def test_declared_names_do_not_cover_a_new_spelling() -> None:
    declared = settle_names(of_subjects(["anna", "Anna"]), distinct=True)
    later = make_manifest(of_subjects(["anna", "Anna", "ANNA"]).table, "/footage", about=declared.about)
    with pytest.raises(ManifestError, match="ANNA"):
        settle_names(later)


def test_index_and_split_ask_about_alike_names(tmp_path: Path) -> None:
    for place in ("live/Anna", "print/anna", "live/bert", "print/bert", "live/carl", "print/carl"):
        (tmp_path / "f" / place).mkdir(parents=True)
        (tmp_path / "f" / place / "1.jpg").touch()
    with pytest.raises(ManifestError, match="--same-person"):
        index(tmp_path / "f")
    made = index(tmp_path / "f", same_person=True, output=tmp_path / "m.csv").manifest
    assert made.table["subject"].nunique() == 3
    rows = (tmp_path / "m.csv").read_text().replace("f/bert", "f/Bert", 1)
    (tmp_path / "m.csv").write_text(rows)
    with pytest.raises(ManifestError, match=r"'f/Bert' .* 'f/bert'"):
        split(tmp_path / "m.csv")
    assert split(tmp_path / "m.csv", distinct=True).manifest.table["subject"].nunique() == 4


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "NA", "<NA>", "null", "-", "N/A", "unknown", " nan "])
def test_words_for_nobody_are_unknown_persons(tmp_path: Path, word: str) -> None:
    text = f"path,label,subject,dataset\na.mp4,attack,{word},d\nb.mp4,attack,d/{word.strip()},d\nc.mp4,attack,anna,d\n"
    (tmp_path / "m.csv").write_text(text)
    made = read_manifest(tmp_path / "m.csv")
    assert made.table["subject_known"].tolist() == [False, False, True]
    assert made.table["subject"].tolist() == ["d/a.mp4", "d/b.mp4", "d/anna"]
    assert "line 2" in made.notes[0]
    assert "line 3" in made.notes[0]


def test_index_names_rows_of_nobody(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "t.csv").write_text("path,label,subject\na.mp4,live,nan\nb.mp4,live,anna\n")
    made = index(tmp_path, layout="csv", table=tmp_path / "t.csv").manifest
    assert "line 2 (" in made.notes[0]
    for place in ("live/nan", "print/anna"):
        (tmp_path / "f" / place).mkdir(parents=True)
        (tmp_path / "f" / place / "1.jpg").touch()
    made = index(tmp_path / "f").manifest
    assert made.table["subject"].tolist() == ["f/live/nan/1.jpg", "f/anna"]
    assert "live/nan/1.jpg ('f/nan')" in made.notes[0]


@pytest.mark.parametrize("name", ["Nan", "Na", "Nancy", "0", "nana", "none_1"])
def test_names_like_words_for_nobody_stay(name: str) -> None:
    made = of_subjects([name])
    assert made.persons_known
    assert made.notes == ()


@pytest.mark.parametrize(("listed", "there"), [(NFC, NFD), (NFD, NFC), (NFC, NFC), (NFD, NFD)])
def test_files_open_in_either_unicode_form(tmp_path: Path, listed: str, there: str) -> None:
    (tmp_path / there).mkdir()
    (tmp_path / there / f"{there}.mp4").write_text("x")
    (tmp_path / "t.csv").write_text(f"path,label\n{listed}/{listed}.mp4,attack\n", encoding="utf-8")
    assert read_manifest(tmp_path / "t.csv").files()[0].read_text() == "x"
    made = index(tmp_path, layout="csv", table=tmp_path / "t.csv").manifest
    assert made.files()[0].read_text() == "x"


def test_meta_file_of_another_table_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    rows = pd.DataFrame({"path": ["a.mp4", "b.mp4"], "label": ["bona_fide", "attack"], "subject": ["p", "q"]})
    write_manifest(make_manifest(rows, tmp_path / "one"), tmp_path / "m.csv")
    older = (tmp_path / "m.csv").read_bytes()
    write_manifest(make_manifest(rows.assign(label=["attack", "bona_fide"]), tmp_path / "two"), tmp_path / "m.csv")
    (tmp_path / "m.csv").write_bytes(older)
    with pytest.raises(ManifestError, match=r"m\.meta\.json was written for other files or labels"):
        read_manifest(tmp_path / "m.csv")
    assert read_manifest(tmp_path / "m.csv", root=tmp_path / "one").root == tmp_path / "one"


def test_edited_columns_keep_their_meta_file(tmp_path: Path) -> None:
    made = of_subjects(["p", "q"], tmp_path, split=["train", "test"])
    write_manifest(made, tmp_path / "m.csv")
    text = (tmp_path / "m.csv").read_text()
    (tmp_path / "m.csv").write_text(text.replace("d/q", "d/r").replace("test", "val"))
    assert read_manifest(tmp_path / "m.csv").table["split"].tolist() == ["train", "val"]
