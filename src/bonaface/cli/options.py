"""Options that several commands share, and the parsers of their values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from bonaface import choices
from bonaface.errors import SettingsError

Manifest = Annotated[Path, typer.Argument(metavar="MANIFEST", help="Manifest as `bonaface data index` writes it.")]
BundlePath = Annotated[
    Path,
    typer.Argument(metavar="BUNDLE", help="Bundle, the run folder that holds it, or the name of an open model."),
]
Root = Annotated[Path | None, typer.Option(help="Folder the manifest's paths are relative to, if it moved.")]
Weights = Annotated[
    Path | None,
    typer.Option("--detector-weights", help="Weights of the face detector (default: the cached download)."),
]
MinFace = Annotated[
    float | None,
    typer.Option(
        metavar="PIXELS",
        min=0,
        help="Smallest face that is scored: the longer side of its box. Default: the bundle's own; without one, the size "
        "at which the crop is enlarged twice.",
    ),
]
NoQuality = Annotated[
    bool, typer.Option("--no-quality", help="Score faces that break the bundle's limits on quality, too.")
]
NoFaces = Annotated[bool, typer.Option("--no-faces", help="Leave pictures of persons out of the report.")]
Profile = Annotated[
    choices.Profile | None, typer.Option(help="Add the table of a standard, and list what the scores lack for it.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print no progress on stderr.")]
JsonLog = Annotated[
    bool,
    typer.Option("--json-log", help="Write what goes to stderr as one JSON object a line: progress, notes, errors."),
]
FramesAsVideo = Annotated[
    bool, typer.Option("--frames-as-video", help="The pictures of a folder are the frames of one presentation.")
]
AllowMissing = Annotated[bool, typer.Option("--allow-missing", help="Skip listed files that do not exist.")]
Backend = Annotated[str | None, typer.Option(help="onnxruntime or openvino; by default what the bundle says.")]
Boxes = Annotated[
    bool | None, typer.Option(help="Read the dataset's own face boxes. Default: only in datasets of images.")
]
Criterion = Annotated[str, typer.Option(help="eer, hter, bpcer20, apcer<=0.01, bpcer<=0.05 or fixed=0.5.")]
Detector = Annotated[str, typer.Option(help="yunet, haar, boxes or whole_frame.")]
Engine = Annotated[
    choices.Engine | None, typer.Option(help="Divide the work over a Ray cluster (extra `ray`). Default: this machine.")
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Address of the Ray cluster, such as auto. Default: RAY_ADDRESS; without it a cluster is started on this machine."
    ),
]
Faces = Annotated[
    choices.FacePolicy,
    typer.Option(
        help="Which of several faces is scored. largest: as in training and evaluation. all: every face, and the least bona "
        "fide one decides. refuse: none; for onboarding, where the verdict must be about the face that is compared."
    ),
]
Fusion = Annotated[
    choices.FusionRule | None,
    typer.Option(help="How the frames of a presentation are fused. Default: as in the table or the bundle."),
]
HigherIs = Annotated[choices.HigherIs, typer.Option(help="What a higher score in the table means.")]
OtherDetector = Annotated[
    str | None, typer.Option(help="A face detector other than the bundle's, such as whole_frame for ready crops.")
]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write.")]
OutputBundle = Annotated[
    Path,
    typer.Option(
        "-o", "--output", metavar="BUNDLE", help="Bundle to write: a zip if its name ends in .bonaface or .zip."
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as training.epochs=2.")
]
Recipe = Annotated[str, typer.Argument(help="A YAML file, or a shipped recipe: default, baseline, demo.")]
Split = Annotated[str | None, typer.Option(help="train, val, test or all; by default test where there is one.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads to use; by default one per core.")]
Variant = Annotated[str | None, typer.Option(help="One of the bundle's variants, at its own thresholds.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes, or workers of a cluster; by default one per core.")
]


def as_pairs(values: list[str] | None, option: str) -> dict[str, str] | None:
    pairs: dict[str, str] = {}
    for value in values or []:
        key, equals, meant = value.partition("=")
        if not (key and equals and meant):
            raise SettingsError(f"{option} {value}: expected name=meaning, such as {option} fake=print")
        pairs[key] = meant
    return pairs or None


def as_names(values: list[str] | None) -> list[str] | None:
    names = [name.strip() for value in values or [] for name in value.split(",") if name.strip()]
    return names or None


def as_share(values: list[str] | None) -> float | list[str] | None:
    """Return a share for 0.2, 0 or .2, else the names: 7 is the name of a person."""
    names = as_names(values)
    if names and len(names) == 1 and re.fullmatch(r"0|\d*\.\d+|\d+\.", names[0]):
        return float(names[0])
    return names


def as_numbers(text: str | None, option: str) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingsError(f"{option} {text}: expected one number, or three with commas") from None


def as_whole(text: str, option: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"{option} {text}: expected a whole number or `all`") from None
