"""MSU-MFSD: 35 subjects, a laptop's and a phone's camera, prints and replays.

    scene01/real/real_client001_laptop_SD_scene01.mov
    scene01/attack/attack_client001_android_SD_ipad_video_scene01.mp4
    train_sub_list.txt, test_sub_list.txt

Wen, Han and Jain, Face Spoof Detection with Image Distortion Analysis, IEEE TIFS 2015.
"""

from __future__ import annotations

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, labelled, read_lines, split_by_person
from bonaface.errors import ManifestError, format_list

_KINDS = {
    "": ("", ""),
    "ipad_video": ("ipad_video", "replay"),
    "iphone_video": ("iphone_video", "replay"),
    "printed_photo": ("printed_photo", "print"),
}
_SPLITS = {
    "official": {
        "train": "2, 3, 5-9, 11, 12, 21, 22, 34, 53-55",
        "test": "1, 13, 14, 23, 24, 26, 28-30, 32, 33, 35-37, 39, 42, 48-51",
    },
    "idiap": {
        "train": "5, 8, 11, 21, 23, 24, 36, 37, 54, 55",
        "val": "1-3, 9, 22, 34, 35, 42, 48, 51",
        "test": "6, 7, 12-14, 26, 28-30, 32, 33, 39, 49, 50, 53",
    },
}


def _rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    rows = labelled(names, names["medium"], _KINDS)
    split = request.split or "official"
    persons = _listed(request) if split == "official" else _SPLITS[split]
    request.notes.append("split: official" if split == "official" else "split: Idiap's, not the official one")
    return rows.assign(split=split_by_person(rows["subject"], persons)).drop(columns=["medium"])


def _listed(request: Request) -> dict[str, str]:
    """The persons of the two lists that come with the dataset, else as published."""
    persons = dict(_SPLITS["official"])
    for split in persons:
        name = request.find(f"{split}_sub_list.txt")
        if name is not None:
            lines = read_lines(request, name)
            bad = [line for line in lines if not line.isdigit()]
            if bad or not lines:
                raise ManifestError(
                    f"{request.root / name}: expected a person's number a line, found {format_list(bad) or 'nothing'}"
                )
            persons[split] = ", ".join(lines)
    return persons


MSU_MFSD = Layout(
    name="msu_mfsd",
    title="MSU-MFSD",
    expects="scene01/{real,attack}/…_client001_{laptop,android}_SD…_scene01.{mov,mp4}, *_sub_list.txt",
    licence="MSU Mobile Face Spoofing Database, Michigan State University",
    names=(
        r"(?i:real|attack)/(?:real|attack)_client(?P<subject>\d+)_(?P<device>laptop|android)_SD"
        r"(?:_(?P<medium>ipad_video|iphone_video|printed_photo))?_scene(?P<scene>\d+)\.\w+",
    ),
    rows=_rows,
    splits=("official", "idiap"),
)
