"""Commands on bundles: `bonaface bundle ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import bonaface
from bonaface.cli import options
from bonaface.cli.output import call, echo, echo_lines
from bonaface.cli.summaries import calibrate_lines

app = typer.Typer(rich_markup_mode=None, help="Show bundles, make them from third-party networks, download open ones.")


@app.command("show")
def show_command(bundle: options.BundlePath) -> None:
    """Check every file of a bundle, and print what it is, what it holds and how it was measured."""
    from bonaface.inference.model_card import describe
    from bonaface.workflows.bundle import find_bundle

    shown = find_bundle(bundle)
    card = shown.card
    echo(f"{card.name}, bundle {shown.id}, format {card.format}, made {card.created}")
    echo_lines(describe(card))
    echo("files, each with the sha256 that bundle.json lists:")
    for name, digest in card.files.items():
        echo(f"  {name}  {len(shown.contents[name]):,} bytes  sha256 {digest[:16]}...")


@app.command("from-onnx")
def from_onnx_command(
    network: Annotated[Path, typer.Argument(metavar="NETWORK", help="ONNX file of one image input.")],
    output: options.OutputBundle,
    output_type: Annotated[
        str,
        typer.Option(help="Model output: logit, probability, logits[i] or softmax[i], where i is the bona fide class."),
    ],
    crop_scale: Annotated[
        float, typer.Option("--scale", help="Side of the crop divided by the longer side of the face box.")
    ],
    size: Annotated[int | None, typer.Option(help="Side of the input in pixels, if the file leaves it open.")] = None,
    layout: Annotated[str | None, typer.Option(help="NCHW or NHWC, if the file leaves it open.")] = None,
    colour: Annotated[str, typer.Option("--colour", "--color", help="RGB or BGR.")] = "RGB",
    pixels: Annotated[str | None, typer.Option("--range", help="Range of the pixels: 0..1, 0..255 or -1..1.")] = None,
    mean: Annotated[
        str | None, typer.Option(help="Mean to subtract then: one number or three, such as 0.485,0.456,0.406.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Standard deviation to divide by then: one number or three.")] = None,
    output_name: Annotated[str | None, typer.Option(help="The output to use, if there are several.")] = None,
    embedding: Annotated[str | None, typer.Option(help="The output that is an embedding, if there is one.")] = None,
    detector: options.Detector = "yunet",
    detector_weights: options.Weights = None,
    name: Annotated[str | None, typer.Option(help="Name of the bundle (default: the file's).")] = None,
    licence: Annotated[str, typer.Option("--licence", "--license", help="Licence of the network.")] = "",
    source: Annotated[str, typer.Option(help="Where the network was published.")] = "",
) -> None:
    """Make a bundle from a third party's network, so that it can be measured and served like a trained one."""
    made = call(
        bonaface.bundle_from_onnx,
        locals(),
        mean=options.as_numbers(mean, "--mean"),
        std=options.as_numbers(std, "--std"),
    )
    from bonaface.inference.model_card import describe

    echo_lines(describe(made.card))
    echo(f"bundle {made.id}: {made.path}")


@app.command("calibrate")
def calibrate_command(
    bundle: options.BundlePath,
    scores: Annotated[
        Path,
        typer.Argument(
            metavar="SCORES", help="This bundle's score table of validation, or a manifest, which is scored."
        ),
    ],
    output: options.OutputBundle,
    criterion: options.Criterion = "eer",
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames of a video to fuse; by default the bundle's.")
    ] = None,
    fusion: options.Fusion = None,
    higher_is: options.HigherIs = "bona_fide",
    allow_low_scores: Annotated[
        bool, typer.Option("--allow-low-scores", help="Accept bona fide footage that scores like attacks.")
    ] = False,
    detector_weights: options.Weights = None,
    threads: options.Threads = None,
    root: options.Root = None,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = False,
) -> None:
    """Choose a bundle's thresholds again, by another criterion or on own footage; `bpcer<=X` needs bona fide footage only."""
    echo_lines(calibrate_lines(call(bonaface.calibrate_bundle, locals())))


@app.command("limits")
def limits_command(
    bundle: options.BundlePath,
    output: options.OutputBundle,
    limits: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="LIMIT", help="Such as 'sharpness>=40' or 'head_pose_yaw<=30'; may be repeated."),
    ] = None,
    min_face: options.MinFace = None,
) -> None:
    """Replace the bundle's limits on quality: a frame outside them is not scored. Without --set there are none.

    The report of validation shows what each limit would discard, and what that does to the errors. Measures: sharpness,
    luminance_mean, under_exposure, over_exposure, face_size, face_cut, head_pose_yaw, head_pose_pitch, head_pose_roll,
    identical_frames.
    """
    from bonaface.inference.model_card import limits_lines

    done = bonaface.set_limits(bundle, limits or (), output=output, min_face=min_face)
    echo_lines(limits_lines(done.card))
    echo(f"bundle {done.id}: {done.path}")
    echo("its thresholds and errors are of validation without these limits: measure again with `bonaface evaluate`")


@app.command("pull")
def pull_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="yunet, minifas-128 or minifas-128-int8.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="BUNDLE", help="Bundle to write; by default NAME.bonaface.")
    ] = None,
    detector_weights: options.Weights = None,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = False,
) -> None:
    """Download an open model, verify its sha256 and make a bundle of it."""
    pulled = call(bonaface.pull_bundle, locals())
    from bonaface.inference.model_zoo import OPEN_MODELS

    model = OPEN_MODELS[name]
    echo(f"{name}: {model.title}, licence {model.asset.licence}")
    if isinstance(pulled, Path):
        echo(f"written: {pulled}")
    else:
        echo(f"written: {pulled.path}")
        echo(f"try it: bonaface predict {pulled.path} photo.jpg")
