"""Tells those who go on answering a token, such as a stream of events, that it is over.

A token that is revoked through this coordinator is over at once, and one that expires at
its time. One that is revoked through another coordinator is noticed by who looks again.
"""

from __future__ import annotations

import asyncio

from coordinator.caller import Caller
from coordinator.ports import Clock


class TokenEnds:
    """Who waits for the end of which token."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, set[asyncio.Event]] = {}

    @property
    def waiting(self) -> int:
        """For how many tokens somebody waits."""
        return len(self._waiting)

    def revoked(self, token_id: str) -> None:
        """The token was revoked just now."""
        for waiting in self._waiting.get(token_id, ()):
            waiting.set()

    async def of(self, caller: Caller) -> None:
        """Return when the caller's token is over."""
        over = asyncio.Event()
        waiting = self._waiting.setdefault(caller.token_id, set())
        waiting.add(over)
        try:
            async with asyncio.timeout(self._seconds_left(caller)):
                await over.wait()
        except TimeoutError:
            return
        finally:
            waiting.discard(over)
            if not waiting:
                self._waiting.pop(caller.token_id, None)

    def _seconds_left(self, caller: Caller) -> float | None:
        if caller.expires_at is None:
            return None
        return max(0.0, (caller.expires_at - self._clock.now().wall).total_seconds())
