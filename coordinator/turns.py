"""Turns: so many at once, the others wait. It spreads work, and refuses nobody.

Whoever has waited long enough goes in without a place, and a place that is kept for too
long is given on. So neither a slow agent nor a database that can't commit holds up the rest.
"""

from __future__ import annotations

import asyncio


class Turn:
    """One's turn; `end` it once, or let it run out."""

    def __init__(self, places: asyncio.Semaphore | None, longest: float) -> None:
        self._places = places
        self._running_out = asyncio.get_running_loop().call_later(longest, self.end)

    def end(self) -> None:
        """Give the place on; a second time nothing happens."""
        self._running_out.cancel()
        if self._places is not None:
            self._places.release()
            self._places = None


class Turns:
    """Hands out turns in the order in which they were asked for."""

    def __init__(self, places: int, patience: float, longest: float) -> None:
        """At most `places` at once; `patience` bounds a wait, `longest` a turn, in seconds."""
        self.places = places
        self._places = asyncio.Semaphore(places)
        self._patience = patience
        self._longest = longest

    async def wait(self) -> Turn:
        """Wait for a turn."""
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            return Turn(None, self._longest)
        return Turn(self._places, self._longest)
