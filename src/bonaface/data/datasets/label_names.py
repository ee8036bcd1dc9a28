"""Recognise classes, species and splits in folder names, tables and `--map`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from bonaface.data.categories import category_of
from bonaface.errors import SettingsError, did_you_mean, format_list
from bonaface.types import UNSPECIFIED, Label

IGNORE = "ignore"
"""Meaning, in a mapping, of a name whose files are left out."""

NOTHING = "nothing"
"""Meaning, in a mapping, of a folder whose name looks like a class but is not one."""

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
    | {"mask", "masked", "papermask", "3dmask", "silicone", "latex", "resin", "mannequin", "partial", "makeup"}
)
_FILLING = frozenset(
    {"face", "video", "image", "img", "photo", "part", "person", "people", "raw", "crop", "frame", "selfie"}
    | {"sample", "clip", "access", "fide", "class", "data", "folder", "user", "subject"}
)
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "devel", "development"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


@dataclass(frozen=True)
class Kind:
    """A class; for an attack also the species and its category."""

    label: Label
    species: str = ""
    category: str = ""

    @property
    def generic(self) -> bool:
        """Whether it is an attack without a species."""
        return self.label is Label.ATTACK and self.species == UNSPECIFIED


BONA_FIDE = Kind(Label.BONA_FIDE)
ATTACK = Kind(Label.ATTACK, UNSPECIFIED, "other")


class Words:
    """The words for classes: those of a mapping first, then the ones that are understood everywhere.

    A mapping gives a name `bona_fide`, `attack`, `attack:NAME` (an attack of species NAME), a species that is
    understood (`print`, `replay_ipad`), `ignore` or `nothing`. Raises SettingsError for any other meaning.
    """

    def __init__(self, mapping: Mapping[str, str] | None = None) -> None:
        self._given = dict(mapping or {})
        self._own = {normal(name): _meaning(name, meant) for name, meant in self._given.items()}
        self._used: set[str] = set()
        self._known: dict[str, Kind | str | None] = {}

    def kind(self, name: str) -> Kind | str | None:
        """Return the kind that a name means, IGNORE where the mapping says so, None where nothing is known."""
        if name not in self._known:
            word = normal(name)
            self._used.add(word)
            self._known[name] = self._own[word] if word in self._own else kind_of_word(name)
        return self._known[name]

    def refuse_unused(self, found: list[str]) -> None:
        """Raise SettingsError where the mapping names what does not occur."""
        unused = [name for name in self._given if normal(name) not in self._used]
        if unused:
            hint = did_you_mean(unused[0], found)
            raise SettingsError(f"--map {unused[0]}=...: no such name{hint}; found: {format_list(found)}")


def _meaning(name: str, meant: str) -> Kind | str | None:
    """Return what a mapping's right side means."""
    word = normal(meant)
    if word in (IGNORE, NOTHING):
        return IGNORE if word == IGNORE else None
    general, colon, species = meant.partition(":")
    if colon and kind_of_word(general) == ATTACK and normal(species):
        return Kind(Label.ATTACK, normal(species), category_of(species))
    known = None if colon else kind_of_word(meant)
    if known is None:
        raise SettingsError(
            f"--map {name}={meant}: {meant!r} is not recognised{_nearest(word)}; expected bona_fide, attack, "
            f"attack:NAME for an attack of species NAME, a known species such as print, replay or mask, {IGNORE} "
            f"or {NOTHING}"
        )
    return known


def _nearest(word: str) -> str:
    """Return a hint to the meaning whose word is nearest; empty where none is near."""
    meanings = {**dict.fromkeys(_ATTACK, "attack"), **{name: name for name in (*_SPECIES, IGNORE, NOTHING)}}
    meanings |= dict.fromkeys((*_BONA_FIDE, "bona_fide", "living"), "bona_fide")
    near = get_close_matches(word, meanings, n=1, cutoff=0.7)
    return f" (did you mean {meanings[near[0]]}?)" if near else ""


def normal(name: str) -> str:
    """Return a name in NFC and lower case, with single underscores.

    >>> normal("Print A4"), normal("ClientRaw"), normal("bona-fide")
    ('print_a4', 'client_raw', 'bona_fide')
    """
    apart = re.sub(r"(?<=[a-z]{2})(?=[A-Z])", "_", unicodedata.normalize("NFC", name).strip())
    return re.sub(r"[\W_]+", "_", apart).strip("_").lower()


def kind_of_word(name: str) -> Kind | None:
    """Return what a class folder's name means: bona fide, an attack, or a species; None for any other word.

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
    """Return `train`, `val` or `test` for a name that a split goes by, else None.

    >>> split_of_word("Devel"), split_of_word("evaluation"), split_of_word("p1")
    ('val', 'test', None)
    """
    return _SPLIT_WORDS.get(normal(name).removesuffix("_set"))
