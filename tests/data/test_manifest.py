from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bonaface.data.categories import category_of
from bonaface.data.manifest import (
    COLUMNS,
    make_manifest,
    read_manifest,
    write_manifest,
)
from bonaface.errors import ManifestError, MissingExtraError, OutputError


def written(folder: Path, text: str, name: str = "manifest.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"path": ["a.mp4", "b.mp4"], "label": ["bona_fide", "attack"], **columns})


def test_only_path_and_label_are_required(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path, "path,label\nx/a.mp4,bona_fide\nx/b.mp4,attack\n"))
    assert manifest.root == tmp_path
    assert manifest.source == tmp_path / "manifest.csv"
    assert manifest.files() == [tmp_path / "x/a.mp4", tmp_path / "x/b.mp4"]
    assert set(COLUMNS) < set(manifest.table.columns)
    assert manifest.table["species"].tolist() == ["", "unspecified"]
    assert manifest.table["category"].tolist() == ["", "other"]
    assert manifest.table["subject"].tolist() == ["x/a.mp4", "x/b.mp4"]
    assert not manifest.persons_known
    assert isinstance(manifest.table.index, pd.RangeIndex)


def test_further_columns_are_carried_as_they_are_written(tmp_path: Path) -> None:
    text = "path,label,session,note\na.mp4,bona_fide,007,NA\nb.mp4,attack,,1e3\n"
    manifest = read_manifest(written(tmp_path, text))
    assert manifest.table["session"].tolist() == ["007", ""]
    assert manifest.table["note"].tolist() == ["NA", "1e3"]


@pytest.mark.parametrize(
    ("subject", "dataset", "expected", "known"),
    [
        ("7", "mine", "mine/7", True),
        ("mine/7", "mine", "mine/7", True),
        ("elsewhere/7", "mine", "elsewhere/7", True),
        ("7", "", "7", True),
        ("", "mine", "mine/a.mp4", False),
        ("", "", "a.mp4", False),
        ("mine/a.mp4", "mine", "mine/a.mp4", False),
    ],
)
def test_a_person_is_named_within_the_dataset(
    tmp_path: Path, subject: str, dataset: str, expected: str, known: bool
) -> None:
    manifest = make_manifest(
        pd.DataFrame({"path": ["a.mp4"], "label": ["attack"], "subject": [subject], "dataset": [dataset]}), tmp_path
    )
    assert manifest.table["subject"].tolist() == [expected]
    assert manifest.table["subject_known"].tolist() == [known]


# Each body stands below the header; the text that its error must hold names the line as an editor counts it.
FAULTS = [
    ("path,label\na.mp4,live\n", ["line 2 ('live')", "bona_fide or attack"]),
    ("path,label\na.mp4,attack\n\nb.mp4,Attack\n", ["line 4 ('Attack')"]),
    ('path,label,note\na.mp4,attack,"two\nlines"\nb.mp4,,\n', ["line 4 ('')"]),
    ("path,label\na.mp4,attack\na.mp4,attack\n", ["line 2 ('a.mp4')", "line 3 ('a.mp4')", "more than once"]),
    ("path,label\na/b.mp4,attack\n./a//b.mp4,attack\n", ["line 2", "line 3 ('a/b.mp4')", "more than once"]),
    ("path,label,species\na.mp4,bona_fide,print\n", ["bona fide", "line 2 ('print')"]),
    ("path,label,category\na.mp4,bona_fide,print\n", ["bona fide", "line 2 ('print')"]),
    ("path,label,category\na.mp4,attack,poster\n", ["category other than print, replay", "line 2 ('poster')"]),
    ("path,label\n/a.mp4,attack\n", ["absolute", "line 2 ('/a.mp4')"]),
    ("path,label\nC:/a.mp4,attack\n", ["absolute", "line 2 ('C:/a.mp4')"]),
    ("path,label\n../a.mp4,attack\n", ["'..'", "line 2 ('../a.mp4')"]),
    ("path,label\nb/../../a.mp4,attack\n", ["'..'", "line 2"]),
    ("path,label\nb\\a.mp4,attack\n", ["backslash", "line 2"]),
    ("path,label\n,attack\n", ["no path in line 2"]),
    ("path,label,split\na.mp4,attack,dev\n", ["split other than train, val, test", "line 2 ('dev')"]),
    ("path,label,flip\na.mp4,attack,sideways\n", ["flip other than vertical (or none) in line 2 ('sideways')"]),
    ("path,label,first_frames\na.mp4,attack,0\n", ["first_frames other than a number of frames", "line 2 ('0')"]),
    ("path,label,subject,subject_known\na.mp4,attack,p,maybe\n", ["true or false", "line 2 ('maybe')"]),
    ("path,label,subject_known\na.mp4,attack,true\n", ["subject_known without a subject in line 2"]),
    ("path,label\n", ["no rows"]),
    ("", ["is empty"]),
    ("\n\n", ["is empty"]),
    ("path,lable\na.mp4,attack\n", ["no column 'label'", "did you mean 'lable'?", "found: path, lable"]),
    ("PATH,LABEL\na.mp4,attack\n", ["no column 'path' (did you mean 'PATH'?) and no column 'label'"]),
    ("path,label,label\na.mp4,attack,attack\n", ["column 'label' more than once"]),
    ("path,label\na.mp4,attack,more\n", ["not a regular table"]),
    ("path,label\na.mp4,attack\nb.mp4,attack,x\n", ["not a regular table", "line 3"]),
    ('path,label\na.mp4,"attack\n', ["not a regular table"]),
]


