"""Commands that train, and export what was trained."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import bonaface
from bonaface.cli import options
from bonaface.cli.output import call, echo_lines, show_progress
from bonaface.cli.summaries import demo_lines, export_lines, folds_lines, run_lines
from bonaface.errors import SettingsError, needs_extra
from bonaface.io.storage import is_remote

app = typer.Typer()


@app.command("train")
def train_command(
    recipe: options.Recipe,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="RUN", help="Run folder to write.")],
    overrides: options.Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the interrupted run in RUN.")] = False,
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Train although subjects occur in two splits.")
    ] = False,
    no_faces: options.NoFaces = False,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = False,
) -> None:
    """Train, export, score and report: from a manifest to a bundle and its error rates."""
    is_main = os.environ.get("RANK", "0") == "0"  # the others are further processes that torchrun started
    given = {**locals(), "quiet": quiet or not is_main}
    settings = [*(overrides or []), *(["data.allow_leak=true"] if allow_leak else [])]
    train = partial(bonaface.train, recipe, *settings)
    run = call(train, given, "recipe", "overrides", "allow_leak", "is_main")
    if is_main:
        echo_lines(run_lines(run))
    if run.stopped == "interrupted":
        raise typer.Exit(130)


@app.command("folds")
def folds_command(
    recipe: options.Recipe,
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE... [KEY=VALUE]...", help="A dataset's folder, or manifests.")
    ],
    output: options.Output,
    layout: Annotated[str | None, typer.Option(help="Layout of the dataset's folder.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Protocol whose folds to run.")] = None,
    boxes: options.Boxes = None,
    leave_one_dataset_out: Annotated[
        bool, typer.Option("--leave-one-dataset-out", help="Test on each dataset, trained on all others.")
    ] = False,
    allow_missing: options.AllowMissing = False,
    seed: Annotated[int, typer.Option(help="Seed for drawing a validation split where a dataset has none.")] = 0,
    no_faces: options.NoFaces = False,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = False,
) -> None:
    """Run all folds of a dataset's official protocol, or leave each dataset out in turn; report mean and spread."""
    with needs_extra("bonaface.folds", extra="train"):
        from bonaface.workflows.cross_validate import leave_one_dataset_out as leave_out
        from bonaface.workflows.cross_validate import protocol_folds

    paths = [item for item in sources if "=" not in item or is_remote(item) or Path(item).exists()]
    overrides = [item for item in sources if item not in paths]
    if not paths:
        raise SettingsError("nothing to train on: name a dataset's folder (with --layout) or manifests")
    if layout is not None:
        if len(paths) != 1:
            raise SettingsError(f"--layout needs exactly one folder; got {len(paths)} sources")
        manifests = protocol_folds(
            paths[0], layout=layout, protocol=protocol, boxes=boxes, seed=seed, allow_missing=allow_missing
        )
    else:
        read = {Path(path).stem: bonaface.read_manifest(path) for path in paths}
        if len(read) < len(paths):
            raise SettingsError("two manifests have the same file name, which names the folds; rename one")
        manifests = leave_out(list(read.values()), seed=seed) if leave_one_dataset_out else read
    with show_progress(quiet=quiet, json_log=json_log) as progress:
        result = bonaface.folds(
            recipe, *overrides, manifests=manifests, output=output, faces=not no_faces, progress=progress
        )
    echo_lines(folds_lines(result))


@app.command("demo")
def demo_command(
    overrides: options.Overrides = None,
    output: options.Output = Path("bonaface-demo"),
    persons: Annotated[int, typer.Option(min=4, help="Persons to draw.")] = 12,
    seed: Annotated[int, typer.Option(help="Seed of the generated persons and of the training.")] = 0,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = False,
) -> None:
    """Try everything on generated videos: index, split, crop, train, evaluate, explain, embed, report."""
    result = call(partial(bonaface.demo, *(overrides or [])), locals(), "overrides")
    echo_lines(demo_lines(result))
    if result.run.stopped == "interrupted":
        raise typer.Exit(130)


@app.command("export")
def export_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of a finished training.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="BUNDLE", help="A zip if the name ends in .bonaface or .zip, else a folder."
        ),
    ],
    openvino: Annotated[bool, typer.Option("--openvino", help="Add the variant openvino: f32.")] = False,
    bf16: Annotated[bool, typer.Option("--bf16", help="Add the variant bf16, for processors that have it.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Add the variant int8; takes minutes.")] = False,
    licence: Annotated[str | None, typer.Option(help="Licence of the bundle.")] = None,
    crops: Annotated[Path | None, typer.Option(help="The run's crop store, if it moved.")] = None,
    detector_weights: options.Weights = None,
    root: options.Root = None,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = False,
) -> None:
    """Export a trained run to a bundle and verify it against PyTorch; variants are verified against the bundle."""
    echo_lines(export_lines(call(bonaface.export, locals())))
