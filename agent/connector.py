"""Connections of packages: each address is checked where it is found, and where it is used.

Three looks at one rule: what a name resolves to, each address before the first packet goes
there, and who really answered. A name with one refused address is refused whole: such a
mixture is what an attacker's name server sends. What was checked is what is connected to; a
name is not looked up again in between. No proxy is ever used. What the rule is, is
`agent.allowed_hosts`.
"""

from __future__ import annotations

import socket
import ssl
from typing import Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import AddrInfoType, Connection
from aiohttp.tracing import Trace


class AddressRule(Protocol):
    """Says of an address why nothing may connect to it."""

    def refuse_address(self, text: str, port: int) -> str:
        """Return why not, for people; "" if it may."""
        ...


class AddressRefusedError(OSError):
    """The rule refuses an address; `why` is for people."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def refusal_in(error: Exception) -> str:
    """Return why the rule refused, if that is what is behind what aiohttp raised; else ""."""
    for inner in (error, getattr(error, "os_error", None), error.__cause__):
        if isinstance(inner, AddressRefusedError):
            return inner.why
    return ""


class CheckedResolver(AbstractResolver):
    """Another resolver whose every answer is checked."""

    def __init__(self, resolver: AbstractResolver, rule: AddressRule) -> None:
        self._resolver = resolver
        self._rule = rule

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look up all addresses of `host`. Raises `OSError` if there is none, or a refused one."""
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            if why := self._rule.refuse_address(one["host"], port):
                raise AddressRefusedError(f"{host} leads to {why}")
        return found

    async def close(self) -> None:
        """Close the other resolver."""
        await self._resolver.close()


class CheckedConnector(aiohttp.TCPConnector):
    """Connects only where the rule lets it, whatever led there."""

    def __init__(
        self, rule: AddressRule, trust: ssl.SSLContext, resolver: AbstractResolver | None = None
    ) -> None:
        self._rule = rule
        looking_up = resolver or aiohttp.ThreadedResolver()
        super().__init__(
            ssl=trust,
            resolver=CheckedResolver(looking_up, rule),
            socket_factory=self._make_socket,
            use_dns_cache=False,
        )

    async def connect(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Give a connection whose other end is allowed. Raises `AddressRefusedError`."""
        connection = await super().connect(req, traces, timeout)
        transport = connection.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        if peer is not None and (why := self._rule.refuse_address(peer[0], peer[1])):
            connection.close()
            raise AddressRefusedError(why)
        return connection

    def _make_socket(self, info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if why := self._rule.refuse_address(str(address[0]), int(address[1])):
            raise AddressRefusedError(why)
        return socket.socket(family=family, type=kind, proto=protocol)
