"""Each asker gets its share: who asks for more waits, and is told so after a while.

An asker is a token, an agent's certificate, or, of strangers, an address. An answer costs by
its length, too: it took as long to make. Nothing here knows what is asked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from coordinator.gate import visitor_of
from coordinator.http.envelope import Handler
from coordinator.shares import Shares
from protocol.bucket import Rate
from protocol.errors import UnavailableError

ENDLESS: Final = frozenset({"/v1/events", "/v1/agent/connect"})
KNOWN: Final = Rate(each_second=100, burst=20)
STRANGERS: Final = Rate(each_second=100, burst=20)


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Requests of one asker; a rate counts each `priced` bytes of an answer as one more."""

    known: Rate = KNOWN
    strangers: Rate = STRANGERS
    priced: int = 65_536
    at_once: int = 2
    """Requests that are worked on together: who is slow to answer has no long queue, either."""
    streams: int = 32
    """Streams of events that are open together: each change is read once for each of them."""
    patience: float = 5.0
    """Seconds that a request waits for its turn before it is refused."""


LIMITS: Final = RequestLimits()


class _Places:
    """Of one asker, while any of its requests is here."""

    def __init__(self, count: int) -> None:
        self.free = asyncio.Semaphore(count)
        self.asked_for = 0


class Fairness:
    """A middleware: every request passes through `turns`."""

    def __init__(self, limits: RequestLimits = LIMITS) -> None:
        self._limits = limits
        self._known = Shares(limits.known)
        self._strangers = Shares(limits.strangers)
        self._places: dict[str, _Places] = {}
        self._streams: Counter[str] = Counter()

    @web.middleware
    async def turns(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer in the asker's turn. Raises `UnavailableError` if that is too far away."""
        shares, asker = self._share_of(request)
        wait = shares.take(asker, 1.0, self._limits.patience)
        if wait is None:
            raise UnavailableError(
                f"too many requests: {shares.rate.each_second:g} a second are answered for long"
            )
        if wait:
            await asyncio.sleep(wait)
        async with self._place_of(request, asker):
            answer = await handler(request)
        if isinstance(answer, web.Response) and answer.body:
            shares.charge(asker, (answer.content_length or 0) / self._limits.priced)
        return answer

    @asynccontextmanager
    async def _place_of(self, request: web.Request, asker: str) -> AsyncIterator[None]:
        """One of the asker's places; what never ends needs none."""
        if request.path in ENDLESS:
            yield
            return
        place = self._places.setdefault(asker, _Places(self._limits.at_once))
        place.asked_for += 1
        try:
            async with place.free:
                yield
        finally:
            place.asked_for -= 1
            if not place.asked_for:
                del self._places[asker]

    @contextmanager
    def stream(self, request: web.Request) -> Iterator[None]:
        """One of the asker's streams of events, once it is known who asks."""
        _, asker = self._share_of(request)
        if self._streams[asker] >= self._limits.streams:
            raise UnavailableError(
                f"too many streams of events: {self._limits.streams} of yours are open already"
            )
        self._streams[asker] += 1
        try:
            yield
        finally:
            self._streams[asker] -= 1
            if not self._streams[asker]:
                del self._streams[asker]

    def _share_of(self, request: web.Request) -> tuple[Shares, str]:
        visitor = visitor_of(request.transport)
        if visitor is not None and visitor.asker:
            return self._known, visitor.asker
        return self._strangers, request.remote or ""
