"""CelebA-Spoof: 625,537 images of 10,177 subjects, ten kinds of attack, three protocols in JSON lists.

    Data/{train,test}/SUBJECT/{live,spoof}/000001.jpg    and 000001_BB.txt, the face in a frame of 224 x 224
    metas/{intra_test,protocol1,protocol2}/{train,test}_label.json

Zhang et al., CelebA-Spoof: Large-Scale Face Anti-Spoofing Dataset with Rich Annotations, ECCV 2020.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from bonaface.data.datasets.adapter import Layout, Request, labelled, only_named, tail
from bonaface.errors import ManifestError

_KINDS = {
    "0": ("", ""),
    "1": ("photo", "print"),
    "2": ("poster", "print"),
    "3": ("a4", "print"),
    "4": ("face_mask", "paper_mask"),
    "5": ("upper_body_mask", "paper_mask"),
    "6": ("region_mask", "paper_mask"),
    "7": ("pc", "replay"),
    "8": ("pad", "replay"),
    "9": ("phone", "replay"),
    "10": ("mask_3d", "mask_3d"),
    "unlisted": ("unspecified", "other"),
}
_ILLUMINATION = {"1": "normal", "2": "strong", "3": "back", "4": "dark"}
_ENVIRONMENT = {"1": "indoor", "2": "outdoor"}
_SPOOF_TYPE, _LIGHT, _PLACE, _SPOOF = 40, 41, 42, 43
_FRAME = 224
_PART = 1000
_SMALLEST = 4
"""Boxes are given in a frame of 224 x 224 pixels; one narrower than this there holds no face."""


def _rows(names: pd.DataFrame, request: Request) -> pd.DataFrame:
    names = names.assign(set=names["set"].str.lower(), kind=names["kind"].str.lower())
    key = tail(names["path"], 4).str.lower()
    marks: dict[str, tuple[str, str, str]] = {}
    split_of: dict[str, str] = {}
    for split in ("train", "test"):
        read = _list(request.protocol or "intra_test", split, request)
        marks |= read
        split_of |= dict.fromkeys(read, split)
    if request.protocol:
        names = only_named(names, key, split_of, request)
        key = tail(names["path"], 4).str.lower()
    else:
        names = names.assign(split=names["set"])
        if not marks:
            request.notes.append("no species are known: metas/intra_test/*_label.json is not in the copy")
    unlisted = names["kind"].map({"live": "0", "spoof": "unlisted"})
    nothing = ("", "", "")
    known = [marks.get(each, nothing) for each in key]
    code = pd.Series([spoof for spoof, _, _ in known], index=names.index, dtype="str")
    rows = labelled(names, code.mask(code == "", unlisted), _KINDS).assign(
        illumination=[_ILLUMINATION.get(light, "") for _, light, _ in known],
        environment=[_ENVIRONMENT.get(place, "") for _, _, place in known],
    )
    differing = int(((rows["label"] == "bona_fide") != (names["kind"] == "live")).sum())
    if differing:
        request.notes.append(f"{differing} images lie in a folder that contradicts the lists; the lists are used")
    if request.boxes:
        request.box_table = _boxes(rows["path"].tolist(), request)
    return rows.drop(columns=["set", "kind", "image"])


def _list(protocol: str, split: str, request: Request) -> dict[str, tuple[str, str, str]]:
    """Set/person/class/file, in lower case -> codes of spoof type, illumination and environment."""
    name = request.find(f"metas/{protocol}/{split}_label.json")
    if name is None:
        if request.protocol:
            raise ManifestError(
                f"{request.root}: no metas/{protocol}/{split}_label.json, which names the images of {protocol}"
            )
        return {}
    path = request.root / name
    try:
        entries = json.loads(path.read_bytes())
        return {
            "/".join(key.replace("\\", "/").lower().split("/")[-4:]): (
                "0" if values[_SPOOF] == 0 else str(values[_SPOOF_TYPE]),
                str(values[_LIGHT]),
                str(values[_PLACE]),
            )
            for key, values in entries.items()
        }
    except (OSError, ValueError, TypeError, IndexError, AttributeError):
        raise ManifestError(f"{path}: expected a JSON object, path -> list of 44 whole numbers") from None


def _boxes(paths: list[str], request: Request) -> pd.DataFrame:
    """The face in each image from its `_BB.txt`, clipped to its frame; faces that are too small are dropped."""
    there = {name for name in request.files if name.endswith("_BB.txt")}
    names = [path.rpartition(".")[0] + "_BB.txt" for path in paths]
    boxed = [(path, name) for path, name in zip(paths, names, strict=True) if name in there]
    parts = [boxed[start : start + _PART] for start in range(0, len(boxed), _PART)]
    boxes: list[tuple[str, float, float, float, float]] = []

    def boxes_of(part: list[tuple[str, str]]) -> list[tuple[str, float, float, float, float]]:
        return [(path, *box) for path, name in part if (box := _box(f"{request.root}/{name}")) is not None]

    # Threads overlap the waits for the disk.
    with ThreadPoolExecutor(8) as pool:
        for done, found in enumerate(pool.map(boxes_of, parts), start=1):
            boxes += found
            if request.progress is not None:
                request.progress(min(done * _PART, len(boxed)), len(boxed))
    request.left_out["images without a usable box"] += len(paths) - len(boxes)
    table = pd.DataFrame(boxes, columns=["path", "x", "y", "w", "h"])
    return table.assign(frame=0, frame_size=str(_FRAME))


def _box(file: str) -> tuple[float, float, float, float] | None:
    try:
        # Half a million files: what `Path.read_text` does around these three calls takes ten times as long.
        descriptor = os.open(file, os.O_RDONLY)
        try:
            text = os.read(descriptor, 256)
        finally:
            os.close(descriptor)
        x, y, w, h = (float(part) for part in text.split()[:4])
    except (OSError, ValueError):
        return None
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + w, _FRAME), min(y + h, _FRAME)
    if not (right - left >= _SMALLEST and bottom - top >= _SMALLEST):
        return None
    return left, top, right - left, bottom - top


CELEBA_SPOOF = Layout(
    name="celeba_spoof",
    title="CelebA-Spoof",
    expects="Data/{train,test}/PERSON/{live,spoof}/ID.{jpg,png}, ID_BB.txt, metas/PROTOCOL/*_label.json",
    licence="CelebA-Spoof, the authors' repository on GitHub (ZhangYuanhan-AI), section Dataset Agreement",
    names=(r"(?i:(?P<set>train|test)/(?P<subject>\d+)/(?P<kind>live|spoof)/)(?P<image>[^/]+)\.\w+",),
    rows=_rows,
    protocols=("intra_test", "protocol1", "protocol2"),
    has_boxes=True,
    reads_boxes=True,
    tolerates_missing=True,
)
