"""What each of many askers may have: a token bucket for each, kept while it is not full."""

from __future__ import annotations

import asyncio
from math import inf

from protocol.bucket import Bucket, Rate

KEPT = 10_000
"""Buckets above which the full ones are forgotten: a new one would be the same."""


class Shares:
    """Buckets of one rate, by asker."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._buckets: dict[str, Bucket] = {}
        self._sweep_at = KEPT

    def take(self, asker: str, amount: float, patience: float) -> float | None:
        """Take `amount`; return the seconds to wait first.

        None, and nothing is taken, if they were more than `patience`.
        """
        now = asyncio.get_running_loop().time()
        bucket = self._buckets.get(asker) or self._new(asker, now)
        return bucket.take_within(amount, patience, now)

    def charge(self, asker: str, amount: float) -> None:
        """Take `amount` on credit: the next one waits for it."""
        self.take(asker, amount, inf)

    def _new(self, asker: str, now: float) -> Bucket:
        if len(self._buckets) >= self._sweep_at:
            self._buckets = {
                name: bucket for name, bucket in self._buckets.items() if not bucket.full(now)
            }
            self._sweep_at = max(KEPT, 2 * len(self._buckets))
        made = self._buckets[asker] = Bucket(self.rate, now)
        return made
