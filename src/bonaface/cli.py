"""The command line: every command parses, calls one workflow, prints. Heavy imports wait until a command runs."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
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
bundles = typer.Typer(
    help="Look into bundles, make them of others' networks, fetch open ones.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.add_typer(bundles, name="bundle")

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
        if code == 130:
            _complain("interrupted; what is done is kept", code)
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
    table: Annotated[
        Path | None, typer.Option(help="The table of layout `csv`, where the folder given is the footage's.")
    ] = None,
    boxes: Annotated[
        bool | None, typer.Option(help="Read the dataset's own face boxes; by default where it is a set of images.")
    ] = None,
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
            table=table,
            boxes=boxes,
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
    keep: Annotated[
        list[str] | None, typer.Option(help="Split that stays as it is, such as a dataset's own test.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    root: Root = None,
) -> None:
    """Decide who trains, who validates and who tests: by person, balanced by class and species."""
    result = bonaface.split(
        manifest,
        output=output,
        val=_share(val),
        test=_share(test),
        train=_names(train),
        keep=_names(keep) or (),
        seed=seed,
        root=root,
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
    quality: Annotated[int, typer.Option(help="JPEG quality of the stored square.")] = 95,
    resize: Annotated[int | None, typer.Option(help="For whole_frame: pixels of the shorter side, made first.")] = None,
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
            quality=quality,
            resize=resize,
            workers=workers,
            root=root,
            progress=progress,
        )
    typer.echo(result.summary())


@data.command("audit")
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
) -> None:
    """Find leaks, copies, unreadable files and shortcuts before anybody trains.

    Exit code 0 where nothing leaks, 1 where a person, a file or a picture stands in two splits, 2 on an error.
    """
    with _progress() as progress:
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
    typer.echo(result.summary())
    if result.leaks:
        raise typer.Exit(1)


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
    if run.stopped == "interrupted":
        raise typer.Exit(130)


@app.command("export")
def export_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of a finished training.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="BUNDLE", help="One zip where it ends in .bonaface or .zip, else a folder."
        ),
    ],
    openvino: Annotated[bool, typer.Option("--openvino", help="Add the variant openvino: f32.")] = False,
    bf16: Annotated[bool, typer.Option("--bf16", help="Add the variant bf16, for processors that have it.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Add the variant int8; takes minutes.")] = False,
    licence: Annotated[str | None, typer.Option(help="Licence that the bundle is given out under.")] = None,
    crops: Annotated[Path | None, typer.Option(help="The run's crop store, if it moved.")] = None,
    weights: Weights = None,
    root: Root = None,
) -> None:
    """Write a run's bundle, held against torch on the run's own crops, with variants that are held against it."""
    with _progress() as progress:
        exported = bonaface.export(
            run,
            output=output,
            openvino=openvino,
            bf16=bf16,
            int8=int8,
            licence=licence,
            crops=crops,
            detector_weights=weights,
            root=root,
            progress=progress,
        )
    typer.echo(exported.summary())


@bundles.command("show")
def bundle_show_command(bundle: BundlePath) -> None:
    """Check every file of a bundle and tell what it is, what it holds and what was measured of it."""
    typer.echo(bonaface.show_bundle(bundle).summary())


@bundles.command("from-onnx")
def bundle_from_onnx_command(
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
        mean=_numbers(mean, "--mean"),
        std=_numbers(std, "--std"),
        output_name=output_name,
        embedding=embedding,
        detector=detector,
        detector_weights=weights,
        name=name,
        licence=licence,
        source=source,
    )
    typer.echo(made.summary())


@bundles.command("calibrate")
def bundle_calibrate_command(
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
) -> None:
    """Choose a bundle's thresholds anew on validation scores, by another criterion or on your own footage."""
    done = bonaface.calibrate_bundle(
        bundle,
        scores,
        output=output,
        criterion=criterion,
        frames=frames,
        fusion=fusion,  # type: ignore[arg-type]
    )
    typer.echo(done.summary())


@bundles.command("pull")
def bundle_pull_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="yunet, minifas-128 or minifas-128-int8.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="BUNDLE", help="Bundle to write; by default NAME.bonaface.")
    ] = None,
    weights: Weights = None,
) -> None:
    """Fetch an open model, check its sha256 and make a bundle of it."""
    with _progress() as progress:
        pulled = bonaface.pull_bundle(name, output=output, detector_weights=weights, progress=progress)
    typer.echo(pulled.summary())


