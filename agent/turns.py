"""Who may take in a package now: few at once where bytes flow, more where they are awaited.

Unpacking costs CPU, so few do it at a time. A server that stalls costs nothing but a
connection and a thread: its download gives its turn to others until bytes come again, and
counts only against the larger cap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

UNPACKING_AT_ONCE = 2
"""Packages that one agent takes in at once: more cost CPU and win no time."""

OPEN_AT_ONCE = 8
"""Downloads of one agent that are under way at once, those that stall too."""

PATIENCE = 0.5
"""Seconds without a byte after which a download's turn goes to another one."""


class Turns:
    """The caps of one agent, and the threads that unpack."""

    def __init__(self) -> None:
        self.open = asyncio.Semaphore(OPEN_AT_ONCE)
        self.unpacking = asyncio.Semaphore(UNPACKING_AT_ONCE)
        self.threads = ThreadPoolExecutor(OPEN_AT_ONCE, thread_name_prefix="take-in")

    def close(self) -> None:
        """Let the threads end as soon as they are done; does not wait."""
        self.threads.shutdown(wait=False)


class Turn:
    """One download's turn at unpacking; it begins without one."""

    def __init__(self, turns: Turns) -> None:
        self._places = turns.unpacking
        self._held = False

    async def take(self) -> None:
        """Wait for the turn. Taking it twice is taking it once."""
        if not self._held:
            await self._places.acquire()
            self._held = True

    def give_back(self) -> None:
        """Let another one go on. Giving back what is not held is no error."""
        if self._held:
            self._held = False
            self._places.release()

    @contextmanager
    def given_back_after(self, patience: float = PATIENCE) -> Iterator[None]:
        """Give the turn back if the block takes longer than `patience` seconds."""
        timer = asyncio.get_running_loop().call_later(patience, self.give_back)
        try:
            yield
        finally:
            timer.cancel()
