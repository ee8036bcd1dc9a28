"""Commands that evaluate and explain a model."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import bonaface
from bonaface import choices
from bonaface.cli import options
from bonaface.cli.measure_lines import plan_lines, profile_lines
from bonaface.cli.output import call, echo, echo_left_out, echo_lines
from bonaface.cli.summaries import compare_lines, embed_lines, evaluate_lines, explain_lines, report_lines
from bonaface.errors import SettingsError
from bonaface.io.storage import is_remote

if TYPE_CHECKING:
    from bonaface.report.iso_profile import IsoProfile

app = typer.Typer()

ScoresManifest = Annotated[
    Path | None, typer.Option(metavar="MANIFEST", help="Manifest that labels the presentations of the scores.")
]
LabelMap = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="LABEL=MEANING", help="bona_fide, attack, attack:SPECIES or ignore, as in 0=attack."),
]
Policy = Annotated[choices.Policy, typer.Option(help="How presentations without a score count.")]
CountMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Count presentations of the manifest without a score as unreadable.")
]


@app.command("evaluate")
def evaluate_command(
    bundle: options.BundlePath,
    manifest: options.Manifest,
    output: options.Output,
    split: options.Split = None,
    profile: options.Profile = None,
    no_faces: options.NoFaces = False,
    variant: options.Variant = None,
    backend: options.Backend = None,
    detector: options.OtherDetector = None,
    detector_weights: options.Weights = None,
    min_face: options.MinFace = None,
    no_quality: options.NoQuality = False,
    threads: options.Threads = None,
    engine: options.Engine = None,
    address: options.Address = None,
    workers: options.Workers = None,
    root: options.Root = None,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = False,
) -> None:
    """Score a manifest through a bundle and report its error rates at the bundle's thresholds."""
    evaluation = call(bonaface.evaluate, locals())
    echo_lines(evaluate_lines(evaluation))
    _echo_profile(evaluation.profile)


@app.command("report")
def report_command(
    scores: Annotated[
        Path, typer.Argument(metavar="SCORES", help="Score table of any system: .csv, .tsv or .parquet.")
    ],
    output: options.Output,
    validation: Annotated[
        Path | None, typer.Option(metavar="SCORES", help="Scores of validation, which choose the threshold.")
    ] = None,
    manifest: ScoresManifest = None,
    mapping: LabelMap = None,
    higher_is: options.HigherIs = "bona_fide",
    criterion: options.Criterion = "eer",
    threshold: Annotated[float | None, typer.Option(help="The threshold, on the scale of the scores.")] = None,
    fusion: options.Fusion = None,
    policy: Policy = "reject",
    profile: options.Profile = None,
    by: Annotated[list[str] | None, typer.Option(help="Column to group the errors by; may be repeated.")] = None,
    allow_missing: CountMissing = False,
) -> None:
    """Report the error rates of any system's score table, with confidence intervals."""
    result = call(bonaface.report_scores, locals(), mapping=options.as_pairs(mapping, "--map"), by=by or ())
    echo_lines(report_lines(result))
    _echo_profile(result.profile)