@pytest.mark.parametrize(("text", "expected"), FAULTS)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, text: str, expected: list[str]) -> None:
    with pytest.raises(ManifestError) as caught:
        read_manifest(written(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path / "manifest.csv") in message
    for part in expected:
        assert part in message


def test_all_kinds_of_faults_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        read_manifest(written(tmp_path, "path,label,split\n/a.mp4,live,train\nb.mp4,attack,x\n"))
    assert all(part in str(caught.value) for part in ("absolute", "'live'", "'x'"))


def test_rows_in_memory_are_counted_from_one(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"row 2 \('alive'\)"):
        make_manifest(table(label=["attack", "alive"]), tmp_path)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"path,label\na\0.mp4,attack\n", "NUL byte in line 2"),
        (b"path,label\na.mp4,attack\n\xff.mp4,attack\n", r"not UTF-8 \(byte 0xff in line 3\)"),
        ("path,label\na.mp4,attack\n".encode("utf-16-le"), "NUL byte"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, raw: bytes, expected: str) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(raw)
    with pytest.raises(ManifestError, match=expected):
        read_manifest(path)


@pytest.mark.parametrize(
    "text", ["\ufeffpath,label\r\nä.mp4,attack\r\n", "path;label\nä.mp4;attack\n", " path , label\nä.mp4,attack"]
)
def test_tables_as_office_programs_write_them(tmp_path: Path, text: str) -> None:
    manifest = read_manifest(written(tmp_path, text))
    assert manifest.table["path"].tolist() == ["ä.mp4"]


def test_a_name_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="invalid UTF-8 in row 1"):
        make_manifest(table().astype(object).assign(path=pd.Series(["a\udcff.mp4", "b.mp4"], dtype=object)), tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("no.csv", "no file at"),
        ("manifest.doc", "not a table by its name"),
        ("folder.csv", "is a folder"),
    ],
)
def test_a_path_that_is_no_table_is_refused(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ManifestError, match=expected):
        read_manifest(tmp_path / name)


@pytest.mark.parametrize(
    ("species", "category"),
    [
        ("print", "print"),
        ("print_a4", "print"),
        ("printed_photo", "print"),
        ("Photo", "print"),
        ("warped_photo", "print"),
        ("poster", "print"),
        ("paper", "print"),
        ("replay", "replay"),
        ("replay_ipad", "replay"),
        ("ipad_video", "replay"),
        ("mobile_photo", "replay"),
        ("screen", "replay"),
        ("display-2", "replay"),
        ("phone", "replay"),
        ("pc", "replay"),
        ("video", "replay"),
        ("paper_mask", "paper_mask"),
        ("papermask", "paper_mask"),
        ("paper_mask_upper", "paper_mask"),
        ("mask", "mask_3d"),
        ("mask_3d", "mask_3d"),
        ("silicone", "mask_3d"),
        ("partial_eyes", "partial"),
        ("makeup", "other"),
        ("unspecified", "other"),
        ("spatula", "other"),
    ],
)
def test_the_category_that_a_species_says(species: str, category: str) -> None:
    assert category_of(species) == category


def test_a_category_that_is_given_is_kept(tmp_path: Path) -> None:
    rows = table(species=["", "print"], category=["", "other"])
    assert make_manifest(rows, tmp_path).table["category"].tolist() == ["", "other"]


BOXES = pd.DataFrame(
    {"path": ["b.mp4", "b.mp4"], "frame": [0, 7], "x": [1.5, 2], "y": [3, 4], "w": [50, 51], "h": [60, 61.25]}
)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    rows = table(subject=["", "p1"], dataset=["d", "d"], split=["", "val"], session=['a "b",\n', ""])
    footage = tmp_path / "footage"
    footage.mkdir()
    manifest = make_manifest(
        rows, footage, boxes=BOXES, notes=["leaks"], about={"layout": "x", "left_out": {"hidden": 2}}
    )
    path = tmp_path / "out" / f"m.{suffix}"
    write_manifest(manifest, path)
    again = read_manifest(path)
    pd.testing.assert_frame_equal(again.table, manifest.table)
    assert again.boxes is not None
    assert manifest.boxes is not None
    pd.testing.assert_frame_equal(again.boxes, manifest.boxes)
    assert (again.root, again.notes, again.about) == (footage, ("leaks",), manifest.about)
    assert again.digest == manifest.digest
    assert json.loads((tmp_path / "out" / "m.meta.json").read_text())["root"] == "../footage"
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        f"m.{end}" for end in sorted(("boxes.csv", "meta.json", suffix))
    ]


