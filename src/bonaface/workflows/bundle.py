"""Bundles that no training here made: looked into, made from a third party's ONNX file, or fetched by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from bonaface.data.downloads import fetch, sha256_of
from bonaface.data.faces.detector import load_detector
from bonaface.errors import BundleError, ScoreTableError, SettingsError, did_you_mean, few, needs_extra
from bonaface.inference.bundle import (
    Bundle,
    BundleCard,
    DetectorCard,
    InputCard,
    OutputCard,
    load_bundle,
    make_bundle,
    write_bundle,
)
from bonaface.inference.model_card import describe
from bonaface.inference.model_zoo import OPEN_MODELS
from bonaface.inference.onnx_import import ForeignNetwork
from bonaface.io import now
from bonaface.types import FusionRule, Progress

if TYPE_CHECKING:
    import pandas as pd

    from bonaface.evaluation.scores import HigherIs

__all__ = [
    "RANGES",
    "Calibrated",
    "MadeBundle",
    "Pulled",
    "ShownBundle",
    "bundle_from_onnx",
    "calibrate_bundle",
    "pull_bundle",
    "show_bundle",
]

RANGES: Mapping[str, tuple[float, float, float]] = {
    "0..1": (255.0, 0.0, 1.0),
    "0..255": (1.0, 0.0, 1.0),
    "-1..1": (127.5, 1.0, 1.0),
}
"""What a network's pixels may be, as divisor, mean and standard deviation of `(pixel / divisor - mean) / std`."""


MEANING = re.compile(r"logit|probability|(logits|softmax)\[\d+\]")


@dataclass(frozen=True)
class ShownBundle:
    """A bundle that was read and checked."""

    bundle: Bundle

    def summary(self) -> str:
        """What it is, what it holds and what was measured of it."""
        bundle = self.bundle
        files = [
            f"  {name}  {len(bundle.contents[name]):,} bytes  sha256 {digest[:16]}..."
            for name, digest in bundle.card.files.items()
        ]
        lines = [f"{bundle.card.name}, bundle {bundle.id}, format {bundle.card.format}, made {bundle.card.created}"]
        return "\n".join([*lines, *describe(bundle.card), "files, each as its sha256 says:", *files])


@dataclass(frozen=True)
class MadeBundle:
    """A bundle that was written around a third party's network."""

    bundle: Bundle
    path: Path

    def summary(self) -> str:
        """How the network will be fed and read, and where the bundle is."""
        return "\n".join([*describe(self.bundle.card), f"bundle {self.bundle.id}: {self.path}"])


@dataclass(frozen=True)
class Pulled:
    """A published model that lies here now: as a bundle, or, for what is no liveness network, as the file itself."""

    name: str
    title: str
    licence: str
    path: Path
    bundle: Bundle | None = None

    def summary(self) -> str:
        """What it is, where it is, and what to do with it."""
        lines = [f"{self.name}: {self.title}, licence {self.licence}", f"written: {self.path}"]
        if self.bundle is not None:
            lines.append(f"try it: bonaface predict {self.path} photo.jpg")
        return "\n".join(lines)


def show_bundle(bundle: str | Path | Bundle) -> ShownBundle:
    """Read a bundle, check every file in it, and tell what it is. Raises BundleError."""
    return ShownBundle(bundle if isinstance(bundle, Bundle) else load_bundle(bundle))


def bundle_from_onnx(
    network: str | Path,
    *,
    output: str | Path,
    meaning: str,
    crop_scale: float,
    size: int | None = None,
    layout: str | None = None,
    colour: str = "RGB",
    pixels: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    output_name: str | None = None,
    embedding: str | None = None,
    detector: str = "yunet",
    detector_weights: Path | None = None,
    name: str | None = None,
    licence: str = "",
    source: str = "",
) -> MadeBundle:
    """Make a bundle of a third party's ONNX network, so that it is measured and served by the same code as ours.

    `meaning` is `logit`, `probability`, `logits[i]` or `softmax[i]`, i being the bona fide class; `pixels` one of
    `RANGES`, then `(x - mean) / std` a channel. `size` and `layout` are read from the file where it says them. The
    network is tried on a few crops before anything is written. Raises BundleError where it does not fit what is said of it.
    """
    if not MEANING.fullmatch(meaning):
        raise SettingsError(
            f"--meaning {meaning} is none that a network's output can have; expected logit, probability, logits[i] or "
            "softmax[i], where i counts from 0 and is the bona fide class"
        )
    path = Path(network)
    foreign = ForeignNetwork(path)
    given = foreign.input(size=size, layout=layout)
    answer = foreign.output(output_name)
    divisor, offset, spread = RANGES[_known_range(pixels, foreign.dtype)]
    if foreign.dtype == "uint8" and (mean is not None or std is not None):
        raise BundleError(f"{path} takes whole pixels (uint8), so --mean and --std say nothing; leave them out")
    try:
        card = BundleCard(
            name=name or path.stem,
            created=now(),
            files={},
            architecture=path.stem,
            input=InputCard(
                **given,
                colour=colour,
                divisor=divisor,
                mean=_three("--mean", mean, offset),
                std=_three("--std", std, spread),
            ),
            output=OutputCard(name=answer, meaning=meaning, embedding=embedding),
            crop_scale=crop_scale,
            detector=DetectorCard(name=detector, identity=load_detector(detector, weights=detector_weights).identity),
            licence=licence,
            training={"published as": source or path.name, "sha256 of the network": sha256_of(path)},
            notes=("made from a published network: its training data and its error rates are as its makers say",),
        )
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise BundleError(f"{where}: {fault['msg']} (got {fault['input']!r})") from None
    foreign.check_meaning(card.input, answer, meaning)
    made = make_bundle(Path(output), card, {"model.onnx": foreign.content})
    write_bundle(made)
    return MadeBundle(made, Path(output))


