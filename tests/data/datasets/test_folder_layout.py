from __future__ import annotations

from pathlib import Path

import pytest

from bonaface.data.datasets.pattern import compile_pattern
from bonaface.data.manifest import Manifest
from bonaface.data.splits import PERSONS_UNKNOWN
from bonaface.errors import ManifestError, SettingsError
from tests.corpus_folder import index, write_files


def indexed(root: Path, names: list[str], **options: object) -> Manifest:
    return index(write_files(root / "mine", names), "folder", **options)


def described(manifest: Manifest, path: str, *columns: str) -> tuple[str, ...]:
    row = manifest.table.set_index("path").loc[path]
    return tuple(str(row[name]) for name in columns)


# Names in one folder, one of them, and what it must say: label, species, category, subject, split.
ARRANGEMENTS = [
    (["live/p1/a.mp4", "print/p1/a.mp4"], "live/p1/a.mp4", ("bona_fide", "", "", "mine/p1", "")),
    (["live/p1/a.mp4", "print/p1/a.mp4"], "print/p1/a.mp4", ("attack", "print", "print", "mine/p1", "")),
    (
        ["Real/p1/a.jpg", "replay_ipad/p1/b.png"],
        "replay_ipad/p1/b.png",
        ("attack", "replay_ipad", "replay", "mine/p1", ""),
    ),
    (["live/a.mp4", "spoof/a.mp4"], "spoof/a.mp4", ("attack", "unspecified", "other", "mine/spoof/a.mp4", "")),
    (
        ["train/live/p1/a.mp4", "test/fake/p2/a.mp4"],
        "test/fake/p2/a.mp4",
        ("attack", "unspecified", "other", "mine/p2", "test"),
    ),
    (["dev/live/p1/a.mp4"], "dev/live/p1/a.mp4", ("bona_fide", "", "", "mine/p1", "val")),
    (["live/train/p1/a.mp4"], "live/train/p1/a.mp4", ("bona_fide", "", "", "mine/p1", "train")),
    (["p1/live/a.mp4", "p2/print/a.mp4"], "p2/print/a.mp4", ("attack", "print", "print", "mine/p2", "")),
    (["G/live/0.jpg", "H/replay/0.jpg"], "G/live/0.jpg", ("bona_fide", "", "", "mine/G", "")),
    (["G/live/p1/0.jpg", "H/replay/0.jpg"], "G/live/p1/0.jpg", ("bona_fide", "", "", "mine/p1", "")),
    (
        ["train/G/live/0.jpg", "val/H/replay/0.jpg"],
        "val/H/replay/0.jpg",
        ("attack", "replay", "replay", "mine/H", "val"),
    ),
    (["spoof/print/p1/a.mp4", "live/p1/a.mp4"], "spoof/print/p1/a.mp4", ("attack", "print", "print", "mine/p1", "")),
    (["replay/photo/p1/a.mp4"], "replay/photo/p1/a.mp4", ("attack", "replay_photo", "replay", "mine/p1", "")),
    (["attack/p1/print/a.mp4"], "attack/p1/print/a.mp4", ("attack", "print", "print", "mine/p1", "")),
    (["videos/live/p1/a.mp4"], "videos/live/p1/a.mp4", ("bona_fide", "", "", "mine/p1", "")),
    (["x/y/live/p1/a.mp4", "x/y/print/p1/a.mp4"], "x/y/live/p1/a.mp4", ("bona_fide", "", "", "mine/p1", "")),
    (["x/G/live/a.mp4", "x/H/print/a.mp4"], "x/G/live/a.mp4", ("bona_fide", "", "", "mine/G", "")),
    (["live/p1/s2/clip/a.mp4"], "live/p1/s2/clip/a.mp4", ("bona_fide", "", "", "mine/p1", "")),
]


@pytest.mark.parametrize(("names", "path", "expected"), ARRANGEMENTS)
def test_what_folders_say(tmp_path: Path, names: list[str], path: str, expected: tuple[str, ...]) -> None:
    manifest = indexed(tmp_path, names)
    assert described(manifest, path, "label", "species", "category", "subject", "split") == expected
    assert manifest.about["layout"] == "folder"


def test_files_right_in_a_class_folder_have_unknown_persons(tmp_path: Path) -> None:
    manifest = indexed(tmp_path, ["live/a.mp4", "print/a.mp4"])
    assert not manifest.persons_known
    assert manifest.notes == ()
    assert indexed(tmp_path / "again", ["train/live/a.mp4"]).notes == (PERSONS_UNKNOWN,)


