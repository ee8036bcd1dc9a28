"""HKBU-MARs V1: 8 subjects; sessions 1 and 2 without a mask, session 3 with a solid one.

    s3/01_03_05.mp4    sSESSION/SUBJECT_SESSION_SHOT

Liu et al., 3D Mask Face Anti-spoofing with Remote Photoplethysmography, ECCV 2016.
"""

from __future__ import annotations

from bonaface.data.datasets.adapter import Layout
from bonaface.data.datasets.three_dmad import mask_rows

HKBU_MARS_V1 = Layout(
    name="hkbu_mars_v1",
    title="HKBU-MARs V1",
    expects="s{1,2,3}/PERSON_SESSION_SHOT.mp4 (s3/01_03_05.mp4)",
    licence="HKBU 3D Mask Attack with Real World Variations, Hong Kong Baptist University",
    names=(r"[sS][123]/(?P<subject>\d\d)_(?P<session>0[123])_(?P<shot>\d\d)\.\w+",),
    rows=mask_rows({"train": "1-3", "val": "4, 5, 8", "test": "6, 7"}, "a public toolkit", 2),
    protocols=("loo",),
    folds={"loo": 8},
)
