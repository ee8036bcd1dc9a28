from __future__ import annotations

import json
import math
import unicodedata
from pathlib import Path

import cv2
import pandas as pd
import pytest
from typer.testing import CliRunner

import bonaface
from bonaface.cli import app
from bonaface.data.manifest import make_manifest, write_manifest
from bonaface.errors import OutputError
from tests.data.audit.pictures import coded, cropped, resized, scene


def write(path: Path, picture, quality: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(cv2.imencode(path.suffix, picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]))


def folder_of(place: Path, *, splits: bool = True) -> Path:
    """Twelve persons, a live picture and a smaller attack each, and no leak; the manifest's path."""
    rows = []
    for person in range(12):
        for label, factor in (("bona_fide", 1.0), ("attack", 0.75)):
            path = f"{person}/{label}.jpg"
            write(place / path, resized(scene(2 * person + (label == "attack")), factor))
            split = ("train", "val", "test")[person % 3] if splits else ""
            rows.append({"path": path, "label": label, "subject": f"p{person}", "split": split})
    write_manifest(make_manifest(pd.DataFrame(rows), place), place / "manifest.csv")
    return place / "manifest.csv"


def planted(place: Path) -> Path:
    """The same with four leaks, a doubtful pair within train, a broken file and a person in two splits."""
    table = pd.read_csv(folder_of(place), dtype=str, keep_default_na=False)
    first = scene(0)
    write(place / "leak/reencoded.jpg", coded(first), 50)
    write(place / "leak/mirrored.jpg", cropped(first, 0.1, 0, 0, 0.1)[:, ::-1])
    (place / "leak/bytes.jpg").write_bytes((place / "0/bona_fide.jpg").read_bytes())
    write(place / "leak/again.jpg", scene(90))
    write(place / "leak/renamed.jpg", coded(scene(7)))
    (place / "leak/broken.jpg").write_bytes(b"no picture")
    extra = [
        ("leak/reencoded.jpg", "bona_fide", "p1", "val"),
        ("leak/mirrored.jpg", "bona_fide", "p2", "test"),
        ("leak/bytes.jpg", "bona_fide", "p4", "val"),
        ("leak/again.jpg", "bona_fide", "p0", "test"),
        ("leak/renamed.jpg", "bona_fide", "p3", "train"),
        ("leak/broken.jpg", "attack", "p3", "train"),
    ]
    more = pd.DataFrame(extra, columns=["path", "label", "subject", "split"])
    more["species"] = more["label"].map({"attack": "unspecified", "bona_fide": ""})
    rows = pd.concat([table.drop(columns="subject_known"), more]).fillna("")
    write_manifest(make_manifest(rows, place), place / "leaky.csv")
    return place / "leaky.csv"


@pytest.fixture(scope="module")
def leaky(tmp_path_factory) -> Path:
    return planted(Path(tmp_path_factory.mktemp("audit")))


@pytest.fixture(scope="module")
def audited(leaky: Path):
    return bonaface.audit(leaky, output=leaky.parent / "out", detector="whole_frame", workers=1)


def test_every_planted_leak_is_found_and_nothing_else(audited):
    assert [leak.subject for leak in audited.persons] == ["p0"]
    leaks = {frozenset(shared.paths) for shared in audited.of_level("leak")}
    source, copies = "0/bona_fide.jpg", ("leak/reencoded.jpg", "leak/mirrored.jpg", "leak/bytes.jpg")
    between = {frozenset((one, two)) for one in copies for two in copies if one != two}
    assert {frozenset((source, copy)) for copy in copies} <= leaks
    assert leaks - {frozenset((source, copy)) for copy in copies} <= between
    same = [shared.paths for shared in audited.shared if shared.kind == "same_file"]
    assert same == [(source, "leak/bytes.jpg")]


def test_one_picture_under_two_labels_in_one_split_is_a_warning(audited):
    (warning,) = [shared for shared in audited.of_level("warning") if "leak/renamed.jpg" in shared.paths]
    assert warning.paths == ("3/attack.jpg", "leak/renamed.jpg")
    assert warning.why == "two labels"


def test_a_file_that_is_no_picture_is_named(audited):
    (broken,) = audited.unreadable
    assert broken.path == "leak/broken.jpg"
    assert "not an image" in broken.reason


def test_the_size_of_the_pictures_is_the_worst_shortcut(audited):
    worst = audited.shortcuts[0]
    assert worst.source == "file"
    assert worst.auc.value > 0.9
    assert {"width", "height", "pixels"} <= {shortcut.name for shortcut in audited.marked}


