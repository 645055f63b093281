"""The documented envelope `{"code", "message", "data"}`, and every exception as one.

`code` equals the HTTP status. A refusal's `data` holds `type` and `details`. What was
not foreseen is logged with its traceback, and the client learns only that it happened.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel

from protocol.errors import BY_TYPE, Detail, FerrymanError, InvalidRequestError, NotFoundError

MAX_BODY: Final = 4 * 1024 * 1024
"""Bytes in one request's body."""

TOO_LONG: Final = f"body: at most {MAX_BODY} bytes are accepted"

_log = logging.getLogger(__name__)
_BY_CODE: Final[Mapping[int, type[FerrymanError]]] = {cls.code: cls for cls in BY_TYPE.values()}
_OWN_HEADERS: Final = frozenset({"content-type", "content-length"})
_OF_CODE: Final[Mapping[int, Mapping[str, str]]] = {
    401: {"WWW-Authenticate": 'Bearer realm="ferryman"'},
    503: {"Retry-After": "1"},
}
HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer. No `Strict-Transport-Security`: it would hold for all ports of the host."""

_PREPARED: Final = web.RequestKey("prepared", bool)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def success(result: BaseModel) -> web.Response:
    """The answer that carries `result`."""
    text = f'{{"code":200,"message":"success","data":{result.model_dump_json()}}}'
    return web.Response(body=text.encode(), content_type="application/json", charset="utf-8")


def refusal(error: FerrymanError, headers: Mapping[str, str] | None = None) -> web.Response:
    """The answer that carries a refusal of the table, with its own status."""
    return _refusal(error.code, error.type, error.message, error.details, headers or {})


def too_long() -> InvalidRequestError:
    """The refusal of a body that is too long."""
    return InvalidRequestError(TOO_LONG, [{"field": "body", "message": TOO_LONG}])


def _refusal(
    code: int, type_: str, message: str, details: Iterable[Detail], headers: Mapping[str, str]
) -> web.Response:
    data = {"type": type_, "details": list(details)}
    body = json.dumps({"code": code, "message": message, "data": data}, default=str)
    answer = web.Response(
        status=code, body=body.encode(), content_type="application/json", charset="utf-8"
    )
    answer.headers.extend(headers)
    answer.headers.update(_OF_CODE.get(code, {}))
    return answer


@web.middleware
async def every_answer_in_the_envelope(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Turn every exception of `handler` into a refusal."""
    try:
        return await handler(request)
    except FerrymanError as error:
        return refusal(error)
    except web.HTTPException as error:
        return _foreign(request, error)
    except Exception:  # the outer edge of a request: told in the log, and 500
        _log.exception("unexpected error in %s %s", request.method, request.path)
        if request.get(_PREPARED, False):
            raise  # an answer has begun: the connection can only be closed
        return refusal(FerrymanError("internal error; the coordinator's log has the cause"))


async def mark_prepared(request: web.Request, response: web.StreamResponse) -> None:
    """Set what every answer carries, and remember that one has begun."""
    request[_PREPARED] = True
    response.headers["Server"] = "ferryman"
    response.headers.update(HEADERS)


def _foreign(request: web.Request, error: web.HTTPException) -> web.Response:
    """The library's own refusals (no such route, no such method, a bad handshake)."""
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return refusal(too_long())
    if isinstance(error, web.HTTPNotFound):
        return refusal(NotFoundError(f"no such route: {request.method} {request.path}"))
    headers = {k: v for k, v in error.headers.items() if k.lower() not in _OWN_HEADERS}
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        message = f"{request.method} is not accepted by {request.path}; accepted are {allowed}"
        details: list[dict[str, Any]] = [{"field": "method", "message": message}]
        return _refusal(error.status, InvalidRequestError.type, message, details, headers)
    cls = _BY_CODE.get(error.status, InvalidRequestError if error.status < 500 else FerrymanError)
    return _refusal(error.status, cls.type, error.text or error.reason, [], headers)
