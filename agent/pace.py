"""Where a fetch is and how fast it goes, to say why it did not end in time."""

from __future__ import annotations

import asyncio
from enum import Enum

STALLED_AFTER = 5.0
"""Seconds without a byte that are called a stall; less if that is half of the whole time."""


class Doing(Enum):
    """What a fetch is waiting for."""

    TURN = "it waited for other packages of this host"
    ANSWER = "the server did not answer"
    BYTES = "the server was too slow"
    DISK = "it could not be unpacked fast enough"


class Pace:
    """Times of one fetch, by the event loop's clock, which must be running."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._began = self._since = self._clock()
        self._doing = Doing.TURN
        self._received = 0
        self._length: int | None = None

    def now(self, doing: Doing) -> None:
        """Go on to the next wait."""
        self._doing = doing
        self._since = self._clock()

    def got(self, received: int, length: int | None) -> None:
        """Keep how many bytes have come, of how many; None if the server does not say."""
        self._received, self._length = received, length

    def why(self) -> str:
        """Say what took so long, for people."""
        now = self._clock()
        whole, quiet = now - self._began, now - self._since
        if self._doing in (Doing.TURN, Doing.ANSWER):
            return f"{self._doing.value} for {quiet:.1f} s"
        amount = f"{self._received} bytes"
        if self._length is not None:
            amount = f"{self._received} of {self._length} bytes"
        if self._doing is Doing.BYTES and quiet >= min(STALLED_AFTER, whole / 2):
            return f"the download stalled for {quiet:.1f} s after {amount}"
        cause = self._doing.value
        if self._doing is Doing.BYTES and self._length is None:
            cause = "no end of the package came, and the server told no length"
        return f"{cause}: {amount} in {whole:.1f} s"
