"""The OpenAPI 3.1 document, made from the table of routes and the pydantic models.

Nothing is written by hand here that the table or the models know. It describes; the
checks themselves are those of the models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from coordinator.http.params import MAX_SEQUENCE
from coordinator.http.route import Answer, Route
from protocol import __version__
from protocol.errors import (
    BY_TYPE,
    FerrymanError,
    InvalidRequestError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)

_REF: Final = "#/components/schemas/{model}"
_SCHEME: Final = "token"

JSON = dict[str, Any]


def document(routes: Sequence[Route]) -> JSON:
    """The whole document, ready to be sent as JSON."""
    schemas = _schemas(routes)
    paths: dict[str, JSON] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ferryman",
            "version": __version__,
            "description": "Deploys and rolls back services on your own hosts. Every JSON answer "
            "is the envelope code, message, data; only this document comes without it.",
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Refusal": _refusal_schema()},
            "responses": {cls.__name__: _refusal(cls) for cls in BY_TYPE.values()},
            "securitySchemes": {
                _SCHEME: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `ferryman token create`.",
                }
            },
        },
    }


def _schemas(routes: Iterable[Route]) -> JSON:
    wanted: dict[tuple[type[BaseModel], Literal["validation", "serialization"]], None] = {}
    for route in routes:
        wanted[(route.params, "validation")] = None
        if route.result is not None:
            wanted[(route.result, "serialization")] = None
    _, made = models_json_schema(list(wanted), ref_template=_REF)
    schemas: JSON = made["$defs"]
    return schemas


def _operation(route: Route, schemas: JSON) -> JSON:
    made: JSON = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [_tag(route)],
        "responses": _responses(route),
        "security": [{_SCHEME: []}] if route.role else [],
    }
    notes = [f"Reference {route.section}."] if route.section else []
    notes += _needed(route)
    made["description"] = " ".join(notes)
    if parameters := _parameters(route, schemas):
        made["parameters"] = parameters
    if route.method == "POST" and route.other_fields:
        made["requestBody"] = _body(route, schemas)
    return made


def _needed(route: Route) -> list[str]:
    if route.role is None:
        return ["Needs no token."]
    about = route.permission.about.value
    return [f"Needs the role {route.role.value}.", f"For tokens of some services: about {about}."]


def _tag(route: Route) -> str:
    parts = route.path.strip("/").split("/")
    return parts[1] if parts[0] == "v1" else "process"


def _parameters(route: Route, schemas: JSON) -> list[JSON]:
    model = schemas[route.params.__name__]
    properties = model.get("properties", {})
    made = [
        _parameter(name, "path", properties[field], required=True)
        for name, field in route.path_fields.items()
    ]
    if route.method == "GET":
        made += [
            _parameter(name, "query", properties[name], required=name in model.get("required", []))
            for name in route.other_fields
        ]
    if route.answer is Answer.EVENTS:
        number = {"type": "integer", "minimum": 0, "maximum": MAX_SEQUENCE}
        number["description"] = "the number of the last event seen; goes before `after`"
        made.append(_parameter("Last-Event-ID", "header", number, required=False))
    return made


def _parameter(name: str, place: str, schema: JSON, *, required: bool) -> JSON:
    shape = {key: value for key, value in schema.items() if key not in ("title", "description")}
    return {
        "name": name,
        "in": place,
        "required": required,
        "description": schema.get("description", ""),
        "schema": shape,
    }


def _body(route: Route, schemas: JSON) -> JSON:
    """The model itself, without the fields that the path brings: the body need not repeat them."""
    model = schemas[route.params.__name__]
    required = [name for name in model.get("required", []) if name in route.other_fields]
    schema: JSON = {"$ref": _REF.format(model=route.params.__name__)}
    if route.path_fields:
        own = {name: model["properties"][name] for name in route.other_fields}
        schema = {**model, "properties": own, "required": required}
    return {"required": bool(required), "content": {"application/json": {"schema": schema}}}


def _responses(route: Route) -> JSON:
    refused = {cls.code: cls for cls in _refusals(route)}
    made: JSON = {}
    if route.answer is Answer.SOCKET:
        made["101"] = {"description": "Frames of the agents' protocol follow."}
    else:
        made["200"] = {"description": route.success, "content": _content(route)}
    for code in sorted(refused):
        made[str(code)] = {"$ref": f"#/components/responses/{refused[code].__name__}"}
    return made


def _refusals(route: Route) -> Iterable[type[FerrymanError]]:
    yield from (InvalidRequestError, PermissionDeniedError, UnavailableError, FerrymanError)
    yield from route.refuses
    if route.role:
        yield UnauthenticatedError


def _content(route: Route) -> JSON:
    if route.answer is Answer.DOCUMENT:
        return {"application/json": {"schema": {"type": "object"}}}
    if route.result is None:
        raise TypeError(f"{route.name} has no result")
    ref = {"$ref": _REF.format(model=route.result.__name__)}
    if route.answer is Answer.EVENTS:
        text = {"type": "string", "contentMediaType": "application/json", "contentSchema": ref}
        return {"text/event-stream": {"schema": text}}
    return {"application/json": {"schema": _envelope(ref)}}


def _envelope(data: JSON) -> JSON:
    return {
        "type": "object",
        "required": ["code", "message", "data"],
        "properties": {"code": {"const": 200}, "message": {"const": "success"}, "data": data},
        "additionalProperties": False,
    }


def _refusal_schema() -> JSON:
    return {
        "type": "object",
        "required": ["code", "message", "data"],
        "properties": {
            "code": {"type": "integer"},
            "message": {"type": "string"},
            "data": {
                "type": "object",
                "required": ["type", "details"],
                "properties": {
                    "type": {"enum": list(BY_TYPE)},
                    "details": {"type": "array", "items": {"type": "object"}},
                },
                "additionalProperties": False,
            },
        },
        "additionalProperties": False,
    }


def _refusal(cls: type[FerrymanError]) -> JSON:
    ref = _REF.format(model="Refusal")
    narrowed = {
        "properties": {
            "code": {"const": cls.code},
            "data": {"properties": {"type": {"const": cls.type}}},
        }
    }
    made: JSON = {
        "description": cls.__doc__ or "",
        "content": {"application/json": {"schema": {"allOf": [{"$ref": ref}, narrowed]}}},
    }
    if cls is UnauthenticatedError:
        made["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return made
