"""What a browser may do here: nothing that a page of somewhere else made it do.

Whoever asks shows a token in a header; there are no cookies that a browser would add by
itself, and no page elsewhere is allowed to read an answer (no CORS). A browser's request is
known by the headers that no page can leave out. Such a request must be for one of our own
names, so that a name that was bent to our address (DNS rebinding) is of no use, and come
from a page of the same origin. Programs send no such headers and may use any address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from coordinator.http.envelope import Handler
from coordinator.http.ports import Doors
from coordinator.http.refusals import told_of_a_page
from protocol.errors import PermissionDeniedError

_SITES: Final = frozenset({"same-origin", "none"})


class Browsers:
    """A middleware: every request passes through `guarded`."""

    def __init__(self, names: Iterable[str], doors: Doors) -> None:
        """`names` are the coordinator's own: those that its certificates are for.

        `doors` are told of what is refused.
        """
        self._names = frozenset(name.lower() for name in names)
        self._doors = doors

    @web.middleware
    async def guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what a page of another origin made a browser ask."""
        if _is_a_browsers(request):
            with told_of_a_page(self._doors, request):
                self._check(request)
        return await handler(request)

    def _check(self, request: web.Request) -> None:
        host, _ = _host_and_port(request.headers.get("Host", ""))
        if not self._is_ours(host, request):
            raise PermissionDeniedError(
                "Host: this is none of the coordinator's names; [tls] names adds to them",
                [{"field": "Host", "message": "is none of the coordinator's names"}],
            )
        origins = request.headers.getall("Origin", [])
        own = f"https://{request.headers.get('Host', '')}".lower()
        sites = request.headers.getall("Sec-Fetch-Site", ["none"])
        if any(origin.lower() != own for origin in origins) or not _SITES.issuperset(sites):
            raise PermissionDeniedError(
                "Origin: pages of other origins may not ask anything here",
                [{"field": "Origin", "message": "must be the coordinator's own"}],
            )

    def _is_ours(self, host: str, request: web.Request) -> bool:
        if host in self._names or f"*.{host.partition('.')[2]}" in self._names:
            return True
        if request.transport is None:
            return False
        dialled = request.transport.get_extra_info("sockname") or ("",)
        return host == _canonical(str(dialled[0]))


def _is_a_browsers(request: web.Request) -> bool:
    return any(
        name == "Origin" or name.lower().startswith("sec-fetch-") for name in request.headers
    )


def _host_and_port(text: str) -> tuple[str, str]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit():
        host, port = text, ""
    return _canonical(host.removeprefix("[").removesuffix("]")), port


def _canonical(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")
