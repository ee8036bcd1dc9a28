"""The bundle: weights, preprocessing, detector and thresholds, in one folder or one zip.

Everything that scores reads this and nothing else, so that what was measured is what runs.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from bonaface.errors import BundleError, OutputError, describe_validation_error, did_you_mean, format_list, one_line
from bonaface.inference.bundle_checks import check_file, weights_architecture
from bonaface.inference.bundle_schema import ENSEMBLE_FILE, FORMAT, BundleCard, Kind, OperatingPoint
from bonaface.inference.model_card import model_card
from bonaface.io import new_file, new_folder, write_bytes
from bonaface.io.storage import exists, is_remote, local_copy, shown
from bonaface.types import logit

ZIP_SUFFIXES = (".bonaface", ".zip")
"""Suffixes of bundles that are written as one zip; others are folders."""

README = "README.md"
_MAX_BYTES = 2 << 30
"""Size of all files together: an ONNX file without external data cannot be longer."""
_MAX_CARD_BYTES = 16 << 20
_PIECE = 1 << 20
_WEIGHTS = (".onnx", ".safetensors", ".bin")
_SAME_TIME = (1980, 1, 1, 0, 0, 0)
_Open = Callable[[], IO[Any]]


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read, and whose files all have the sha256 that its card names.

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
        """Return the same bundle, scoring with one of its variants at that variant's thresholds; `model.onnx` for None.

        Raises BundleError for an unknown variant.
        """
        known = self.card.variants
        if variant and variant not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise BundleError(
                f"{self.path} has no variant {variant!r}{did_you_mean(variant, known)}; {has}: "
                "`bonaface export` makes them with --openvino, --bf16 and --int8"
            )
        return replace(self, variant=variant or "")

    @cached_property
    def second(self) -> Bundle | None:
        """The second network of an ensemble as a backend loads it; None where there is none."""
        found = self.card.ensemble
        if found is None:
            return None
        card = BundleCard(
            name=found.name,
            created=self.card.created,
            files={},
            architecture=found.name,
            input=found.input,
            output=found.output,
            crop_scale=found.crop_scale,
            detector=self.card.detector,
        )
        return Bundle(self.path / ENSEMBLE_FILE, card, {"model.onnx": self.contents[ENSEMBLE_FILE]})

    def operating_point(self, kind: Kind) -> OperatingPoint:
        """Return the threshold for a single image or for a video; at score 0.5 where validation has chosen none."""
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

    Args:
        path: the bundle, or the run folder that holds it.

    Returns:
        The bundle, with its card and the contents of its files.

    Raises:
        BundleError: a part is missing, changed, unlisted or unknown, an ONNX file has external data, or the weights are
            those of a different network than the card's.

    Examples:
        ```python
        bundle = bonaface.load_bundle("run/bundle")
        print(bundle.id, bundle.card.name, bundle.operating_point("video").threshold)
        ```
    """
    path = local_copy(Path(path), error=BundleError)
    if path.suffix.lower() == ".onnx" and path.is_file():
        raise BundleError(f"{path} is a network without a bundle; make one around it with `bonaface bundle from-onnx`")
    with _open_zip(path) if path.is_file() else _open_folder(path) as members:
        if "bundle.json" not in members:
            raise BundleError(
                f"{path} holds no bundle.json; expected a bundle as `bonaface train` or `export` writes it"
            )
        contents = {"bundle.json": _read(path, members, "bundle.json", _MAX_CARD_BYTES)}
        card = _parse_card(path, contents["bundle.json"])
        _check_listing(path, card, set(members))
        left = _MAX_BYTES
        for name, digest in card.files.items():
            _check_digest(path, members, name, digest, left)
            contents[name] = _read(path, members, name, left)
            left -= len(contents[name])
    _check_parts(path, card, contents)
    return Bundle(path, card, contents)


def make_bundle(path: Path, card: BundleCard, files: Mapping[str, bytes]) -> Bundle:
    """Return a bundle in memory, to be written to `path`; fills in `card.files` and the README."""
    files = {**files, README: model_card(card).encode()}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    card = card.model_copy(update={"files": digests})
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    return Bundle(Path(path), card, {**files, "bundle.json": text.encode()})


def change_bundle(
    bundle: Bundle, *, path: Path | None = None, files: Mapping[str, bytes] | None = None, **changes: Any
) -> Bundle:
    """Return a bundle in memory of the same files and `files`, with some entries of its card changed."""
    held = {name: content for name, content in bundle.contents.items() if name in bundle.card.files}
    return make_bundle(path or bundle.path, bundle.card.model_copy(update=changes), {**held, **(files or {})})


def write_bundle(bundle: Bundle) -> None:
    """Write the bundle, complete or not at all: a zip where its name ends so, else a folder.

    A bundle at that path is replaced. Raises OutputError where there is anything else.
    """
    path = bundle.path
    zipped = path.suffix.lower() in ZIP_SUFFIXES
    is_bundle = (is_remote(path) or _is_zipped_bundle(path)) if zipped else exists(path / "bundle.json")
    if exists(path) and not is_bundle:
        raise OutputError(f"{shown(path)} exists and is not a bundle; name another {'file' if zipped else 'folder'}")
    if zipped:
        with new_file(path) as fresh:
            _write_zip(bundle, fresh)
    else:
        with new_folder(path, what="bundle", replace=True) as folder:
            for name, content in bundle.contents.items():
                write_bytes(folder / name, content)


