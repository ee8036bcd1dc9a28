"""Replay-Attack: 50 subjects, prints, phone and tablet replays, held by hand or fixed.

    {train,devel,test}/real/client001_session01_webcam_authenticate_adverse_1.mov
    {train,devel,test}/attack/{fixed,hand}/attack_print_client001_session01_highdef_photo_adverse.mov

Chingovska, Anjos and Marcel, On the Effectiveness of Local Binary Patterns in Face Anti-spoofing, BIOSIG 2012.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, labelled, split_by_person, take

SUPPORTS = ("hand", "fixed")
_SETS = {"train": "train", "devel": "val", "test": "test"}
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
    rows = with_sets(rows.assign(support=rows["support"].str.lower()), _CLIENTS)
    which, _, support = request.protocol.partition("-")
    if which in SUPPORTS:
        which, support = "grandtest", which
    attacks = {
        "print": print_,
        "mobile": names["device"] == "mobile",
        "highdef": names["device"] == "highdef",
        "digitalphoto": ~print_ & (names["medium"] == "photo"),
        "photo": names["medium"] == "photo",
        "video": names["medium"] == "video",
    }.get(which, names["device"] != "")
    return of_protocol(rows, attacks, support, request).drop(columns=["device", "set"])


def with_sets(rows: pd.DataFrame, clients: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows with the split of their folder, or of the list of subjects for a copy without set folders."""
    of_folder = rows["set"].str.lower().map(_SETS).fillna("")
    split = of_folder.mask(of_folder == "", split_by_person(rows["subject"], clients))
    return rows.assign(split=split)


def of_protocol(rows: pd.DataFrame, attacks: pd.Series, support: str, request: Request) -> pd.DataFrame:
    """Return all bona fide presentations and the attacks of a sub-protocol."""
    if support:
        attacks &= rows["support"] == support
    return take(rows, (rows["label"] == "bona_fide") | attacks, request)


def with_supports(*protocols: str) -> tuple[str, ...]:
    """Return the protocols, each of them for one support alone, and the supports alone."""
    return (*protocols, *(f"{name}-{support}" for name in protocols for support in SUPPORTS), *SUPPORTS)


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
    protocols=with_supports("grandtest", "print", "mobile", "highdef", "digitalphoto", "photo", "video"),
    aside={"enrolment videos": r"(?i:(?:replayattack-)?enroll)/.*"},
)
