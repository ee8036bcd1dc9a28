"""Find presentations: walk folders, and resolve files, globs, manifests and values in memory."""

from __future__ import annotations

import glob
import os
import re
import shutil
import weakref
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bonaface.data.addresses import download, scheme_of, shown
from bonaface.data.frame_folder import natural_order
from bonaface.data.frames import VIDEO_SUFFIXES, Media, kind_of
from bonaface.data.images import IMAGE_SUFFIXES, pixels_of_picture, read_image
from bonaface.data.walk import frame_folders, is_media, numbered_folders, walk
from bonaface.errors import InputError, MediaError, format_list
from bonaface.io import TABLE_SUFFIXES, read_json, read_table, relative_paths
from bonaface.io.storage import is_remote, listed, without_passwords
from bonaface.io.storage import shown as in_storage
from bonaface.types import Box

Colour = Literal["RGB", "BGR"]
Picture = NDArray[np.uint8] | Image.Image | bytes | IO[bytes]
Input = str | Path | int | Picture | Sequence[Picture | str | Path]
"""A file, folder, glob or manifest; an http(s) or rtsp address; the number of a camera; a picture `(h, w, 3)` uint8, a Pillow
image, an encoded picture or video as bytes or as an open binary file; a list of pictures, the frames of ONE presentation."""


@dataclass(frozen=True)
class Source:
    """One presentation: its name, and a file, a folder of frames, or a value in memory.

    `flip` undoes a stored flip ("vertical"), `first` bounds the frames of a video, from its start on, that are taken from.
    `problem` says why it cannot be read, if that is known already. `boxes` are the faces of each picture, where the caller
    found them. `held` is kept for as long as the source. `address` is where a file is still to be
    `fetched` from.
    """

    name: str
    path: Media
    flip: str = ""
    first: int | None = None
    problem: str = ""
    boxes: tuple[tuple[Box, ...], ...] | None = None
    held: object = field(default=None, repr=False, compare=False)
    address: str = field(default="", repr=False)

    @cached_property
    def kind(self) -> Literal["image", "video"]:
        """The operating point that applies: `image` for one image, `video` for a video, a burst or a folder of frames."""
        if isinstance(self.path, tuple):
            return "image" if len(self.path) == 1 else "video"
        return "image" if kind_of(self.path) == "image" else "video"


@dataclass
class Sources:
    """The presentations of inputs, and the files that are not presentations.

    `not_media` are files that are neither picture nor video, `left_out` counts what `walk` leaves out, `numbered` are
    folders whose pictures look like the frames of one video each.
    """

    items: list[Source] = field(default_factory=list)
    not_media: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    numbered: list[str] = field(default_factory=list)


def expand(
    inputs: Iterable[Input],
    *,
    root: str | Path | None = None,
    frames_as_video: bool = False,
    colour: Colour | None = None,
    allow_tables: bool = True,
) -> Sources:
    """Return the presentations of inputs in the order given; what cannot be read is one with a `problem`.

    `root` is the folder that a manifest's paths are relative to. With `frames_as_video` the pictures of a folder are the
    frames of one presentation. `colour` is the channel order of arrays, without which they are refused. Raises InputError
    for what does not exist or holds no presentation.
    """
    if colour not in (None, "RGB", "BGR"):
        raise InputError(f"colour {colour!r}: expected RGB or BGR")
    found = Sources()
    for number, item in enumerate(inputs):
        if isinstance(item, str | Path):
            _expand_path(item, found, root=root, frames_as_video=frames_as_video, allow_tables=allow_tables)
        else:
            found.items.append(_in_memory(item, number, colour))
    return found


def _expand_path(
    item: str | Path, found: Sources, *, root: str | Path | None, frames_as_video: bool, allow_tables: bool
) -> None:
    if (scheme := scheme_of(item)) in ("http", "https") and isinstance(item, str):
        found.items.append(Source(shown(item), Path(shown(item)), address=item))
        return
    path = Path(item)
    if is_remote(path):
        _expand_storage(path, found, root=root, allow_tables=allow_tables)
        return
    if scheme:
        raise InputError(f"an address {scheme}://... cannot be read; expected http://, https://, rtsp:// or s3://")
    if path.is_dir():
        before = len(found.items)
        others = _expand_folder(path, found, frames_as_video=frames_as_video)
        if len(found.items) == before:
            raise InputError(
                f"{path} holds no image or video{_and_others(others)}; expected files such as .jpg or .mp4"
            )
    elif path.is_file() and path.suffix.lower() in TABLE_SUFFIXES and allow_tables:
        found.items += _presentations(path, root=root)
    elif path.exists():
        found.items.append(Source(str(path), path))
    elif path.is_symlink():
        found.items.append(Source(str(path), path, problem="a broken link"))
    elif glob.has_magic(str(path)):
        _expand_glob(path, found, frames_as_video=frames_as_video)
    else:
        raise InputError(
            f"no file or folder at {without_passwords(str(path))}; expected an image, a video, a folder, a manifest, "
            "an address or a camera"
        )


