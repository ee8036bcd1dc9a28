"""CASIA-SURF CeFA, colour stream: three ethnicities, four kinds of presentation; its lists are not read.

    AF/AF-001-020/AF_001_1_1_1/profile/0001.jpg    RACE_SUBJECT_DEVICE_SESSION_TYPE

Liu et al., CASIA-SURF CeFA: A Benchmark for Multi-modal Cross-ethnicity Face Anti-spoofing, WACV 2021.
"""

from __future__ import annotations

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, labelled, take

_KINDS = {"1": ("", ""), "2": ("cloth", "print"), "3": ("photo", "print"), "4": ("screen", "replay")}


def _rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    names = take(names, ~names["modality"].str.lower().isin(["depth", "ir"]), request, "depth and infrared")
    rows = labelled(names, names["pai"], _KINDS)
    return rows.assign(subject=rows["race"] + "_" + rows["number"]).drop(columns=["number", "pai", "modality", "image"])


CEFA = Layout(
    name="cefa",
    title="CASIA-SURF CeFA (colour stream)",
    expects="AF/AF-001-020/AF_001_1_1_1/[profile/]0001.jpg: race, person, device, session, attack",
    licence="Face-Anti-spoofing-Datasets, the authors' repository on GitHub (liuajian)",
    names=(
        r"(?P<race>[A-Z]+)_(?P<number>\d+)_(?P<device>\d)_(?P<session>\d)_(?P<pai>[1-4])/"
        r"(?:(?P<modality>[^/]+)/)?(?P<image>[^/]+)\.\w+",
    ),
    rows=_rows,
)
