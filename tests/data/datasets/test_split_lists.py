"""Datasets whose lists say what belongs to a split."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bonaface.data.splits import find_leaks
from bonaface.errors import ManifestError
from tests.corpus_folder import counts, index, persons, write_corpus, write_files


def test_oulu_lists_are_followed_where_they_are(tmp_path: Path) -> None:
    write_corpus(tmp_path, "oulu_npu", persons=2)
    ruled = {}
    for protocol, fold in ((1, None), (3, 2)):
        listed = index(tmp_path, "oulu_npu", protocol=protocol, fold=fold)
        assert not any("by its rules" in note for note in listed.notes)
        ruled[protocol] = listed
    for lists in (tmp_path / "Protocols").rglob("*.txt"):
        lists.unlink()
    for protocol, fold in ((1, None), (3, 2)):
        by_rule = index(tmp_path, "oulu_npu", protocol=protocol, fold=fold)
        assert any("by its rules" in note for note in by_rule.notes)
        pd.testing.assert_frame_equal(by_rule.table, ruled[protocol].table)


def test_oulu_lists_may_lie_in_a_folder_named_baseline_and_may_differ_from_the_rules(tmp_path: Path) -> None:
    write_corpus(tmp_path, "oulu_npu", persons=1, lists=False)
    write_files(tmp_path, ["Baseline/Protocol_1/Train.txt"], text="+1,1_1_01_1\n-1,1_1_01_2\n")
    write_files(tmp_path, ["Baseline/Protocol_1/Dev.txt"], text="+1,1_3_21_1\r\n")
    write_files(tmp_path, ["Baseline/Protocol_1/Test.txt"], text="\n-2, 1_3_36_5\n-1,1_3_36_2\n")
    manifest = index(tmp_path, "oulu_npu", protocol=1)
    assert manifest.table.set_index("path")["split"].to_dict() == {
        "Train_files/1_1_01_1.avi": "train",
        "Train_files/1_1_01_2.avi": "train",
        "Dev_files/1_3_21_1.avi": "val",
        "Test_files/1_3_36_2.avi": "test",
        "Test_files/1_3_36_5.avi": "test",
    }


@pytest.mark.parametrize("line", ["-1,1_1_01_1", "+1,1_1_01_2", "1_1_01_1", "0,1_1_01_1"])
def test_an_oulu_list_that_contradicts_the_names_is_refused(tmp_path: Path, line: str) -> None:
    write_corpus(tmp_path, "oulu_npu", persons=1)
    (tmp_path / "Protocols/Protocol_1/Train.txt").write_text(line + "\n")
    with pytest.raises(ManifestError, match=r"Train\.txt: expected lines such as \+1,1_1_01_1"):
        index(tmp_path, "oulu_npu", protocol=1)


def test_files_that_a_list_names_and_the_disk_lacks(tmp_path: Path) -> None:
    write_corpus(tmp_path, "oulu_npu", persons=1)
    for name in ("Train_files/1_1_01_1.avi", "Test_files/6_3_36_5.avi"):
        (tmp_path / name).unlink()
    with pytest.raises(
        ManifestError, match=r"2 of the 150 names in its lists have no file \(1_1_01_1, 6_3_36_5\).*--allow-missing"
    ):
        index(tmp_path, "oulu_npu", protocol=1)
    manifest = index(tmp_path, "oulu_npu", protocol=1, allow_missing=True)
    assert len(manifest) == 148
    assert "incomplete copy: 2 of the 150 names in its lists have no file" in manifest.notes
    assert manifest.about["left_out"]["named in a list, but absent"] == 2  # type: ignore[index]


def test_nuaa_lists_with_backslashes(tmp_path: Path) -> None:
    write_corpus(tmp_path, "nuaa", persons=2)
    assert "\\" in (tmp_path / "raw/client_train_raw.txt").read_text()
    manifest = index(tmp_path, "nuaa")
    assert counts(manifest) == {"train": (16, 16), "test": (8, 8)}
    assert any("by its lists; the same persons are in train and test" in note for note in manifest.notes)
    assert len(find_leaks(manifest)) == 2
    (tmp_path / "raw/client_train_raw.txt").write_text("0001\\0001_00_04_01_0.jpg\n")
    assert counts(index(tmp_path, "nuaa")) == {"train": (1, 16), "test": (8, 8)}


def test_nuaa_takes_one_version_of_its_images(tmp_path: Path) -> None:
    names = ["raw/ClientRaw/0001/0001_00_00_01_0.jpg", "Detectedface/ClientFace/0001/0001_00_00_01_0.jpg"]
    manifest = index(write_files(tmp_path, names), "nuaa")
    assert manifest.table["path"].tolist() == names[:1]
    assert manifest.about["left_out"] == {"other versions of the same images": 1}
    detected = write_files(tmp_path / "detected", names[1:])
    for kind, side in (("client", "test"), ("imposter", "train"), ("imposter", "test")):
        write_files(detected, [f"Detectedface/{kind}_{side}_face.txt"])
    write_files(detected, ["Detectedface/client_train_face.txt"], text="0001\\0001_00_00_01_0.jpg 10 20 30 40\n")
    assert counts(index(detected, "nuaa")) == {"train": (1, 0)}


def test_msu_lists_of_two_digits(tmp_path: Path) -> None:
    write_corpus(tmp_path, "msu_mfsd", persons=2)
    (tmp_path / "train_sub_list.txt").write_text("02\n01\n")
    (tmp_path / "test_sub_list.txt").write_text("13\n03\n")
    manifest = index(tmp_path, "msu_mfsd")
    assert (persons(manifest, "train"), persons(manifest, "test")) == ({1, 2}, {3, 13})
    (tmp_path / "test_sub_list.txt").write_text("13\nclient03\n")
    with pytest.raises(ManifestError, match="a person's number a line, found client03"):
        index(tmp_path, "msu_mfsd")
    (tmp_path / "test_sub_list.txt").write_text("\n")
    with pytest.raises(ManifestError, match="a person's number a line, found nothing"):
        index(tmp_path, "msu_mfsd")
