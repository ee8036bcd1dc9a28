from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from bonaface.server.app import create_app
from tests.golden import assert_as_before


@pytest.fixture(scope="module")
def answers(pipeline, jpeg) -> dict[str, Any]:
    """The model, and the verdict on a drawn picture, without what differs from call to call or with the model card."""

    async def ask() -> dict[str, Any]:
        transport = httpx.ASGITransport(create_app(pipeline))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            headers = {"X-Request-ID": "golden", "Content-Type": "image/jpeg"}
            model = (await client.get("/v1/model")).json()
            verdict = (await client.post("/v1/liveness", content=jpeg, headers=headers)).json()
        verdict["seconds"] = sorted(verdict["seconds"])
        assert verdict["bundle"] == model["bundle"] == pipeline.bundle.id
        for answer in (model, verdict):
            answer["bundle"] = "id"
        return {"model": model, "verdict": verdict}

    return asyncio.run(ask())


@pytest.mark.parametrize("name", ["model", "verdict"])
def test_api_answer_is_as_before(answers, name: str) -> None:
    assert_as_before(answers[name], f"{name}.json", rel=1e-4)  # decoders and networks differ by machine
