"""CelebA-Spoof: protocols, lists, kinds and boxes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bonaface.errors import ManifestError
from tests.corpus_folder import counts, index, write_corpus, write_files


def test_celeba_protocols_name_their_images_and_kinds(tmp_path: Path) -> None:
    entries = write_corpus(tmp_path, "celeba_spoof", persons=None)
    whole = index(tmp_path, "celeba_spoof", protocol="intra_test")
    assert counts(whole) == {"train": (8, 40), "test": (4, 20)}
    assert whole.table.set_index("path")["species"].to_dict() == {entry.path: entry.species for entry in entries}
    attack = whole.table[whole.table["label"] == "attack"].iloc[0]
    assert (attack["illumination"], attack["environment"]) == ("back", "outdoor")
    part = index(tmp_path, "celeba_spoof", protocol="protocol1")
    assert counts(part) == {"train": (8, 32), "test": (4, 16)}
    assert part.about["left_out"]["not part of the protocol"] == 12  # type: ignore[index]


def test_celeba_kinds_have_their_categories(tmp_path: Path) -> None:
    write_corpus(tmp_path, "celeba_spoof", persons=1)
    table = index(tmp_path, "celeba_spoof").table
    categories = table.drop_duplicates("species").set_index("species")["category"].to_dict()
    print_, replay, paper = (
        ["photo", "poster", "a4"],
        ["pc", "pad", "phone"],
        ["face_mask", "upper_body_mask", "region_mask"],
    )
    assert categories == {
        "": "",
        **dict.fromkeys(print_, "print"),
        **dict.fromkeys(replay, "replay"),
        **dict.fromkeys(paper, "paper_mask"),
        "mask_3d": "mask_3d",
    }


def test_celeba_goes_on_without_absent_images_and_says_so(tmp_path: Path) -> None:
    entries = write_corpus(tmp_path, "celeba_spoof", persons=1)
    (tmp_path / entries[3].path).unlink()
    manifest = index(tmp_path, "celeba_spoof", protocol="intra_test")
    assert len(manifest) == 23
    assert any("1 of the 24 names in its lists have no file" in note for note in manifest.notes)
    with pytest.raises(ManifestError, match="1 of the 24 names"):
        index(tmp_path, "celeba_spoof", protocol="intra_test", allow_missing=False)


@pytest.mark.parametrize("text", ["[]", "{", '{"Data/train/1/live/1.jpg": [0, 1]}', '{"Data/train/1/live/1.jpg": 3}'])
def test_a_celeba_list_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    write_corpus(tmp_path, "celeba_spoof", persons=1)
    (tmp_path / "metas/intra_test/train_label.json").write_text(text)
    with pytest.raises(ManifestError, match=r"train_label\.json: expected a JSON object, path -> list of 44"):
        index(tmp_path, "celeba_spoof")


def test_a_celeba_protocol_needs_its_lists(tmp_path: Path) -> None:
    write_corpus(tmp_path, "celeba_spoof", persons=1, lists=False)
    with pytest.raises(ManifestError, match=r"no metas/protocol2/train_label\.json"):
        index(tmp_path, "celeba_spoof", protocol="protocol2")
    manifest = index(tmp_path, "celeba_spoof")
    assert "no species are known" in manifest.notes[0]


def test_a_celeba_list_overrules_the_folder(tmp_path: Path) -> None:
    entries = write_corpus(tmp_path, "celeba_spoof", persons=1)
    path = tmp_path / "metas/intra_test/train_label.json"
    marks = json.loads(path.read_text())
    marks[entries[0].path][43] = 1
    marks[entries[0].path][40] = 9
    path.write_text(json.dumps(marks))
    manifest = index(tmp_path, "celeba_spoof")
    assert manifest.table.set_index("path").loc[entries[0].path, "species"] == "phone"
    assert any("1 images lie in a folder that contradicts the lists" in note for note in manifest.notes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("56 28 112 140 0.99\n", (56, 28, 112, 140)),
        ("-20 -10 100 100 0.9", (0, 0, 80, 90)),
        ("200 200 100 100 0.9", (200, 200, 24, 24)),
        ("0 0 3 100 0.9", None),
        ("-50 0 52 100 0.9", None),
        ("10 10 -5 20 0.9", None),
        ("300 10 20 20 0.9", None),
        ("nan 1 2 3 0.9", None),
        ("10 10", None),
        ("", None),
    ],
)
def test_celeba_boxes_are_clipped_or_dropped(tmp_path: Path, text: str, expected: tuple[float, ...] | None) -> None:
    write_files(tmp_path, ["Data/train/1/live/1.jpg", "Data/train/1/live/2.jpg"])
    write_files(tmp_path, ["Data/train/1/live/1_BB.txt"], text=text)
    manifest = index(tmp_path, "celeba_spoof")
    assert manifest.boxes is not None
    found = manifest.boxes[["path", "frame", "x", "y", "w", "h", "frame_size"]].to_numpy().tolist()
    assert found == ([] if expected is None else [["Data/train/1/live/1.jpg", 0, *expected, "224"]])
    assert manifest.about["left_out"]["images without a usable box"] == (2 if expected is None else 1)  # type: ignore[index]
    assert index(tmp_path, "celeba_spoof", boxes=False).boxes is None
