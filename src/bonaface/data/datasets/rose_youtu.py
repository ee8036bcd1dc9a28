"""ROSE-Youtu: 20 persons, genuine, printed, replayed, and behind paper masks."""

from __future__ import annotations

import pandas as pd

from bonaface.data.datasets.layouts import Layout, Request, labelled, split_by_person, take

__all__ = ["ROSE_YOUTU"]

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
# Two splits circulate. In the distributed folders `train/5` holds the person whose files say 9: whoever reads
# the folder numbers as the numbers in the names gets the first, whoever goes by the folders the second.
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
_BASELINE = (1391, 350, 1748)
"""Videos that the published baseline trains and validates on, out of those of its two splits together."""


def _rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    rows = labelled(names, names["code"], _KINDS)
    split = "token" if request.protocol == "baseline" else request.split or _split_on_disk(rows)
    by = "by the numbers in the names" if split == "token" else "by the distributed folders"
    request.notes.append(f"split: {split}, {by}; the other of ROSE-Youtu's two splits gives other figures")
    rows = rows.assign(
        split=split_by_person(rows["subject"], _SPLITS[split]),
        speech=rows["speech"].map({"T": "talking", "NT": "silent"}),
        glasses=rows["glasses"].map({"g": "with", "wg": "without"}),
    )
    if request.protocol == "baseline":
        rows = _baseline(rows, request)
    return rows.drop(columns=["code", "side"])


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


ROSE_YOUTU = Layout(
    name="rose_youtu",
    title="ROSE-Youtu",
    expects="files such as Mf_NT_5s_g_E_5_71.mp4 in any folders (distributed as train/5 and test/_13)",
    names=(
        r"(?:(?P<side>(?i:train|test))/(?:.*/)?)?"
        r"(?P<code>G|Ps|Pq|Vl|Vm|Mc|Mf|Mu|Ml)_(?P<speech>T|NT)_(?P<device>HS|HW|IP|5s|ZTE)_(?P<glasses>g|wg)_"
        r"[^_/]+_(?P<subject>\d+)_(?P<number>\d+)\.\w+",
    ),
    rows=_rows,
    protocols=("baseline",),
    splits=("token", "folder"),
)