def _write_zip(bundle: Bundle, path: Path) -> None:
    """Write a zip whose bytes follow from its content: files in order of name, with one fixed time.

    Weights are stored: deflating saves a tenth of their size and delays the first verdict.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(bundle.contents):
            info = zipfile.ZipInfo(name, _SAME_TIME)
            info.compress_type = zipfile.ZIP_STORED if name.endswith(_WEIGHTS) else zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, bundle.contents[name])


def _is_zipped_bundle(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "bundle.json" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


@contextmanager
def _open_folder(path: Path) -> Iterator[dict[str, _Open]]:
    """Yield how to open each file of a bundle's folder, or of the one in a run folder."""
    if not path.is_dir():
        raise BundleError(f"no bundle at {path}; expected the folder or zip that `bonaface train` or `export` writes")
    if not (path / "bundle.json").is_file() and (path / "bundle" / "bundle.json").is_file():
        path = path / "bundle"
    try:
        # Hidden files are those of file managers and version control.
        yield {
            file.name: partial(file.open, "rb")
            for file in sorted(path.iterdir())
            if file.is_file() and not file.name.startswith(".")
        }
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from None


@contextmanager
def _open_zip(path: Path) -> Iterator[dict[str, _Open]]:
    """Yield how to open each file of a zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            members: dict[str, _Open] = {}
            for info in archive.infolist():
                if info.filename in members:
                    raise BundleError(
                        f"{path} holds {info.filename!r} more than once; make the zip of one bundle again"
                    )
                if "/" in info.filename:
                    raise BundleError(
                        f"{path} holds {info.filename!r}; expected the files of one bundle at the top of the zip: make it "
                        "of the folder's files, not of the folder"
                    )
                if info.filename.startswith("."):
                    continue
                if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                    raise BundleError(f"{path}: {info.filename!r} is packed by a method other than stored or deflate")
                members[info.filename] = partial(archive.open, info)
            yield members
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise BundleError(
            f"{path} is not a bundle (a folder, or a zip of its files), or a damaged one: {error}; fetch or make it again"
        ) from None
    except (OSError, RuntimeError, NotImplementedError, ValueError) as error:
        raise BundleError(
            f"{path} is not a bundle that can be read (a folder, or a zip of its files): {error}"
        ) from None


def _pieces(path: Path, members: Mapping[str, _Open], name: str, most: int) -> Iterator[bytes]:
    """Yield a file in pieces. Raises BundleError once it turns out to be longer than `most` bytes."""
    length = 0
    with members[name]() as file:
        while piece := file.read(_PIECE):
            length += len(piece)
            if length > most:
                raise BundleError(
                    f"{path}: {name} is longer than the {most / 1e6:.0f} MB that are left for it; expected a bundle of at "
                    f"most {_MAX_BYTES / 1e9:.1f} GB"
                )
            yield piece


def _read(path: Path, members: Mapping[str, _Open], name: str, most: int) -> bytes:
    return b"".join(_pieces(path, members, name, most))


def _check_digest(path: Path, members: Mapping[str, _Open], name: str, expected: str, most: int) -> None:
    """Compare a file's sha256 without holding the file. Raises BundleError."""
    digest = hashlib.sha256()
    for piece in _pieces(path, members, name, most):
        digest.update(piece)
    if digest.hexdigest() != expected:
        raise BundleError(
            f"{path}: {name} is not the file that bundle.json lists (sha256 differs); "
            "the bundle is damaged or was tampered with, fetch or make it again"
        )


def _check_listing(path: Path, card: BundleCard, held: set[str]) -> None:
    if missing := sorted(set(card.files) - held):
        raise BundleError(f"{path} lacks {format_list(missing)}, which its bundle.json lists; copy the whole bundle")
    if unlisted := sorted(held - set(card.files) - {"bundle.json"}):
        raise BundleError(f"{path} holds {format_list(unlisted)}, which bundle.json does not list; take it out")


def _check_parts(path: Path, card: BundleCard, contents: Mapping[str, bytes]) -> None:
    """Raise BundleError for files that no bundle has, and for parts that do not belong together."""
    for name in card.files:
        try:
            check_file(name, contents[name])
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from None
    if "model.onnx" not in card.files:
        raise BundleError(f"{path} lists no model.onnx, without which nothing can be scored")
    if card.ensemble and ENSEMBLE_FILE not in card.files:
        raise BundleError(f"{path} lists no {ENSEMBLE_FILE}, the second network of its ensemble")
    for name, variant in card.variants.items():
        if absent := sorted(set(variant.files) - set(card.files)):
            raise BundleError(f"{path}: variant {name} needs {format_list(absent)}, which bundle.json does not list")
    found = weights_architecture(contents.get("model.safetensors", b""))
    if found and found != card.architecture:
        raise BundleError(
            f"{path}: model.safetensors holds weights of {found}, but bundle.json names {card.architecture}; "
            "they are of two different bundles: export the run again"
        )


def _parse_card(path: Path, content: bytes) -> BundleCard:
    try:
        values = _strict_json(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}/bundle.json is not JSON as bundles have it: {one_line(error)}") from None
    version = values.get("format") if isinstance(values, dict) else None
    if type(version) is not int or version != FORMAT:
        raise BundleError(
            f"{path} is a bundle of format {version!r}; this Bonaface reads format {FORMAT}: "
            "use the Bonaface that wrote it, or export it again"
        )
    try:
        return BundleCard.model_validate(values)
    except ValidationError as error:
        raise BundleError(f"{path}/bundle.json: {describe_validation_error(error, BundleCard)}") from None


def _strict_json(content: bytes) -> Any:
    """Parse JSON. Raises ValueError for NaN, infinity, a key that occurs twice, and text that is not Unicode."""

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"the number {text} is out of range")
        return value

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice")
        return found

    values = json.loads(content, parse_float=number, parse_constant=number, object_pairs_hook=unique)
    json.dumps(values, ensure_ascii=False).encode()  # a lone surrogate cannot be written again
    return values
