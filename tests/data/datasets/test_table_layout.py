from __future__ import annotations

from pathlib import Path

import pytest

from bonaface.data.splits import split_manifest
from bonaface.errors import ManifestError, SettingsError
from tests.corpus_folder import index, write_files

CLIPS = """path,label,subject,session,glasses,position,frames
live/0001/0001_00_00_01_00.mp4,live,nuaa-0001,01,00,00,12
live/0002/0002_01_04_02_01.mp4,live,nuaa-0002,02,01,04,12
print/0001/0001_00_00_01_00.mp4,print,nuaa-0001,01,00,00,12
"""


def kit(root: Path, text: str = CLIPS, name: str = "clips.csv") -> Path:
    folder = root / "nuaa-clips"
    folder.mkdir()
    lines = [line.replace("\\", "/") for line in text.splitlines()[1:]]
    write_files(folder, [each for line in lines if not (each := line.split(",")[0]).startswith(("/", "..", "gone"))])
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize("of_folder", [True, False])
def test_a_table_goes_in_as_it_is(tmp_path: Path, of_folder: bool) -> None:
    path = kit(tmp_path)
    manifest = index(path.parent if of_folder else path, "csv")
    assert manifest.root == path.parent
    table = manifest.table
    assert table["label"].tolist() == ["bona_fide", "bona_fide", "attack"]
    assert table["species"].tolist() == ["", "", "print"]
    assert table["category"].tolist() == ["", "", "print"]
    assert table["subject"].tolist() == ["nuaa-clips/nuaa-0001", "nuaa-clips/nuaa-0002", "nuaa-clips/nuaa-0001"]
    assert table["dataset"].unique().tolist() == ["nuaa-clips"]
    assert table[["session", "glasses", "position", "frames"]].iloc[1].tolist() == ["02", "01", "04", "12"]
    assert manifest.persons_known
    split = split_manifest(manifest, val=["nuaa-0002"])
    assert split.table["split"].tolist() == ["train", "val", "train"]


def test_columns_and_values_are_mapped(tmp_path: Path) -> None:
    text = "file;kind;who;Set;junk\nlive/a.mp4;0;p1;dev;x\nlive/b.mp4;matte;p2;training;y\nlive/c.mp4;2;p3;test;z\n"
    folder = tmp_path / "t"
    write_files(folder, ["live/a.mp4", "live/b.mp4", "live/c.mp4"])
    (folder / "t.csv").write_text(text)
    manifest = index(
        folder,
        "csv",
        columns={"path": "file", "label": "kind", "subject": "who", "split": "Set", "junk": ""},
        mapping={"0": "bona_fide", "matte": "print_matte", "2": "ignore"},
        dataset="ours",
    )
    columns = ["path", "label", "species", "subject", "split"]
    assert manifest.table[columns].to_numpy().tolist() == [
        ["live/a.mp4", "bona_fide", "", "ours/p1", "val"],
        ["live/b.mp4", "attack", "print_matte", "ours/p2", "train"],
    ]
    assert "junk" not in manifest.table
    assert manifest.about["left_out"] == {"left out by the mapping": 1}


@pytest.mark.parametrize(
    ("label", "species", "expected"),
    [
        ("attack", "Replay iPad", ("attack", "replay_ipad", "replay")),
        ("attack", "", ("attack", "unspecified", "other")),
        ("print", "something", ("attack", "print", "print")),
        ("live", "none", ("bona_fide", "", "")),
        ("Bona Fide", "", ("bona_fide", "", "")),
    ],
)
def test_a_species_column_refines_an_attack(
    tmp_path: Path, label: str, species: str, expected: tuple[str, ...]
) -> None:
    path = kit(tmp_path, f"path,label,species\na.mp4,{label},{species}\n")
    row = index(path, "csv").table.iloc[0]
    assert (row["label"], row["species"], row["category"]) == expected


def test_paths_with_backslashes_and_absolute_ones_below_the_root(tmp_path: Path) -> None:
    path = kit(tmp_path, f"path,label\nlive\\0001\\a.mp4,live\n{tmp_path}/nuaa-clips/live/b.mp4,print\n")
    write_files(path.parent, ["live/b.mp4"])
    assert index(path, "csv").table["path"].tolist() == ["live/0001/a.mp4", "live/b.mp4"]


