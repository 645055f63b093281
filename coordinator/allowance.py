"""How often strangers may ask: so many requests of one address at once, and then so many a second.

Only addresses that asked lately are remembered, and only so many of them: when one more comes,
the one that has been silent for longest is forgotten.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from coordinator.ports import Clock
from protocol.errors import UnavailableError

MOST_ADDRESSES = 10_000


@dataclass(slots=True)
class _Left:
    requests: float
    at: float


class Allowance:
    """Gives requests out by address."""

    def __init__(self, clock: Clock, *, at_once: int = 60, a_second: float = 2.0) -> None:
        self._clock = clock
        self._at_once = at_once
        self._a_second = a_second
        self._left: OrderedDict[str, _Left] = OrderedDict()

    def take(self, address: str) -> None:
        """Count one request; raises `UnavailableError` saying when the next one may come."""
        now = self._clock.now().steady
        left = self._left.setdefault(address, _Left(self._at_once, now))
        self._left.move_to_end(address)
        if len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)
        left.requests = min(self._at_once, left.requests + (now - left.at) * self._a_second)
        left.at = now
        if left.requests < 1:
            wait = math.ceil((1 - left.requests) / self._a_second)
            raise UnavailableError(f"too many requests from {address}: ask again in {wait} s")
        left.requests -= 1
