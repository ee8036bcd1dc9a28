from __future__ import annotations

import unicodedata

import pytest

from bonaface.data.datasets.label_names import IGNORE, Kind, Words, kind_of_word, split_of_word
from bonaface.errors import SettingsError
from bonaface.types import Label

BONA_FIDE = Kind(Label.BONA_FIDE)


@pytest.mark.parametrize(
    "name",
    [
        "live",
        "Live",
        "LIVE",
        "real",
        "genuine",
        "bona_fide",
        "bona-fide",
        "bonafide",
        "client",
        "clients",
        "ClientRaw",
        "real_part",
        "real_faces",
        "live_videos",
        "genuine_access",
        "authentic",
    ],
)
def test_names_of_bona_fide(name: str) -> None:
    assert kind_of_word(name) == BONA_FIDE


@pytest.mark.parametrize(
    ("name", "species", "category"),
    [
        ("print", "print", "print"),
        ("Print_A4", "print_a4", "print"),
        ("photo", "photo", "print"),
        ("photos", "photos", "print"),
        ("poster", "poster", "print"),
        ("paper", "paper", "print"),
        ("warped_photo", "warped_photo", "print"),
        ("replay", "replay", "replay"),
        ("replay_ipad", "replay_ipad", "replay"),
        ("ReplayIpad", "replay_ipad", "replay"),
        ("video", "video", "replay"),
        ("screen", "screen", "replay"),
        ("display", "display", "replay"),
        ("mask", "mask", "mask_3d"),
        ("masks", "masks", "mask_3d"),
        ("3d_mask", "3d_mask", "mask_3d"),
        ("mask_3d", "mask_3d", "mask_3d"),
        ("paper_mask", "paper_mask", "paper_mask"),
        ("attack_print", "print", "print"),
        ("spoof-replay-ipad", "replay_ipad", "replay"),
        ("fake_makeup", "makeup", "other"),
        ("spoof", "unspecified", "other"),
        ("Fake", "unspecified", "other"),
        ("attack", "unspecified", "other"),
        ("attacks", "unspecified", "other"),
        ("imposter", "unspecified", "other"),
        ("impostor", "unspecified", "other"),
        ("ImposterRaw", "unspecified", "other"),
        ("fake_part", "unspecified", "other"),
        ("presentation_attack", "unspecified", "other"),
    ],
)
def test_names_of_attacks(name: str, species: str, category: str) -> None:
    assert kind_of_word(name) == Kind(Label.ATTACK, species, category)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "p01",
        "0001",
        "holiday",
        "liveness",
        "realistic",
        "live_0001",
        "real_world",
        "printer",
        "session1",
        "rgb",
        "data",
    ],
)
def test_names_that_say_nothing(name: str) -> None:
    assert kind_of_word(name) is None


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("TRAIN", "train"),
        ("train_set", "train"),
        ("val", "val"),
        ("valid", "val"),
        ("validation", "val"),
        ("dev", "val"),
        ("devel", "val"),
        ("development", "val"),
        ("test", "test"),
        ("testing", "test"),
        ("eval", "test"),
        ("trainer", None),
        ("test2", None),
        ("", None),
    ],
)
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_of_word(name) == split


@pytest.mark.parametrize(
    ("meaning", "expected"),
    [
        ("bona_fide", BONA_FIDE),
        ("live", BONA_FIDE),
        ("attack", Kind(Label.ATTACK, "unspecified", "other")),
        ("replay", Kind(Label.ATTACK, "replay", "replay")),
        ("makeup_heavy", Kind(Label.ATTACK, "makeup_heavy", "other")),
        ("attack:Tablet Screen", Kind(Label.ATTACK, "tablet_screen", "replay")),
        ("attack:projection", Kind(Label.ATTACK, "projection", "other")),
        ("attack:live", Kind(Label.ATTACK, "live", "other")),
        ("attack_print", Kind(Label.ATTACK, "print", "print")),
        ("ignore", IGNORE),
        ("nothing", None),
    ],
)
def test_a_mapping_comes_before_the_words(meaning: str, expected: Kind | str | None) -> None:
    words = Words({"Print": meaning})
    assert words.kind("print") == expected
    assert words.kind("live") == BONA_FIDE
    words.refuse_unused([])


@pytest.mark.parametrize(
    ("meaning", "hint"),
    [
        ("alive", "did you mean bona_fide"),
        ("bonafied", "did you mean bona_fide"),
        ("Bona fiede", "did you mean bona_fide"),
        ("atack", "did you mean attack"),
        ("replai", "did you mean replay"),
        ("ignored", "did you mean ignore"),
        ("lebend", "expected bona_fide"),
        ("projection", "attack:NAME"),
        ("tablet_screen", "attack:NAME"),
        ("attack:", "attack:NAME"),
        ("bona_fide:selfie", "attack:NAME"),
        ("live:print", "attack:NAME"),
        (" ", "expected bona_fide"),
    ],
)
def test_unknown_meaning_gets_a_hint(meaning: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=f"--map real_2024={meaning}: .*{hint}"):
        Words({"real_2024": meaning})


def test_words_are_compared_in_nfc() -> None:
    words = Words({unicodedata.normalize("NFC", "Fälschung"): "attack:print"})
    assert words.kind(unicodedata.normalize("NFD", "fälschung")) == Kind(Label.ATTACK, "print", "print")


def test_a_mapping_that_fits_nothing_is_refused() -> None:
    words = Words({"selfis": "bona_fide"})
    words.kind("selfies")
    with pytest.raises(SettingsError, match=r"--map selfis=.*: no such name \(did you mean 'selfies'\?\)"):
        words.refuse_unused(["selfies"])