@app.command("evaluate")
def evaluate_command(
    bundle: BundlePath,
    manifest: Manifest,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write.")],
    split: Annotated[
        str | None, typer.Option(help="train, val, test or all; by default test where there is one.")
    ] = None,
    no_faces: NoFaces = False,
    variant: Annotated[str | None, typer.Option(help="One of the bundle's variants, at its own thresholds.")] = None,
    backend: Annotated[str | None, typer.Option(help="onnxruntime or openvino, in f32.")] = None,
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
            variant=variant,
            backend=backend,
            detector_weights=weights,
            threads=threads,
            root=root,
            progress=progress,
        )
    typer.echo(evaluation.summary())


@app.command("report")
def report_command(
    scores: Annotated[Path, typer.Argument(metavar="SCORES", help="Score table, ours or a foreign system's.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write.")],
    validation: Annotated[Path | None, typer.Option(help="Scores of validation, which choose the threshold.")] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Manifest that labels the presentations of a foreign table.")
    ] = None,
    criterion: Annotated[str, typer.Option(help="eer, hter, bpcer20, apcer<=0.01, bpcer<=0.05, fixed=0.5.")] = "eer",
    threshold: Annotated[float | None, typer.Option(help="The threshold itself, on the scale of the scores.")] = None,
    fusion: Annotated[str | None, typer.Option(help="Fuse frames anew: mean, median, max_attack or first.")] = None,
    policy: Annotated[str, typer.Option(help="Presentations without a score: `reject` or `exclude`.")] = "reject",
    by: Annotated[list[str] | None, typer.Option(help="Column to break the errors down by; may be repeated.")] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap draws of the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    allow_missing: Annotated[
        bool, typer.Option(help="Count presentations of the manifest without a score as unreadable.")
    ] = False,
) -> None:
    """Report the error rates in a score table, with intervals, from whichever system it comes."""
    result = bonaface.report(
        scores,
        output=output,
        validation=validation,
        manifest=manifest,
        criterion=criterion,
        threshold=threshold,
        fusion=fusion,  # type: ignore[arg-type]
        policy=policy,  # type: ignore[arg-type]
        by=by or (),
        resamples=resamples,
        seed=seed,
        allow_missing=allow_missing,
    )
    typer.echo(result.summary())


@app.command("compare")
def compare_command(
    scores: Annotated[
        list[str], typer.Argument(metavar="[NAME=]SCORES...", help="Score tables of two systems or more.")
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder for a page.")] = None,
    validation: Annotated[
        list[str] | None, typer.Option(metavar="NAME=SCORES", help="Validation scores of a system.")
    ] = None,
    threshold: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Threshold of a system.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="Manifest that labels foreign tables.")] = None,
    criterion: Annotated[str, typer.Option(help="eer, hter, bpcer20, apcer<=0.01, bpcer<=0.05, fixed=0.5.")] = "eer",
    fusion: Annotated[str | None, typer.Option(help="Fuse frames anew: mean, median, max_attack or first.")] = None,
    intersect: Annotated[
        bool, typer.Option("--intersect", help="Compare what every system was given, instead of refusing.")
    ] = False,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap draws.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    allow_missing: Annotated[
        bool, typer.Option(help="Count presentations of the manifest without a score as unreadable.")
    ] = False,
) -> None:
    """Compare systems on the same presentations, and tell real differences from chance."""
    tables: dict[str, str | Path | Any] = {}
    for item in scores:
        name, equals, path = item.partition("=")
        key, file = (name, path) if equals and not Path(item).exists() else (Path(item).stem, item)
        if key in tables:
            key = str(Path(file).with_suffix(""))
        if key in tables:
            raise SettingsError(f"two systems are called {key}; name them, as in {key}=FILE")
        tables[key] = file
    limits = {}
    for name, value in (_pairs(threshold, "--threshold") or {}).items():
        try:
            limits[name] = float(value)
        except ValueError:
            raise SettingsError(f"--threshold {name}={value}: expected a number") from None
    result = bonaface.compare(
        tables,
        output=output,
        validation=_pairs(validation, "--validation"),
        thresholds=limits,
        manifest=manifest,
        criterion=criterion,
        fusion=fusion,  # type: ignore[arg-type]
        mismatch="intersect" if intersect else "refuse",
        resamples=resamples,
        seed=seed,
        allow_missing=allow_missing,
    )
    typer.echo(result.summary())


