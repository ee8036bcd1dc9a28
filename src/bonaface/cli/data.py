"""Commands on footage, before anything is trained: `bonaface data ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import bonaface
from bonaface.cli.options import Manifest, NoFaces, Quiet, Root, Weights, as_names, as_pairs, as_share, as_whole
from bonaface.cli.output import echo_audit, echo_lines, show_progress

app = typer.Typer(rich_markup_mode=None, help="Index, split and crop a dataset.")

SamePerson = Annotated[
    bool,
    typer.Option("--same-person", help="Names that differ only in case, blanks or number writing are one person."),
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
    pattern: Annotated[str | None, typer.Option(help="Arrangement of layout `folder`: '{subject}/{label}/*'.")] = None,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="name=species, or name=bona_fide, for a class folder or label.")
    ] = None,
    column: Annotated[list[str] | None, typer.Option(help="ours=theirs, for a column of layout `csv`.")] = None,
    table: Annotated[
        Path | None, typer.Option(help="The table of layout `csv`, where the folder given is the footage's.")
    ] = None,
    boxes: Annotated[
        bool | None, typer.Option(help="Read the dataset's own face boxes; by default where it is a set of images.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Name of the dataset; by default the folder's.")] = None,
    allow_missing: Annotated[bool, typer.Option(help="Go on without files that a list names but are absent.")] = False,
    same_person: SamePerson = False,
    distinct: Distinct = False,
    check: Annotated[bool, typer.Option("--check", help="Open every file and name the unreadable ones.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write a dataset's manifest: a row per image or video, read from names alone."""
    with show_progress(quiet=quiet) as progress:
        result = bonaface.index(
            root,
            layout=layout,
            output=output,
            protocol=protocol,
            fold=fold,
            split=split,
            pattern=pattern,
            mapping=as_pairs(mapping, "--map"),
            columns=as_pairs(column, "--column"),
            table=table,
            boxes=boxes,
            dataset=dataset,
            allow_missing=allow_missing,
            same_person=same_person,
            distinct=distinct,
            check=check,
            progress=progress,
        )
    echo_lines(result.summary())


@app.command("split")
def split_command(
    manifest: Manifest,
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
    root: Root = None,
) -> None:
    """Decide who trains, who validates and who tests: by person, balanced by class and species."""
    result = bonaface.split(
        manifest,
        output=output,
        val=as_share(val),
        test=as_share(test),
        train=as_names(train),
        keep=as_names(keep) or (),
        seed=seed,
        same_person=same_person,
        distinct=distinct,
        root=root,
    )
    echo_lines(result.summary())


@app.command("crop")
def crop_command(
    manifest: Manifest,
    output: Annotated[Path, typer.Option("-o", "--output", help="Crop store to fill.")],
    detector: Annotated[str, typer.Option(help="yunet, haar, boxes or whole_frame.")] = "yunet",
    weights: Weights = None,
    frames: Annotated[str, typer.Option(help="Frames a presentation, or `all`.")] = "10",
    scale: Annotated[float, typer.Option(help="Side of the stored square over the face box's longer side.")] = 2.7,
    side: Annotated[int, typer.Option(help="Most pixels a side of the stored square.")] = 384,
    quality: Annotated[int, typer.Option(help="JPEG quality of the stored square.")] = 95,
    resize: Annotated[int | None, typer.Option(help="For whole_frame: pixels of the shorter side, made first.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one per core.")] = None,
    root: Root = None,
    quiet: Quiet = False,
) -> None:
    """Find the faces once and store wide squares around them, to train from at any narrower scale."""
    with show_progress(quiet=quiet) as progress:
        result = bonaface.crop(
            manifest,
            output=output,
            detector=detector,
            weights=weights,
            frames="all" if frames == "all" else as_whole(frames, "--frames"),
            scale=scale,
            side=side,
            quality=quality,
            resize=resize,
            workers=workers,
            root=root,
            progress=progress,
        )
    echo_lines(result.summary())


@app.command("audit")
def audit_command(
    manifest: Manifest,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder for audit.html and audit.json.")
    ] = None,
    detector: Annotated[str, typer.Option(help="yunet, haar, boxes, or whole_frame to look for no faces.")] = "haar",
    weights: Weights = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one per core.")] = None,
    no_faces: NoFaces = False,
    root: Root = None,
    quiet: Quiet = False,
) -> None:
    """Find leaks, copies, unreadable files and shortcuts before training.

    Exit code 0 if no leak was found, 1 if a subject, a file or a picture occurs in two splits, 2 on an error.
    """
    with show_progress(quiet=quiet) as progress:
        result = bonaface.audit(
            manifest,
            output=output,
            root=root,
            detector=detector,
            weights=weights,
            workers=workers,
            faces=not no_faces,
            progress=progress,
        )
    echo_audit(result)
    if result.leaks:
        raise typer.Exit(1)


@app.command("layouts")
def layouts_command() -> None:
    """List the layouts that `bonaface data index` understands, and what each expects on disk."""
    for layout in bonaface.layouts():
        protocols = f"\n  protocols: {', '.join(layout.protocols)}" if layout.protocols else ""
        splits = f"\n  splits: {', '.join(layout.splits)}" if layout.splits else ""
        echo_lines(f"{layout.name}: {layout.title}\n  expects {layout.expects}{protocols}{splits}")
