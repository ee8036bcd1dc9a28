"""SiW: 165 subjects, two cameras, prints on two papers, replays on four displays; three protocols.

    {Train,Test}/{live,spoof}/003/003-1-2-1-1.mov    SUBJECT-SENSOR-TYPE-MEDIUM-SESSION, and .face with its boxes

Liu, Jourabloo and Liu, Learning Deep Models for Face Anti-Spoofing: Binary or Auxiliary Supervision, CVPR 2018.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, labelled, split_by_person, take
from bonaface.errors import ManifestError, one_line
from bonaface.types import counted

_KINDS = {
    "live": ("", ""),
    "print_1": ("print_glossy", "print"),
    "print_2": ("print_matt", "print"),
    "replay_1": ("replay_ipad_pro", "replay"),
    "replay_2": ("replay_iphone_7_plus", "replay"),
    "replay_3": ("replay_galaxy_s8", "replay"),
    "replay_4": ("replay_asus_mb168b", "replay"),
}
_TEST = (
    "1, 2, 4, 5, 8-10, 12, 13, 15, 18-21, 23-27, 29, 31, 36, 37, 39, 43, 44, 48-50, 52, 53, 57, 59, 61, 64-67, 71, 73, "
    "75, 79, 82-85, 87, 88, 90, 94, 95, 97, 102, 106, 108-110, 114, 116, 118, 122, 124-126, 130, 132, 137-139, 141, "
    "142, 153, 154, 158, 161"
)
_VAL = "150-152, 155-157, 159, 160, 162-165"


def _rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    kind = names["type"].map({"1": "live", "2": "print", "3": "replay"})
    which = names["session"].where(kind == "print", names["medium"])
    rows = labelled(names, kind.where(kind == "live", kind + "_" + which), _KINDS)
    side = split_by_person(rows["subject"], {"train": "1-165", "test": _TEST})
    if request.split == "official":
        split = side
    else:
        split = side.mask(split_by_person(rows["subject"], {"val": _VAL}) == "val", "val")
        request.notes.append("split: there is no official development set; 12 training persons (150 to 165) validate")
    live = kind == "live"
    rows = rows.assign(
        split=split,
        sensor=rows["sensor"].map({"1": "canon_eos_t6", "2": "logitech_c920"}),
        lighting=rows["medium"].map({"1": "normal", "2": "extra"}).where(live, ""),
        quality=rows["medium"].where(kind == "print", ""),
        session=rows["session"],
    )
    if request.protocol == "1":
        # The protocol trains on the first 60 frames of each video and tests on whole ones.
        rows = rows.assign(first_frames=pd.Series("60", index=rows.index).where(rows["split"] != "test", ""))
    elif request.protocol:
        rows = take(rows, _by_rules(rows, kind, names["medium"], request), request)
    if request.boxes:
        request.box_table = _boxes(rows["path"], request)
    return rows.drop(columns=["type", "medium"])


def _by_rules(rows: pd.DataFrame, kind: pd.Series, medium: pd.Series, request: Request) -> pd.Series:
    """Protocol 2 tests on a display that training lacks; 3 on the kind that it lacks."""
    test = rows["split"] == "test"
    if request.protocol == "2":
        attack = (kind == "replay") & ((medium == str(request.fold)) == test)
    else:
        trained, tested = ("print", "replay") if request.fold == 1 else ("replay", "print")
        attack = (kind == tested).where(test, kind == trained)
    return (kind == "live") | attack


def _boxes(paths: pd.Series, request: Request) -> pd.DataFrame:
    """The face of each frame from a video's `.face` file: a row x1 y1 x2 y2 each, zeros for none."""
    there = set(request.files)
    tables = []
    for path in counted(paths, request.progress, len(paths)):
        stem = path.rpartition(".")[0]
        # A stray `.m` in a video's name need not be in that of its boxes.
        name = next((each for each in (f"{stem}.face", f"{stem.removesuffix('.m')}.face") if each in there), None)
        if name is not None:
            tables.append(_face_file(request.root / name, path))
    request.left_out["videos without a file of boxes"] += len(paths) - len(tables)
    return (
        pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["path", "frame", "x", "y", "w", "h"])
    )


def _face_file(file: Path, path: str) -> pd.DataFrame:
    try:
        text = file.read_text(encoding="utf-8")
        corners = np.loadtxt(text.splitlines(), ndmin=2, usecols=(0, 1, 2, 3)) if text.strip() else np.empty((0, 4))
    except (OSError, ValueError) as error:
        raise ManifestError(f"{file}: expected a row x1 y1 x2 y2 a frame: {one_line(error)}") from None
    size = corners[:, 2:] - corners[:, :2]
    faces = (size > 0).all(axis=1) & np.isfinite(corners).all(axis=1)
    x, y, w, h = np.hstack([corners[:, :2], size])[faces].T
    return pd.DataFrame({"path": path, "frame": np.flatnonzero(faces), "x": x, "y": y, "w": w, "h": h})


SIW = Layout(
    name="siw",
    title="SiW",
    expects="{Train,Test}/{live,spoof}/PERSON/PERSON-SENSOR-TYPE-MEDIUM-SESSION.mov (003-1-2-1-1.mov)",
    licence="Spoof in the Wild (SiW) Database, Michigan State University",
    names=(r"(?P<subject>\d{3})-(?P<sensor>[12])-(?P<type>[123])-(?P<medium>[1-4])-(?P<session>[12])(?:\.m)?\.\w+",),
    rows=_rows,
    protocols=("1", "2", "3"),
    folds={"2": 4, "3": 2},
    splits=("with_val", "official"),
    has_boxes=True,
)
