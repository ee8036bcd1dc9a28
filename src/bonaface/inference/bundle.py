"""The bundle: weights, preprocessing, detector and thresholds, in one folder or one zip.

Everything that scores reads this and nothing else, so that what was measured is what runs.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bonaface.errors import BundleError, OutputError, did_you_mean, few, writing
from bonaface.inference.bundle_checks import PICKLES, check_file, weights_architecture
from bonaface.inference.bundle_schema import (
    FORMAT,
    BundleCard,
    Comparison,
    DetectorCard,
    InputCard,
    Kind,
    OperatingPoint,
    OutputCard,
    VariantCard,
)
from bonaface.inference.model_card import model_card
from bonaface.types import logit

__all__ = [
    "FORMAT",
    "ZIP_SUFFIXES",
    "Bundle",
    "BundleCard",
    "Comparison",
    "DetectorCard",
    "InputCard",
    "OperatingPoint",
    "OutputCard",
    "VariantCard",
    "change_bundle",
    "load_bundle",
    "make_bundle",
    "write_bundle",
]

ZIP_SUFFIXES = (".bonaface", ".zip")
"""A bundle whose name ends so is written as one zip, any other as a folder."""

README = "README.md"
_MOST_BYTES = 4 << 30
_MOST_CARD_BYTES = 16 << 20
_MOST_UNPACKED = 20
"""A zip that unpacks to more than this times its length is no bundle: weights hardly pack at all."""
_WEIGHTS = (".onnx", ".safetensors", ".bin")
_SAME_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and whose every file has the sha256 that its card names.

    `variant` is the form of the network that scores, "" for `model.onnx`.
    """

    path: Path
    card: BundleCard
    contents: Mapping[str, bytes] = field(repr=False)
    variant: str = ""

    @cached_property
    def id(self) -> str:
        """First 16 hexadecimal digits of the sha256 of `bundle.json`, which names every other file's."""
        return hashlib.sha256(self.contents["bundle.json"]).hexdigest()[:16]

    @property
    def title(self) -> str:
        """The bundle's name, with the variant's where one was chosen."""
        return f"{self.card.name} ({self.variant})" if self.variant else self.card.name

    def use(self, variant: str | None) -> Bundle:
        """The same bundle, scoring by one of its variants and at that variant's thresholds; by `model.onnx` for None.

        Raises BundleError for a variant that it has not.
        """
        known = self.card.variants
        if variant and variant not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise BundleError(
                f"{self.path} has no variant {variant!r}{did_you_mean(variant, known)}; {has}: "
                "`bonaface export` makes them with --openvino, --bf16 and --int8"
            )
        return replace(self, variant=variant or "")

    def operating_point(self, kind: Kind) -> OperatingPoint:
        """The threshold for a single image, or for a video; at score 0.5 where validation has chosen none."""
        points = self.card.variants[self.variant].operating_points if self.variant else self.card.operating_points
        if kind in points:
            return points[kind]
        return OperatingPoint(
            threshold=0.5,
            logit_threshold=logit(0.5),
            criterion="fixed=0.5",
            frames=1 if kind == "image" else 8,
            fusion="first" if kind == "image" else "mean",
            warnings=("no validation data has chosen this threshold",),
        )


def load_bundle(path: str | Path) -> Bundle:
    """Read a bundle's folder or zip and check every file against its card.

    Raises BundleError for a missing, changed, unlisted or unknown part, for a pickle, for an ONNX file with external data
    and for weights of another network than the card's.
    """
    path = Path(path)
    with _zip_shelf(path) if path.is_file() else _folder_shelf(path) as shelf:
        if "bundle.json" not in shelf.sizes:
            raise BundleError(
                f"{path} holds no bundle.json; expected a bundle as `bonaface train` or `export` writes it"
            )
        if shelf.sizes["bundle.json"] > _MOST_CARD_BYTES:
            raise BundleError(f"{path}/bundle.json is longer than the {_MOST_CARD_BYTES >> 20} MB of any card")
        card_json = shelf.read("bundle.json")
        card = _parse_card(path, card_json)
        # What the card does not list is refused before it is read: a zip may hold a thousand times its own length.
        _check_listing(path, card, set(shelf.sizes))
        _check_size(path, sum(shelf.sizes[name] for name in card.files))
        contents = {"bundle.json": card_json, **{name: shelf.read(name) for name in card.files}}
    changed = [name for name, digest in card.files.items() if hashlib.sha256(contents[name]).hexdigest() != digest]
    if changed:
        raise BundleError(
            f"{path}: {few(changed)} is not the file that bundle.json lists (sha256 differs); "
            "the bundle is damaged or was tampered with, fetch or make it again"
        )
    _check_parts(path, card, contents)
    return Bundle(path, card, contents)