@app.command("plan")
def plan_command(
    apcer: Annotated[
        float | None, typer.Option(help="The APCER to show for each attack species, as a share: 0.05.")
    ] = None,
    bpcer: Annotated[float | None, typer.Option(help="The BPCER to show, as a share.")] = None,
    subjects: Annotated[int | None, typer.Option(help="Subjects of a planned set: print what it can show.")] = None,
    per_subject: Annotated[int, typer.Option(help="Presentations of each subject, of each species.")] = 1,
    species: Annotated[int, typer.Option(help="Number of attack species, for the totals.")] = 1,
    confidence: Annotated[float, typer.Option(help="Confidence of the two-sided interval.")] = 0.95,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Print how many subjects and presentations show an error rate, and what a planned set can show at best.

    A set shows a rate if the upper bound of the interval, as `bonaface report` computes it, is at most that rate.
    """
    found = bonaface.plan(
        apcer=apcer, bpcer=bpcer, subjects=subjects, per_subject=per_subject, species=species, confidence=confidence
    )
    if as_json:
        from bonaface.io.files import json_safe

        echo(json.dumps(json_safe(found)))
    else:
        echo_lines(plan_lines(found))


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
    manifest: ScoresManifest = None,
    mapping: LabelMap = None,
    higher_is: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]CLASS", help="What a higher score means: bona_fide or attack; of one system or all."
        ),
    ] = None,
    criterion: options.Criterion = "eer",
    fusion: options.Fusion = None,
    policy: Policy = "reject",
    intersect: Annotated[
        bool, typer.Option("--intersect", help="Compare only the presentations that all systems have.")
    ] = False,
    allow_missing: CountMissing = False,
) -> None:
    """Compare systems on the same presentations and test the differences for significance."""
    given = dict(locals())
    tables: dict[str, str | Path | Any] = {}
    for item in scores:
        name, equals, path = item.partition("=")
        key, file = (name, path) if equals and not (is_remote(item) or Path(item).exists()) else (Path(item).stem, item)
        if key in tables:
            key = str(Path(file).with_suffix(""))
        if key in tables:
            raise SettingsError(f"two systems are called {key}; name them, as in {key}=FILE")
        tables[key] = file
    limits = {}
    for name, value in (options.as_pairs(threshold, "--threshold") or {}).items():
        try:
            limits[name] = float(value)
        except ValueError:
            raise SettingsError(f"--threshold {name}={value}: expected a number") from None
    every = [value for value in higher_is or [] if "=" not in value]
    meant = dict.fromkeys(tables, every[-1]) if every else {}
    meant |= options.as_pairs([value for value in higher_is or [] if "=" in value], "--higher-is") or {}
    result = call(
        bonaface.compare,
        given,
        *("threshold", "intersect"),
        scores=tables,
        validation=options.as_pairs(validation, "--validation"),
        thresholds=limits,
        mapping=options.as_pairs(mapping, "--map"),
        higher_is=meant,
        mismatch="intersect" if intersect else "refuse",
    )
    echo_lines(compare_lines(result))


@app.command("explain")
def explain_command(
    bundle: options.BundlePath,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Images, videos, folders or a manifest.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the pictures.")] = Path(
        "explain"
    ),
    frames: Annotated[int, typer.Option(min=1, help="Frames of a video in its strip.")] = 6,
    count: Annotated[int, typer.Option(min=1, help="Pictures per row of a manifest's gallery.")] = 6,
    frames_as_video: options.FramesAsVideo = False,
    detector_weights: options.Weights = None,
    root: options.Root = None,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = False,
) -> None:
    """Draw Grad-CAM heat maps for both outcomes over the crops, with the scores.

    Exit code 3 if any presentation could not be scored.
    """
    pictures = call(partial(bonaface.explain, bundle, *inputs), locals(), "bundle", "inputs")
    echo_lines(explain_lines(pictures))
    echo_left_out(pictures.sources)
    if not pictures.complete:
        raise typer.Exit(3)


@app.command("embed")
def embed_command(
    bundle: options.BundlePath,
    manifest: options.Manifest,
    output: options.Output = Path("embed"),
    colour: Annotated[str, typer.Option("--colour", "--color", help="Manifest column to colour by.")] = "species",
    split: options.Split = None,
    seed: Annotated[int, typer.Option(help="Seed of the t-SNE.")] = 0,
    detector_weights: options.Weights = None,
    root: options.Root = None,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = False,
) -> None:
    """Draw a t-SNE map of the embeddings, coloured by any manifest column, and write its coordinates."""
    echo_lines(embed_lines(call(bonaface.embed, locals())))


def _echo_profile(profile: IsoProfile | None) -> None:
    if profile is not None:
        echo()
        echo_lines(profile_lines(profile))
