"""NUAA: webcam images of 15 subjects and of their printed photos, over three sessions.

    {ClientRaw,ImposterRaw}/0001/0001_00_00_01_0.jpg    SUBJECT_GLASSES_POSITION_SESSION_NUMBER
    client_train_raw.txt, client_test_raw.txt, imposter_train_raw.txt, imposter_test_raw.txt

Tan et al., Face Liveness Detection from a Single Image with Sparse Low Rank Bilinear Discriminative Model, ECCV 2010.
"""

from __future__ import annotations

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, labelled, only_named, read_lines, tail, take

_KINDS = {"Client": ("", ""), "Imposter": ("print", "print")}
_VERSIONS = ("Raw", "Face", "Normalized")
"""Whole images, detected faces, 64 x 64 faces; the latter two folder names are a guess."""


def _rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    names = names.assign(kind=names["kind"].str.capitalize(), version=names["version"].str.capitalize())
    version = next(each for each in _VERSIONS if (names["version"] == each).any())
    names = take(names, names["version"] == version, request, "other versions of the same images")
    rows = labelled(names, names["kind"], _KINDS)
    listed = _official_lists(version.lower(), request)
    if listed:
        rows = only_named(rows, rows["kind"] + "/" + tail(rows["path"], 2), listed, request)
    else:
        split = rows["session"].map({"01": "train", "02": "train", "03": "test"})
        rows = take(rows.assign(split=split.fillna("")), split.notna(), request, "sessions other than 01 to 03")
    source = "its lists" if listed else "session, since its lists are not in the copy"
    request.notes.append(f"split: by {source}; the same persons are in train and test")
    return rows.assign(glasses=rows["glasses"].map({"00": "without", "01": "with"}).fillna("")).drop(
        columns=["kind", "version"]
    )


def _official_lists(version: str, request: Request) -> dict[str, str]:
    """Class/person/file -> split from the four lists, all or none; their lines have backslashes."""
    split_of: dict[str, str] = {}
    for kind in _KINDS:
        for split in ("train", "test"):
            name = request.find(f"{kind.lower()}_{split}_{version}.txt")
            if name is None:
                return {}
            for line in read_lines(request, name):
                # lists of detected faces have their coordinates behind the name
                split_of[f"{kind}/{line.split()[0]}"] = split
    return split_of


NUAA = Layout(
    name="nuaa",
    title="NUAA Photograph Imposter",
    expects="{ClientRaw,ImposterRaw}/0001/0001_00_00_01_0.jpg, client_train_raw.txt and three more lists",
    licence="NUAA Photograph Imposter Database, Nanjing University of Aeronautics and Astronautics",
    names=(
        r"(?i:(?P<kind>Client|Imposter)(?P<version>Raw|Face|Normalized))/\d{4}/(?P<subject>\d{4})_(?P<glasses>\d\d)_"
        r"(?P<position>\d\d)_(?P<session>\d\d)_(?P<number>\d+)\.\w+",
    ),
    rows=_rows,
)
