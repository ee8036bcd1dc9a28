"""CASIA-SURF, colour stream: 1,000 subjects and printed photos of them; its lists are not read.

    Training/real_part/CLKJ_AS0001/real.rssdk/color/1.jpg
    Training/fake_part/CLKJ_AS0001/01_en_b.rssdk/color/1.jpg
    Val/..., Testing/...

Zhang et al., A Dataset and Benchmark for Large-scale Multi-modal Face Anti-spoofing, CVPR 2019.
"""

from __future__ import annotations

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, labelled, take

_SPLITS = {"training": "train", "val": "val", "testing": "test"}


def _rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    names = take(names, names["modality"].str.lower() == "color", request, "depth and infrared")
    rows = labelled(names, names["kind"].str.lower(), {"real": ("", ""), "fake": ("unspecified", "other")})
    return rows.assign(split=rows["set"].str.lower().map(_SPLITS)).drop(columns=["set", "kind", "modality", "image"])


CASIA_SURF = Layout(
    name="casia_surf",
    title="CASIA-SURF (colour stream)",
    expects="Training/{real_part,fake_part}/CLKJ_AS0001/….rssdk/color/1.jpg",
    licence="Face-Anti-spoofing-Datasets, the authors' repository on GitHub (liuajian)",
    names=(
        r"(?i:(?P<set>Training|Val|Testing)/(?P<kind>real|fake)_part)/(?P<subject>CLKJ_[^/]+)/(?P<clip>[^/]+)\.rssdk/"
        r"(?P<modality>(?i:color|depth|ir))/(?P<image>[^/]+)\.\w+",
    ),
    rows=_rows,
)