def make_bundle(path: Path, card: BundleCard, files: Mapping[str, bytes]) -> Bundle:
    """A bundle in memory, to be written to `path`; `card.files` and the README are filled in here."""
    files = {**files, README: model_card(card).encode()}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    card = card.model_copy(update={"files": digests})
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    return Bundle(Path(path), card, {**files, "bundle.json": text.encode()})


def change_bundle(
    bundle: Bundle, *, path: Path | None = None, files: Mapping[str, bytes] | None = None, **changes: Any
) -> Bundle:
    """The same weights, in memory, under a card with some entries changed; `files` are added."""
    held = {name: content for name, content in bundle.contents.items() if name in bundle.card.files}
    return make_bundle(path or bundle.path, bundle.card.model_copy(update=changes), {**held, **(files or {})})


def write_bundle(bundle: Bundle) -> None:
    """Write the bundle, complete or not at all: a zip where its name ends so, else a folder.

    A bundle in its place is replaced, anything else refused with an OutputError.
    """
    path = bundle.path
    zipped = path.suffix.lower() in ZIP_SUFFIXES
    if path.exists() and not (_is_zipped_bundle(path) if zipped else (path / "bundle.json").is_file()):
        raise OutputError(f"{path} exists and is not a bundle; name another {'file' if zipped else 'folder'}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            (_write_zip if zipped else _write_folder)(bundle, fresh)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.rmtree(fresh.with_name(f"{fresh.name}-old"), ignore_errors=True)


def _write_folder(bundle: Bundle, fresh: Path) -> None:
    path = bundle.path
    for name, content in bundle.contents.items():
        _write_file(fresh / name, content)
    fresh.chmod(0o755)
    if path.exists():
        path.replace(fresh.with_name(f"{fresh.name}-old"))
    fresh.replace(path)


def _write_zip(bundle: Bundle, fresh: Path) -> None:
    """The same content gives the same bytes: files in order of name, all of one time.

    Weights are stored as they are: packing saves a tenth of them and makes the first verdict wait for unpacking.
    """
    target = fresh / "bundle.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(bundle.contents):
            info = zipfile.ZipInfo(name, _SAME_TIME)
            info.compress_type = zipfile.ZIP_STORED if name.endswith(_WEIGHTS) else zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, bundle.contents[name])
    with target.open("rb+") as file:
        os.fsync(file.fileno())
    target.replace(bundle.path)


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _is_zipped_bundle(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).name == "bundle.json" for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


@dataclass(frozen=True)
class _Shelf:
    """What lies in a bundle's folder or zip: bytes by name, and how to get them."""

    sizes: Mapping[str, int]
    read: Callable[[str], bytes]


@contextmanager
def _folder_shelf(path: Path) -> Iterator[_Shelf]:
    if not path.is_dir():
        raise BundleError(f"no bundle at {path}; expected the folder or zip that `bonaface train` or `export` writes")
    if not (path / "bundle.json").is_file():
        path = path / "bundle" if (path / "bundle" / "bundle.json").is_file() else path
    try:
        # Hidden files are those of file managers and version control; nothing of a bundle is hidden.
        files = [item for item in sorted(path.iterdir()) if item.is_file() and not item.name.startswith(".")]
        yield _Shelf({item.name: item.stat().st_size for item in files}, lambda name: (path / name).read_bytes())
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from None


