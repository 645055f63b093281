"""The least that a package server must send while it is waited for: no slower, or it is given up.

Only the time counts in which the server's bytes are awaited, not the time that this host takes
to unpack them. Reads are bounded elsewhere, so looking after each of them is enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from agent.ports import StepError

RATE_WINDOW = 60.0
"""Seconds of waiting over which the rate is taken."""


class LowestRate:
    """Watches one download; `least` is in bytes a second, 0 for none."""

    def __init__(self, least: int, window: float = RATE_WINDOW) -> None:
        self._clock = asyncio.get_running_loop().time
        self._least = least
        self._window = window
        self._waited = 0.0
        self._came = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of this block as waiting for bytes."""
        since = self._clock()
        try:
            yield
        finally:
            self._waited += self._clock() - since

    def got(self, count: int) -> None:
        """Count the bytes that came. Raises `StepError` if a window is over and had too few."""
        self._came += count
        if self._waited < self._window:
            return
        if self._came < self._least * self._waited:
            raise StepError(
                f"the server is too slow: {self._came} bytes in {self._waited:.0f} s, and "
                f"min_rate asks for {self._least} a second",
                passing=True,
            )
        self._waited, self._came = 0.0, 0
