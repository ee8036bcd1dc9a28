"""CASIA-FASD: 50 subjects in two sets that are numbered separately, three qualities, three attacks.

    {train_release,test_release}/SUBJECT/{1..8,HR_1..HR_4}.avi    odd low, even normal, HR high quality

Zhang et al., A Face Antispoofing Database with Diverse Attacks, ICB 2012.
"""

from __future__ import annotations

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, labelled, take

_KINDS = {
    **dict.fromkeys(("1", "2", "HR_1"), ("", "")),
    **dict.fromkeys(("3", "4", "HR_2"), ("warped_photo", "print")),
    **dict.fromkeys(("5", "6", "HR_3"), ("cut_photo", "print")),
    **dict.fromkeys(("7", "8", "HR_4"), ("replay", "replay")),
}
_QUALITY = {**dict.fromkeys("1357", "low"), **dict.fromkeys("2468", "normal")}
_SCENARIOS = {"warped": "warped_photo", "cut": "cut_photo", "replay": "replay"}


def _rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    names = names.assign(take=names["take"].str.upper())
    rows = labelled(names, names["take"], _KINDS)
    # Client 3 of the test set is not client 3 of the training set.
    side = rows["set"].str.lower()
    split = side
    if request.split != "official":
        split = side.mask((side == "train") & rows["client"].astype("int64").between(17, 20), "val")
        request.notes.append("split: there is no official development set; training clients 17 to 20 validate")
    rows = rows.assign(
        subject=side + "_" + rows["client"],
        split=split,
        quality=rows["take"].map(_QUALITY).fillna("high"),
    )
    if request.protocol in _SCENARIOS:
        rows = take(rows, rows["species"].isin(["", _SCENARIOS[request.protocol]]), request)
    elif request.protocol in ("low", "normal", "high"):
        rows = take(rows, rows["quality"] == request.protocol, request)
    return rows.drop(columns=["set", "client"])


CASIA_FASD = Layout(
    name="casia_fasd",
    title="CASIA-FASD",
    expects="{train_release,test_release}/CLIENT/{1..8,HR_1..HR_4}.avi",
    licence="CASIA Face Anti-Spoofing Database, Institute of Automation, Chinese Academy of Sciences",
    names=(r"(?i:(?P<set>train|test)_release/(?P<client>\d+)/(?P<take>[1-8]|HR_[1-4]))\.\w+",),
    rows=_rows,
    protocols=("low", "normal", "high", "warped", "cut", "replay", "overall"),
    splits=("with_val", "official"),
)
