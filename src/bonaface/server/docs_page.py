"""The OpenAPI document's own text, and the page at /docs, which loads nothing from other hosts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from bonaface.data.signatures import IMAGE_TYPES, VIDEO_TYPES
from bonaface.server.schemas import ErrorAnswer, LivenessAnswer
from bonaface.server.uploads import FIELD, JSON_FIELD

DESCRIPTION = (
    "Face liveness: separates bona fide faces in front of a camera from presentation attacks (prints, screen replays, "
    "masks). A higher score is more bona fide, and `score >= threshold` accepts. What could not be scored is not "
    "accepted. Uploads are not stored. The server cannot know where a picture came from: it does not detect recordings "
    "that are injected through a virtual camera."
)

_BINARY = {"type": "string", "format": "binary"}
_SAMPLES = [
    ("One image as the body", "curl -H 'Content-Type: image/jpeg' --data-binary @face.jpg {}/v1/liveness"),
    ("Several frames", "curl -F file=@1.jpg -F file=@2.jpg -F file=@3.jpg {}/v1/liveness"),
    ("A short video", "curl -F file=@face.mp4 {}/v1/liveness"),
    (
        "Base64 in JSON",
        'curl --json \'{"images": ["\'"$(base64 -w0 face.jpg)"\'"]}\' {}/v1/liveness',
    ),
    ("With an API key", "curl -H 'X-API-Key: KEY' -F file=@face.jpg {}/v1/liveness"),
    (
        "In Python",
        'httpx.post("{}/v1/liveness",\n           files=[("file", open("face.jpg", "rb"))]).json()["accepted"]',
    ),
]

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One file with its Content-Type, one or more as `file` in multipart/form-data, or base64 in "
        "JSON: an image, several images (a burst, in order), or one video. The type of a file is recognised by its content.",
        "content": {
            **{kind: {"schema": _BINARY} for kind in (*IMAGE_TYPES, *VIDEO_TYPES)},
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": [JSON_FIELD],
                    "properties": {
                        JSON_FIELD: {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}}
                    },
                }
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "array", "items": _BINARY}},
                }
            },
        },
    },
    "x-codeSamples": [{"lang": "Shell", "label": label, "source": source} for label, source in _SAMPLES],
}


def complete(document: dict[str, Any], *, locked: bool, public_url: str) -> dict[str, Any]:
    """Add to FastAPI's OpenAPI document the examples with their nulls, the API key and the public address."""
    for model in (LivenessAnswer, ErrorAnswer):
        extra: Any = model.model_config["json_schema_extra"]
        document["components"]["schemas"][model.__name__]["examples"] = extra["examples"]
    if public_url:
        document["servers"] = [{"url": public_url.rstrip("/")}]
    if locked:
        document["components"]["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        for path, item in document["paths"].items():
            if path.startswith("/v1/") or path == "/metrics":
                for operation in item.values():
                    operation["security"] = [{"key": []}, {"bearer": []}]
    return document


def docs_page(document: Mapping[str, Any], *, address: str) -> str:
    """Return an HTML page of the OpenAPI document: every path, its input, its responses by status, with examples."""
    page = Environment(loader=PackageLoader("bonaface.server"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page.filters |= {"code": _code, "example": lambda value: json.dumps(value, indent=2)}
    return page.get_template("docs.html.j2").render(
        document=document,
        address=address,
        fields=lambda schema: list(_fields(schema, document)),
        schema_of=lambda response: _resolved(
            response.get("content", {}).get("application/json", {}).get("schema", {}), document
        ),
    )


def _code(text: str) -> Markup:
    """Escape text, and mark what is between backticks as code."""
    parts = escape(text, quote=False).split("`")
    return Markup("".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts)))


def _resolved(schema: dict[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return found


def _fields(schema: dict[str, Any], document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield name, type and description of a schema's fields, with those of objects inside it."""
    for name, field in schema.get("properties", {}).items():
        yield prefix + name, _type(field, document), field.get("description", "")
        inner = _resolved(field.get("items", field), document)
        yield from _fields(inner, document, f"{prefix}{name}{'[]' if 'items' in field else ''}.")


def _type(field: dict[str, Any], document: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(choice, document) for choice in field["anyOf"])
    found = _resolved(field, document)
    return ", ".join(map(str, found["enum"])) if "enum" in found else str(found.get("type", ""))
