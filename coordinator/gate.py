"""The one port: who may hold a connection to it, and for how long.

A stranger is a connection that has shown neither an agent's certificate nor a valid token.
Strangers are limited in number and rate, for each address and together, and have little time:
for TLS, and then for all that they want. Whoever does not read what it asked for is cut off.
What is said on a connection is the protocol's business that is handed in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from coordinator.shares import Shares
from protocol.bucket import Rate

log = logging.getLogger(__name__)

PAUSE_WITHOUT_FILES = 0.5
DIALS = Rate(each_second=200, burst=50)


@dataclass(frozen=True, slots=True)
class GateLimits:
    """For strangers, but for `stall`. Times are seconds.

    An address may be that of a whole fleet behind a NAT, whose agents are strangers until
    their certificate is seen: it has room for a thousand that return in one moment.
    """

    each: int = 1_500
    """Strangers of one address."""
    together: int = 6_000
    dials: Rate = DIALS
    """New connections of one address: most of their cost is TLS. The others wait for it."""
    patience: float = 7.0
    """How long a dial waits for its turn; who would wait longer is turned away."""
    handshake: float = 20.0
    stay: float = 20.0
    """From TLS until a token has been shown; whoever needs none has to be done by then."""
    stall: float = 30.0
    """Of anybody: since when it has read less than what was ready for it."""


LIMITS = GateLimits()


class Gate:
    """Listens, counts, and lets in."""

    def __init__(
        self,
        make: Callable[[], asyncio.BaseProtocol],
        tls: ssl.SSLContext,
        limits: GateLimits = LIMITS,
    ) -> None:
        """`make` makes the protocol of one connection."""
        self._make = make
        self._tls = tls
        self.limits = limits
        self._strangers: Counter[str] = Counter()
        self._together = 0
        self._dials = Shares(limits.dials)
        self._listeners: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._turned_away = False

    async def open(self, host: str, port: int, backlog: int) -> int:
        """Listen on all addresses of `host`; return the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in dict.fromkeys(found):
            self._listeners.append(_listen(family, address, backlog))
        for listener in self._listeners:
            self._start(self._accept(listener))
        return int(self._listeners[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more. What is connected stays."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener in self._listeners:
            listener.close()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                dialled, peer = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("no connection can be taken: %s", error.strerror or error)
                await asyncio.sleep(PAUSE_WITHOUT_FILES)
                continue
            address = str(peer[0])
            wait = self._turn_of(address)
            if wait is None:
                dialled.close()
            else:
                self._together += 1
                self._strangers[address] += 1
                self._start(self._let_in(dialled, address, wait))

    def _turn_of(self, address: str) -> float | None:
        """In how many seconds one more stranger may come in; None if it may not.

        That is said once in the log, until somebody may again.
        """
        wait = None
        if self._strangers[address] < self.limits.each and self._together < self.limits.together:
            wait = self._dials.take(address, 1.0, self.limits.patience)
        if wait is None and not self._turned_away:
            log.warning("connections are turned away: too many without a token, of %s", address)
        self._turned_away = wait is None
        return wait

    async def _let_in(self, dialled: socket.socket, address: str, wait: float) -> None:
        """TLS; what follows is the connection's."""
        visitor = Visitor(self, address)
        try:
            if wait:
                await asyncio.sleep(wait)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Guarded(cast(asyncio.Protocol, self._make()), visitor),
                dialled,
                ssl=self._tls,
                ssl_handshake_timeout=self.limits.handshake,
            )
        except (OSError, asyncio.CancelledError) as failed:
            visitor.has_gone()
            dialled.close()
            if isinstance(failed, asyncio.CancelledError):
                raise

    def has_one_less(self, address: str) -> None:
        """A stranger of this address has shown who it is, or has gone."""
        self._together -= 1
        self._strangers[address] -= 1
        if self._strangers[address] <= 0:
            del self._strangers[address]


class Visitor:
    """One connection, as the gate counts it."""

    def __init__(self, gate: Gate, address: str) -> None:
        self._gate = gate
        self._address = address
        self.limits = gate.limits
        self.asker = ""
        """Who it has shown to be; "" for a stranger."""
        self._counted = True

    def is_known(self, asker: str) -> None:
        """It has shown who it is; the first name stays."""
        self.asker = self.asker or asker
        self.has_gone()

    def has_gone(self) -> None:
        """It is no stranger any more. A second time nothing happens."""
        if self._counted:
            self._counted = False
            self._gate.has_one_less(self._address)


ON_ITS_WAY = 65_536
"""Bytes that a peer may have sent before it knew that nobody listens."""


class _Guarded(asyncio.Protocol):
    """A protocol whose connection is counted and timed."""

    def __init__(self, inner: asyncio.Protocol, visitor: Visitor) -> None:
        self._inner = inner
        self.visitor = visitor
        self._transport: asyncio.Transport
        self._leaving: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._thrown_away = 0
        # Passed on as they are: a call more for each piece of data is one for nothing.
        self.data_received = inner.data_received  # type: ignore[method-assign]
        self.eof_received = inner.eof_received  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if certificate := transport.get_extra_info("peercert"):
            self.visitor.is_known(f"certificate {certificate.get('serialNumber')}")
        else:
            self._leaving = asyncio.get_running_loop().call_later(
                self.visitor.limits.stay, self._leave
            )
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._leaving, self._stalled):
            if timer is not None:
                timer.cancel()
        self.visitor.has_gone()
        self._inner.connection_lost(exc)

    def hear_no_more(self) -> None:
        """Throw away what is on its way, and read nothing further; see `hear_no_more`."""
        self.data_received = self._throw_away  # type: ignore[method-assign]

    def _throw_away(self, data: bytes) -> None:
        self._thrown_away += len(data)
        if self._thrown_away > ON_ITS_WAY:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._stalled = asyncio.get_running_loop().call_later(
            self.visitor.limits.stall, self._transport.abort
        )
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
        self._inner.resume_writing()

    def _leave(self) -> None:
        if not self.visitor.asker:
            self._transport.abort()


def visitor_of(transport: asyncio.BaseTransport | None) -> Visitor | None:
    """Who is at the other end; None if the connection came through no gate."""
    guarded = _guarded(transport)
    return guarded.visitor if guarded else None


def hear_no_more(transport: asyncio.BaseTransport | None) -> None:
    """Throw away what is on its way over the connection, whose end is still noticed.

    Of a peer that says more than that nothing is read any more, its end neither: close it.
    """
    if guarded := _guarded(transport):
        guarded.hear_no_more()


def _guarded(transport: asyncio.BaseTransport | None) -> _Guarded | None:
    if transport is None or not hasattr(transport, "get_protocol"):
        return None
    protocol = transport.get_protocol()
    return protocol if isinstance(protocol, _Guarded) else None


def _listen(family: int, address: Any, backlog: int) -> socket.socket:
    with contextlib.ExitStack() as undo:
        made = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(backlog)
        made.setblocking(False)
        undo.pop_all()
        return made
