"""Commands on bundles: `bonaface bundle ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import bonaface
from bonaface.cli.options import BundlePath, Quiet, Weights, as_numbers
from bonaface.cli.output import echo_lines, show_progress

app = typer.Typer(rich_markup_mode=None, help="Show bundles, make them from networks of others, download open ones.")


@app.command("show")
def show_command(bundle: BundlePath) -> None:
    """Check every file of a bundle and tell what it is, what it holds and what was measured of it."""
    echo_lines(bonaface.show_bundle(bundle).summary())


@app.command("from-onnx")
def from_onnx_command(
    network: Annotated[Path, typer.Argument(metavar="NETWORK", help="ONNX file of one image input.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="BUNDLE", help="Bundle to write.")],
    meaning: Annotated[
        str, typer.Option(help="What it gives: logit, probability, logits[i] or softmax[i], i being bona fide.")
    ],
    scale: Annotated[float, typer.Option(help="Side of its crop over the face box's longer side.")],
    size: Annotated[int | None, typer.Option(help="Side of its input in pixels, if the file leaves it open.")] = None,
    layout: Annotated[str | None, typer.Option(help="NCHW or NHWC, if the file does not tell.")] = None,
    colour: Annotated[str, typer.Option("--colour", "--color", help="RGB or BGR.")] = "RGB",
    pixels: Annotated[str | None, typer.Option("--range", help="Range of its pixels: 0..1, 0..255 or -1..1.")] = None,
    mean: Annotated[str | None, typer.Option(help="Then taken off, one number or three: 0.485,0.456,0.406.")] = None,
    std: Annotated[str | None, typer.Option(help="Then divided by, one number or three.")] = None,
    output_name: Annotated[str | None, typer.Option(help="The output that answers, where there are several.")] = None,
    embedding: Annotated[str | None, typer.Option(help="The output that is an embedding, if there is one.")] = None,
    detector: Annotated[str, typer.Option(help="yunet, haar, boxes or whole_frame.")] = "yunet",
    weights: Weights = None,
    name: Annotated[str | None, typer.Option(help="The bundle's name; by default the file's.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the network.")] = "",
    source: Annotated[str, typer.Option(help="Where the network was published.")] = "",
) -> None:
    """Make a bundle of a third party's network, to be measured and served like ours."""
    made = bonaface.bundle_from_onnx(
        network,
        output=output,
        meaning=meaning,
        crop_scale=scale,
        size=size,
        layout=layout,
        colour=colour,
        pixels=pixels,
        mean=as_numbers(mean, "--mean"),
        std=as_numbers(std, "--std"),
        output_name=output_name,
        embedding=embedding,
        detector=detector,
        detector_weights=weights,
        name=name,
        licence=licence,
        source=source,
    )
    echo_lines(made.summary())


@app.command("calibrate")
def calibrate_command(
    bundle: BundlePath,
    scores: Annotated[Path, typer.Argument(metavar="SCORES", help="This bundle's score table of validation.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="BUNDLE", help="Bundle to write.")],
    criterion: Annotated[str, typer.Option(help="eer, hter, bpcer20, apcer<=0.01, bpcer<=0.05, fixed=0.5.")] = "eer",
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames of a video to fuse; by default the bundle's.")
    ] = None,
    fusion: Annotated[
        str | None, typer.Option(help="mean, median, max_attack or first; by default the bundle's.")
    ] = None,
    higher_is: Annotated[
        str, typer.Option(metavar="CLASS", help="What a higher score in the table means: bona_fide or attack.")
    ] = "bona_fide",
) -> None:
    """Choose a bundle's thresholds again on validation scores, by another criterion or on your own footage."""
    done = bonaface.calibrate_bundle(
        bundle,
        scores,
        output=output,
        criterion=criterion,
        frames=frames,
        fusion=fusion,  # type: ignore[arg-type]
        higher_is=higher_is,  # type: ignore[arg-type]
    )
    echo_lines(done.summary())


@app.command("pull")
def pull_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="yunet, minifas-128 or minifas-128-int8.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="BUNDLE", help="Bundle to write; by default NAME.bonaface.")
    ] = None,
    weights: Weights = None,
    quiet: Quiet = False,
) -> None:
    """Fetch an open model, check its sha256 and make a bundle of it."""
    with show_progress(quiet=quiet) as progress:
        pulled = bonaface.pull_bundle(name, output=output, detector_weights=weights, progress=progress)
    echo_lines(pulled.summary())
