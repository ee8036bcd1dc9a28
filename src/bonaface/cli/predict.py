"""Commands that judge: `predict`, the server, and its log."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

import bonaface
from bonaface.cli.options import BundlePath, Root, Threads, Weights
from bonaface.cli.output import progress_bars
from bonaface.errors import SettingsError

__all__ = ["log_command", "predict_command", "serve_command"]


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
    with progress_bars() if unseen else nullcontext() as progress:
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
    from bonaface.server.serve import serve
    from bonaface.server.settings import Limits, ServerSettings, read_key

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
