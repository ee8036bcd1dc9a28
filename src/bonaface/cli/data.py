"""Commands on footage, before anything is trained: `bonaface data ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import bonaface
from bonaface.cli import options
from bonaface.cli.output import call, echo, echo_lines
from bonaface.cli.summaries import audit_lines, crop_lines, index_lines

app = typer.Typer(rich_markup_mode=None, help="Index, split and crop a dataset.")

SamePerson = Annotated[
    bool,
    typer.Option("--same-person", help="Names that differ only in case, blanks or number format are one person."),
]
Distinct = Annotated[
    bool, typer.Option("--distinct", help="Such names are different persons; the manifest records it.")
]


@app.command("index")
def index_command(
    root: Annotated[Path, typer.Argument(help="The dataset's folder, or the table of layout `csv`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Manifest to write: .csv or .parquet.")],
    layout: Annotated[
        str, typer.Option(help="How the dataset lies on disk; `bonaface data layouts` lists them.")
    ] = "folder",
    protocol: Annotated[str | None, typer.Option(help="One of the layout's protocols.")] = None,
    fold: Annotated[int | None, typer.Option(help="Fold of the protocol.")] = None,
    split: Annotated[str | None, typer.Option(help="Which of the layout's public splits.")] = None,
    pattern: Annotated[
        str | None, typer.Option(help="How the names of layout `folder` are built: '**/{label}/{subject}_*'.")
    ] = None,
    frames_as_video: Annotated[
        bool, typer.Option("--frames-as-video", help="A folder of numbered pictures is one video.")
    ] = False,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="What a class folder or label means: name=bona_fide, name=print, name=attack:OWN, name=ignore.",
        ),
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--column", help="ours=theirs, for a column of layout `csv`.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="The table of layout `csv`, if the folder given is that of the footage.")
    ] = None,
    boxes: options.Boxes = None,
    dataset: Annotated[str | None, typer.Option(help="Name of the dataset; by default the folder's.")] = None,
    allow_missing: options.AllowMissing = False,
    allow_unmatched: Annotated[
        bool, typer.Option("--allow-unmatched", help="Leave out files that do not fit --pattern.")
    ] = False,
    same_person: SamePerson = False,
    distinct: Distinct = False,
    check: Annotated[bool, typer.Option("--check", help="Open every file and name the unreadable ones.")] = False,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = False,
) -> None:
    """Write a dataset's manifest: a row per image or video, read from names alone."""
    result = call(
        bonaface.index,
        locals(),
        mapping=options.as_pairs(mapping, "--map"),
        columns=options.as_pairs(columns, "--column"),
    )
    echo_lines(index_lines(result))


@app.command("split")
def split_command(
    manifest: options.Manifest,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="By default the manifest itself.")] = None,
    val: Annotated[list[str] | None, typer.Option(help="Fraction of persons, or persons by name, with commas.")] = None,
    test: Annotated[
        list[str] | None, typer.Option(help="Fraction of persons, or persons by name, with commas.")
    ] = None,
    train: Annotated[list[str] | None, typer.Option(help="Persons by name; by default all others.")] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Split that stays as it is, such as a dataset's own test.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    same_person: SamePerson = False,
    distinct: Distinct = False,
    root: options.Root = None,
) -> None:
    """Assign persons to train, val and test, balanced by class and species; no person is in two of them."""
    result = call(
        bonaface.split,
        locals(),
        val=options.as_share(val),
        test=options.as_share(test),
        train=options.as_names(train),
        keep=options.as_names(keep) or (),
    )
    echo_lines(index_lines(result))


@app.command("crop")
def crop_command(
    manifest: options.Manifest,
    output: Annotated[Path, typer.Option("-o", "--output", help="Crop store to fill.")],
    detector: options.Detector = "yunet",
    weights: options.Weights = None,
    frames: Annotated[str, typer.Option(help="Frames per presentation, or `all`.")] = "10",
    scale: Annotated[float, typer.Option(help="Side of the stored square over the face box's longer side.")] = 2.7,
    side: Annotated[int, typer.Option(help="Maximum side of a stored crop, in pixels.")] = 384,
    quality: Annotated[int, typer.Option(help="JPEG quality of the stored square.")] = 95,
    resize: Annotated[
        int | None, typer.Option(help="Shorter side in pixels that whole frames are first scaled to.")
    ] = None,
    workers: options.Workers = None,
    shards: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write the crops into a few large files, for training.")
    ] = None,
    engine: options.Engine = None,
    address: options.Address = None,
    root: options.Root = None,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = False,
) -> None:
    """Detect the faces and store a wide square around each, for training at any narrower scale."""
    result = call(bonaface.crop, locals(), frames="all" if frames == "all" else options.as_whole(frames, "--frames"))
    echo_lines(crop_lines(result))


@app.command("audit")
def audit_command(
    manifest: options.Manifest,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder for audit.html and audit.json.")
    ] = None,
    detector: Annotated[str, typer.Option(help="yunet, haar or boxes; whole_frame does not look for faces.")] = "haar",
    weights: options.Weights = None,
    workers: options.Workers = None,
    no_faces: options.NoFaces = False,
    root: options.Root = None,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = False,
) -> None:
    """Find leaks, copies, unreadable files and shortcuts before training.

    Exit code 0 if no leak was found, 1 if a subject, a file or a picture occurs in two splits, 2 on an error.
    """
    result = call(bonaface.audit, locals())
    echo_lines(audit_lines(result))
    if result.leaks:
        raise typer.Exit(1)


@app.command("layouts")
def layouts_command() -> None:
    """List the layouts that `bonaface data index` understands, and what each expects on disk."""
    for layout in bonaface.layouts():
        echo(f"{layout.name}: {layout.title}")
        echo(f"  expects {layout.expects}")
        for title, names in (("protocols", layout.protocols), ("splits", layout.splits)):
            if names:
                echo(f"  {title}: {', '.join(names)}")