@app.command("folds")
def folds_command(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or a shipped recipe: default, baseline, demo.")],
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE... [KEY=VALUE]...", help="A dataset's folder, or manifests.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write.")],
    layout: Annotated[str | None, typer.Option(help="Layout of the dataset's folder.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Protocol whose folds to run.")] = None,
    leave_one_dataset_out: Annotated[
        bool, typer.Option("--leave-one-dataset-out", help="Test each dataset on what the others taught.")
    ] = False,
    allow_missing: Annotated[bool, typer.Option(help="Go on without files that a list names but are absent.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of validation splits made for leaving a dataset out.")] = 0,
    no_faces: NoFaces = False,
) -> None:
    """Run a protocol's folds, or leave each dataset out in turn; report mean and spread."""
    from bonaface.workflows.folds import leave_one_dataset_out as leave_out
    from bonaface.workflows.folds import protocol_folds

    paths = [item for item in sources if "=" not in item or Path(item).exists()]
    overrides = [item for item in sources if item not in paths]
    if not paths:
        raise SettingsError("nothing to train on: name a dataset's folder (with --layout) or manifests")
    if layout is not None:
        if len(paths) != 1:
            raise SettingsError(f"--layout goes with one folder; got {len(paths)} sources")
        manifests = protocol_folds(paths[0], layout=layout, protocol=protocol, allow_missing=allow_missing)
    else:
        read = {Path(path).stem: bonaface.read_manifest(path) for path in paths}
        if len(read) < len(paths):
            raise SettingsError("two manifests have the same name; folds are called by it")
        manifests = leave_out(list(read.values()), seed=seed) if leave_one_dataset_out else read
    with _progress() as progress:
        result = bonaface.folds(
            recipe, *overrides, manifests=manifests, output=output, faces=not no_faces, progress=progress
        )
    typer.echo(result.summary())


@app.command("predict")
def predict_command(
    bundle: BundlePath,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Images, videos, folders, globs, a manifest or a camera's number."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line, with every frame.")] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for annotated copies: boxes, verdict, score trace.")
    ] = None,
    faces: Annotated[
        str,
        typer.Option(help="Of several faces judge the `largest`, `all` (the least bona fide decides), or `refuse`."),
    ] = "largest",
    frames: Annotated[int | None, typer.Option(min=1, help="Frames of a video; by default the bundle's.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop a camera after so long.")] = None,
    detector: Annotated[str | None, typer.Option(help="Another face detector than the bundle's, on purpose.")] = None,
    weights: Weights = None,
    variant: Annotated[str | None, typer.Option(help="One of the bundle's variants, at its own thresholds.")] = None,
    backend: Annotated[
        str | None, typer.Option(help="onnxruntime or openvino; by default what the bundle says.")
    ] = None,
    threads: Threads = None,
    root: Root = None,
) -> None:
    """Judge: exit code 0 if all are bona fide, 1 if one is an attack, 3 if one could not be judged, 2 on an error."""
    from bonaface.workflows.predict import verdict_row

    if faces not in ("largest", "all", "refuse"):
        raise SettingsError(f"--faces {faces}: expected largest, all or refuse")
    outcomes = set()
    # On a terminal the verdicts themselves show how far it is; where they go elsewhere, a bar does.
    unseen = sys.stderr.isatty() and not sys.stdout.isatty()
    with _progress() if unseen else nullcontext() as progress:
        for verdict in bonaface.predict(
            bundle,
            *sources,
            faces=faces,  # type: ignore[arg-type]
            frames=frames,
            save=save,
            detector=detector,
            detector_weights=weights,
            threads=threads,
            variant=variant,
            backend=backend,
            root=root,
            seconds=seconds,
            progress=progress,
        ):
            outcomes.add(verdict.outcome.value)
            if as_json:
                line = json.dumps(verdict_row(verdict), ensure_ascii=False)
            else:
                score = "     -" if verdict.score is None else f"{verdict.score:.4f}"
                reason = f"  ({verdict.reason})" if verdict.reason else ""
                line = (
                    f"{verdict.outcome.value:<13} {score}  threshold {verdict.threshold:.4f}  {verdict.source}{reason}"
                )
            typer.echo(line)
            sys.stdout.flush()
    raise typer.Exit(1 if "attack" in outcomes else 0 if outcomes == {"bona_fide"} else 3)


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


