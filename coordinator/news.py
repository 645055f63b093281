"""Tells readers of the event stream that something new was committed.

Readers fetch events from the store by number, so a slow one costs no memory here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from coordinator.ports import EventRow


class News:
    """The number of the newest event, and a way to wait for a newer one."""

    def __init__(self) -> None:
        self._newest = 0
        self._changed = asyncio.Event()

    def publish(self, events: Sequence[EventRow]) -> None:
        """These events are committed."""
        if events:
            self._newest = events[-1].seq
            self._changed.set()
            self._changed = asyncio.Event()

    async def after(self, seq: int) -> None:
        """Wait until an event with a greater number is committed."""
        while self._newest <= seq:
            await self._changed.wait()
