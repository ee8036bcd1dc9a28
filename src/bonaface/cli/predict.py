"""The command `predict`."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import bonaface
from bonaface.cli import options
from bonaface.cli.output import call, echo, echo_left_out, passed_on, show_progress
from bonaface.errors import SettingsError

if TYPE_CHECKING:
    from bonaface.inference.verdict import Verdict

app = typer.Typer()


@app.command("predict")
def predict_command(
    bundle: options.BundlePath,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Images, videos, folders, globs, a manifest, http(s):// files, rtsp:// cameras, or a camera's number or "
            "device. Files are recognised by content; hidden ones in a folder are left out, linked folders are followed.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line, with every frame.")] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for annotated copies: boxes, verdict, score trace.")
    ] = None,
    frames_as_video: options.FramesAsVideo = False,
    faces: options.Faces = "largest",
    frames: Annotated[int | None, typer.Option(min=1, help="Frames of a video; by default the bundle's.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop the camera after this many seconds.")] = None,
    detector: options.OtherDetector = None,
    detector_weights: options.Weights = None,
    variant: options.Variant = None,
    backend: options.Backend = None,
    min_face: options.MinFace = None,
    no_quality: options.NoQuality = False,
    threads: options.Threads = None,
    engine: options.Engine = None,
    address: options.Address = None,
    workers: options.Workers = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="With --engine ray: folder for the verdicts, as Parquet."),
    ] = None,
    root: options.Root = None,
    quiet: options.Quiet = False,
    json_log: options.JsonLog = False,
) -> None:
    """Score presentations: exit code 0 if all are bona fide, 1 if any is an attack, 3 if any has no score, 2 on an error.

    A damaged file, an unknown picture format, a folder that cannot be listed and a broken link are `unreadable`. Files
    that are neither pictures nor videos are listed on stderr and do not change the exit code.
    """
    given = dict(locals())
    if (engine is None) != (output is None):
        raise SettingsError(
            "--engine ray writes the verdicts to a folder: give both --engine ray and --output, or neither"
        )
    of_a_cluster = {"--address": address, "--workers": workers}
    of_one_machine = {"--json": as_json or None, "--save": save, "--seconds": seconds, "--threads": threads}
    other = [name for name, value in (of_a_cluster if engine is None else of_one_machine).items() if value is not None]
    if other:
        raise SettingsError(f"{', '.join(other)}: not {'without' if engine is None else 'with'} --engine ray")
    outcomes: Counter[str] = Counter()
    looked_at = 0
    unknown = ("bundle", "sources", "engine", "as_json")
    if output is not None:
        predict = partial(bonaface.predict_on_ray, bundle, *sources)
        outcomes.update(call(predict, given, *unknown, "save", "seconds", "threads"))
        echo(f"{_counted(outcomes)}; written to {output}")
        raise typer.Exit(_exit_code(outcomes))
    # On a terminal the verdicts show the progress.
    seen = sys.stdout is not None and sys.stdout.isatty()
    with show_progress(quiet=quiet or (seen and not json_log), json_log=json_log) as progress:
        options = passed_on(given, *unknown, "output", "address", "workers")
        verdicts = bonaface.predict(bundle, *sources, **options, progress=progress)
        started = time.monotonic()
        for verdict in verdicts:
            outcomes[verdict.outcome.value] += 1
            looked_at += len(verdict.frames)
            echo(json.dumps(verdict.to_dict()) if as_json else _line(verdict))
    if not quiet:
        if outcomes.total() > 1:
            spent = time.monotonic() - started
            rate = f"{looked_at} frames in {spent:.1f} s ({looked_at / max(spent, 1e-9):.1f} a second)"
            echo(f"{_counted(outcomes)}; {rate}", err=True)
        echo_left_out(verdicts.sources)
    raise typer.Exit(_exit_code(outcomes))


def _exit_code(outcomes: Counter[str]) -> int:
    return 1 if outcomes["attack"] else 0 if set(outcomes) == {"bona_fide"} else 3


def _line(verdict: Verdict) -> str:
    figures = f"{verdict.outcome.value:<13} {verdict.score_text():>6}  threshold {verdict.threshold:.4f}"
    parts = (figures, verdict.margin_text(), verdict.source, verdict.reason and f"({verdict.notes()})")
    return "  ".join(part for part in parts if part)


def _counted(outcomes: Counter[str]) -> str:
    from bonaface.types import Label, Status

    known = [outcome.value for outcome in (*Label, *Status)]
    counts = ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in known if outcomes[outcome])
    return f"{outcomes.total()} presentations: {counts}"
