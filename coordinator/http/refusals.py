"""What the HTTP door refuses by itself gets into the audit trail.

That is who may not do what they ask for, a page of elsewhere that makes a browser ask, and a
change that is asked for wrongly. What the service behind it refuses of a change is told by the
service. A refusal for now (`unavailable`) is told of nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web

from coordinator.caller import Caller
from coordinator.http.envelope import too_long
from coordinator.http.ports import Doors
from coordinator.http.route import Route
from coordinator.http.routes import ROUTES
from protocol.errors import FerrymanError, PermissionDeniedError, UnauthenticatedError

NO_ROUTE: Final = "no_route"
"""What a page asks for that asks for nothing which there is."""

_NAMES: Final = {(route.method, route.path): route.name for route in ROUTES}


@contextmanager
def told(doors: Doors, caller: Caller, request: web.Request, route: Route) -> Iterator[None]:
    """Tell of what the caller is refused inside."""
    try:
        yield
    except FerrymanError as error:
        if route.changes or isinstance(error, PermissionDeniedError | UnauthenticatedError):
            doors.refused(caller, route.name, _object(request), error)
        raise
    except web.HTTPRequestEntityTooLarge:
        doors.refused(caller, route.name, _object(request), too_long())
        raise


@contextmanager
def told_of_a_page(doors: Doors, request: web.Request) -> Iterator[None]:
    """Tell of a page that is refused inside: a stranger, whatever token its request carries."""
    try:
        yield
    except PermissionDeniedError as error:
        stranger = Caller.stranger(request.remote or "")
        doors.refused(stranger, _operation(request), _object(request), error)
        raise


def _operation(request: web.Request) -> str:
    """The name of the route that is asked for."""
    resource = request.match_info.route.resource
    method = "GET" if request.method == "HEAD" else request.method
    return _NAMES.get((method, resource.canonical), NO_ROUTE) if resource else NO_ROUTE


def _object(request: web.Request) -> str:
    """What the path names, if it names something."""
    return next(iter(request.match_info.values()), "")
