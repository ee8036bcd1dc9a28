"""The application: its addresses, and the way of one request from its body to its verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from bonaface.data.sources import Source
from bonaface.inference.bundle import Bundle
from bonaface.inference.decision_log import Decision, DecisionLog
from bonaface.inference.pipeline import Pipeline, verdict_of
from bonaface.server.docs_page import BODY, DESCRIPTION, reference_page, with_examples, with_security
from bonaface.server.errors import REFUSALS, Refusal
from bonaface.server.metrics import CONTENT_TYPE, Metrics
from bonaface.server.middleware import LIVENESS, Gate, refuse, request_id_of
from bonaface.server.request_queue import Desk, Place
from bonaface.server.schemas import ErrorAnswer, LivenessAnswer, ModelAnswer, describe, verdict_answer
from bonaface.server.settings import ServerSettings
from bonaface.server.turnstile import Turnstile
from bonaface.server.uploads import check, read_files, upload_of
from bonaface.types import Status, Verdict

__all__ = ["create_app"]

_PAGE = Path(__file__).with_name("static")
_ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}


def create_app(pipeline: Pipeline, settings: ServerSettings | None = None) -> FastAPI:
    """The server's application over a pipeline, which nothing else may use meanwhile.

    Raises SettingsError where the decision log cannot be opened.
    """
    return _Service(pipeline, settings or ServerSettings()).app


class _Service:
    def __init__(self, pipeline: Pipeline, settings: ServerSettings) -> None:
        self.settings = settings
        self.bundle: Bundle = pipeline.bundle
        self.metrics = Metrics(self.bundle.id, version("bonaface"))
        self.metrics.places.set(settings.places)
        self.log = DecisionLog(settings.log, lost=self.metrics.unlogged.inc) if settings.log else None
        self.desk = Desk(
            pipeline,
            places=settings.places,
            room=settings.room,
            pixels=settings.limits.pixels,
            workers=settings.workers,
            metrics=self.metrics,
        )
        self.model = describe(self.bundle, settings.limits, key_required=bool(settings.key))
        self.app = FastAPI(
            title="Bonaface",
            version=version("bonaface"),
            description=DESCRIPTION,
            docs_url=None,
            redirect_slashes=False,
            redoc_url=None,
            lifespan=self.lifespan,
        )
        self.app.openapi = self.openapi  # type: ignore[method-assign]
        self.app.state.desk = self.desk
        self.app.state.turnstile = Turnstile(self.desk, self.metrics, settings)
        self.app.add_middleware(Gate, desk=self.desk, metrics=self.metrics, settings=settings)
        self.app.add_exception_handler(Refusal, self.refused)
        self.app.add_exception_handler(HTTPException, self.refused)
        self._add_routes()

    def _add_routes(self) -> None:
        errors: dict[int | str, dict[str, Any]] = {}
        for code, kind in REFUSALS.items():
            texts = errors.setdefault(kind.status, {"model": ErrorAnswer, "description": ""})
            texts["description"] += f"`{code}`: {kind.message} "
        self.app.add_api_route(
            LIVENESS,
            self.liveness,
            methods=["POST"],
            response_model=LivenessAnswer,
            responses=errors,
            openapi_extra=BODY,
            summary="Judge an image, several frames or a short video",
        )
        locked: dict[int | str, dict[str, Any]] = {401: errors[401]}
        self.app.add_api_route(
            "/v1/model",
            self.tell_model,
            response_model=ModelAnswer,
            responses=locked,
            summary="What judges, and the limits",
        )
        self.app.add_api_route("/healthz", self.health, summary="Whether the process lives")
        self.app.add_api_route("/readyz", self.ready, summary="Whether it takes requests", responses={503: errors[503]})
        self.app.add_api_route(
            "/metrics", self.tell_metrics, summary="Counts and times for Prometheus", response_class=Response
        )
        self.app.add_api_route("/", self.page, include_in_schema=False)
        self.app.add_api_route("/docs", self.reference, include_in_schema=False)
        for name in _ASSETS:
            self.app.add_api_route(f"/{name}", partial(self.asset, name), include_in_schema=False)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with examples, and with the key where one is asked for."""
        return with_security(with_examples(FastAPI.openapi(self.app)), locked=bool(self.settings.key))

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(self.desk.close)
        if self.log:
            await asyncio.to_thread(self.log.close)

    async def liveness(self, request: Request) -> Response:
        """Send one file as it is, or files as `file` in multipart/form-data. Nothing of it is kept."""
        place: Place = request.scope["state"]["place"]
        try:
            async with asyncio.timeout(self.settings.limits.timeout):
                verdict, kind = await self._judge(request, place)
        except TimeoutError:
            raise Refusal("timeout") from None
        request_id = request_id_of(request.scope)
        total = time.perf_counter() - place.entered
        verdict = replace(verdict, seconds={**verdict.seconds, "total": total})
        self.metrics.judged(verdict)
        if self.log:
            self.log.add(
                Decision(
                    request_id,
                    datetime.now(UTC),
                    verdict.outcome.value,
                    verdict.score,
                    verdict.threshold,
                    verdict.bundle,
                )
            )
        return JSONResponse(verdict_answer(verdict, request_id=request_id, kind=kind))

    async def _judge(self, request: Request, place: Place) -> tuple[Verdict, Any]:
        try:
            files = await read_files(
                request.stream(),
                content_type=request.headers.get("content-type", ""),
                encoding=request.headers.get("content-encoding", ""),
                settings=self.settings,
            )
            upload = upload_of(files)
            sent = len(files)
            del files
        except BaseException:
            place.leave()
            raise
        point = self.bundle.operating_point(upload.kind)
        sample = await self.desk.score(
            Source("", upload.media),
            frames=point.frames,
            place=place,
            before=partial(check, upload.media, self.settings.limits),
        )
        readable = [frame for frame in sample.frames if frame.status is not Status.UNREADABLE]
        # A burst of which one picture is damaged has no verdict: nobody chose which frames to judge.
        if not readable or (isinstance(upload.media, tuple) and len(readable) < min(sent, point.frames)):
            raise Refusal("unreadable")
        return verdict_of(sample, point, bundle=self.bundle.id), upload.kind

    async def refused(self, request: Request, error: Exception) -> Response:
        """Every error as JSON with a code."""
        if isinstance(error, HTTPException):
            error = Refusal("method_not_allowed", error.headers) if error.status_code == 405 else Refusal("not_found")
        assert isinstance(error, Refusal)
        return refuse(error, request_id_of(request.scope), self.metrics, self.desk)

    async def tell_model(self) -> ModelAnswer:
        """The bundle and its thresholds, and what may be sent."""
        return self.model

    async def health(self) -> dict[str, str]:
        """Answers as long as the process lives."""
        return {"status": "alive"}

    async def ready(self) -> dict[str, str]:
        """503 once the server is shutting down."""
        if self.desk.closing:
            raise Refusal("closing")
        return {"status": "ready"}

    async def tell_metrics(self) -> Response:
        """Prometheus' text format."""
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    async def page(self) -> Response:
        return HTMLResponse((_PAGE / "page.html").read_bytes())

    async def reference(self, request: Request) -> Response:
        return HTMLResponse(reference_page(self.app.openapi(), address=str(request.base_url).rstrip("/")))

    async def asset(self, name: str) -> Response:
        return Response((_PAGE / name).read_bytes(), media_type=_ASSETS[name])