def test_json_and_page_say_the_same(audited):
    assert "do not train on this" in audited.verdict
    written = json.loads((audited.folder / "audit.json").read_text())
    assert written["leaks"] == audited.leaks
    assert len(written["shared"]) == len(audited.shared)
    page = (audited.folder / "audit.html").read_text()
    assert page.count("<img ") >= 6
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "do not train on this" in page
    assert page.count("What to do:") >= 4
    assert "Not found: copies that were" in page


def test_without_faces_the_page_has_no_picture(audited, leaky: Path):
    page = audited.folder / "audit.html"
    assert "data:image" in page.read_text()
    # The folder of an audit takes a second one, a folder of something else does not.
    bonaface.audit(leaky, output=audited.folder, detector="whole_frame", workers=1, faces=False)
    assert "data:image" not in page.read_text()
    with pytest.raises(OutputError, match="not empty"):
        bonaface.audit(leaky, output=leaky.parent / "leak", detector="whole_frame", workers=1)


def test_without_splits_it_says_so(tmp_path: Path):
    found = bonaface.audit(folder_of(tmp_path, splits=False), workers=1)
    assert found.leaks == 0
    assert any("no splits" in note for note in found.notes)
    assert "were not looked for" in found.verdict
    assert len(found.faceless) == 24


def test_files_that_are_not_there_leave_the_columns(tmp_path: Path):
    table = pd.DataFrame(
        {
            "path": [f"{row}.mp4" for row in range(40)],
            "label": ["bona_fide", "attack"] * 20,
            "subject": [f"p{row // 4}" for row in range(40)],
            "camera": ["laptop", "phone"] * 20,
        }
    )
    found = bonaface.audit(make_manifest(table, tmp_path), workers=1)
    assert len(found.unreadable) == 40
    assert any("no file could be read" in note for note in found.notes)
    assert found.shortcuts[0].name == "camera"
    assert found.shortcuts[0].auc.value == 1.0
    assert not math.isnan(found.shortcuts[0].auc.low)
    json.dumps(found.to_dict(), allow_nan=False)


def small(place: Path, rows: list[tuple[str, str, str, str]]):
    """A manifest of a scene each: path, label, subject, split."""
    for number, (path, *_) in enumerate(rows):
        write(place / path, scene(300 + number))
    return make_manifest(pd.DataFrame(rows, columns=["path", "label", "subject", "split"]), place)


def audit_of(place: Path, rows: list[tuple[str, str, str, str]]):
    return bonaface.audit(small(place, rows), detector="whole_frame", workers=1)


@pytest.mark.parametrize("known", ["", "anna"])
def test_unknown_subjects_cannot_be_checked(known, tmp_path: Path):
    """With flat names the subjects are unknown, so leaks between splits cannot be checked."""
    rows = [
        ("real/anna_01.jpg", "bona_fide", known, "train"),
        ("real/anna_02.jpg", "bona_fide", "", "test"),
        ("fake/anna_03.jpg", "attack", "", "test"),
    ]
    found = audit_of(tmp_path, rows)
    assert found.leaks == 0
    assert "no subject" not in found.verdict
    assert "cannot be checked" in found.verdict
    assert f"{2 + (not known)} of 3" in found.verdict
    assert found.to_dict()["unknown_subjects"] == 2 + (not known)


def test_known_subjects_are_vouched_for(tmp_path: Path):
    found = audit_of(tmp_path, [("a.jpg", "bona_fide", "a", "train"), ("b.jpg", "bona_fide", "b", "test")])
    assert found.verdict == "no subject, file or picture was found in two splits"


@pytest.mark.parametrize("other", ["Anna", "anna ", "ANNA", "an na"])
def test_alike_names_in_two_splits_are_a_leak(other, tmp_path: Path):
    found = audit_of(tmp_path, [("a.jpg", "bona_fide", "anna", "train"), ("b.jpg", "bona_fide", other, "test")])
    assert found.leaks == 1
    assert [leak.splits for leak in found.persons] == [("train", "test")]
    assert "do not train on this" in found.verdict


def test_alike_names_in_one_split_are_no_leak(tmp_path: Path):
    found = audit_of(tmp_path, [("a.jpg", "bona_fide", "anna", "train"), ("b.jpg", "bona_fide", "Anna", "train")])
    assert found.leaks == 0


