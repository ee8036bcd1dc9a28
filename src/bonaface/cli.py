"""The command line: every command parses, calls one workflow, prints. Heavy imports wait until a command runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

import bonaface
from bonaface.errors import BonafaceError, SettingsError

__all__ = ["app", "main"]

app = typer.Typer(
    name="bonaface",
    help="Face liveness: train, evaluate and explain presentation attack detectors on your own videos.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="Index, split and crop a dataset.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(data, name="data")

Manifest = Annotated[Path, typer.Argument(metavar="MANIFEST", help="Manifest as `bonaface data index` writes it.")]
BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle, or the run folder that holds it.")]
Root = Annotated[Path | None, typer.Option(help="Folder the manifest's paths are relative to, if it moved.")]
Weights = Annotated[Path | None, typer.Option(help="The face detector's weights, if not the cached download.")]
NoFaces = Annotated[bool, typer.Option("--no-faces", help="No picture of a person in the report.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads to use; by default one per core.")]


def main() -> None:
    """Run the command line; an error is one line on stderr and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except BonafaceError as error:
        code = _complain(str(error), 2)
    except KeyboardInterrupt:
        code = _complain("interrupted", 130)
    except typer.Abort:
        code = _complain("aborted", 130)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): no reason to complain, and nowhere to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        code = _complain(f"{where}{error.strerror or error}", 2)
    except Exception as error:
        if hasattr(error, "format_message"):  # the parser's own errors: an unknown option, a missing argument
            code = _complain(f"{error.format_message()} Try --help.", 2)
        elif os.environ.get("BONAFACE_DEBUG"):
            raise
        else:
            text = " ".join(str(error).split())
            code = _complain(
                f"a fault in Bonaface itself ({type(error).__name__}: {text}); "
                "please report it with what BONAFACE_DEBUG=1 prints",
                70,
            )
    sys.exit(code if isinstance(code, int) else 0)


@app.callback(invoke_without_command=True)
def _hall(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"bonaface {bonaface.__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@data.command("index")
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
    dataset: Annotated[str | None, typer.Option(help="Name of the dataset; by default the folder's.")] = None,
    allow_missing: Annotated[bool, typer.Option(help="Go on without files that a list names but are absent.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Open every file and name the unreadable ones.")] = False,
) -> None:
    """Write a dataset's manifest: a row per image or video, read from names alone."""
    with _progress() as progress:
        result = bonaface.index(
            root,
            layout=layout,
            output=output,
            protocol=protocol,
            fold=fold,
            split=split,
            pattern=pattern,
            mapping=_pairs(mapping, "--map"),
            columns=_pairs(column, "--column"),
            dataset=dataset,
            allow_missing=allow_missing,
            check=check,
            progress=progress,
        )
    typer.echo(result.summary())


@data.command("split")
def split_command(
    manifest: Manifest,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="By default the manifest itself.")] = None,
    val: Annotated[list[str] | None, typer.Option(help="Fraction of persons, or persons by name, with commas.")] = None,
    test: Annotated[
        list[str] | None, typer.Option(help="Fraction of persons, or persons by name, with commas.")
    ] = None,
    train: Annotated[list[str] | None, typer.Option(help="Persons by name; by default all others.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    root: Root = None,
) -> None:
    """Decide who trains, who validates and who tests: by person, balanced by class and species."""
    result = bonaface.split(
        manifest, output=output, val=_share(val), test=_share(test), train=_names(train), seed=seed, root=root
    )
    typer.echo(result.summary())


@data.command("crop")
def crop_command(
    manifest: Manifest,
    output: Annotated[Path, typer.Option("-o", "--output", help="Crop store to fill.")],
    detector: Annotated[str, typer.Option(help="yunet, haar, boxes or whole_frame.")] = "yunet",
    weights: Weights = None,
    frames: Annotated[str, typer.Option(help="Frames a presentation, or `all`.")] = "10",
    scale: Annotated[float, typer.Option(help="Side of the stored square over the face box's longer side.")] = 2.7,
    side: Annotated[int, typer.Option(help="Most pixels a side of the stored square.")] = 384,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one per core.")] = None,
    root: Root = None,
) -> None:
    """Find the faces once and store wide squares around them, to train from at any narrower scale."""
    with _progress() as progress:
        result = bonaface.crop(
            manifest,
            output=output,
            detector=detector,
            weights=weights,
            frames="all" if frames == "all" else _whole(frames, "--frames"),
            scale=scale,
            side=side,
            workers=workers,
            root=root,
            progress=progress,
        )
    typer.echo(result.summary())


@data.command("layouts")
def layouts_command() -> None:
    """List the layouts that `bonaface data index` understands, and what each expects on disk."""
    for layout in bonaface.layouts():
        protocols = f"\n  protocols: {', '.join(layout.protocols)}" if layout.protocols else ""
        splits = f"\n  splits: {', '.join(layout.splits)}" if layout.splits else ""
        typer.echo(f"{layout.name}: {layout.title}\n  expects {layout.expects}{protocols}{splits}")


@app.command("train")
def train_command(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or a shipped recipe: default, baseline, demo.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="RUN", help="Run folder to write.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as data.manifest=manifest.csv.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in RUN.")] = False,
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Train although persons stand in two splits.")
    ] = False,
    no_faces: NoFaces = False,
) -> None:
    """Train, export, score and report: from a manifest to a bundle and its error rates."""
    extra = ["data.allow_leak=true"] if allow_leak else []
    with _progress() as progress:
        run = bonaface.train(
            recipe, *(overrides or []), *extra, output=output, resume=resume, faces=not no_faces, progress=progress
        )
    typer.echo(run.summary())


