"""What the API answers where quality keeps an upload from being scored."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from bonaface.inference.bundle import Bundle, change_bundle
from bonaface.inference.pipeline import Pipeline
from bonaface.inference.quality_limits import MEASURES, Limit
from bonaface.server.app import create_app
from bonaface.server.settings import ServerSettings
from tests.server.conftest import encoded

LIMITS = {"luminance_mean": Limit(min=0.35), "face_size": Limit(max=600)}


def ask(bundle: Bundle, *files: bytes, settings: ServerSettings | None = None, **options: Any) -> list[dict[str, Any]]:
    """The model, and the answer to each file."""

    async def run() -> list[dict[str, Any]]:
        app = create_app(Pipeline(bundle, threads=1, **options), settings)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            answers = [await client.get("/v1/model")]
            answers += [await client.post("/v1/liveness", files=[("file", ("a.jpg", file))]) for file in files]
            metrics = (await client.get("/metrics")).text
        app.state.queue.close()
        assert [answer.status_code for answer in answers] == [200] * len(answers)
        assert 'bonaface_verdicts_total{outcome="low_quality"}' in metrics
        return [answer.json() for answer in answers]

    return asyncio.run(run())


def test_low_quality_is_answered_like_no_face(
    pipeline: Pipeline, frames: list[np.ndarray], dark_frames: list[np.ndarray]
):
    strict = change_bundle(pipeline.bundle, quality=LIMITS)
    model, dark, bright = ask(strict, encoded(dark_frames[0]), encoded(frames[0]))
    assert model["quality"] == {"luminance_mean": {"min": 0.35, "max": None}, "face_size": {"min": None, "max": 600}}
    assert (dark["verdict"], dark["accepted"], dark["score"]) == ("low_quality", False, None)
    (finding,) = dark["findings"]
    assert finding["advice"] == MEASURES["luminance_mean"].low
    assert finding["value"] == dark["quality"]["luminance_mean"] < finding["min"] == 0.35
    assert (bright["verdict"], bright["findings"]) == ("bona_fide", [])
    assert bright["quality"]["luminance_mean"] > 0.35


def test_limits_are_switched_off_and_the_smallest_face_is_set(pipeline: Pipeline, dark_frames: list[np.ndarray]):
    strict = change_bundle(pipeline.bundle, quality=LIMITS)
    model, dark = ask(strict, encoded(dark_frames[0]), quality=False, min_face=30)
    assert (model["quality"], model["min_face"]) == ({}, 30)
    assert dark["verdict"] == "attack"
    _, small = ask(strict, encoded(dark_frames[0]), quality=False, min_face=400)
    assert (small["verdict"], small["findings"][0]["name"], small["findings"][0]["min"]) == (
        "too_small",
        "face_size",
        400,
    )


def test_low_quality_is_in_the_decision_log(pipeline: Pipeline, dark_frames: list[np.ndarray], tmp_path: Path):
    settings = ServerSettings(log=str(tmp_path / "log.sqlite"))
    strict = change_bundle(pipeline.bundle, quality=LIMITS)

    async def run() -> None:
        app = create_app(Pipeline(strict, threads=1), settings)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
        ):
            answer = await client.post("/v1/liveness", files=[("file", ("a.jpg", encoded(dark_frames[0])))])
            assert json.loads(answer.text)["verdict"] == "low_quality"

    asyncio.run(run())
    with sqlite3.connect(tmp_path / "log.sqlite") as rows:
        assert rows.execute("select verdict, score from decisions").fetchall() == [("low_quality", None)]


@pytest.mark.parametrize("options", [("--min-face", "nan"), ("--min-face", "-3")])
def test_serve_refuses_a_smallest_face_that_is_no_size(bundle: Path, options: tuple[str, ...]):
    from typer.testing import CliRunner

    from bonaface.cli.app import app

    assert CliRunner().invoke(app, ["serve", str(bundle), *options]).exit_code != 0
