"""A token bucket: who asks for more than its rate waits, and nothing is thrown away.

It counts; it neither sleeps nor reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Rate:
    """So much in a second for long, and `burst` at once after a rest."""

    each_second: float
    burst: float


class Bucket:
    """One asker's bucket; times are seconds of one monotonic clock."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._left = rate.burst
        self._at = now

    def take(self, amount: float, now: float) -> float:
        """Take `amount`, on credit if need be; return how many seconds the asker is to wait."""
        return self.take_within(amount, inf, now) or 0.0

    def take_within(self, amount: float, patience: float, now: float) -> float | None:
        """The same; None, and nothing is taken, if the wait were longer than `patience`."""
        self._refill(now)
        wait = max(0.0, (amount - self._left) / self._rate.each_second)
        if wait > patience:
            return None
        self._left -= amount
        return wait

    def full(self, now: float) -> bool:
        """Whether nothing was taken for so long that a new bucket would be the same."""
        self._refill(now)
        return self._left >= self._rate.burst

    def _refill(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        self._left = min(self._rate.burst, self._left + passed * self._rate.each_second)
        self._at = now