@app.command("evaluate")
def evaluate_command(
    bundle: BundlePath,
    manifest: Manifest,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write.")],
    split: Annotated[
        str | None, typer.Option(help="train, val, test or all; by default test where there is one.")
    ] = None,
    no_faces: NoFaces = False,
    weights: Weights = None,
    threads: Threads = None,
    root: Root = None,
) -> None:
    """Score a manifest through a bundle and report its error rates at the bundle's thresholds."""
    with _progress() as progress:
        evaluation = bonaface.evaluate(
            bundle,
            manifest,
            output=output,
            split=split,
            faces=not no_faces,
            detector_weights=weights,
            threads=threads,
            root=root,
            progress=progress,
        )
    typer.echo(evaluation.summary())


@app.command("explain")
def explain_command(
    bundle: BundlePath,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Images, videos, folders or a manifest.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the pictures.")] = Path(
        "explain"
    ),
    frames: Annotated[int, typer.Option(min=1, help="Frames of a video in its strip.")] = 6,
    count: Annotated[int, typer.Option(min=1, help="Pictures a row of a manifest's gallery.")] = 6,
    weights: Weights = None,
    root: Root = None,
) -> None:
    """Show which regions decided: Grad-CAM for both outcomes over the crop, with the score under it."""
    with _progress() as progress:
        pictures = bonaface.explain(
            bundle,
            *inputs,
            output=output,
            frames=frames,
            count=count,
            detector_weights=weights,
            root=root,
            progress=progress,
        )
    typer.echo(pictures.summary())


@app.command("embed")
def embed_command(
    bundle: BundlePath,
    manifest: Manifest,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write.")] = Path("embed"),
    colour: Annotated[str, typer.Option("--colour", "--color", help="Manifest column to colour by.")] = "species",
    split: Annotated[
        str | None, typer.Option(help="train, val, test or all; by default test where there is one.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the t-SNE.")] = 0,
    weights: Weights = None,
    root: Root = None,
) -> None:
    """Draw a t-SNE map of the embeddings, coloured by any manifest column, and write its coordinates."""
    with _progress() as progress:
        drawn = bonaface.embed(
            bundle,
            manifest,
            output=output,
            colour=colour,
            split=split,
            seed=seed,
            detector_weights=weights,
            root=root,
            progress=progress,
        )
    typer.echo(drawn.summary())


@app.command("demo")
def demo_command(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write.")] = Path(
        "bonaface-demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the generated persons and of the training.")] = 0,
) -> None:
    """Walk the whole way on generated videos: index, split, crop, train, evaluate, explain, embed, report."""
    with _progress() as progress:
        result = bonaface.demo(output=output, seed=seed, progress=progress)
    typer.echo(result.summary())


def _complain(message: str, code: int) -> int:
    typer.echo(f"bonaface: {' '.join(message.split())}", err=True)
    return code


def _pairs(values: list[str] | None, option: str) -> dict[str, str] | None:
    pairs: dict[str, str] = {}
    for value in values or []:
        key, equals, meant = value.partition("=")
        if not (key and equals and meant):
            raise SettingsError(f"{option} {value}: expected name=meaning, such as {option} fake=print")
        pairs[key] = meant
    return pairs or None


def _names(values: list[str] | None) -> list[str] | None:
    names = [name.strip() for value in values or [] for name in value.split(",") if name.strip()]
    return names or None


def _share(values: list[str] | None) -> float | list[str] | None:
    names = _names(values)
    if names and len(names) == 1:
        try:
            return float(names[0])
        except ValueError:
            return names
    return names


def _whole(text: str, option: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"{option} {text}: expected a whole number or `all`") from None


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar per stage on a terminal; nothing elsewhere, where stderr is for errors."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns: list[Any] = [
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)
            if total and done >= total:
                bars.stop_task(tasks[stage])

        yield report