def test_collection_folder_is_one_subject_with_note(tmp_path: Path) -> None:
    manifest = indexed(tmp_path, ["G/live/0.jpg", "G/replay/0.jpg", "H/live/0.jpg", "H/replay/p1/0.jpg"])
    assert manifest.persons_known
    assert manifest.table["subject"].tolist() == ["mine/G", "mine/G", "mine/H", "mine/p1"]
    assert manifest.table["collection"].tolist() == ["G", "G", "H", "H"]
    assert manifest.notes == (
        "the folder above the class folders (G, H) is taken for the person: if it holds several, they count as one",
    )


def test_what_lies_below_the_person_is_kept_as_a_column(tmp_path: Path) -> None:
    manifest = indexed(tmp_path, ["live/p1/s2/clip/a.mp4", "print/p1/a.mp4"])
    assert manifest.table["folder"].tolist() == ["s2/clip", ""]
    assert "folder" not in indexed(tmp_path / "again", ["live/p1/a.mp4"]).table


def test_clutter_and_other_files_are_counted(tmp_path: Path) -> None:
    names = ["live/p1/a.MP4", "live/p1/a.txt", "live/p1/Thumbs.db", "live/p1/._a.mp4", "clips.csv", ".git/x.mp4"]
    manifest = indexed(tmp_path, names)
    assert manifest.table["path"].tolist() == ["live/p1/a.MP4"]
    assert manifest.about["left_out"] == {"hidden files": 2, "hidden folders": 1, "neither image nor video": 2}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["live/a.mp4", "selfies/p1/a.mp4", "selfies/p1/b.mp4"],
            ["in selfies (2 files)", "live, real, genuine", "--map selfies=bona_fide"],
        ),
        (["G/live/a.mp4", "G/selfies/a.mp4"], ["in selfies (1 files)"]),
        (["train/selfies/a.mp4"], ["in selfies (1 files)"]),
        (["live/a.mp4", "b.mp4"], ["in the root itself (1 files)", "--pattern"]),
        (["live/print/a.mp4"], ["live/print: one folder says bona_fide, another attack", "=nothing"]),
        (
            ["replay-db/G/live/a.mp4", "replay-db/G/replay/a.mp4"],
            ["replay-db/G/live: one folder says attack, another bona_fide"],
        ),
        (["live/p1/video/a.mp4"], ["one folder says bona_fide, another attack"]),
        (["x/G/live/a.mp4", "y/G/live/a.mp4"], ["above the class folder live are x and G", "--pattern"]),
        (["train/test/live/a.mp4"], ["above the class folder live are train and test"]),
        (["live/a.txt"], ["1 files, none of them an image or a video", "found: live/a.txt"]),
        (["._a.mp4"], ["holds no files but 1 hidden ones"]),
        ([f"Train_files/{phone}_1_01_1.avi" for phone in range(1, 7)], ["it looks like the layout oulu_npu"]),
    ],
)
def test_ambiguous_folders_are_refused(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    with pytest.raises(ManifestError) as caught:
        indexed(tmp_path, names)
    for part in expected:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"holds no files: expected .*live/PERSON"):
        index(tmp_path, "folder")


def test_a_mapping_says_what_folders_mean(tmp_path: Path) -> None:
    names = ["selfies/p1/a.mp4", "tablet/p1/a.mp4", "docs/fig.png", "video/live/p2/a.mp4"]
    mapping = {"selfies": "bona_fide", "tablet": "replay_tablet", "docs": "ignore", "video": "nothing"}
    manifest = indexed(tmp_path, names, mapping=mapping)
    assert manifest.table["label"].tolist() == ["bona_fide", "attack", "bona_fide"]
    assert manifest.table["species"].tolist() == ["", "replay_tablet", ""]
    assert manifest.about["left_out"] == {"left out by the mapping": 1}
    with pytest.raises(SettingsError, match=r"--map selfie=.*: no such name \(did you mean 'selfies'\?\)"):
        indexed(tmp_path, names, mapping={**mapping, "selfie": "bona_fide"})


