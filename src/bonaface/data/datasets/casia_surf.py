"""CASIA-SURF, CASIA-SURF CeFA and LCC-FASD: what their folders tell; their lists are not read."""

from __future__ import annotations

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, labelled, take

__all__ = ["CASIA_SURF", "CEFA", "LCC_FASD"]

_SIDES = {"training": "train", "val": "val", "development": "val", "testing": "test", "evaluation": "test"}
_CEFA_KINDS = {"1": ("", ""), "2": ("cloth", "print"), "3": ("photo", "print"), "4": ("screen", "replay")}


def _casia_surf(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    names = take(names, names["modality"].str.lower() == "color", request, "depth and infrared")
    rows = labelled(names, names["kind"].str.lower(), {"real": ("", ""), "fake": ("unspecified", "other")})
    return rows.assign(split=rows["set"].str.lower().map(_SIDES)).drop(columns=["set", "kind", "modality", "image"])


def _cefa(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    names = take(names, ~names["modality"].str.lower().isin(["depth", "ir"]), request, "depth and infrared")
    rows = labelled(names, names["pai"], _CEFA_KINDS)
    return rows.assign(subject=rows["race"] + "_" + rows["number"]).drop(columns=["number", "pai", "modality", "image"])


def _lcc_fasd(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    rows = labelled(names, names["kind"].str.lower(), {"real": ("", ""), "spoof": ("unspecified", "other")})
    return rows.assign(split=rows["set"].str.lower().map(_SIDES)).drop(columns=["set", "kind", "image"])


CASIA_SURF = Layout(
    name="casia_surf",
    title="CASIA-SURF (colour stream)",
    expects="Training/{real_part,fake_part}/CLKJ_AS0001/….rssdk/color/1.jpg",
    names=(
        r"(?i:(?P<set>Training|Val|Testing)/(?P<kind>real|fake)_part)/(?P<subject>CLKJ_[^/]+)/(?P<clip>[^/]+)\.rssdk/"
        r"(?P<modality>(?i:color|depth|ir))/(?P<image>[^/]+)\.\w+",
    ),
    rows=_casia_surf,
)

CEFA = Layout(
    name="cefa",
    title="CASIA-SURF CeFA (colour stream)",
    expects="AF/AF-001-020/AF_001_1_1_1/[profile/]0001.jpg: race, person, device, session, attack",
    names=(
        r"(?P<race>[A-Z]+)_(?P<number>\d+)_(?P<device>\d)_(?P<session>\d)_(?P<pai>[1-4])/"
        r"(?:(?P<modality>[^/]+)/)?(?P<image>[^/]+)\.\w+",
    ),
    rows=_cefa,
)

LCC_FASD = Layout(
    name="lcc_fasd",
    title="LCC-FASD",
    expects="LCC_FASD_{training,development,evaluation}/{real,spoof}/…",
    names=(r"[^/]*_(?i:(?P<set>training|development|evaluation)/(?P<kind>real|spoof))/(?P<image>.+)\.\w+",),
    rows=_lcc_fasd,
)
