"""A back end that checks liveness in a route of its own.

BUNDLE=run/bundle uvicorn --app-dir examples fastapi_backend:app
curl -F photo=@photo.jpg http://127.0.0.1:8000/onboarding/4711
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, UploadFile

import bonaface

MOST_BYTES = 10_000_000
NEXT_STEP = {"bona_fide": "documents", "attack": "refused"}
"""What follows a verdict; after any other outcome the applicant takes the photo again."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the model once; every request uses it."""
    with bonaface.load(os.environ["BUNDLE"], faces="refuse") as model:
        app.state.model = model
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/onboarding/{applicant}")
def onboarding(applicant: str, photo: UploadFile) -> dict[str, object]:
    """Score a photo. A plain `def` runs in a thread of FastAPI's pool, and the model takes calls from any thread."""
    if photo.size is None or photo.size > MOST_BYTES:
        raise HTTPException(413, f"expected a photo of at most {MOST_BYTES:,} bytes")
    verdict: bonaface.Verdict = app.state.model(photo.file.read())
    # Keep what explains the decision later, not the picture.
    return {
        "applicant": applicant,
        "next": NEXT_STEP.get(verdict.outcome, "again"),
        "verdict": verdict.outcome,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "reason": verdict.reason,
        "bundle": verdict.bundle,
    }