# A pattern, the names, and subject, label, species, split of the first.
PATTERNS = [
    ("{subject}/{label}/*", ["p1/live/a.mp4"], ("mine/p1", "bona_fide", "", "")),
    ("{subject}/{label}/*", ["p1/replay_ipad/a.mp4"], ("mine/p1", "attack", "replay_ipad", "")),
    ("{split}/{label}/{subject}/*", ["devel/fake/p1/a.mp4"], ("mine/p1", "attack", "unspecified", "val")),
    ("{label}/**/{subject}_*", ["live/x/y/p1_a.mp4"], ("mine/p1", "bona_fide", "", "")),
    ("{label}/**/{subject}_*", ["live/p1_a.mp4"], ("mine/p1", "bona_fide", "", "")),
    ("**/{subject}-{label}.mp4", ["p1-live.mp4"], ("mine/p1", "bona_fide", "", "")),
    ("{subject}/{label}/{species}/*", ["p1/attack/Matte Paper/a.mp4"], ("mine/p1", "attack", "matte_paper", "")),
    ("{subject}/{label}/{species}/*", ["p1/live/none/a.mp4"], ("mine/p1", "bona_fide", "", "")),
    ("{subject}/{species}/*", ["p1/print/a.mp4"], ("mine/p1", "attack", "print", "")),
    ("{subject}/{species}/*", ["p1/real/a.mp4"], ("mine/p1", "bona_fide", "", "")),
    ("{label}/*", ["live/a.mp4"], ("mine/live/a.mp4", "bona_fide", "", "")),
    ("{label}/{subject}/{subject}_*", ["live/p1/p1_a.mp4"], ("mine/p1", "bona_fide", "", "")),
]


@pytest.mark.parametrize(("pattern", "names", "expected"), PATTERNS)
def test_any_arrangement_by_a_pattern(
    tmp_path: Path, pattern: str, names: list[str], expected: tuple[str, ...]
) -> None:
    manifest = indexed(tmp_path, names, pattern=pattern)
    assert described(manifest, names[0], "subject", "label", "species", "split") == expected


def test_other_fields_of_a_pattern_become_columns(tmp_path: Path) -> None:
    names = ["p1/live/phone_3.mp4", "p1/live/odd.mp4", "p1/print/tablet_4.mp4"]
    pattern = "{subject}/{label}/{device}_{take}.mp4"
    with pytest.raises(ManifestError, match=r"leaves out 1 of 3 files: p1/live/odd\.mp4; .*--allow-unmatched"):
        indexed(tmp_path, names, pattern=pattern)
    manifest = indexed(tmp_path, names, pattern=pattern, allow_unmatched=True)
    assert manifest.table[["device", "take"]].to_numpy().tolist() == [["phone", "3"], ["tablet", "4"]]
    assert manifest.about["left_out"] == {"names that do not fit the pattern": 1}


def test_a_pattern_with_a_mapping(tmp_path: Path) -> None:
    names = ["image_T1.jpg", "image_F1.jpg", "image_X1.jpg"]
    mapping = {"T": "live", "F": "spoof", "X": "ignore"}
    manifest = indexed(tmp_path, names, pattern="image_{label}{take}.jpg", mapping=mapping)
    assert manifest.table["label"].tolist() == ["attack", "bona_fide"]


@pytest.mark.parametrize(
    ("pattern", "error", "expected"),
    [
        ("{subject}/*", SettingsError, "neither {label} nor {species}"),
        ("{subjet}/*", SettingsError, "neither {label} nor {species}"),
        ("{label/{subject}/*", SettingsError, "brace is not closed"),
        ("{label}/{my id}/*", SettingsError, "{my id} is not a name"),
        ("{label}/{path}", SettingsError, "{path} is a column of the manifest's own"),
        ("{label}/{subject}/*", ManifestError, "no name fits --pattern"),
        ("{subject}/{label}.mp4", ManifestError, "finds 'holiday' as the class"),
        ("{split}/{species}.mp4", ManifestError, "finds 'holiday' as the class"),
        ("{label}/{split}.mp4", ManifestError, "finds 'holiday' as the split"),
    ],
)
def test_patterns_that_do_not_work(tmp_path: Path, pattern: str, error: type[Exception], expected: str) -> None:
    with pytest.raises(error) as caught:
        indexed(tmp_path, ["live/holiday.mp4"], pattern=pattern)
    assert expected in str(caught.value)


@pytest.mark.parametrize("path", ["a/live/b/c.mp4", "a/live", "a/b/live/c.mp4", "live/c.mp4"])
def test_a_star_stays_within_its_level(path: str) -> None:
    assert compile_pattern("{subject}/{label}/*").fullmatch("a/live/c.mp4")
    assert compile_pattern("{subject}/live/{label}").fullmatch("a/live/c.mp4")
    matched = compile_pattern("{subject}/{label}/*").fullmatch(path)
    assert matched is None