@dataclass(frozen=True)
class Calibrated:
    """A bundle under new thresholds."""

    bundle: Bundle

    def summary(self) -> str:
        """Each threshold, what chose it and its errors there."""
        lines = []
        for kind, point in self.bundle.card.operating_points.items():
            on = point.chosen_on
            errors = f", validation FAR {100 * on['far']:.2f} %, FRR {100 * on['frr']:.2f} %" if "far" in on else ""
            lines.append(f"{kind}: threshold {point.threshold:.4f} ({point.criterion}){errors}")
            lines += [f"  note: {warning}" for warning in point.warnings]
        return "\n".join([*lines, f"bundle: {self.bundle.path}, {self.bundle.id}"])


def calibrate_bundle(
    bundle: str | Path | Bundle,
    scores: str | Path | pd.DataFrame,
    *,
    output: str | Path,
    criterion: str = "eer",
    frames: int | None = None,
    fusion: FusionRule | None = None,
    higher_is: HigherIs = "bona_fide",
) -> Calibrated:
    """Write a bundle with thresholds that a criterion picks on its own scores of validation presentations.

    `scores` is a table that `evaluate` wrote with this bundle, of footage that it will not be tested on. Its variants are
    left out, since their thresholds were chosen otherwise. `higher_is="attack"` turns the table's scores round, not the
    bundle's. Raises ScoreTableError for scores of a different bundle, of split test, or that rank attacks above bona fide
    presentations; SettingsError for an unknown criterion.
    """
    with needs_extra("bonaface.calibrate_bundle"):
        from bonaface.evaluation.scores import read_scores, turned_round
        from bonaface.workflows.assess import choose_points, refuse_inverted

    model = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    given = read_scores(scores) if isinstance(scores, str | Path) else scores
    table, _ = turned_round(given, higher_is)
    systems = sorted({str(name) for name in table["system"].unique()}) if "system" in table else []
    if systems and systems != [model.card.name]:
        raise ScoreTableError(
            f"the scores are of {few(systems)}, the bundle is {model.card.name}; score validation with this bundle"
        )
    point = model.operating_point("video")
    refuse_inverted(table)
    points = choose_points(table, criterion=criterion, frames=frames or point.frames, fusion=fusion or point.fusion)
    kept = {name: content for name, content in model.contents.items() if not _of_a_variant(name, model.card)}
    card = model.card.model_copy(update={"operating_points": points, "variants": {}, "results": {}})
    done = make_bundle(Path(output), card, {name: kept[name] for name in kept if name in model.card.files})
    write_bundle(done)
    return Calibrated(done)


def _of_a_variant(name: str, card: BundleCard) -> bool:
    return any(name in variant.files for variant in card.variants.values())


def pull_bundle(
    name: str,
    *,
    output: str | Path | None = None,
    detector_weights: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Pulled:
    """Fetch a published model by its name in `OPEN_MODELS`, check its sha256 and write a bundle around it.

    The face detector that it needs is fetched as well; of a model that is no liveness network the file alone. `output` is
    by default NAME.bonaface here. Raises SettingsError for an unknown name, DownloadError.
    """
    if name not in OPEN_MODELS:
        raise SettingsError(
            f"no open model {name!r}{did_you_mean(name, OPEN_MODELS)}; expected {', '.join(OPEN_MODELS)}, "
            "or any ONNX file through `bonaface bundle from-onnx`"
        )
    model = OPEN_MODELS[name]
    told = partial(progress, "download") if progress else None
    file = fetch(model.asset, cache=cache, progress=told)
    if model.input is None or model.output is None or model.crop_scale is None:
        return Pulled(name, model.title, model.asset.licence, file)
    if detector_weights is None:
        detector_weights = fetch(OPEN_MODELS["yunet"].asset, cache=cache, progress=told)
    made = bundle_from_onnx(
        file,
        output=output or f"{name}.bonaface",
        meaning=model.output.meaning,
        crop_scale=model.crop_scale,
        size=model.input.size,
        layout=model.input.layout,
        colour=model.input.colour,
        pixels="0..1",
        output_name=model.output.name,
        detector_weights=detector_weights,
        name=name,
        licence=model.asset.licence,
        source=model.asset.url,
    )
    return Pulled(name, model.title, model.asset.licence, made.path, made.bundle)


def _known_range(pixels: str | None, dtype: str) -> str:
    if dtype == "uint8":
        if pixels not in (None, "0..255"):
            raise BundleError(f"the network takes whole pixels (uint8), but --range says {pixels}; leave --range out")
        return "0..255"
    if pixels is None:
        raise BundleError(f"say what range the network's pixels have: --range {', or '.join(RANGES)}")
    if pixels not in RANGES:
        raise SettingsError(f"no range {pixels!r}; expected {', '.join(RANGES)}{did_you_mean(pixels, RANGES)}")
    return pixels


def _three(option: str, values: Sequence[float] | None, otherwise: float) -> tuple[float, float, float]:
    if values is None:
        return (otherwise, otherwise, otherwise)
    if len(values) not in (1, 3):
        raise SettingsError(f"{option} has {len(values)} numbers; expected one, or three with commas, a channel each")
    first, second, third = values if len(values) == 3 else tuple(values) * 3
    return (float(first), float(second), float(third))