@app.command("serve")
def serve_command(
    bundle: BundlePath,
    host: Annotated[str, typer.Option(help="Address to listen at; by default this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")] = 8000,
    places: Annotated[int, typer.Option(min=1, help="Requests inside at once; more are told to come back.")] = 32,
    threads: Threads = None,
    megabytes: Annotated[float, typer.Option(min=0.001, help="Longest body.")] = 16.0,
    megapixels: Annotated[float, typer.Option(min=0.001, help="Largest picture.")] = 16.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="Longest video.")] = 20.0,
    files: Annotated[int, typer.Option(min=1, help="Most images in a burst.")] = 32,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds a request may take in all.")] = 30.0,
    several_faces: Annotated[
        bool, typer.Option("--several-faces", help="Judge the largest face where there are several; else none is.")
    ] = False,
    key_file: Annotated[
        Path | None, typer.Option(envvar="BONAFACE_KEY_FILE", help="File with the API key to ask for.")
    ] = None,
    log: Annotated[str | None, typer.Option(help="Decision log: a SQLite file, or any SQLAlchemy address.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Certificate for HTTPS, PEM.")] = None,
    certificate_key: Annotated[Path | None, typer.Option(help="The certificate's key, PEM.")] = None,
    variant: Annotated[str | None, typer.Option(help="One of the bundle's variants, at its own thresholds.")] = None,
    weights: Weights = None,
) -> None:
    """Serve a bundle: REST API under /v1, its reference at /docs, a page with camera at /."""
    from bonaface.runtime.server.running import serve
    from bonaface.runtime.server.settings import Limits, ServerSettings, read_key

    settings = ServerSettings(
        host=host,
        port=port,
        limits=Limits(
            bytes=round(megabytes * 1e6),
            pixels=round(megapixels * 1e6),
            files=files,
            seconds=seconds,
            timeout=timeout,
        ),
        places=places,
        workers=threads,
        faces="largest" if several_faces else "refuse",
        key=read_key(key_file) if key_file else "",
        log=log,
        certificate=certificate,
        certificate_key=certificate_key,
    )

    def started(address: str) -> None:
        typer.echo(f"{bundle} is served at {address} (page), {address}/docs (API)")
        if host not in {"127.0.0.1", "::1", "localhost"} and not settings.key:
            typer.echo("anybody who reaches this address may ask: --key-file asks for a key", err=True)

    serve(bundle, settings, detector_weights=weights, variant=variant, started=started)


@app.command("log")
def log_command(
    address: Annotated[str, typer.Argument(metavar="LOG", help="What `bonaface serve --log` was given.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PNG", help="Plot of the scores over time; a CSV beside it."),
    ] = None,
    since: Annotated[str | None, typer.Option(help="From this date or time on, UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to this date or time, UTC.")] = None,
    bundle: Annotated[str | None, typer.Option(help="Beginning of a bundle's id.")] = None,
) -> None:
    """Read a server's decision log: counts by verdict, and whether the scores drift over time."""
    typer.echo(bonaface.log(address, output=output, since=since, until=until, bundle=bundle).summary())


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
    if result.run.stopped == "interrupted":
        raise typer.Exit(130)


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
    """0.2 is a share, and so are 0 and .2; 7 is the name of a person."""
    names = _names(values)
    if names and len(names) == 1 and re.fullmatch(r"0|\d*\.\d+|\d+\.", names[0]):
        return float(names[0])
    return names


def _numbers(text: str | None, option: str) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingsError(f"{option} {text}: expected one number, or three with commas") from None


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
    # Left to itself it would draw what goes to stdout onto the terminal, even where stdout is a file.
    redirect = sys.stdout.isatty()
    bars = Progress(*columns, console=console, disable=not console.is_terminal, redirect_stdout=redirect)

    def report(stage: str, done: int, total: int) -> None:
        # Live only while a stage is under way: training draws a bar of its own.
        if not bars.live.is_started:
            bars.start()
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)
        if total and done >= total:
            bars.stop_task(tasks[stage])
            if bars.finished:
                bars.stop()
                for finished in tasks.values():
                    bars.remove_task(finished)
                tasks.clear()

    try:
        yield report
    finally:
        bars.stop()
