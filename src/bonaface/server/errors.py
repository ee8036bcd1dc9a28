"""Every answer that is not a verdict: a stable code, a status and a fixed sentence, with nothing of the inside in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["REFUSALS", "Kind", "Refusal"]


class Kind(NamedTuple):
    """HTTP status, and what the sender is told."""

    status: int
    message: str


REFUSALS: dict[str, Kind] = {
    "malformed": Kind(400, "The request's body is not the form that its headers announce."),
    "unauthorized": Kind(401, "This server asks for its API key, as X-API-Key or as a bearer token."),
    "not_found": Kind(404, "There is nothing at this address."),
    "method_not_allowed": Kind(405, "This address does not take this method."),
    "too_slow": Kind(408, "The body came too slowly, or stopped."),
    "too_large": Kind(413, "The body is longer than this server reads; GET /v1/model names its limits."),
    "unsupported_format": Kind(415, "Send JPEG, PNG or WebP images, or one MP4, WebM or MOV video."),
    "unsupported_request": Kind(
        415, "Send the file as it is with its Content-Type, or as `file` in multipart/form-data."
    ),
    "empty": Kind(422, "The request holds no file, or an empty one."),
    "unreadable": Kind(422, "The file is damaged, or holds no picture that can be decoded."),
    "too_many_files": Kind(422, "Send one image, one video, or no more images than GET /v1/model names."),
    "too_many_pixels": Kind(
        422, "The picture has more pixels than this server decodes; GET /v1/model names its limits."
    ),
    "too_long": Kind(422, "The video is longer than this server decodes; GET /v1/model names its limits."),
    "busy": Kind(429, "The queue is full; try again after the seconds that Retry-After names."),
    "internal": Kind(500, "The server failed on this request; its operator finds the reason under the request id."),
    "closing": Kind(503, "The server is shutting down."),
    "timeout": Kind(504, "The answer was not ready in time."),
}
"""By code: what a client can rely on."""


class Refusal(Exception):
    """A request that gets no verdict; `code` is a key of REFUSALS, `headers` are the answer's."""

    def __init__(self, code: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        """HTTP status."""
        return REFUSALS[self.code].status

    def body(self, request_id: str) -> dict[str, dict[str, str]]:
        """What is sent, as JSON."""
        return {"error": {"code": self.code, "message": REFUSALS[self.code].message, "request_id": request_id}}
