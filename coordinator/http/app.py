"""The table of routes as an aiohttp application, and the options that it has to be run with.

It serves; it does not listen. The agents' websocket is handed in.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final

from aiohttp import web

from coordinator.http.auth import admit
from coordinator.http.browsers import Browsers
from coordinator.http.envelope import (
    MAX_BODY,
    Handler,
    every_answer_in_the_envelope,
    mark_prepared,
    success,
)
from coordinator.http.events import PACE, Pace, serve_events, starting_point
from coordinator.http.fairness import LIMITS, Fairness, RequestLimits
from coordinator.http.inputs import read_params
from coordinator.http.openapi import document
from coordinator.http.params import EventsParams
from coordinator.http.ports import Doors
from coordinator.http.refusals import told
from coordinator.http.route import Answer, Asked, Call, Route
from coordinator.http.routes import ROUTES

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]

RUN: Final[Mapping[str, Any]] = {
    "access_log": None,
    "auto_decompress": False,
    "keepalive_timeout": 75.0,
}
"""What `web.AppRunner` needs to be told: URLs and headers are nobody's business, so there is
no access log; bodies come as they are, so that none grows while it is read; a connection on
which no request comes to the end of its headers is closed."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def build_app(
    doors: Doors,
    *,
    agent_endpoint: Endpoint,
    pace: Pace = PACE,
    names: Iterable[str] = ("127.0.0.1", "localhost"),
    limits: RequestLimits = LIMITS,
) -> web.Application:
    """Make the application: every route of the table, served by `doors` under `names`.

    `agent_endpoint` answers `GET /v1/agent/connect` and looks at the client certificate
    itself. On shutdown the streams of events end, and everything else is finished. Run it as
    `web.AppRunner(app, **RUN)`.
    """
    closing = asyncio.Event()
    fairness = Fairness(limits)
    passed = (every_answer_in_the_envelope, fairness.turns, Browsers(names, doors).guarded)
    app = web.Application(middlewares=passed, client_max_size=MAX_BODY)
    handlers: dict[Answer, Callable[[Route], Handler]] = {
        Answer.ENVELOPE: lambda route: _envelope(doors, route),
        Answer.EVENTS: lambda route: _events(doors, route, fairness, closing, pace),
        Answer.DOCUMENT: lambda route: _document(doors, route),
        Answer.SOCKET: lambda _: agent_endpoint,
    }
    for route in ROUTES:
        _add(app.router, route, handlers[route.answer](route))

    async def end_streams(_: web.Application) -> None:
        closing.set()

    app.on_shutdown.append(end_streams)
    app.on_response_prepare.append(mark_prepared)
    return app


def _add(router: web.UrlDispatcher, route: Route, handler: Handler) -> None:
    methods = [route.method]
    if route.method == "GET" and route.answer in (Answer.ENVELOPE, Answer.DOCUMENT):
        methods.append("HEAD")
    resource = router.add_resource(route.path)
    for method in methods:
        resource.add_route(method, handler, expect_handler=_expect)


async def _expect(request: web.Request) -> None:
    """Ask for the body where the client waits to be asked; leave other expectations alone."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
        request.transport.write(_CONTINUE)


def _envelope(doors: Doors, route: Route) -> Handler:
    call: Call | None = route.call
    if call is None:
        raise TypeError(f"{route.name} answers in the envelope and has no call")

    async def serve(request: web.Request) -> web.StreamResponse:
        caller = await admit(doors, request, route)
        with told(doors, caller, request, route):
            params = await read_params(request, route)
            asked = Asked(doors.on_behalf_of(caller), params, caller)
            if not route.changes:
                return success(await call(asked))
        return success(await call(asked))

    return serve


def _events(
    doors: Doors, route: Route, fairness: Fairness, closing: asyncio.Event, pace: Pace
) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        caller = await admit(doors, request, route)
        params = await read_params(request, route)
        if not isinstance(params, EventsParams):
            raise TypeError(f"{route.name} takes {EventsParams.__name__}")
        with fairness.stream(request):
            return await serve_events(
                request,
                doors.on_behalf_of(caller).events(starting_point(request, params)),
                admitted=lambda: admit(doors, request, route),
                token_ended=lambda: doors.token_ended(caller),
                closing=closing,
                pace=pace,
            )

    return serve


def _document(doors: Doors, route: Route) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        await admit(doors, request, route)
        await read_params(request, route)
        text = await asyncio.to_thread(_described)
        return web.Response(text=text, content_type="application/json")

    return serve


@cache
def _described() -> str:
    """The routes as OpenAPI has them: made when somebody asks first, as it takes a moment."""
    return json.dumps(document(ROUTES))