def fetched(source: Source) -> Source:
    """Return the source with its file at hand: one at an address is downloaded, and the copy removed with what is returned."""
    if not source.address:
        return source
    try:
        file = download(source.address)
    except MediaError as error:
        return replace(source, address="", problem=str(error).removeprefix(f"{source.name}: "))
    here = replace(source, address="", path=file)
    weakref.finalize(here, shutil.rmtree, file.parent, ignore_errors=True)
    return here


def _expand_storage(path: Path, found: Sources, *, root: str | Path | None, allow_tables: bool) -> None:
    """Add the manifest, the object, or the media below a folder or of a pattern, in storage."""
    if path.suffix.lower() in TABLE_SUFFIXES and allow_tables:
        found.items += _presentations(path, root=root)
        return
    objects = listed(path)
    media = [each for each in objects if each == path or each.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
    if not media:
        raise InputError(f"no image or video at {in_storage(path)}; check the address")
    found.items += [Source(in_storage(each), each) for each in sorted(media, key=lambda each: natural_order(str(each)))]
    found.not_media += [in_storage(each) for each in objects if each not in set(media)]


def _expand_folder(folder: Path, found: Sources, *, frames_as_video: bool) -> list[str]:
    """Add the presentations in a folder; return the files in it that are neither picture nor video."""
    listed = walk(folder)
    found.left_out += listed.left_out
    names: dict[str, Source | None] = {
        problem.path: Source(str(folder / problem.path), folder / problem.path, problem=problem.reason)
        for problem in listed.problems
    }
    names |= dict.fromkeys(listed.files)
    if frames_as_video:
        for below, frames in frame_folders(listed.files).items():
            for name in frames:
                del names[name]
            names[below] = Source(str(folder / below), folder / below)
    else:
        found.numbered += [str(folder / below) for below in numbered_folders(listed.files)]
    others: list[str] = []
    for name in sorted(names, key=natural_order):
        found.items += _one(folder / name, others) if (source := names[name]) is None else [source]
    found.not_media += others
    return others


def _one(file: Path, others: list[str]) -> list[Source]:
    """Return a file of a folder as a source; add it to `others` if it is neither picture nor video."""
    try:
        if is_media(file):
            return [Source(str(file), file)]
    except OSError as error:
        return [Source(str(file), file, problem=f"it cannot be read ({error.strerror or error})")]
    others.append(str(file))
    return []


def _expand_glob(pattern: Path, found: Sources, *, frames_as_video: bool) -> None:
    inner = Sources()
    for name in sorted(glob.glob(str(pattern), recursive=True), key=natural_order):  # noqa: PTH207 (absolute patterns too)
        file = Path(name)
        if file.is_dir():
            _expand_folder(file, inner, frames_as_video=frames_as_video)
        elif file.exists():
            inner.items += _one(file, inner.not_media)
        else:
            inner.items.append(Source(name, file, problem="a broken link"))
    inner.items += _closed_folders(pattern)
    if not inner.items:
        raise InputError(f"{pattern} matches no image or video{_and_others(inner.not_media)}")
    # A folder and what lies in it may both match.
    found.items += {source.name: source for source in inner.items}.values()
    found.not_media += dict.fromkeys(inner.not_media)
    found.numbered += dict.fromkeys(inner.numbered)
    found.left_out += inner.left_out


def _closed_folders(pattern: Path) -> Iterable[Source]:
    """The folders that a pattern looks into and that cannot be listed: `glob` passes them over."""
    parts = pattern.parts
    for end in range(1, len(parts)):
        if not glob.has_magic(parts[end]):
            continue
        for name in glob.glob(str(Path(*parts[:end])), recursive=True):  # noqa: PTH207
            folder = Path(name)
            try:
                if folder.is_dir():
                    os.scandir(folder).close()
            except OSError as error:
                reason = f"the folder cannot be listed ({error.strerror or error})"
                yield Source(name, folder, problem=reason)


def _and_others(others: list[str]) -> str:
    return (
        f" ({len(others)} other files: {format_list((Path(name).name for name in others), limit=3)})" if others else ""
    )


def _presentations(path: Path, *, root: str | Path | None) -> list[Source]:
    """The presentations of a manifest; read without pandas, whose import takes longer than scoring a picture."""
    table = read_table(path, error=InputError)
    if "path" not in table.columns or not len(table):
        raise InputError(
            f"{path} is not a manifest: it has no column `path` with a row below it; "
            f"found: {format_list(table.columns, limit=20)}"
        )
    folder = Path(root) if root is not None else _root_of(path)
    names = relative_paths(table.columns["path"], folder)
    missing = [] if is_remote(folder) else [name for name in names if not (folder / name).exists()]
    if len(missing) == len(names):
        raise InputError(
            f"none of the {len(names)} files of {path} is below {folder} ({format_list(missing)}); set --root"
        )
    nothing = [""] * len(names)
    flips, firsts = (table.columns.get(column, nothing) for column in ("flip", "first_frames"))
    found = []
    for name, flip, first in zip(names, flips, firsts, strict=True):
        if not re.fullmatch(r"[1-9]\d{0,8}|", first):
            raise InputError(f"{path}: first_frames of {name} is {first!r}; expected a number of frames, or none")
        found.append(Source(name, folder / name, flip, int(first) if first else None))
    return found


def _root_of(manifest: Path) -> Path:
    """The folder of a manifest's footage: the one that its meta file names, else the manifest's own."""
    root = str(read_json(manifest.with_name(f"{manifest.stem}.meta.json")).get("root", ""))
    folder = Path(root) if is_remote(root) else manifest.parent / root
    with suppress(OSError, ValueError):  # a path with a null byte
        return folder if is_remote(folder) or not root else folder.resolve()
    return manifest.parent


def _in_memory(item: Any, number: int, colour: Colour | None) -> Source:
    """Return a value in memory as a source; `number` is its place among the inputs."""
    if isinstance(item, list | tuple):
        if not item:
            raise InputError("an empty list: expected the pictures of one presentation, in order")
        pictures = tuple(_picture(each, colour, "a list") for each in item)
        sizes = sorted({f"{picture.shape[1]} x {picture.shape[0]}" for picture in pictures})
        if len(sizes) > 1:
            raise InputError(
                f"the frames of one presentation have different sizes: {format_list(sizes)}; expected those of one camera"
            )
        return Source(f"frames {number}", pictures)
    if isinstance(item, bytes | bytearray | memoryview):
        return Source(f"bytes {number}", bytes(item))
    if hasattr(item, "read"):
        name = getattr(item, "name", None)
        return Source(name if isinstance(name, str) else f"file {number}", _content(item))
    return Source(f"array {number}" if isinstance(item, np.ndarray) else f"picture {number}", (_picture(item, colour),))


def _picture(item: Any, colour: Colour | None, where: str = "") -> NDArray[np.uint8]:
    """Return a picture as RGB `(h, w, 3)`."""
    if isinstance(item, np.ndarray):
        if item.dtype != np.uint8 or item.ndim != 3 or item.shape[2] != 3 or 0 in item.shape:
            raise InputError(
                f"an array {item.shape} of {item.dtype} is not a picture; expected uint8 of shape (height, width, 3)"
            )
        if colour is None:
            raise InputError(
                'an array does not say the order of its channels; add colour="RGB", or colour="BGR" for what cv2.imread '
                "and cv2.VideoCapture return"
            )
        return np.ascontiguousarray(item if colour == "RGB" else item[..., ::-1])
    try:
        if isinstance(item, Image.Image):
            return pixels_of_picture(item)
        if where and hasattr(item, "read"):
            item = _content(item)
        if where and isinstance(item, bytes):
            return read_image(item, trusted=True)
    except MediaError as error:
        raise InputError(f"a frame in {where}: {error}" if where else str(error)) from None
    if where and isinstance(item, str | Path | int):
        raise InputError(
            f"{item!r} in {where}: a list holds the pictures of one presentation (arrays, Pillow images, bytes); to score "
            "several files pass them one by one: predict(bundle, *files)"
        )
    expected = "a path, a camera's number, an array, a Pillow image, bytes, a binary file, or a list of pictures"
    raise InputError(f"{type(item).__name__} {where and f'in {where} '}cannot be scored; expected {expected}")


def _content(file: Any) -> bytes:
    try:
        content = file.read()
    except (OSError, ValueError) as error:  # such as a closed file
        raise InputError(f"a file that cannot be read: {error}") from None
    if not isinstance(content, bytes):
        raise InputError("a file opened as text; expected one opened as binary: open(path, 'rb')")
    return content
