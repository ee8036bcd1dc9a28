"""Replay-Mobile: 40 subjects in front of a phone and a tablet, prints and a matte screen.

    {train,devel,test}/real/client001_session01_authenticate_mobile_adverse.mov
    {train,devel,test}/attack/{fixed,hand}/attack_client001_session01_print_fixed_mobile_photo_lighton.mov

Costa-Pazo et al., The Replay-Mobile Face Presentation-Attack Database, BIOSIG 2016.
"""

from __future__ import annotations

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, labelled
from bonaface.data.datasets.replay_attack import SUPPORTS, of_protocol, with_sets, with_supports

_CLIENTS = {
    "train": "1, 3, 8, 11, 12, 16, 18, 20, 26, 34, 37, 38",
    "val": "5, 6, 13-15, 23-25, 28, 29, 31, 32, 35, 36, 39, 40",
    "test": "2, 4, 7, 9, 10, 17, 19, 21, 22, 27, 30, 33",
}
_KINDS = {
    "": ("", ""),
    "print": ("print", "print"),
    "mattescreen_photo": ("mattescreen_photo", "replay"),
    "mattescreen_video": ("mattescreen_video", "replay"),
}


def _rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    code = names["instrument"].mask(names["instrument"] == "mattescreen", "mattescreen_" + names["medium"])
    rows = with_sets(labelled(names, code, _KINDS), _CLIENTS)
    # The tablet was held upside down when it recorded, and its files do not say so.
    rows = rows.assign(flip=rows["device"].map({"tablet": "vertical"}).fillna(""))
    which, _, support = request.protocol.partition("-")
    if which in SUPPORTS:
        which, support = "grandtest", which
    attacks = names["instrument"] == which if which in ("print", "mattescreen") else names["instrument"] != ""
    return of_protocol(rows, attacks, support, request).drop(columns=["instrument", "set"])


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
    rows=_rows,
    protocols=with_supports("grandtest", "print", "mattescreen"),
    aside={"enrolment videos": r"(?i:enroll)/.*"},
)
