"""The FastAPI application: its paths, and the handling of a request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from bonaface.data.frames import Frames
from bonaface.data.sources import Source
from bonaface.errors import MediaError
from bonaface.inference.bundle_schema import OperatingPoint
from bonaface.inference.decision import PresentationResult, verdict_of
from bonaface.inference.decision_log import Decision, DecisionLog
from bonaface.inference.pipeline import Pipeline
from bonaface.inference.verdict import Verdict
from bonaface.server.docs_page import BODY, DESCRIPTION, complete, docs_page
from bonaface.server.errors import ApiError
from bonaface.server.metrics import Metrics
from bonaface.server.middleware import FACE, LIVENESS, Middleware
from bonaface.server.request_queue import RequestQueue, Slot
from bonaface.server.schemas import (
    FaceAnswer,
    LivenessAnswer,
    ModelAnswer,
    SessionAnswer,
    describe,
    error_responses,
    verdict_json,
)
from bonaface.server.sessions import SECONDS, Sessions
from bonaface.server.settings import ServerSettings
from bonaface.server.uploads import Upload, check, read_upload
from bonaface.types import Status

SESSIONS_PATH = "/v1/sessions"
_STATIC = Path(__file__).with_name("static")
_ASSETS = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "static/bonaface.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


def create_app(pipeline: Pipeline, settings: ServerSettings | None = None) -> FastAPI:
    """Return the application around a pipeline.

    Raises SettingsError where the decision log cannot be opened.
    """
    settings = settings or ServerSettings()
    limits = settings.limits
    bundle = pipeline.bundle
    metrics = Metrics(bundle.id, version("bonaface"), max_concurrent=settings.max_concurrent)
    log = DecisionLog(settings.log, lost=metrics.unlogged.inc) if settings.log else None
    queue = RequestQueue(pipeline, settings, metrics)
    sessions = Sessions(settings.log) if settings.log and settings.require_session else None
    model = describe(bundle, settings, pipeline.rules)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(queue.close)
        for database in (log, sessions):
            if database:
                await asyncio.to_thread(database.close)

    app = FastAPI(
        title="Bonaface",
        version=version("bonaface"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.queue = queue
    middleware = partial(Middleware, queue=queue, metrics=metrics, settings=settings)
    app.add_middleware(middleware)
    if settings.allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allow_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID", "X-Session"],
            expose_headers=["Retry-After", "X-Request-ID"],
        )

    def openapi() -> dict[str, Any]:
        return complete(FastAPI.openapi(app), locked=bool(settings.key), public_url=settings.public_url)

    app.openapi = openapi  # type: ignore[method-assign]

    @app.exception_handler(HTTPException)
    async def not_routed(_: Request, error: HTTPException) -> Response:
        raise ApiError("method_not_allowed" if error.status_code == 405 else "not_found", headers=error.headers)

    @app.post(
        LIVENESS,
        response_model=LivenessAnswer,
        responses=error_responses(),
        openapi_extra=BODY,
        summary="Score an image, several frames or a short video",
    )
    async def liveness(request: Request) -> Response:
        """Send one file as the body, files as `file` in multipart/form-data, or base64 in JSON. Nothing of it is stored."""
        async with slot_in_time() as slot:
            found = await score(request, slot)
        found = replace(found, seconds={**found.seconds, "total": time.perf_counter() - slot.started})
        metrics.count_verdict(found)
        request_id: str = request.state.request_id
        if log:
            now = datetime.now(UTC)
            log.add(Decision(request_id, now, found.outcome.value, found.score, found.threshold, found.bundle))
        return JSONResponse(verdict_json(found, request_id=request_id))

    @asynccontextmanager
    async def slot_in_time() -> AsyncIterator[Slot]:
        slot = Slot(queue)
        try:
            async with asyncio.timeout(limits.timeout):
                yield slot
        except TimeoutError:
            raise ApiError("timeout") from None
        finally:
            if not slot.running:  # else the thread gives it back
                slot.leave()

    async def score(request: Request, slot: Slot) -> Verdict:
        upload = await enter(request, slot)
        if sessions is None:
            return await verdict(upload, slot)
        token = request.headers.get("x-session", "")
        await asyncio.to_thread(sessions.use, token)
        try:
            return await verdict(upload, slot)
        except ApiError:
            await asyncio.to_thread(sessions.give_back, token)
            raise

    async def enter(request: Request, slot: Slot) -> Upload:
        upload = await read_upload(request, limits, slot.add)
        slot.enter()
        return upload

    async def verdict(upload: Upload, slot: Slot) -> Verdict:
        point = bundle.operating_point(upload.kind)
        result = await queue.run(slot, partial(score_upload, upload, point, slot.started + limits.timeout))
        readable = [frame for frame in result.frames if frame.status is not Status.UNREADABLE]
        # A burst with one damaged picture has no verdict: which frames are scored must not depend on damage.
        if not readable or (isinstance(upload.media, tuple) and len(readable) < min(upload.files, point.frames)):
            raise ApiError("unreadable")
        return verdict_of(result, point, bundle=bundle.id, kind=upload.kind)

    def score_upload(upload: Upload, point: OperatingPoint, end: float) -> PresentationResult:
        def stop() -> bool:
            return time.perf_counter() > end

        with opened(upload, point.frames, stop) as frames:
            preprocessed = pipeline.preprocess(Source("", upload.media), frames=point.frames, opened=frames, stop=stop)
        (result,) = pipeline.infer([preprocessed])
        return result

    @contextmanager
    def opened(upload: Upload, count: int, stop: Callable[[], bool] = lambda: False) -> Iterator[Frames]:
        """Open an upload within the limits. Raises ApiError, also for what cannot be decoded in the block."""
        try:
            with (
                Frames(upload.media, count=count, stop=stop) as frames,
                queue.decoding(check(upload, frames, limits)),
            ):
                yield frames
        except MediaError:
            raise ApiError("unreadable") from None

    @app.post(
        FACE,
        response_model=FaceAnswer,
        responses=error_responses(),
        openapi_extra=BODY,
        summary="Find the face in one image, to guide a person",
    )
    async def face(request: Request) -> FaceAnswer:
        """Send one small image. Nothing is scored, no session is used, nothing is stored."""
        async with slot_in_time() as slot:
            upload = await enter(request, slot)
            if upload.files > 1 or upload.kind != "image":
                raise ApiError("too_many_files")
            return await queue.run(slot, partial(find_face, upload))

    def find_face(upload: Upload) -> FaceAnswer:
        with opened(upload, 1) as frames:
            (frame,) = frames
        found = pipeline.faces(frame.image)
        large = [face for face in found if pipeline.rules.too_small(face.box, frame.image) is None]
        height, width = frame.image.shape[:2]
        return FaceAnswer(faces=len(large), box=found[0].box if found else None, width=width, height=height)

    def get(path: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Answer GET and HEAD."""

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            app.head(path, include_in_schema=False)(function)
            return app.get(path, **options)(function)

        return add

    @app.post(
        SESSIONS_PATH,
        response_model=SessionAnswer,
        status_code=201,
        responses=error_responses(401, 404, 503),
        summary="A token for one verdict",
    )
    async def new_session() -> SessionAnswer:
        """Where the server requires sessions: a token for the header X-Session, good for one verdict and two minutes."""
        if sessions is None:
            raise ApiError("not_found", "This server requires no sessions (--require-session).")
        return SessionAnswer(token=await asyncio.to_thread(sessions.create), expires_in=SECONDS)

    @get(
        "/v1/model",
        response_model=ModelAnswer,
        responses=error_responses(401),
        summary="The model, its thresholds and the limits",
    )
    async def get_model() -> ModelAnswer:
        """The bundle and its thresholds, and what may be sent."""
        return model

    @get("/healthz", summary="Whether the process is alive")
    async def healthz() -> dict[str, str]:
        """Answers as long as the process is alive."""
        return {"status": "alive"}

    @get("/readyz", summary="Whether the server accepts requests", responses=error_responses(503))
    async def readyz() -> dict[str, str]:
        """503 once the server is shutting down."""
        if queue.closing:
            raise ApiError("closing")
        return {"status": "ready"}

    @get("/metrics", summary="Counts and times for Prometheus", response_class=Response)
    async def get_metrics() -> Response:
        """Prometheus' text format."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @get("/", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse((_STATIC / "page.html").read_bytes())

    @get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        address = (settings.public_url or str(request.base_url)).rstrip("/")
        return HTMLResponse(docs_page(app.openapi(), address=address))

    for name, kind in _ASSETS.items():
        asset = Response((_STATIC / Path(name).name).read_bytes(), media_type=kind)
        get(f"/{name}", include_in_schema=False)(partial(_static, asset))
    return app


async def _static(response: Response) -> Response:
    return response
