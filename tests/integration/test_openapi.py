"""The OpenAPI document: complete, sound, and true of what is really answered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from coordinator.http.openapi import document
from coordinator.http.route import Answer, Route
from coordinator.http.routes import ROUTES
from protocol.api import CoordinatorAPI
from tests.parts.http_server import DEPLOYMENT, Door
from tests.parts.routes import BODIES, ENVELOPED, named, path_of

DOCUMENT = document(ROUTES)
OPERATIONS = [(route, DOCUMENT["paths"][route.path][route.method.lower()]) for route in ROUTES]


def resolve(ref: str) -> Any:
    node: Any = DOCUMENT
    for part in ref.removeprefix("#/").split("/"):
        node = node[part]
    return node


def refs(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from refs(value)
    elif isinstance(node, list):
        for item in node:
            yield from refs(item)


def fits(schema: Any, value: Any) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    assert [str(error) for error in validator.iter_errors(value)] == []


async def test_it_is_served_to_a_viewer_as_it_is(door: Door) -> None:
    headers = {"Authorization": "Bearer viewer"}
    async with door.client.get("/openapi.json", headers=headers) as response:
        assert response.content_type == "application/json"
        assert await response.json() == DOCUMENT
    assert DOCUMENT["openapi"] == "3.1.0"


def test_every_reference_resolves_and_every_schema_is_sound() -> None:
    for ref in set(refs(DOCUMENT)):
        assert resolve(ref)
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_every_route_is_in_it_once_and_nothing_else() -> None:
    described = {
        (method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item
    }
    assert described == {(route.method, route.path) for route in ROUTES}
    names = [operation["operationId"] for _, operation in OPERATIONS]
    assert len(set(names)) == len(names) == len(ROUTES)


def test_the_twelve_documented_functions_are_operations_of_the_same_name() -> None:
    documented = {name for name in vars(CoordinatorAPI) if not name.startswith("_")}
    by_section = {route.name for route in ROUTES if route.section}
    assert len(documented) == 12
    assert by_section == documented


@pytest.mark.parametrize(("route", "operation"), OPERATIONS, ids=[r.name for r in ROUTES])
def test_every_operation_tells_its_parameters_its_token_and_its_refusals(
    route: Route, operation: dict[str, Any]
) -> None:
    in_path = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
    assert in_path == set(re.findall(r"\{(\w+)\}", route.path))
    assert all(p["description"] for p in operation.get("parameters", []))
    assert operation["security"] == ([{"token": []}] if route.role else [])
    expected = {"400", "500", "503"} | ({"401", "403"} if route.role else set())
    assert expected <= set(operation["responses"])
    told = operation["description"]
    assert (f"role {route.role.value}." in told) if route.role else ("no token" in told)
    if route.answer is Answer.ENVELOPE:
        answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert set(answer["required"]) == {"code", "message", "data"}


@pytest.mark.parametrize("route", ENVELOPED, ids=named)
async def test_what_is_answered_fits_what_is_described(door: Door, route: Route) -> None:
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    body = BODIES.get(route.name)
    if body is not None:
        fits(operation["requestBody"]["content"]["application/json"]["schema"], body)
    answer = await door.ask(route.method, path_of(route), json=body)
    fits(operation["responses"]["200"]["content"]["application/json"]["schema"], answer.body)


@pytest.mark.parametrize(
    ("method", "path", "token", "described"),
    [
        ("POST", "/v1/deployment", "admin", "InvalidRequestError"),
        ("GET", "/v1/host", "", "UnauthenticatedError"),
        ("POST", "/v1/token", "viewer", "PermissionDeniedError"),
        ("GET", "/nowhere", "admin", "NotFoundError"),
    ],
)
async def test_refusals_fit_what_is_described(
    door: Door, method: str, path: str, token: str, described: str
) -> None:
    answer = await door.ask(method, path, token=token, data=b"[]")
    response = DOCUMENT["components"]["responses"][described]
    fits(response["content"]["application/json"]["schema"], answer.body)


def validator_of(path: str) -> jsonschema_rs.Draft202012Validator:
    """What checks the body of a POST to this path."""
    schema = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    whole = {**schema, "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(whole)


def test_the_schema_of_a_deployment_refuses_what_the_model_refuses() -> None:
    validator = validator_of("/v1/deployment")
    assert validator.is_valid(DEPLOYMENT)
    changes: list[dict[str, Any]] = [
        {"service": "a/b"},
        {"service": "a..b"},
        {"instances": []},
        {"timeout": 0},
        {"colour": "red"},
    ]
    for change in changes:
        assert not validator.is_valid({**DEPLOYMENT, **change}), change


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/rollback", {"service": "user-service", "instances": ["instance-1"]}),
        ("/v1/instance/{instance_id}/rollback", {}),
    ],
)
def test_the_schema_of_a_rollback_knows_that_previous_takes_no_package(
    path: str, fields: dict[str, Any]
) -> None:
    validator = validator_of(path)
    for version, takes_one in (("v1", True), ("@previous", False)):
        body = {**fields, "target_version": version}
        assert validator.is_valid(body)
        assert validator.is_valid({**body, "package_url": "", "sha256": None})
        for one_package in ({"package_url": DEPLOYMENT["package_url"]}, {"sha256": "0" * 64}):
            assert validator.is_valid({**body, **one_package}) is takes_one
