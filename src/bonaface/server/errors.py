"""Errors of the API: a stable code, a status and a fixed message, without any detail of the server's inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ERRORS: dict[str, tuple[int, str]] = {
    "malformed": (400, "The body is not the form or the JSON that the headers announce."),
    "ambiguous_length": (400, "A request has either Content-Length or Transfer-Encoding, not both."),
    "unauthorized": (401, "This server requires its API key, as X-API-Key or as a bearer token."),
    "unknown_session": (
        401,
        "POST /v1/sessions gives a token for X-Session, good for one verdict; this one is missing, unknown or expired.",
    ),
    "not_found": (404, "There is nothing at this path."),
    "method_not_allowed": (405, "This path does not support this method."),
    "too_slow": (408, "The body did not arrive in time; GET /v1/model lists the limits."),
    "session_used": (409, "The session has had its verdict; POST /v1/sessions gives a new token."),
    "too_large": (413, "The body is longer than this server reads; GET /v1/model lists the limits."),
    "unsupported_format": (415, "Send JPEG, PNG or WebP images, or one MP4, MOV, WebM or Matroska video."),
    "unsupported_request": (
        415,
        "Send the file as the body with its Content-Type, as `file` in multipart/form-data, or as base64 in JSON; not "
        "compressed.",
    ),
    "unknown_host": (421, "This server does not answer to this host name; its option --allow-host adds names."),
    "empty": (422, "The request holds no file, or an empty one."),
    "unreadable": (422, "The file is damaged, or holds no picture that can be decoded."),
    "unknown_field": (422, "A form has files in the field `file` and nothing else, JSON a list `images`."),
    "too_many_files": (422, "Send one image, one video, or several images up to the limit of GET /v1/model."),
    "too_many_pixels": (422, "The picture has more pixels than this server decodes; GET /v1/model lists the limits."),
    "too_long": (422, "The video is longer than this server decodes; GET /v1/model lists the limits."),
    "busy": (429, "The queue is full; try again after the seconds in Retry-After."),
    "internal": (500, "The server failed on this request; its log names the reason under the request id."),
    "closing": (503, "The server is shutting down."),
    "sessions_unavailable": (503, "The database of sessions does not answer; try again later."),
    "timeout": (504, "The response was not ready in time."),
}
"""HTTP status and message by code; clients can rely on the codes."""


class ApiError(Exception):
    """A request without a verdict; `code` is a key of ERRORS, `detail` replaces its message."""

    def __init__(self, code: str, detail: str = "", *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.status, message = ERRORS[code]
        self.message = detail or message
        self.headers = dict(headers or {})

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the response's JSON."""
        return {"error": {"code": self.code, "message": self.message, "request_id": request_id}}
