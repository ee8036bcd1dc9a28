from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from bonaface.data.manifest import read_manifest
from bonaface.errors import InputError, ManifestError, OutputError, ScoreTableError
from bonaface.evaluation.scores import read_scores
from bonaface.io import (
    fresh_folder,
    new_folder,
    read_json,
    read_table,
    relative_paths,
    write_json,
    write_table,
    write_text,
)

HEADER = ["path", "label", "score"]
ROWS = [["a.mp4", "bona_fide", "0.5"], ["b c.mp4", "attack", "-1e-3"]]
COLUMNS = dict(zip(HEADER, map(list, zip(*ROWS, strict=True)), strict=True))


def text(separator: str, *, tail: str = "", end: str = "\n") -> str:
    return "".join(separator.join(row) + tail + end for row in [HEADER, *ROWS])


def table(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


WRITTEN: dict[str, str | bytes] = {
    "comma": text(","),
    "semicolon": text(";"),
    "tab": text("\t"),
    "blank after": text(", "),
    "blanks around": text(" ; "),
    "blank after in rows alone": text(",").replace(",bona", ", bona"),
    "carriage returns": text(";", end="\r\n"),
    "old line ends": text(",", end="\r"),
    "byte order mark": "\ufeff" + text(","),
    "utf-16": text("\t").encode("utf-16"),
    "utf-16 big endian": b"\xfe\xff" + text("\t").encode("utf-16-be"),
    "sep line": "sep=;\n" + text(";"),
    "sep line quoted": '"sep=,"\r\n' + text(","),
    "sep line of a bar": "SEP=|\n" + text("|"),
    "trailing separator everywhere": text(",", tail=","),
    "several trailing separators": text(";", tail=";;;"),
    "trailing separator in rows alone": text(",", tail=",").replace("score,", "score"),
    "trailing separator in one row": text(",").replace("-1e-3", "-1e-3,"),
    "blank lines": "\n\n" + text(",") + "\n,,\n  \n",
    "quoted": '"path","label","score"\n"a.mp4","bona_fide","0.5"\n"b c.mp4",attack,-1e-3\n',
    "no last line end": text(",").rstrip(),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_table_is_read_as_programs_write_it(tmp_path: Path, kind: str) -> None:
    columns = read_table(table(tmp_path, WRITTEN[kind])).columns
    if kind == "blank lines":
        assert [cells.pop() for cells in columns.values()] == ["", "", ""]
    assert columns == COLUMNS


@pytest.mark.parametrize("name", ["t.tsv", "t.txt", "T.CSV", "t.TSV"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_separator_is_read_from_the_header(tmp_path: Path, name: str, separator: str) -> None:
    assert read_table(table(tmp_path, text(separator), name)).columns == COLUMNS


def test_cells_keep_what_belongs_to_them(tmp_path: Path) -> None:
    content = 'path,note,n\n" a.mp4 ","two\nlines, ""both""",007\n\nb.mp4,5" screen,NA\nc.mp4,a;b;c;d\n'
    read = read_table(table(tmp_path, content))
    assert read.columns["path"] == [" a.mp4 ", "b.mp4", "c.mp4"]
    assert read.columns["note"] == ['two\nlines, "both"', '5" screen', "a;b;c;d"]
    assert read.columns["n"] == ["007", "NA", ""]
    assert read.places([0, 1, 2]) == ["line 2", "line 5", "line 6"]


def test_lines_are_counted_with_the_sep_line(tmp_path: Path) -> None:
    assert read_table(table(tmp_path, "sep=;\npath;label\n\na.mp4;x\n")).places([0]) == ["line 4"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("path,score\na.mp4,0,53\n", ["line 2 has 3 cells, the header 2", "write 0.53"]),
        ("path,score\na.mp4,0.5\nb,c.mp4,0.5\n", ["line 3 has 3 cells", "quote a cell that holds a comma"]),
        ("path;score\na.mp4;0.5;x\n", ["line 2", "a semicolon"]),
        ('path,score\na.mp4,"0.5\n', ["a quote is not closed"]),
        ("path,score,path\na,1,b\n", ["column 'path' more than once"]),
        (b"PK\x03\x04 a workbook", ["is a spreadsheet or an archive"]),
        (b"PAR1 columns", ["rename it to t.parquet"]),
        ("path\nä\n".encode("latin-1"), ["not UTF-8 (byte 0xe4 in line 2)"]),
        (b"\xff\xfea\x00b", ["damaged UTF-16"]),
        ("path\na\n".encode("utf-16-le"), ["NUL byte in line 1"]),
        (" \n\n", ["is empty"]),
        (",,\n,\n", ["is empty"]),
        ("sep=;\n", ["is empty"]),
    ],
)
def test_a_damaged_table_is_refused_with_its_line(tmp_path: Path, content: str | bytes, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read_table(table(tmp_path, content))
    message = str(caught.value)
    assert all(word in message for word in [str(tmp_path / "t.csv"), *words])
    assert "\n" not in message


@pytest.mark.parametrize("name", ["t.xlsx", "t.XLS", "t.ods"])
def test_a_spreadsheet_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ScoreTableError, match="save its sheet as CSV UTF-8"):
        read_scores(table(tmp_path, "x", name))


def test_columns_without_a_name_are_kept_where_they_hold_values(tmp_path: Path) -> None:
    read = read_table(table(tmp_path, ",path,,label\n0,a.mp4,,attack\n1,b.mp4,,attack\n"))
    assert read.columns == {"column 1": ["0", "1"], "path": ["a.mp4", "b.mp4"], "label": ["attack", "attack"]}


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_decimal_comma_is_named_once(tmp_path: Path, separator: str) -> None:
    rows = ["presentation;label;score", "a.mp4;attack;0,25", "b.mp4;bona_fide;1,5e1"]
    path = table(tmp_path, "\n".join(rows).replace(";", separator))
    with pytest.raises(ScoreTableError) as caught:
        read_scores(path)
    message = str(caught.value)
    assert "score has a decimal comma" in message
    assert "line 2 (a.mp4: '0,25'), line 3 (b.mp4: '1,5e1')" in message
    assert "not a number" not in message


@pytest.mark.parametrize("linked", [False, True])
def test_absolute_paths_below_the_root_become_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    footage = tmp_path / "foot"
    (footage / "live").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    if linked:
        (tmp_path / "link").symlink_to(footage)
    named = footage.resolve() / "live" / "a.mp4"
    table(tmp_path, f"path,label\n{named},bona_fide\nlive/b.mp4,attack\n", "m.csv")
    root = Path("link" if linked else "foot")
    assert read_manifest("m.csv", root=root).table["path"].tolist() == ["live/a.mp4", "live/b.mp4"]
    with pytest.raises(ManifestError, match="absolute path"):
        read_manifest(table(tmp_path, "path,label\n/elsewhere/a.mp4,attack\n", "n.csv"), root=root)


def test_a_root_is_no_prefix_of_its_neighbour() -> None:
    assert relative_paths(["/data/footage/a.mp4", "/data/foot/b.mp4"], Path("/data/foot")) == [
        "/data/footage/a.mp4",
        "b.mp4",
    ]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".parquet", ".pq"])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    before = pd.DataFrame(
        {"path": [" a", "b ", "c,\td;"], "n": [0.1 + 0.2, float("nan"), 5e-324], "k": [1, 2, 3], "e": ["", '"', "\n"]}
    )
    path = tmp_path / f"t{suffix}"
    write_table(before, path)
    after = read_table(path).frame
    assert after["path"].tolist() == before["path"].tolist()
    assert after["n"].tolist() == ["0.30000000000000004", "", "5e-324"]
    assert after["k"].tolist() == ["1", "2", "3"]
    assert after["e"].tolist() == before["e"].tolist()


def test_the_rows_that_pandas_names_are_no_column(tmp_path: Path) -> None:
    pd.DataFrame({"path": ["a"]}, index=pd.Index([7])).to_parquet(tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert read.columns == {"path": ["a"]}
    assert read.places([0]) == ["row 1"]


def test_json_is_valid_whatever_it_holds(tmp_path: Path) -> None:
    values = {"nan": float("nan"), "deep": [{"inf": float("-inf")}], "name": os.fsdecode(b"\xff\xc3\xa4.mp4")}
    write_json(tmp_path / "a.json", values)
    content = (tmp_path / "a.json").read_bytes().decode()
    read = json.loads(content, parse_constant=pytest.fail)
    assert read == {"nan": None, "deep": [{"inf": None}], "name": values["name"]}
    assert "ä.mp4" in content
    assert read_json(tmp_path / "none.json") == {}


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bonaface.io.files.os.fsync", full)
    with pytest.raises(OutputError, match=r"cannot write .*a\.txt: No space left on device"):
        write_text(path, "new")
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"

    def interrupted() -> None:
        with new_folder(target, what="report") as folder:
            (folder / "half.txt").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert list((tmp_path / "deep").iterdir()) == []
    target.mkdir()
    with new_folder(target, what="report") as folder:
        (folder / "page.html").write_text("1")
    assert [item.name for item in target.iterdir()] == ["page.html"]
    with (
        pytest.raises(OutputError, match="is not empty; name a different folder for the report"),
        new_folder(target, what="report"),
    ):
        pytest.fail("the block ran")
    with new_folder(target, what="report", replace=True) as folder:
        (folder / "new.html").write_text("2")
    assert [item.name for item in target.iterdir()] == ["new.html"]
    assert [item.name for item in target.parent.iterdir()] == ["out"]


def test_a_folder_of_a_run_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(OutputError, match=r"holds another run; .* add --resume"):
        fresh_folder(tmp_path, what="training run")
    with pytest.raises(OutputError, match="is a file"):
        fresh_folder(tmp_path / "run.json", what="report")
