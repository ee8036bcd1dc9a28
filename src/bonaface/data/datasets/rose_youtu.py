"""ROSE-Youtu: 20 subjects; genuine, printed, replayed, and behind paper masks.

    train/5/Mf_NT_5s_g_E_5_71.mp4, test/_13/...    TYPE_SPEECH_DEVICE_GLASSES_PLACE_SUBJECT_NUMBER
    {adaptation,test}/CLIENT/real/2_G_NT_5s_g_E_2_1/0.jpg    the client-specific release, as frames

Li et al., Unsupervised Domain Adaptation for Face Anti-Spoofing, IEEE TIFS 2018.
"""

from __future__ import annotations

import pandas as pd

from bonaface.data.datasets.adapter import (
    Layout,
    Request,
    labelled,
    only_named,
    read_lines,
    split_by_person,
    tail,
    take,
)
from bonaface.errors import ManifestError, format_list

_KINDS = {
    "G": ("", ""),
    "Ps": ("print_still", "print"),
    "Pq": ("print_quivering", "print"),
    "Vl": ("replay_lenovo", "replay"),
    "Vm": ("replay_mac", "replay"),
    "Mc": ("paper_mask_cropped", "paper_mask"),
    "Mf": ("paper_mask_full", "paper_mask"),
    "Mu": ("paper_mask_upper", "paper_mask"),
    "Ml": ("paper_mask_lower", "paper_mask"),
}
# Two splits circulate. In the distributed folders `train/5` holds the person whose files say 9: reading
# the folder numbers as the numbers in the names gives the first split, going by the folders the second.
# Neither has an official development set; the persons 11 and 12 of each reading are taken for it, as
# published results do.
_SPLITS = {
    "token": {"train": "2-7, 9, 10", "val": "11, 12", "test": "13-18, 20-23"},
    "folder": {
        "train": "2, 3, 5, 9, 12, 13, 15, 16",
        "val": "20, 22",
        "test": "4, 6, 7, 10, 11, 14, 17, 18, 21, 23",
    },
}
_CLIENT_SPLITS = {"adaptation": "train", "test": "test"}
_BASELINE = (1391, 350, 1748)
"""Videos that the published baseline trains and validates on, out of those of its two splits together."""


def _rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    rows = labelled(names, names["code"], _KINDS)
    split = "token" if request.protocol == "baseline" else request.split or _split_on_disk(rows)
    by = "by the numbers in the names" if split == "token" else "by the distributed folders"
    request.notes.append(f"split: {split}, {by}; the other of ROSE-Youtu's two splits gives other figures")
    rows = _spelled_out(rows.assign(split=split_by_person(rows["subject"], _SPLITS[split])))
    if request.protocol == "baseline":
        rows = _baseline(rows, request)
    return rows.drop(columns=["code", "side"])


def _spelled_out(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(
        speech=rows["speech"].map({"T": "talking", "NT": "silent"}),
        glasses=rows["glasses"].map({"g": "with", "wg": "without"}),
    )


def _client_rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    rows = _spelled_out(labelled(names, names["code"], _KINDS))
    side = rows["side"].str.lower()
    lists = {side: name for side in _CLIENT_SPLITS if (name := request.find(f"{side}_list.txt")) is not None}
    if len(lists) == len(_CLIENT_SPLITS):
        key = side + "/" + tail(rows["path"].str.rpartition(".")[0], 4)
        rows = only_named(rows, key, _listed_frames(lists, request), request)
    else:
        rows = rows.assign(split=side.map(_CLIENT_SPLITS))
    request.notes.append("split: adaptation trains, test tests; the same clients are in both, as in this release")
    # The persons are those of ROSE-Youtu, under whichever layout they come.
    return rows.assign(dataset=ROSE_YOUTU.name).drop(columns=["code", "side"])


def _listed_frames(lists: dict[str, str], request: Request) -> dict[str, str]:
    """Side/client/kind/video/frame -> split, from lines such as `1/real/2_G_NT_5s_g_E_2_1/0 1 0`."""
    split_of: dict[str, str] = {}
    for side, name in lists.items():
        for line in read_lines(request, name):
            path, *marks = line.split()
            if len(marks) != 2 or marks[1] not in ("0", "1") or (marks[1] == "0") != ("_G_" in path):
                raise ManifestError(
                    f"{request.root / name}: expected lines such as 1/real/2_G_NT_5s_g_E_2_1/0 1 0, found {format_list([line])}"
                )
            split_of[f"{side}/{path}"] = _CLIENT_SPLITS[side]
    return split_of


def _split_on_disk(rows: pd.DataFrame) -> str:
    """Which split the folders `train` and `test` follow; `token` where there are none."""
    sides = rows.assign(side=rows["side"].str.lower())[rows["side"] != ""]
    agreement = {
        name: (split_by_person(sides["subject"], of_split).replace("val", "train") == sides["side"]).mean()
        for name, of_split in _SPLITS.items()
    }
    return "folder" if len(sides) and agreement["folder"] >= agreement["token"] else "token"


def _baseline(rows: pd.DataFrame, request: Request) -> pd.DataFrame:
    """The published baseline's split: train and development persons shuffled together, video by video."""
    name = rows["path"].str.rpartition("/")[2]
    pool = rows[rows["split"] != "test"].assign(name=name).sort_values("name")
    shuffled = pool.sample(frac=1, random_state=42).index
    train, val, whole = _BASELINE
    if len(pool) != whole:
        request.notes.append(f"incomplete copy: {len(pool)} of {whole} videos of the baseline's training persons")
        train, val = round(len(pool) * train / whole), round(len(pool) * val / whole)
    split = rows["split"].mask(rows.index.isin(shuffled), "")
    split[shuffled[:train]] = "train"
    split[shuffled[train : train + val]] = "val"
    request.notes.append(
        "split: protocol baseline puts videos of the same persons into train and val, so its val figures are "
        "too good; its sizes are the published ones, which videos are which was not published"
    )
    return take(rows.assign(split=split), split != "", request)


_FIELDS = (
    r"(?P<code>G|Ps|Pq|Vl|Vm|Mc|Mf|Mu|Ml)_(?P<speech>T|NT)_(?P<device>HS|HW|IP|5s|ZTE)_(?P<glasses>g|wg)_"
    r"[^_/]+_(?P<subject>\d+)_(?P<number>\d+)"
)

ROSE_YOUTU = Layout(
    name="rose_youtu",
    title="ROSE-Youtu",
    expects="files such as Mf_NT_5s_g_E_5_71.mp4 in any folders (distributed as train/5 and test/_13)",
    licence="ROSE-Youtu Face Liveness Detection Database, ROSE Lab, Nanyang Technological University",
    names=(rf"(?:(?P<side>(?i:train|test))/(?:.*/)?)?{_FIELDS}\.\w+",),
    rows=_rows,
    protocols=("baseline",),
    splits=("token", "folder"),
)

ROSE_YOUTU_CLIENTS = Layout(
    name="rose_youtu_clients",
    title="ROSE-Youtu, client-specific release (frames)",
    expects="{adaptation,test}/CLIENT/{real,mask,…}/2_G_NT_5s_g_E_2_1/0.jpg, adaptation_list.txt and test_list.txt",
    licence="ROSE-Youtu Face Liveness Detection Database, ROSE Lab, Nanyang Technological University",
    names=(rf"(?P<side>(?i:adaptation|test))/(?P<client>\d+)/[^/]+/\d+_{_FIELDS}/(?P<image>[^/]+)\.\w+",),
    rows=_client_rows,
)
