"""The command `predict`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

import bonaface
from bonaface.cli.options import BundlePath, Root, Threads, Weights
from bonaface.cli.output import echo, show_progress
from bonaface.errors import SettingsError

app = typer.Typer()


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
        typer.Option(
            help="Of several faces judge the `largest`, `all` (the least bona fide decides), or `refuse`; much smaller ones "
            "than the largest do not count."
        ),
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
    with show_progress(quiet=not unseen) as progress:
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
                line = json.dumps(verdict_row(verdict))
            else:
                score = "     -" if verdict.score is None else f"{verdict.score:.4f}"
                reason = f"  ({verdict.reason})" if verdict.reason else ""
                line = (
                    f"{verdict.outcome.value:<13} {score}  threshold {verdict.threshold:.4f}  {verdict.source}{reason}"
                )
            echo(line)
    raise typer.Exit(1 if "attack" in outcomes else 0 if outcomes == {"bona_fide"} else 3)
