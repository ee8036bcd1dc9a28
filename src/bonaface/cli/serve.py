"""Commands of the server: `serve`, and `log` for its decision log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import bonaface
from bonaface.cli import options
from bonaface.cli.output import echo

app = typer.Typer()


@app.command("serve")
def serve_command(
    bundle: options.BundlePath,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default serves this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    max_concurrent: Annotated[int, typer.Option(min=1, help="Maximum concurrent requests; others get 429.")] = 32,
    threads: options.Threads = None,
    max_body_mb: Annotated[float, typer.Option(min=0.001, help="Maximum size of a request body, in MB.")] = 16.0,
    max_megapixels: Annotated[float, typer.Option(min=0.001, help="Maximum size of an image, in megapixels.")] = 16.0,
    max_video_seconds: Annotated[float, typer.Option(min=0.1, help="Maximum duration of a video, in seconds.")] = 20.0,
    max_images: Annotated[int, typer.Option(min=1, help="Maximum number of images in a burst.")] = 32,
    timeout: Annotated[float, typer.Option(min=0.1, help="Maximum duration of a request, in seconds.")] = 30.0,
    max_upload_seconds: Annotated[
        float, typer.Option(min=0.1, help="Maximum time until the body of a request has arrived, in seconds.")
    ] = 20.0,
    faces: options.Faces = "largest",
    key_file: Annotated[
        Path | None, typer.Option(envvar="BONAFACE_KEY_FILE", help="File with the API key that requests must carry.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Host name to answer to, besides localhost and --host; may be repeated; `*` for any.",
        ),
    ] = None,
    public_url: Annotated[
        str, typer.Option(metavar="URL", help="Address of this server behind a proxy, for the examples at /docs.")
    ] = "",
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Site whose pages may call the API from the browser, such as https://example.org; may be repeated.",
        ),
    ] = None,
    require_session: Annotated[
        bool, typer.Option(help="Each verdict takes a token from /v1/sessions, kept in the database of --log.")
    ] = False,
    log: Annotated[str | None, typer.Option(help="Decision log: a SQLite file or an SQLAlchemy URL.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Certificate for HTTPS (PEM).")] = None,
    certificate_key: Annotated[Path | None, typer.Option(help="Private key of the certificate (PEM).")] = None,
    variant: options.Variant = None,
    min_face: options.MinFace = None,
    no_quality: options.NoQuality = False,
    weights: options.Weights = None,
) -> None:
    """Serve a bundle: REST API under /v1, its reference at /docs, a page with a camera at /."""
    from bonaface.server.serve import serve
    from bonaface.server.settings import Limits, ServerSettings, read_key

    settings = ServerSettings(
        host=host,
        port=port,
        limits=Limits(
            bytes=round(max_body_mb * 1e6),
            pixels=round(max_megapixels * 1e6),
            files=max_images,
            seconds=max_video_seconds,
            timeout=timeout,
            upload_seconds=max_upload_seconds,
        ),
        max_concurrent=max_concurrent,
        threads=threads,
        faces=faces,
        min_face=min_face,
        quality=not no_quality,
        key=read_key(key_file) if key_file else "",
        log=log,
        certificate=certificate,
        certificate_key=certificate_key,
        allow_hosts=tuple(allow_host or ()),
        public_url=public_url,
        allow_origins=tuple(allow_origin or ()),
        require_session=require_session,
    )

    def started(address: str) -> None:
        echo(f"{bundle} is served at {address} (page), {address}/docs (API)")
        if host not in {"127.0.0.1", "::1", "localhost"} and not settings.key:
            echo("anybody who can reach this address can use it; set an API key with --key-file", err=True)

    serve(bundle, settings, detector_weights=weights, variant=variant, started=started)


@app.command("log")
def log_command(
    address: Annotated[str, typer.Argument(metavar="LOG", help="The file or URL given to `bonaface serve --log`.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="PNG", help="Plot of the scores over time; a CSV is written next to it."
        ),
    ] = None,
    since: Annotated[str | None, typer.Option(help="First date or time to include, UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="Date or time before which to stop, UTC.")] = None,
    bundle: Annotated[str | None, typer.Option(help="Beginning of a bundle's id.")] = None,
) -> None:
    """Read a server's decision log: counts by verdict, and whether the scores drift over time."""
    found = bonaface.log(address, output=output, since=since, until=until, bundle=bundle)
    times = found.table["time"]
    echo(f"{len(times)} decisions from {times.min():%Y-%m-%d %H:%M} to {times.max():%Y-%m-%d %H:%M} UTC")
    for verdict, count in found.table["verdict"].value_counts().items():
        echo(f"{verdict:<14}: {count} ({count / len(times):.1%})")
    for name, part in found.periods.dropna(subset="median").groupby("bundle", sort=False):
        first, last = part.iloc[0], part.iloc[-1]
        echo(
            f"bundle {name}: median score {first['median']:.4f} at first, {last['median']:.4f} at last; "
            f"accepted {first['accepted']:.1%} and {last['accepted']:.1%}"
        )
    for title, file in (("plot", found.plot), ("periods", found.csv)):
        if file:
            echo(f"{title}: {file}")