def test_a_table_may_lie_elsewhere(tmp_path: Path) -> None:
    path = kit(tmp_path)
    elsewhere = tmp_path / "lists" / "clips.csv"
    elsewhere.parent.mkdir()
    path.rename(elsewhere)
    manifest = index(path.parent, "csv", table=elsewhere)
    assert manifest.root == path.parent
    assert len(manifest) == 3


def test_a_manifest_is_a_table_too(tmp_path: Path) -> None:
    text = "path,label,species,category,subject,dataset,split\na.mp4,attack,mobile_photo,replay,theirs/p,theirs,val\n"
    row = index(kit(tmp_path, text), "csv").table.iloc[0]
    assert (row["subject"], row["dataset"], row["species"], row["split"]) == (
        "theirs/p",
        "theirs",
        "mobile_photo",
        "val",
    )


def test_absent_files_are_named_or_gone_on_without(tmp_path: Path) -> None:
    path = kit(tmp_path, CLIPS + "gone/1.mp4,live,nuaa-0003,,,,\ngone/2.mp4,live,nuaa-0003,,,,\n")
    with pytest.raises(
        ManifestError,
        match=r"2 of its 5 files are not in .*: gone/1\.mp4 \(line 5\), gone/2\.mp4 \(line 6\); .*--allow-missing",
    ):
        index(path, "csv")
    manifest = index(path, "csv", allow_missing=True)
    assert len(manifest) == 3
    assert manifest.about["left_out"] == {"named in the table, but absent": 2}
    assert "2 of its 5 files" in manifest.notes[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,label\na.mp4,live\nb.mp4,holiday\n", ["line 3 ('holiday')", "holiday=bona_fide", "live, real"]),
        ("path,label\na.mp4,\n", ["line 2 ('')"]),
        ("path,label,split\na.mp4,live,tarin\n", ["a split that is not recognised in line 2 ('tarin')"]),
        ("path,label\na.mp4,live\na.mp4,print\n", ["more than once in line 2 ('a.mp4'), line 3 ('a.mp4')"]),
        ("path,label\ngone/a.mp4,live\n", ["1 of its 1 files are not in"]),
        ("path,label\n/etc/hostname,live\n", ["/etc/hostname"]),
        ("path,label\n../nuaa-clips/clips.csv,live\n", ["'..' in line 2"]),
        ("path,Lable\na.mp4,live\n", ["no column 'label' (did you mean 'Lable'?)", "--column label=NAME"]),
        ("path,label\n", ["has no rows"]),
        ("", ["is empty"]),
    ],
)
def test_what_is_wrong_in_a_table_is_named_by_line(tmp_path: Path, text: str, expected: list[str]) -> None:
    with pytest.raises(ManifestError) as caught:
        index(kit(tmp_path, text), "csv")
    for part in expected:
        assert part in str(caught.value)


def test_lines_are_right_after_rows_were_left_out(tmp_path: Path) -> None:
    text = "path,label\na.mp4,ignored\nb.mp4,live\nb.mp4,live\n"
    with pytest.raises(ManifestError, match=r"line 3 .*line 4"):
        index(kit(tmp_path, text), "csv", mapping={"ignored": "ignore"})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"columns": {"subject": "sub"}}, r"no column 'sub' to take as subject \(did you mean 'subject'\?\)"),
        ({"mapping": {"prnt": "print"}}, r"--map prnt=.*: no such name \(did you mean 'print'\?\)"),
        ({"pattern": "{label}/*"}, "layout csv takes no --pattern"),
        ({"dataset": "a/b"}, "expected a word without a slash"),
    ],
)
def test_options_that_do_not_fit_a_table(tmp_path: Path, options: dict[str, object], expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        index(kit(tmp_path), "csv", **options)


def test_a_folder_needs_one_table(tmp_path: Path) -> None:
    path = kit(tmp_path)
    (path.parent / "other.csv").write_text("path,label\n")
    with pytest.raises(ManifestError, match=r"found clips\.csv, other\.csv: name it"):
        index(path.parent, "csv")
    with pytest.raises(ManifestError, match="found none"):
        index(path.parent / "live", "csv")
    with pytest.raises(ManifestError, match="no file at"):
        index(tmp_path / "gone", "csv")
