"""What a folder name, or a cell of a table, says about a presentation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from bonaface.data.categories import category_of
from bonaface.data.manifest import UNSPECIFIED
from bonaface.errors import SettingsError, did_you_mean, few
from bonaface.types import Label

__all__ = ["IGNORE", "NOTHING", "UNDERSTOOD", "Kind", "Words", "kind_of_word", "normal", "split_of_word"]

IGNORE = "ignore"
"""What a mapping says of a name whose files are to be left out."""

NOTHING = "nothing"
"""What a mapping says of a folder that looks like a class folder and is none."""

UNDERSTOOD = (
    "bona fide: live, real, genuine, bona_fide, bonafide, client; "
    "attacks: print, photo, poster, paper, replay, video, screen, display, mask, paper_mask, spoof, fake, "
    "attack, imposter, or a name that begins with one of these, such as print_a4 or replay_ipad"
)

_BONA_FIDE = frozenset({"live", "real", "genuine", "bona", "bonafide", "client", "authentic"})
_ATTACK = frozenset({"spoof", "spoofed", "spoofing", "fake", "attack", "imposter", "impostor"})
_SPECIES = frozenset(
    {"print", "printed", "printout", "photo", "picture", "poster", "paper", "cut", "cutout", "warped"}
    | {"replay", "replayed", "video", "screen", "display", "monitor", "mattescreen"}
    | {
        "mask",
        "masked",
        "papermask",
        "3dmask",
        "silicone",
        "latex",
        "resin",
        "mannequin",
        "partial",
        "makeup",
    }
)
_FILLING = frozenset(
    {"face", "video", "image", "img", "photo", "part", "person", "people", "raw", "crop", "frame", "selfie"}
    | {"sample", "clip", "access", "fide", "class", "data", "folder", "user", "subject"}
)
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "devel": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


@dataclass(frozen=True)
class Kind:
    """A class, and of an attack the species and its category."""

    label: Label
    species: str = ""
    category: str = ""

    @property
    def generic(self) -> bool:
        """An attack of which nothing more is said."""
        return self.label is Label.ATTACK and self.species == UNSPECIFIED


BONA_FIDE = Kind(Label.BONA_FIDE)
ATTACK = Kind(Label.ATTACK, UNSPECIFIED, "other")


class Words:
    """The words understood, and before them a person's own, to `bona_fide`, `attack`, `ignore` or species."""

    def __init__(self, mapping: Mapping[str, str] | None = None) -> None:
        self._own = {normal(name): meaning.strip() for name, meaning in (mapping or {}).items()}
        self._given = dict(mapping or {})
        self._used: set[str] = set()
        self._known: dict[str, Kind | str | None] = {}

    def kind(self, name: str) -> Kind | str | None:
        """The kind that a name means, `ignore` where the mapping says so, None where nothing is known."""
        if name not in self._known:
            self._known[name] = self._look_up(normal(name))
        return self._known[name]

    def refuse_unused(self, found: list[str]) -> None:
        """Raise SettingsError where the mapping names what is not there."""
        unused = [name for name in self._given if normal(name) not in self._used]
        if unused:
            hint = did_you_mean(unused[0], found)
            names = few(map(repr, unused))
            raise SettingsError(f"the mapping names {names}, which is not there{hint}; found: {few(found)}")

    def _look_up(self, word: str) -> Kind | str | None:
        meaning = self._own.get(word)
        if meaning is None:
            return kind_of_word(word)
        self._used.add(word)
        if normal(meaning) == IGNORE:
            return IGNORE
        if normal(meaning) == NOTHING:
            return None
        if meaning == "":
            raise SettingsError(f"the mapping gives {word!r} no meaning: expected bona_fide, {IGNORE} or a species")
        known = kind_of_word(meaning)
        return known if known in (BONA_FIDE, ATTACK) else Kind(Label.ATTACK, normal(meaning), category_of(meaning))


def normal(name: str) -> str:
    """A name in lower case with single underscores.

    >>> normal("Print A4"), normal("ClientRaw"), normal("bona-fide")
    ('print_a4', 'client_raw', 'bona_fide')
    """
    apart = re.sub(r"(?<=[a-z]{2})(?=[A-Z])", "_", unicodedata.normalize("NFC", name).strip())
    return re.sub(r"[\W_]+", "_", apart).strip("_").lower()


def kind_of_word(name: str) -> Kind | None:
    """What a class folder's name says: bona fide, an attack, or a species; None where it says nothing.

    >>> kind_of_word("replay_ipad")
    Kind(label=<Label.ATTACK: 'attack'>, species='replay_ipad', category='replay')
    >>> kind_of_word("holiday") is None
    True
    """
    word = normal(name)
    first, *rest = [_singular(part) for part in word.split("_")]
    if first in _BONA_FIDE:
        return BONA_FIDE if _FILLING.issuperset(rest) else None
    if first == "presentation" and rest[:1] == ["attack"]:
        first, rest, word = "attack", rest[1:], word.partition("_")[2]
    if first in _ATTACK:
        if (_FILLING - _SPECIES).issuperset(rest):
            return ATTACK
        species = word.partition("_")[2]
        return Kind(Label.ATTACK, species, category_of(species))
    if first in _SPECIES or (first == "3d" and rest[:1] == ["mask"]):
        return Kind(Label.ATTACK, word, category_of(word))
    return None


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def split_of_word(name: str) -> str | None:
    """`train`, `val` or `test` for the names that splits go by, else None.

    >>> split_of_word("Devel"), split_of_word("evaluation"), split_of_word("p1")
    ('val', 'test', None)
    """
    return _SPLIT_WORDS.get(normal(name).removesuffix("_set"))
