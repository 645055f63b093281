"""Who asks, and whether the table of permissions allows it.

The token comes as `Authorization: Bearer TOKEN`, never in a URL, and is never logged or
repeated. Whether it is valid is the service's to say.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from coordinator import permissions
from coordinator.caller import Caller
from coordinator.gate import visitor_of
from coordinator.http.ports import Doors
from coordinator.http.refusals import told
from coordinator.http.route import Route
from protocol.errors import UnauthenticatedError

_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/=-]{1,1024})", re.ASCII | re.IGNORECASE)


async def admit(doors: Doors, request: web.Request, route: Route) -> Caller:
    """Return who asks, if they may use `route`.

    Raises `UnauthenticatedError` without a valid token, `PermissionDeniedError` if the
    table of permissions does not allow it.
    """
    address = request.remote or ""
    stranger = Caller.stranger(address)
    if route.role is None:
        return stranger
    with told(doors, stranger, request, route):
        token = await doors.authenticate(_bearer(request))
    if visitor := visitor_of(request.transport):
        visitor.is_known(token.token_id)
    caller = Caller.of_token(token, address)
    with told(doors, caller, request, route):
        permissions.admit(caller, route.permission)
    return caller


def _bearer(request: web.Request) -> str:
    given = request.headers.getall("Authorization", [])
    if not given:
        raise UnauthenticatedError("a token is needed: Authorization: Bearer TOKEN")
    found = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
    if not found:
        raise UnauthenticatedError("the header must be one Authorization: Bearer TOKEN")
    return found[1]
