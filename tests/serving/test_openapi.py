"""The OpenAPI document is valid, true, and describes a server that does not fail."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving import create_app
from tests.serving.conftest import ADMIN, CANDIDATES, CONTEXT, World

OPERATIONS = [
    "/admin/models get",
    "/admin/models/{version}/activate post",
    "/admin/policies/{scene} get",
    "/admin/policies/{scene} put",
    "/admin/policies/{scene}/history get",
    "/admin/policies/{scene}/rollback post",
    "/feedback post",
    "/healthz get",
    "/metrics get",
    "/rank post",
    "/rank/batch post",
    "/readyz get",
]


async def test_the_document_names_all_routes(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert sorted(f"{path} {method}" for path in document["paths"] for method in document["paths"][path]) == OPERATIONS
    assert (await client.get("/docs")).status_code == 200


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that can be used by itself."""
    return {**schema, "components": document["components"]}


async def test_requests_and_answers_are_as_described(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    rank = document["paths"]["/rank"]["post"]
    body = {"user_id": 5, "context": CONTEXT, "candidates": [*CANDIDATES, {"item_id": "x"}], "explain": True}
    described = rank["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.validate(body, resolved(document, described))
    answer = (await client.post("/rank", json=body)).json()
    described = rank["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(answer, resolved(document, described))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**answer, "ranking": [{"item_id": 1.5}]}, resolved(document, described))
    problem = (await client.post("/rank", json={})).json()
    described = rank["responses"]["4XX"]["content"]["application/problem+json"]["schema"]
    jsonschema.validate(problem, resolved(document, described))


@pytest.fixture(scope="module")
def api(template: Path, tmp_path_factory: pytest.TempPathFactory) -> BaseSchema:
    """The API of a server that answers everything, admin routes included."""
    folder = tmp_path_factory.mktemp("fuzzed") / "world"
    shutil.copytree(template, folder)
    app = create_app(World(folder).settings(poll_seconds=3600, request_log={"path": folder / "log"}))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_request_makes_the_server_fail(api: BaseSchema, operation: str) -> None:
    path, method = operation.split()
    asserted = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=api[path][method].as_strategy())
    def run(case: Any) -> None:
        case.call_and_validate(headers=ADMIN, checks=asserted)

    run()
