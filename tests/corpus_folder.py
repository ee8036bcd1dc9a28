"""Write a dataset's layout to a folder, and look at its index.

Names alone matter to an index, so the files are empty unless `write_media` fills them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from bonaface.data.datasets.adapter import Request
from bonaface.data.datasets.registry import index_layout
from bonaface.data.manifest import Manifest
from tests.corpora import CORPORA, Entry

Counts = dict[str, tuple[int, int]]
Media = Callable[[Path, Entry], None]


def write_files(root: Path, names: Iterable[str], *, text: str = "") -> Path:
    """Create files below a root, with the folders that they need."""
    files = [root / name for name in names]
    for parent in {file.parent for file in files}:
        parent.mkdir(parents=True, exist_ok=True)
    for file in files:
        file.write_text(text)
    return root


def index(root: Path, layout: str, **options: Any) -> Manifest:
    """Index a folder without writing the manifest; `options` are the fields of a `Request`."""
    if "protocol" in options:
        options["protocol"] = str(options["protocol"] or "")
    return index_layout(layout, Request(root, **options))


def write_corpus(
    root: Path,
    layout: str,
    *,
    persons: int | None = 2,
    write_media: Media | None = None,
    lists: bool = True,
    clutter: bool = True,
) -> list[Entry]:
    """Write the first `persons` of each set (None: all), the dataset's lists, and what lies about on disks."""
    entries = list(_first_persons(CORPORA[layout](), persons))
    write_files(root, [entry.path for entry in entries])
    if write_media is not None:
        for entry in entries:
            write_media(root / entry.path, entry)
    if lists and layout in _LISTS:
        for name, text in _LISTS[layout](entries).items():
            write_files(root, [name], text=text)
    if clutter:
        folder = entries[0].path.rpartition("/")[0]
        write_files(root, [f"{folder}/Thumbs.db", f"{folder}/._{entries[0].path.rpartition('/')[2]}", ".DS_Store"])
    return entries


def _first_persons(entries: Iterable[Entry], persons: int | None) -> Iterator[Entry]:
    seen: dict[str, list[str]] = {}
    for entry in entries:
        of_side = seen.setdefault(entry.side, [])
        if entry.person not in of_side:
            of_side.append(entry.person)
        if persons is None or of_side.index(entry.person) < persons:
            yield entry


def counts(manifest: Manifest) -> Counts:
    """Bona fide and attacks of each split that has any."""
    pairs = list(zip(manifest.table["split"], manifest.table["label"], strict=True))
    return {
        split: (pairs.count((split, "bona_fide")), pairs.count((split, "attack")))
        for split in ("train", "val", "test", "")
        if split in set(manifest.table["split"])
    }


def persons(manifest: Manifest, split: str) -> set[int]:
    subjects = manifest.table.loc[manifest.table["split"] == split, "subject"].unique()
    return {int(subject.rpartition("/")[2].rpartition("_")[2]) for subject in subjects}


def _csv_table(entries: list[Entry]) -> dict[str, str]:
    rows = [f"{entry.path},{entry.species or 'live'},{entry.person},12" for entry in entries]
    return {"clips.csv": "\n".join(["path,label,subject,frames", *rows]) + "\n"}


def _msu_lists(entries: list[Entry]) -> dict[str, str]:
    of_side = {side: sorted({int(e.person) for e in entries if e.side == side}) for side in ("train", "test")}
    return {f"{side}_sub_list.txt": "".join(f"{who:02d}\n" for who in persons) for side, persons in of_side.items()}


def _oulu_lists(entries: list[Entry]) -> dict[str, str]:
    """The lists of protocols 1 and 3 (fold 2): stems without a suffix, replay as -2 in those of the test."""
    lists: dict[str, str] = {}
    for side in ("Train", "Dev", "Test"):
        lines: dict[str, list[str]] = {"1": [], "3": []}
        for entry in entries:
            stem = entry.path.rpartition("/")[2].removesuffix(".avi")
            replay = -2 if side == "Test" else -1
            mark = "+1" if not entry.species else str(-1 if entry.species.startswith("print") else replay)
            if entry.side == side:
                lines["1"] += [f"{mark},{stem}"] * ((stem[2] == "3") == (side == "Test"))
                lines["3"] += [f"{mark},{stem}"] * ((stem[0] == "2") == (side == "Test"))
        lists[f"Protocols/Protocol_1/{side}.txt"] = "\n".join(lines["1"]) + "\n"
        lists[f"Protocols/Protocol_3/{side}_2.txt"] = "\n".join(lines["3"]) + "\n"
    return lists


def _celeba_lists(entries: list[Entry]) -> dict[str, str]:
    """The lists of all protocols, and a box for every image but each person's second."""
    codes = {
        species: code for code, species in enumerate(["", *dict.fromkeys(e.species for e in entries if e.species)])
    }
    files: dict[str, str] = {}
    for protocol, side in product(("intra_test", "protocol1", "protocol2"), ("train", "test")):
        listed = [e for e in entries if e.side == side and (protocol == "intra_test" or codes[e.species] not in (2, 9))]
        marks = {e.path: [0] * 40 + [codes[e.species], *((3, 2, 1) if e.species else (0, 0, 0))] for e in listed}
        files[f"metas/{protocol}/{side}_label.json"] = json.dumps(marks)
    for entry in entries:
        if not entry.path.endswith("01.png"):
            files[entry.path.rpartition(".")[0] + "_BB.txt"] = "56 28 112 140 0.9876\n"
    return files


def _nuaa_lists(entries: list[Entry]) -> dict[str, str]:
    lists: dict[str, str] = {}
    for kind, side in product(("Client", "Imposter"), ("train", "test")):
        names = [e.path.split("/")[-2:] for e in entries if e.side == side and f"/{kind}Raw/" in e.path]
        lists[f"raw/{kind.lower()}_{side}_raw.txt"] = "".join("\\".join(parts) + "\r\n" for parts in names)
    return lists


_LISTS: dict[str, Callable[[list[Entry]], dict[str, str]]] = {
    "csv": _csv_table,
    "msu_mfsd": _msu_lists,
    "oulu_npu": _oulu_lists,
    "celeba_spoof": _celeba_lists,
    "nuaa": _nuaa_lists,
}
