"""The OpenAPI document's own words, and the page that shows it without any outside resource."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from bonaface.data.signatures import IMAGE_TYPES, VIDEO_TYPES
from bonaface.server.errors import REFUSALS
from bonaface.server.schemas import EXAMPLES
from bonaface.server.uploads import FIELD

__all__ = ["BODY", "DESCRIPTION", "reference_page", "with_examples", "with_security"]

DESCRIPTION = (
    "Tells a living face in front of a camera from a presentation attack: a print, a screen replay, a mask. "
    "A higher score is more bona fide, and `score >= threshold` accepts. What could not be judged is not accepted. "
    "Nothing that is sent is kept. The server does not know where a picture came from: a recording that is fed into a "
    "virtual camera is another problem."
)

_BINARY = {"type": "string", "format": "binary"}
_SAMPLES = [
    ("One image, as it is", "curl -H 'Content-Type: image/jpeg' --data-binary @face.jpg {}/v1/liveness"),
    ("Several frames", "curl -F file=@1.jpg -F file=@2.jpg -F file=@3.jpg {}/v1/liveness"),
    ("A short video", "curl -F file=@face.mp4 {}/v1/liveness"),
    ("With an API key", "curl -H 'X-API-Key: KEY' -F file=@face.jpg {}/v1/liveness"),
    (
        "In Python",
        'httpx.post("{}/v1/liveness",\n           files=[("file", open("face.jpg", "rb"))]).json()["accepted"]',
    ),
]

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One file with its Content-Type, or one or more as `file` in multipart/form-data: an image, "
        "several images (a burst, in order), or one video. What a file is, is told by its content.",
        "content": {
            **{kind: {"schema": _BINARY} for kind in (*IMAGE_TYPES, *VIDEO_TYPES)},
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


def with_examples(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with an example of every answer, complete: FastAPI would leave out what is null."""
    for name, examples in EXAMPLES.items():
        document["components"]["schemas"][name]["examples"] = examples
    return document


def with_security(document: dict[str, Any], *, locked: bool) -> dict[str, Any]:
    """The OpenAPI document, saying where an API key is asked for."""
    if locked:
        document.setdefault("components", {})["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        for path, item in document["paths"].items():
            if path.startswith("/v1/") or path == "/metrics":
                for operation in item.values():
                    operation["security"] = [{"key": []}, {"bearer": []}]
    return document


def reference_page(document: Mapping[str, Any], *, address: str) -> str:
    """An HTML page of the document: every address, what it takes, what it answers, with examples."""
    sections = [
        _operation(path, method.upper(), operation, document, address)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    title = f"{document['info']['title']} {document['info']['version']}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}: API</title><link rel="icon" href="icon.svg"><link rel="stylesheet" href="page.css">'
        f'</head><body class="reference"><header class="bar"><a class="brand" href="./">Bonaface</a>'
        '<nav><a href="openapi.json">openapi.json</a></nav></header>'
        f"<main><h1>API</h1><p>{_text(document['info']['description'])}</p>{''.join(sections)}</main></body></html>"
    )


def _operation(path: str, method: str, operation: Mapping[str, Any], document: Mapping[str, Any], address: str) -> str:
    parts = [
        f'<section class="card"><h2><code>{method}</code> <code>{escape(path)}</code></h2>',
        f"<p><strong>{escape(operation['summary'])}.</strong> {_text(operation.get('description', ''))}</p>",
    ]
    if body := operation.get("requestBody"):
        kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in body["content"])
        parts.append(f"<h3>Takes</h3><p>{_text(body['description'])}</p><p>{kinds}</p>")
    samples = [
        f"<p>{escape(sample['label'])}</p><pre tabindex=0>{escape(sample['source'].replace('{}', address))}</pre>"
        for sample in operation.get("x-codeSamples", [])
    ]
    if samples:
        parts.append(f"<h3>Examples</h3>{''.join(samples)}")
    schema = _schema_of(operation["responses"]["200"], document)
    if schema.get("properties"):
        parts.append(f"<h3>Answers</h3>{_fields(schema, document)}")
    parts += _examples(schema)
    refusals = [
        f"<tr><td>{kind.status}</td><td><code>{code}</code></td><td>{_text(kind.message)}</td></tr>"
        for code, kind in REFUSALS.items()
        if str(kind.status) in operation["responses"]
    ]
    if refusals:
        head = "<tr><th>Status</th><th><code>error.code</code></th><th></th></tr>"
        parts.append(f'<h3>Refuses</h3><div class="wide"><table>{head}{"".join(refusals)}</table></div>')
        parts += _examples(document["components"]["schemas"]["ErrorAnswer"])
    return "".join([*parts, "</section>"])


def _examples(schema: Mapping[str, Any]) -> list[str]:
    return [f"<pre tabindex=0>{escape(json.dumps(example, indent=2))}</pre>" for example in schema.get("examples", [])]


def _schema_of(answer: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    content = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return _resolved(content, document)


def _resolved(schema: dict[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return found


def _fields(schema: dict[str, Any], document: Mapping[str, Any], prefix: str = "") -> str:
    rows = "".join(_rows(schema, document, prefix))
    return f'<div class="wide"><table><tr><th>Field</th><th>Type</th><th></th></tr>{rows}</table></div>'


def _rows(schema: dict[str, Any], document: Mapping[str, Any], prefix: str) -> list[str]:
    rows = []
    for name, field in schema["properties"].items():
        rows.append(
            f"<tr><td><code>{escape(prefix + name)}</code></td><td>{escape(_type(field))}</td>"
            f"<td>{_text(field.get('description', ''))}</td></tr>"
        )
        inner = _resolved(field.get("items", field), document)
        if "properties" in inner:
            rows += _rows(inner, document, f"{prefix}{name}{'[]' if 'items' in field else ''}.")
    return rows


def _type(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(choice) for choice in field["anyOf"])
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    if "$ref" in field:
        return "object" if not field["$ref"].endswith(("Status", "FusionRule")) else "string"
    return str(field.get("type", ""))


def _text(text: str) -> str:
    """Escaped, with what stands between backticks as code."""
    pieces = escape(text, quote=False).split("`")
    return "".join(f"<code>{piece}</code>" if place % 2 else piece for place, piece in enumerate(pieces))
