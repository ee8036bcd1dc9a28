"""Datasets of single pictures whose lists are not read.

CASIA-SURF, colour stream: 1,000 subjects and printed photos of them.

    Training/real_part/CLKJ_AS0001/real.rssdk/color/1.jpg
    Training/fake_part/CLKJ_AS0001/01_en_b.rssdk/color/1.jpg
    Val/..., Testing/...

Zhang et al., A Dataset and Benchmark for Large-scale Multi-modal Face Anti-spoofing, CVPR 2019.

CASIA-SURF CeFA, colour stream: three ethnicities, four kinds of presentation.

    AF/AF-001-020/AF_001_1_1_1/profile/0001.jpg    RACE_SUBJECT_DEVICE_SESSION_TYPE

Liu et al., CASIA-SURF CeFA: A Benchmark for Multi-modal Cross-ethnicity Face Anti-spoofing, WACV 2021.

LCC-FASD: crowd-collected images; subjects and kinds of attack are unknown.

    LCC_FASD_training/{real,spoof}/*.png
    LCC_FASD_development/{real,spoof}/*.png
    LCC_FASD_evaluation/{real,spoof}/*.png

Timoshenko et al., Large Crowdcollected Facial Anti-Spoofing Dataset, CSIT 2019.
"""

from __future__ import annotations

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, labelled, take
from bonaface.data.datasets.label_names import split_of_word


def _casia_surf_rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    names = take(names, names["modality"].str.lower() == "color", request, "depth and infrared")
    rows = labelled(names, names["kind"].str.lower(), {"real": ("", ""), "fake": ("unspecified", "other")})
    return rows.assign(split=rows["set"].map(split_of_word)).drop(columns=["set", "kind", "modality", "image"])


CASIA_SURF = Layout(
    name="casia_surf",
    title="CASIA-SURF (colour stream)",
    expects="Training/{real_part,fake_part}/CLKJ_AS0001/….rssdk/color/1.jpg",
    licence="Face-Anti-spoofing-Datasets, the authors' repository on GitHub (liuajian)",
    names=(
        r"(?i:(?P<set>Training|Val|Testing)/(?P<kind>real|fake)_part)/(?P<subject>CLKJ_[^/]+)/(?P<clip>[^/]+)\.rssdk/"
        r"(?P<modality>(?i:color|depth|ir))/(?P<image>[^/]+)\.\w+",
    ),
    rows=_casia_surf_rows,
)


_CEFA_KINDS = {"1": ("", ""), "2": ("cloth", "print"), "3": ("photo", "print"), "4": ("screen", "replay")}


def _cefa_rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    names = take(names, ~names["modality"].str.lower().isin(["depth", "ir"]), request, "depth and infrared")
    rows = labelled(names, names["pai"], _CEFA_KINDS)
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
    rows=_cefa_rows,
)


def _lcc_fasd_rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    rows = labelled(names, names["kind"].str.lower(), {"real": ("", ""), "spoof": ("unspecified", "other")})
    return rows.assign(split=rows["set"].map(split_of_word)).drop(columns=["set", "kind", "image"])


LCC_FASD = Layout(
    name="lcc_fasd",
    title="LCC-FASD",
    expects="LCC_FASD_{training,development,evaluation}/{real,spoof}/…",
    licence="no licence page is known; ask the authors of the paper",
    names=(r"[^/]*_(?i:(?P<set>training|development|evaluation)/(?P<kind>real|spoof))/(?P<image>.+)\.\w+",),
    rows=_lcc_fasd_rows,
)