@contextmanager
def _zip_shelf(path: Path) -> Iterator[_Shelf]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(path, archive)
            unpacked, packed = sum(info.file_size for info in entries.values()), path.stat().st_size
            if unpacked > _MOST_UNPACKED * max(packed, 4 << 20):
                raise BundleError(
                    f"{path} unpacks from {packed / 1e6:.1f} to {unpacked / 1e6:.0f} MB, as no weights do; "
                    "it is not a bundle, or a damaged one"
                )
            yield _Shelf(
                {name: info.file_size for name, info in entries.items()}, lambda name: archive.read(entries[name])
            )
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise BundleError(
            f"{path} is not a bundle (a folder, or a zip of one), or a damaged one: {error}; fetch or make it again"
        ) from None
    except (OSError, RuntimeError, NotImplementedError) as error:
        raise BundleError(f"{path} is not a bundle that can be read (a folder, or a zip of one): {error}") from None


def _entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of a zip by name: at its top, or all in one folder, as a zip of the folder has them."""
    found: dict[str, zipfile.ZipInfo] = {}
    folders: set[str] = set()
    twice: list[str] = []
    for info in archive.infolist():
        folder, _, name = info.filename.rpartition("/")
        if info.is_dir() or name.startswith("."):
            continue
        if name in found:
            twice.append(name)
        found[name] = info
        folders.add(folder)
    if twice:
        raise BundleError(f"{path} holds {few(sorted(set(twice)))} more than once; make the zip of one bundle again")
    if len(folders) > 1 or any(part in {"", ".", ".."} for folder in folders if folder for part in folder.split("/")):
        raise BundleError(
            f"{path} holds files at {few(sorted(folders), limit=3)!r}; expected those of one bundle, at the top of the zip "
            "or in one folder"
        )
    return found


def _check_listing(path: Path, card: BundleCard, held: set[str]) -> None:
    if missing := sorted(set(card.files) - held):
        raise BundleError(f"{path} lacks {few(missing)}, which its bundle.json lists; copy the whole bundle")
    if unlisted := sorted(held - set(card.files) - {"bundle.json"}):
        pickled = " (a pickle, which can run any code when it is opened)" if _pickled(unlisted) else ""
        raise BundleError(f"{path} holds {few(unlisted)}{pickled}, which bundle.json does not list; take it out")


def _check_size(path: Path, size: int) -> None:
    if size > _MOST_BYTES:
        raise BundleError(f"{path} holds {size / 1e9:.1f} GB, more than the {_MOST_BYTES / 1e9:.1f} GB of any bundle")


def _check_parts(path: Path, card: BundleCard, contents: Mapping[str, bytes]) -> None:
    """Refuse what no bundle holds, and parts that do not belong together."""
    for name in card.files:
        try:
            check_file(name, contents[name])
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from None
    if "model.onnx" not in card.files:
        raise BundleError(f"{path} lists no model.onnx, without which nothing can be scored")
    for name, variant in card.variants.items():
        if absent := sorted(set(variant.files) - set(card.files)):
            raise BundleError(f"{path}: variant {name} needs {few(absent)}, which bundle.json does not list")
    found = weights_architecture(contents.get("model.safetensors", b""))
    if found and found != card.architecture:
        raise BundleError(
            f"{path}: model.safetensors holds weights of {found}, but bundle.json speaks of {card.architecture}; "
            "they are of two different bundles: export the run again"
        )


def _pickled(names: list[str]) -> bool:
    return any(Path(name).suffix.lower() in PICKLES for name in names)


def _parse_card(path: Path, content: bytes) -> BundleCard:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}/bundle.json is not JSON: {error}") from None
    version = values.get("format") if isinstance(values, dict) else None
    if type(version) is not int or version != FORMAT:
        raise BundleError(
            f"{path} is a bundle of format {version!r}; this Bonaface reads format {FORMAT}: "
            "use the Bonaface that wrote it, or export it again"
        )
    try:
        return BundleCard.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise BundleError(f"{path}/bundle.json: {where}: {fault['msg']}") from None
