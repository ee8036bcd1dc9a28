"""The Replay datasets of Idiap.

Replay-Attack: 50 subjects, prints, phone and tablet replays, held by hand or fixed.

    {train,devel,test}/real/client001_session01_webcam_authenticate_adverse_1.mov
    {train,devel,test}/attack/{fixed,hand}/attack_print_client001_session01_highdef_photo_adverse.mov

Chingovska, Anjos and Marcel, On the Effectiveness of Local Binary Patterns in Face Anti-spoofing, BIOSIG 2012.

Replay-Mobile: 40 subjects in front of a phone and a tablet, prints and a matte screen.

    {train,devel,test}/real/client001_session01_authenticate_mobile_adverse.mov
    {train,devel,test}/attack/{fixed,hand}/attack_client001_session01_print_fixed_mobile_photo_lighton.mov

Costa-Pazo et al., The Replay-Mobile Face Presentation-Attack Database, BIOSIG 2016.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, labelled, split_by_person, take
from bonaface.data.datasets.label_names import split_of_word

_SUPPORTS = ("hand", "fixed")
_CLIENTS = {
    "train": "1, 2, 4, 6-8, 12, 16, 18, 25, 27, 103, 105, 108, 110",
    "val": "3, 5, 10, 15, 17, 22, 29, 30, 101, 111, 113, 114, 116, 118, 119",
    "test": "9, 11, 13, 14, 19-21, 23, 24, 26, 28, 31, 102, 104, 106, 107, 109, 112, 115, 117",
}
_KINDS = {
    "": ("", ""),
    "print": ("print", "print"),
    "mobile_photo": ("mobile_photo", "replay"),
    "mobile_video": ("mobile_video", "replay"),
    "highdef_photo": ("highdef_photo", "replay"),
    "highdef_video": ("highdef_video", "replay"),
}


def _rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    print_ = names["device"] == "print"
    code = (names["device"] + "_" + names["medium"]).mask(print_, "print").mask(names["device"] == "", "")
    rows = labelled(names, code, _KINDS)
    rows = _with_sets(rows.assign(support=rows["support"].str.lower()), _CLIENTS)
    attacks = {
        "print": print_,
        "mobile": names["device"] == "mobile",
        "highdef": names["device"] == "highdef",
        "digitalphoto": ~print_ & (names["medium"] == "photo"),
        "photo": names["medium"] == "photo",
        "video": names["medium"] == "video",
    }
    return _of_protocol(rows, attacks, request).drop(columns=["device", "set"])


def _with_sets(rows: pd.DataFrame, clients: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows with the split of their folder, or of the list of subjects for a copy without set folders."""
    of_folder = rows["set"].map(lambda name: split_of_word(name) or "")
    split = of_folder.mask(of_folder == "", split_by_person(rows["subject"], clients))
    return rows.assign(split=split)


def _of_protocol(rows: pd.DataFrame, attacks: Mapping[str, pd.Series], request: Request) -> pd.DataFrame:
    """Return all bona fide presentations and the attacks of a sub-protocol, by its name; all of them for `grandtest`."""
    which, _, support = request.protocol.partition("-")
    if which in _SUPPORTS:
        which, support = "grandtest", which
    bona_fide = rows["label"] == "bona_fide"
    chosen = attacks.get(which, ~bona_fide)
    if support:
        chosen &= rows["support"] == support
    return take(rows, bona_fide | chosen, request)


def _with_supports(*protocols: str) -> tuple[str, ...]:
    """Return the protocols, each of them for one support alone, and the supports alone."""
    return (*protocols, *(f"{name}-{support}" for name in protocols for support in _SUPPORTS), *_SUPPORTS)


REPLAY_ATTACK = Layout(
    name="replay_attack",
    title="Replay-Attack",
    expects="{train,devel,test}/real/client001_session01_webcam_authenticate_adverse_1.mov and attack/hand/…",
    licence="Replay-Attack, Idiap Research Institute",
    names=(
        r"(?i:(?:(?:replayattack-)?(?P<set>train|devel|test)/)?real/)"
        r"client(?P<subject>\d+)_session(?P<session>\d+)_webcam_authenticate_(?P<lighting>controlled|adverse)_(?P<take>\d+)"
        r"\.\w+",
        r"(?i:(?:(?:replayattack-)?(?P<set>train|devel|test)/)?attack/(?P<support>hand|fixed)/)"
        r"attack_(?P<device>print|mobile|highdef)_client(?P<subject>\d+)_session(?P<session>\d+)_"
        r"(?P<quality>highdef|mobile)_(?P<medium>photo|video)_(?P<lighting>controlled|adverse)\.\w+",
    ),
    rows=_rows,
    protocols=_with_supports("grandtest", "print", "mobile", "highdef", "digitalphoto", "photo", "video"),
    aside={"enrolment videos": r"(?i:(?:replayattack-)?enroll)/.*"},
)


_MOBILE_CLIENTS = {
    "train": "1, 3, 8, 11, 12, 16, 18, 20, 26, 34, 37, 38",
    "val": "5, 6, 13-15, 23-25, 28, 29, 31, 32, 35, 36, 39, 40",
    "test": "2, 4, 7, 9, 10, 17, 19, 21, 22, 27, 30, 33",
}
_MOBILE_KINDS = {
    "": ("", ""),
    "print": ("print", "print"),
    "mattescreen_photo": ("mattescreen_photo", "replay"),
    "mattescreen_video": ("mattescreen_video", "replay"),
}


def _mobile_rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    code = names["instrument"].mask(names["instrument"] == "mattescreen", "mattescreen_" + names["medium"])
    rows = _with_sets(labelled(names, code, _MOBILE_KINDS), _MOBILE_CLIENTS)
    # The tablet was held upside down when it recorded, and its files do not say so.
    rows = rows.assign(flip=rows["device"].map({"tablet": "vertical"}).fillna(""))
    attacks = {name: names["instrument"] == name for name in ("print", "mattescreen")}
    return _of_protocol(rows, attacks, request).drop(columns=["instrument", "set"])


REPLAY_MOBILE = Layout(
    name="replay_mobile",
    title="Replay-Mobile",
    expects="{train,devel,test}/real/client001_session01_authenticate_mobile_adverse.mov and attack/…",
    licence="Replay-Mobile, Idiap Research Institute",
    names=(
        r"(?i:(?:(?P<set>train|devel|test)/)?real/)client(?P<subject>\d+)_session(?P<session>\d+)_authenticate_"
        r"(?P<device>mobile|tablet)_(?P<lighting>adverse|controlled|diffuse|direct|lateral)\.\w+",
        r"(?i:(?:(?P<set>train|devel|test)/)?attack/(?:(?:hand|fixed)/)?)attack_client(?P<subject>\d+)_session(?P<session>\d+)_"
        r"(?P<instrument>print|mattescreen)_(?P<support>hand|fixed)_(?P<device>mobile|tablet)_(?P<medium>photo|video)_"
        r"(?P<lighting>lighton|lightoff)\.\w+",
    ),
    rows=_mobile_rows,
    protocols=_with_supports("grandtest", "print", "mattescreen"),
    aside={"enrolment videos": r"(?i:enroll)/.*"},
)