def test_footage_that_moved_is_said_so(tmp_path: Path) -> None:
    manifest = make_manifest(table(), tmp_path / "gone")
    write_manifest(manifest, tmp_path / "m.csv")
    with pytest.raises(ManifestError, match=r"gone, which is not a folder: name it with --root"):
        read_manifest(tmp_path / "m.csv")
    assert read_manifest(tmp_path / "m.csv", root=tmp_path).root == tmp_path


def test_boxes_of_an_older_manifest_do_not_stay(tmp_path: Path) -> None:
    write_manifest(make_manifest(table(), tmp_path, boxes=BOXES), tmp_path / "m.csv")
    write_manifest(make_manifest(table(), tmp_path), tmp_path / "m.csv")
    assert read_manifest(tmp_path / "m.csv").boxes is None


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("w", 0, "without width or height in row 1"),
        ("x", "left", r"no number as x in row 1 \('left'\)"),
        ("frame", 0.5, "not a whole number in row 1"),
        ("frame", 7, "second box for one frame in row 2"),
        ("frame_size", "big", r"frame_size that is not a whole number in row 1"),
    ],
)
def test_boxes_are_checked(tmp_path: Path, column: str, value: object, expected: str) -> None:
    boxes = BOXES.assign(frame_size="224").astype(object)
    boxes[column] = [value, *boxes[column].tolist()[1:]]
    with pytest.raises(ManifestError, match=expected):
        make_manifest(table(), tmp_path, boxes=boxes)


def test_a_broken_sidecar_is_refused(tmp_path: Path) -> None:
    write_manifest(make_manifest(table(), tmp_path), tmp_path / "m.csv")
    (tmp_path / "m.meta.json").write_text("{")
    with pytest.raises(ManifestError, match=r"m\.meta\.json cannot be read as JSON"):
        read_manifest(tmp_path / "m.csv")


def test_an_output_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    manifest = make_manifest(table(), tmp_path)
    with pytest.raises(OutputError, match="cannot write"):
        write_manifest(manifest, tmp_path / "file" / "m.csv")
    with pytest.raises(OutputError, match="a table's name ends in"):
        write_manifest(manifest, tmp_path / "m.xlsx")
    (tmp_path / "m.csv").mkdir()
    with pytest.raises(OutputError):
        write_manifest(manifest, tmp_path / "m.csv")
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


def test_parquet_without_its_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make_manifest(table(), tmp_path)  # pandas itself uses pyarrow if it has found it
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "m.parquet").write_bytes(b"")
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[eval\]"'):
        read_manifest(tmp_path / "m.parquet")
    with pytest.raises(MissingExtraError, match=r"writing m\.parquet"):
        write_manifest(manifest, tmp_path / "m.parquet")


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "m.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ManifestError, match="cannot be read as Parquet"):
        read_manifest(tmp_path / "m.parquet")


def test_a_split_is_taken_with_its_boxes(tmp_path: Path) -> None:
    manifest = make_manifest(table(split=["train", "val"]), tmp_path, boxes=BOXES, notes=["a note"])
    val, test = manifest.where("val"), manifest.where("test")
    assert val.table["path"].tolist() == ["b.mp4"]
    assert val.table.index.tolist() == [0]
    assert val.boxes is not None
    assert len(val.boxes) == 2
    assert val.notes == ("a note",)
    assert len(test) == 0
    assert len(manifest.where("train").boxes) == 0  # type: ignore[arg-type]
    with pytest.raises(ManifestError, match=r"no split 'vall'.*did you mean 'val'"):
        manifest.where("vall")


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    base = make_manifest(table(session=["1", "2"]), tmp_path)
    same = make_manifest(table(session=["1", "2"])[["session", "label", "path"]], tmp_path / "elsewhere", notes=["x"])
    others = [
        make_manifest(table(session=["1", "3"]), tmp_path),
        make_manifest(table(session=["12", ""]), tmp_path),
        make_manifest(table(session=["1", "2"]), tmp_path, boxes=BOXES),
        make_manifest(table(session=["1", "2"]).iloc[::-1], tmp_path),
    ]
    assert same.digest == base.digest
    assert len({base.digest, *(other.digest for other in others)}) == 5


def test_values_of_other_types_become_text(tmp_path: Path) -> None:
    rows = table(fold=np.array([1, 2]), gap=[1.0, np.nan], flag=[True, False], part=[0.5, 1.0])
    made = make_manifest(rows, tmp_path).table
    assert made[["fold", "gap", "flag", "part"]].to_numpy().tolist() == [
        ["1", "1", "true", "0.5"],
        ["2", "", "false", "1.0"],
    ]


def test_sixty_thousand_rows_are_read_in_seconds(tmp_path: Path) -> None:
    lines = [f"train/{row % 997}/{row}.jpg,{'attack' if row % 3 else 'bona_fide'},{row % 997}" for row in range(60_000)]
    path = written(tmp_path, "path,label,subject\n" + "\n".join(lines) + "\n")
    start = time.perf_counter()
    assert len(read_manifest(path)) == 60_000
    assert time.perf_counter() - start < 10
