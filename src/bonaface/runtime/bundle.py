"""The bundle: weights, preprocessing, detector and thresholds, in one folder or one zip.

Everything that scores reads this and nothing else, so that what was measured is what runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bonaface.errors import BundleError, OutputError, few, writing
from bonaface.verdicts import FusionRule, logit

__all__ = [
    "FORMAT",
    "Bundle",
    "BundleCard",
    "DetectorCard",
    "InputCard",
    "OperatingPoint",
    "OutputCard",
    "change_bundle",
    "load_bundle",
    "make_bundle",
    "write_bundle",
]

FORMAT = 1
"""Version of the bundle's own format; a reader refuses those it does not know."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Card(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputCard(Card):
    """What the network takes: crops of `size` x `size` pixels.

    A `float32` network is given `(pixel / divisor - mean) / std` a channel; a `uint8` one takes the pixels as they are.
    """

    name: str = "crops"
    size: int = Field(224, ge=16, le=2048)
    dtype: Literal["uint8", "float32"] = "uint8"
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    colour: Literal["RGB", "BGR"] = "RGB"
    divisor: float = Field(1.0, gt=0)
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


class OutputCard(Card):
    """What the network gives: `logit`, `probability`, `logits[i]` or `softmax[i]`, with i the bona fide class."""

    name: str = "logit"
    meaning: str = Field("logit", pattern=r"^(logit|probability|(logits|softmax)\[\d+\])$")
    embedding: str | None = "embedding"


class DetectorCard(Card):
    """The face detector that the crops were made with; another one is refused."""

    name: Literal["yunet", "haar", "boxes", "whole_frame"]
    identity: str


class OperatingPoint(Card):
    """A threshold, what it applies to, and the data that chose it.

    `frames` frames, evenly spaced, are fused by `fusion`; decisions compare logits: `logit >= logit_threshold` accepts.
    """

    threshold: float = Field(ge=0, le=1)
    logit_threshold: float
    criterion: str
    frames: int = Field(ge=1)
    fusion: FusionRule
    chosen_on: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()


class BundleCard(Card):
    """The content of `bundle.json`."""

    format: int = FORMAT
    name: str
    created: str
    files: dict[str, Digest]
    architecture: str
    network: dict[str, Any] = {}
    input: InputCard
    output: OutputCard
    crop_scale: float = Field(gt=0)
    detector: DetectorCard
    operating_points: dict[Literal["image", "video"], OperatingPoint] = {}
    licence: str = ""
    training: dict[str, Any] = {}
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and whose every file has the sha256 that its card names."""

    path: Path
    card: BundleCard
    contents: Mapping[str, bytes] = field(repr=False)

    @cached_property
    def id(self) -> str:
        """First 16 hexadecimal digits of the sha256 of `bundle.json`, which names every other file's."""
        return hashlib.sha256(self.contents["bundle.json"]).hexdigest()[:16]

    def operating_point(self, kind: Literal["image", "video"]) -> OperatingPoint:
        """The threshold for a single image, or for a video; at score 0.5 where validation has chosen none."""
        if kind in self.card.operating_points:
            return self.card.operating_points[kind]
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

    Raises BundleError for a missing, changed, unlisted or unknown part.
    """
    path = Path(path)
    contents = _read_zip(path) if path.is_file() else _read_folder(path)
    if "bundle.json" not in contents:
        raise BundleError(f"{path} holds no bundle.json; expected a bundle as `bonaface train` writes it")
    card = _parse_card(path, contents["bundle.json"])
    missing = sorted(set(card.files) - set(contents))
    if missing:
        raise BundleError(f"{path} lacks {few(missing)}, which its bundle.json lists; copy the whole bundle")
    changed = [name for name, digest in card.files.items() if hashlib.sha256(contents[name]).hexdigest() != digest]
    if changed:
        raise BundleError(
            f"{path}: {few(changed)} is not the file that bundle.json lists (sha256 differs); "
            "the bundle is damaged or was tampered with, fetch or make it again"
        )
    if "model.onnx" not in card.files:
        raise BundleError(f"{path} lists no model.onnx, without which nothing can be scored")
    return Bundle(path, card, contents)


def make_bundle(path: Path, card: BundleCard, files: Mapping[str, bytes]) -> Bundle:
    """A bundle in memory, to be written to `path`; `card.files` is filled in here."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    card = card.model_copy(update={"files": digests})
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    return Bundle(Path(path), card, {**files, "bundle.json": text.encode()})


def change_bundle(bundle: Bundle, **changes: Any) -> Bundle:
    """The same weights, in memory, under a card with some entries changed."""
    files = {name: content for name, content in bundle.contents.items() if name in bundle.card.files}
    return make_bundle(bundle.path, bundle.card.model_copy(update=changes), files)


def write_bundle(bundle: Bundle) -> None:
    """Write the bundle's folder, complete or not at all; a bundle in its place is replaced, anything else refused."""
    path = bundle.path
    if path.exists() and not (path / "bundle.json").is_file():
        raise OutputError(f"{path} exists and is not a bundle; name another folder")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            for name, content in bundle.contents.items():
                with (fresh / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            fresh.chmod(0o755)
            if path.exists():
                path.replace(fresh.with_name(f"{fresh.name}-old"))
            fresh.replace(path)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.rmtree(fresh.with_name(f"{fresh.name}-old"), ignore_errors=True)


def _read_folder(path: Path) -> dict[str, bytes]:
    if not path.is_dir():
        raise BundleError(f"no bundle at {path}; expected the folder or zip that `bonaface train` writes")
    if not (path / "bundle.json").is_file() and (path / "bundle" / "bundle.json").is_file():
        return _read_folder(path / "bundle")
    try:
        return {item.name: item.read_bytes() for item in sorted(path.iterdir()) if item.is_file()}
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from None


def _read_zip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {Path(info.filename).name: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise BundleError(f"{path} is not a bundle (a folder, or a zip of one): {error}") from None


def _parse_card(path: Path, content: bytes) -> BundleCard:
    try:
        values = json.loads(content)
    except ValueError as error:
        raise BundleError(f"{path}/bundle.json is not JSON: {error}") from None
    version = values.get("format") if isinstance(values, dict) else None
    if version != FORMAT:
        raise BundleError(f"{path} is a bundle of format {version}; this Bonaface reads format {FORMAT}")
    try:
        return BundleCard.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise BundleError(f"{path}/bundle.json: {where}: {fault['msg']}") from None
