"""3DMAD: 17 subjects recorded by a Kinect; sessions 1 and 2 without a mask, session 3 with a solid one.

    01_03_05.hdf5    SUBJECT_SESSION_SHOT, the colour stream in the dataset Color_Data

Erdogmus and Marcel, Spoofing in 2D Face Recognition with 3D Masks and Anti-spoofing with Kinect, BTAS 2013.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, Rows, labelled, person_ranges, split_by_person
from bonaface.data.hdf5 import HDF5_SUFFIXES

_KINDS = {"1": ("", ""), "2": ("", ""), "3": ("mask_3d", "mask_3d")}


def mask_rows(of_split: Mapping[str, str], whose: str, validating: int) -> Rows:
    """Return the adapter of a dataset whose protocol leaves one subject out; `validating` of the others validate."""
    persons = sorted(person_ranges(", ".join(of_split.values())))

    def rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
        split = dict(of_split)
        if request.protocol == "loo":
            test = request.fold
            others = [*persons[test:], *persons[: test - 1]]
            split = {
                "test": str(persons[test - 1]),
                "val": ", ".join(map(str, others[:validating])),
                "train": ", ".join(map(str, others[validating:])),
            }
            request.notes.append(f"split: one person tests, the next {validating} validate (which is our choice)")
        else:
            request.notes.append(f"split: that of {whose}; papers leave one person out (protocol loo)")
        return labelled(names, names["session"].str.lstrip("0"), _KINDS).assign(
            split=split_by_person(names["subject"], split)
        )

    return rows


THREE_DMAD = Layout(
    name="three_dmad",
    title="3DMAD",
    expects="PERSON_SESSION_SHOT.hdf5 (01_03_05.hdf5), the colour stream in Color_Data",
    licence="3DMAD, Idiap Research Institute",
    names=(r"(?P<subject>\d\d)_(?P<session>0[123])_(?P<shot>\d\d)\.\w+",),
    rows=mask_rows({"train": "1-7", "val": "8-12", "test": "13-17"}, "Idiap", 5),
    protocols=("loo",),
    folds={"loo": 17},
    suffixes=HDF5_SUFFIXES,
)