def test_one_name_in_two_unicode_forms_is_one_subject(tmp_path: Path):
    forms = [unicodedata.normalize(form, "José") for form in ("NFC", "NFD")]
    found = audit_of(tmp_path, [("a.jpg", "bona_fide", forms[0], "train"), ("b.jpg", "bona_fide", forms[1], "test")])
    assert [leak.splits for leak in found.persons] == [("train", "test")]


def test_only_pairs_that_matter_are_reported(tmp_path: Path):
    """One picture seven times: a copy within one subject, label and split does no harm."""
    picture = scene(400)
    rows = [
        ("own.jpg", "bona_fide", "a", "train"),
        ("same.jpg", "bona_fide", "a", "train"),
        ("label.jpg", "attack", "a", "train"),
        ("subject.jpg", "bona_fide", "b", "train"),
        ("split.jpg", "bona_fide", "a", "val"),
    ]
    for quality, (path, *_) in enumerate(rows, start=60):
        write(tmp_path / path, picture, quality)
    manifest = make_manifest(pd.DataFrame(rows, columns=["path", "label", "subject", "split"]), tmp_path)
    found = bonaface.audit(manifest, detector="whole_frame", workers=1)
    pairs = {shared.paths: shared for shared in found.shared}
    assert ("own.jpg", "same.jpg") not in pairs
    assert pairs["own.jpg", "label.jpg"].why == "two labels"
    assert pairs["own.jpg", "subject.jpg"].why == "two subjects"
    assert pairs["own.jpg", "split.jpg"].level == "leak"
    assert len(pairs) == 9


def test_repeated_files_are_named_once_each(tmp_path: Path):
    rows = [(f"{number}.jpg", "bona_fide", "a", "train") for number in range(4)]
    manifest = small(tmp_path, rows)
    for path, *_ in rows:
        write(tmp_path / path, scene(1))
    found = bonaface.audit(manifest, detector="whole_frame", workers=1)
    assert [shared.paths for shared in found.shared] == [("0.jpg", f"{number}.jpg") for number in (1, 2, 3)]
    assert {shared.level for shared in found.shared} == {"remark"}


@pytest.mark.parametrize("factor", [1.0, 0.75])
def test_dataset_of_one_class_or_two_sizes_is_reported(factor, tmp_path: Path):
    rows = []
    for number in range(12):
        label = ("bona_fide", "attack")[number % 2]
        path = f"own/{number}.jpg"
        write(tmp_path / path, resized(scene(number), factor if label == "attack" else 1.0))
        rows.append({"path": path, "label": label, "subject": f"p{number}", "dataset": "own"})
        if label == "attack":
            write(tmp_path / f"web/{number}.jpg", scene(50 + number))
            rows.append({"path": f"web/{number}.jpg", "label": label, "subject": f"w{number}", "dataset": "web"})
    found = bonaface.audit(make_manifest(pd.DataFrame(rows), tmp_path), detector="whole_frame", workers=1)
    biases = {(bias.dataset, bias.what) for bias in found.datasets}
    assert ("web", "class") in biases
    assert ("own", "class") not in biases
    assert (("own", "width") in biases) == (factor < 1)
    assert "only attack presentations" in str(found.to_dict()["dataset_biases"])


def test_line_breaks_in_names_do_not_forge_output(tmp_path: Path):
    name = "a\nverdict: nothing leaks.jpg"
    rows = [(name, "bona_fide", "a", "train"), ("b.jpg", "bona_fide", "b", "test")]
    for path, *_ in rows:
        write(tmp_path / path, scene(1))
    write_manifest(
        make_manifest(pd.DataFrame(rows, columns=["path", "label", "subject", "split"]), tmp_path), tmp_path / "m.csv"
    )
    done = CliRunner().invoke(
        app, ["data", "audit", str(tmp_path / "m.csv"), "--detector", "whole_frame", "--workers", "1"]
    )
    assert done.exit_code == 1
    assert [line for line in done.output.splitlines() if line.startswith("verdict:")] == [
        "verdict: 1 pair of presentations with the same content occurs in two splits: do not train on this"
    ]


def test_audit_exit_code_reports_leaks(leaky: Path):
    options = ["--detector", "whole_frame", "--workers", "1"]
    found = CliRunner().invoke(app, ["data", "audit", str(leaky), *options])
    assert found.exit_code == 1
    assert "in two splits" in found.output
    clean = CliRunner().invoke(app, ["data", "audit", str(leaky.parent / "manifest.csv"), *options])
    assert clean.exit_code == 0
    assert "Exit code 0" in CliRunner().invoke(app, ["data", "audit", "--help"]).output
