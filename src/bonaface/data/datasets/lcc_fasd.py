"""LCC-FASD: crowd-collected images; subjects and kinds of attack are unknown.

    LCC_FASD_training/{real,spoof}/*.png
    LCC_FASD_development/{real,spoof}/*.png
    LCC_FASD_evaluation/{real,spoof}/*.png

Timoshenko et al., Large Crowdcollected Facial Anti-Spoofing Dataset, CSIT 2019.
"""

from __future__ import annotations

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, labelled

_SPLITS = {"training": "train", "development": "val", "evaluation": "test"}


def _rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    rows = labelled(names, names["kind"].str.lower(), {"real": ("", ""), "spoof": ("unspecified", "other")})
    return rows.assign(split=rows["set"].str.lower().map(_SPLITS)).drop(columns=["set", "kind", "image"])


LCC_FASD = Layout(
    name="lcc_fasd",
    title="LCC-FASD",
    expects="LCC_FASD_{training,development,evaluation}/{real,spoof}/…",
    licence="no licence page is known; ask the authors of the paper",
    names=(r"[^/]*_(?i:(?P<set>training|development|evaluation)/(?P<kind>real|spoof))/(?P<image>.+)\.\w+",),
    rows=_rows,
)
