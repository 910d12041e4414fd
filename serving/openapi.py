"""The OpenAPI document: what FastAPI derives by itself, and the bodies that msgspec decodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI

from serving.errors import PROBLEM_MEDIA_TYPE, Problem
from serving.schemas import Accepted, BatchRequestSchema, FeedbackBody, RankRequest, RankResponse

_REF = "#/components/schemas/{name}"
_WIRE_TYPES = (RankRequest, RankResponse, BatchRequestSchema, FeedbackBody, Accepted, Problem)
# An answer for every request, in their order. Written out: msgspec knows no union of two untagged objects.
BATCH_RESPONSE = {
    "type": "object",
    "required": ["responses"],
    "properties": {
        "responses": {
            "type": "array",
            "items": {"anyOf": [{"$ref": _REF.format(name=kind.__name__)} for kind in (RankResponse, Problem)]},
        }
    },
}
_PROBLEM_STATUSES = {"4XX": "The request cannot be answered.", "5XX": "The server cannot answer now."}


def wire(request: Any, response: Any, status: int = 200) -> dict[str, Any]:
    """`openapi_extra` of a route whose bodies FastAPI does not see: wire types, or a schema written out."""
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": _schema(request)}}},
        "responses": {
            str(int(status)): {"description": "Done.", "content": {"application/json": {"schema": _schema(response)}}}
        },
    }


def document(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """`app.openapi`, with the wire types among the components and problem details wherever something can go wrong."""
    derive = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = derive()
            _, components = msgspec.json.schema_components(_WIRE_TYPES, ref_template=_REF)
            found.setdefault("components", {}).setdefault("schemas", {}).update(components)
            for path in found["paths"].values():
                for operation in path.values():
                    _describe_problems(operation)
            app.openapi_schema = found
        return app.openapi_schema

    return complete


def _schema(kind: Any) -> dict[str, Any]:
    if isinstance(kind, dict):
        return kind
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
    return schema


def _describe_problems(operation: dict[str, Any]) -> None:
    """FastAPI's own description of 422 is not what this server sends."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": _schema(Problem)}}
    operation["responses"].pop("422", None)
    for status, text in _PROBLEM_STATUSES.items():
        operation["responses"][status] = {"description": text, "content": content}
