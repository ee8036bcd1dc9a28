"""OULU-NPU: 55 subjects, six phones, three sessions, two printers and two displays; four protocols.

    {Train_files,Dev_files,Test_files}/1_1_01_1.avi    PHONE_SESSION_SUBJECT_TYPE
    Protocols/Protocol_1/{Train,Dev,Test}.txt          Protocol_3 and 4 with a fold: Train_1.txt

Boulkenafet et al., OULU-NPU: A Mobile Face Presentation Attack Database with Real-World Variations, FG 2017.
"""

from __future__ import annotations

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, labelled, only_named, read_lines, split_by_person, take
from bonaface.errors import ManifestError, format_list

_KINDS = {
    "1": ("", ""),
    "2": ("print_1", "print"),
    "3": ("print_2", "print"),
    "4": ("replay_1", "replay"),
    "5": ("replay_2", "replay"),
}
_PHONES = {
    "1": "samsung_s6_edge",
    "2": "htc_desire_eye",
    "3": "meizu_x5",
    "4": "asus_zenfone_selfie",
    "5": "sony_xperia_c5",
    "6": "oppo_n3",
}
_SETS = {"train": "Train", "val": "Dev", "test": "Test"}
_USERS = {"train": "1-20", "val": "21-35", "test": "36-55"}


def _rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    rows = labelled(names, names["file"], _KINDS)
    rows = rows.assign(split=split_by_person(rows["user"], _USERS), subject=rows["user"])
    if request.protocol:
        listed = _official_lists(request)
        if listed:
            stems = rows["phone"] + "_" + rows["session"] + "_" + rows["user"] + "_" + rows["file"]
            rows = only_named(rows, stems, listed, request)
        else:
            request.notes.append(
                f"split: protocol {request.protocol} by its rules, since its lists are not in the copy"
            )
            rows = take(rows, _by_rules(rows, request), request)
    return rows.assign(device=rows["phone"].map(_PHONES)).drop(columns=["user", "file"])


def _by_rules(rows: pd.DataFrame, request: Request) -> pd.Series:
    """Which videos a protocol uses: what the test differs in is held out of training and development."""
    test = rows["split"] == "test"
    used = pd.Series(True, index=rows.index)
    if request.protocol in ("1", "4"):
        used &= (rows["session"] == "3") == test
    if request.protocol in ("2", "4"):
        used &= rows["file"].isin(["1", "3", "5"]).where(test, rows["file"].isin(["1", "2", "4"]))
    if request.protocol in ("3", "4"):
        used &= (rows["phone"] == str(request.fold)) == test
    return used


def _official_lists(request: Request) -> dict[str, str]:
    """Stem -> split from the protocol's lists; empty where one of them is missing."""
    fold = f"_{request.fold}" if request.fold else ""
    split_of: dict[str, str] = {}
    for split, of_set in _SETS.items():
        name = request.find(f"Protocol_{request.protocol}/{of_set}{fold}.txt")
        if name is None:
            return {}
        for line in read_lines(request, name):
            label, _, stem = (part.strip() for part in line.partition(","))
            genuine = stem.endswith("_1")
            if label not in {"+1", "1", "-1", "-2"} or (label in {"+1", "1"}) != genuine:
                raise ManifestError(
                    f"{request.root / name}: expected lines such as +1,1_1_01_1 and -1,1_1_01_2, found {format_list([line])}"
                )
            split_of[stem.removesuffix(".avi")] = split
    return split_of


OULU_NPU = Layout(
    name="oulu_npu",
    title="OULU-NPU",
    expects="{Train_files,Dev_files,Test_files}/PHONE_SESSION_USER_FILE.avi (1_1_01_1.avi), Protocols/…",
    licence="OULU-NPU, Center for Machine Vision and Signal Analysis, University of Oulu",
    names=(r"(?P<phone>[1-6])_(?P<session>[1-3])_(?P<user>\d\d)_(?P<file>[1-5])\.\w+",),
    rows=_rows,
    protocols=("1", "2", "3", "4"),
    folds={"3": 6, "4": 6},
)
