"""A request's path, query and body as one validated model.

A route's model holds all that the route takes; this file finds the parts. Whatever is
malformed is refused with a message that names it and says what is accepted.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import MultiMapping

from coordinator.http.route import Route
from protocol.errors import InvalidRequestError
from protocol.lines import one_line
from protocol.params import Params, parse_params

BODY_WITHIN: Final = 60.0
"""Seconds from the headers to the end of a body; strangers have less."""


LONGEST_NAME: Final = 128
"""Characters of a name that a refusal repeats."""

EXACT: Final = 2**53
"""Below it every whole number is one in floating point, too."""


async def read_params(request: web.Request, route: Route) -> Params:
    """Read what `route` takes from `request`, or raise `InvalidRequestError`.

    A GET takes its fields from the query; a POST takes them from a JSON object, whatever
    its content type is. A field of the path may stand in the body, too, if it is the same.
    """
    body = b"" if route.method == "GET" or request.query else await _read(request)
    return made_params(route, request.match_info, request.query, body)


def made_params(
    route: Route, path: Mapping[str, str], query: MultiMapping[str], body: bytes
) -> Params:
    """The parts of a request as what `route` takes, or `InvalidRequestError`."""
    in_path = {field: path[name] for name, field in route.path_fields.items()}
    if route.method == "GET":
        return parse_params(route.params, {**_query(query, route), **in_path}, from_text=True)
    if query:
        raise _unknown(query, ())
    fields = _object(body, route)
    for field, value in in_path.items():
        if field in fields and fields[field] != value:
            shown = one_line(value, LONGEST_NAME)
            raise _wrong(field, f"must be {shown}, as in the path, or be left out")
    return parse_params(route.params, {**fields, **in_path})


def _query(query: MultiMapping[str], route: Route) -> dict[str, str]:
    unknown = [name for name in query if name not in route.other_fields]
    if unknown:
        raise _unknown(unknown, route.other_fields)
    for name in query:
        if len(query.getall(name)) > 1:
            raise _wrong(name, "given twice; one value is accepted")
    return dict(query)


async def _read(request: web.Request) -> bytes:
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise _wrong("body", f"Content-Encoding {encoding[:64]!r} is not accepted; send it plain")
    try:
        async with asyncio.timeout(BODY_WITHIN):
            return await request.read()
    except TimeoutError:
        raise _wrong("body", f"must be there within {BODY_WITHIN:g} s") from None
    except (HttpProcessingError, web.RequestPayloadError, ConnectionError) as error:
        raise _wrong("body", f"can't be read ({type(error).__name__})") from None


def _object(body: bytes, route: Route) -> dict[str, Any]:
    """The JSON object in `body`; an empty body is one without fields where that will do."""
    if not body and not _needed(route):
        return {}
    fields = ", ".join(route.other_fields)
    accepted = "must be a JSON object in UTF-8" + (f" with {fields}" if fields else "")
    try:
        made = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_each_once,
            parse_constant=_no_constant,
            parse_float=_number,
        )
    except _NotAcceptedError as error:
        raise _wrong(error.field, error.message) from None
    except RecursionError:
        raise _wrong("body", f"{accepted}; it is nested too deep") from None
    except UnicodeDecodeError as error:
        raise _wrong("body", f"{accepted}; byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _wrong("body", f"{accepted}; {error.msg} at {where}") from None
    except ValueError:
        raise _wrong("body", f"{accepted}; a number in it has too many digits") from None
    if not isinstance(made, dict):
        raise _wrong("body", accepted)
    return made


def _needed(route: Route) -> bool:
    model = route.params.model_fields
    return any(model[name].is_required() for name in route.other_fields)


class _NotAcceptedError(Exception):
    """JSON that Python would accept and we do not."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _NotAcceptedError(name, "stands there twice; one value is accepted")
            seen.add(name)
    return made


def _no_constant(name: str) -> Any:
    raise _NotAcceptedError("body", f"{name} is no JSON; numbers must be finite")


def _number(text: str) -> float | int:
    """JSON knows one kind of number: `300.0` is the whole number 300."""
    made = float(text)
    if not isfinite(made):
        raise _NotAcceptedError("body", f"{text[:64]} is too large; numbers must be finite")
    return int(made) if made.is_integer() and abs(made) < EXACT else made


def _wrong(field: str, message: str) -> InvalidRequestError:
    field = one_line(field, LONGEST_NAME)
    return InvalidRequestError(f"{field}: {message}", [{"field": field, "message": message}])


def _unknown(names: Iterable[str], accepted: Iterable[str]) -> InvalidRequestError:
    known = ", ".join(accepted)
    message = f"not known; accepted are {known}" if known else "not known; no query is accepted"
    told = [one_line(name, LONGEST_NAME) for name in itertools.islice(dict.fromkeys(names), 100)]
    details = [{"field": name, "message": message} for name in told]
    text = "; ".join(f"{detail['field']}: {message}" for detail in details[:5])
    return InvalidRequestError(text, details)
