"""How long a task can take at most. Pure.

Every instance ends within its timeout and the time that its agent then gets to put the old
version back. So many as may be at work at once are so for all of that, in the worst case, and
each of these rounds waits for a window. Pauses are nobody's promise and do not count, nor does a
host that loses what it had prepared, and takes a place again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from coordinator.core.rollout import PUT_BACK_GRACE
from coordinator.core.waves import sizes
from coordinator.core.windows import closes_at, opens_at
from protocol.strategy import Strategy

NOTHING_SAID = Strategy()


def longest(
    strategy: Strategy | None, batches: Sequence[int], timeout: int, now: datetime
) -> float | None:
    """Seconds from `now` until a task with batches of these sizes has ended, whatever happens.

    None if there is no limit: it waits for somebody to promote the canary.
    """
    strategy = strategy or NOTHING_SAID
    size = sizes(strategy, sum(batches))
    if strategy.promote == "manual" and size.canary and len(batches) > 1:
        return None
    clock = _Clock(strategy, now)
    if strategy.prepare == "all":
        clock.rounds(_rounds(sum(batches), size.parallel), timeout)
    for number, batch in enumerate(batches):
        if number:
            clock.seconds += strategy.bake
        clock.rounds(_rounds(batch, size.parallel), timeout + PUT_BACK_GRACE)
    return clock.seconds


def _rounds(instances: int, parallel: int) -> int:
    return -(-instances // parallel)


class _Clock:
    """Seconds since the beginning, and what the windows make of them."""

    def __init__(self, strategy: Strategy, begin: datetime) -> None:
        self._strategy = strategy
        self._begin = begin
        self.seconds = 0.0

    def rounds(self, count: int, each: float) -> None:
        """So many rounds, one after the other, each of which begins while a window is open."""
        while count:
            now = self._begin + timedelta(seconds=self.seconds)
            opens = opens_at(self._strategy, now)
            if opens is not None:
                self.seconds += (opens - now).total_seconds()
                now = opens
            closes = closes_at(self._strategy, now)
            here = count
            if closes is not None:
                here = min(count, -int(-(closes - now).total_seconds() // each))
            self.seconds += here * each
            count -= here
