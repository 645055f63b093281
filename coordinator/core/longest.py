"""How long a task can take at most. Pure.

Every instance ends within its timeout and the time that its agent then gets to put the old
version back. So many as may be at work at once are so for all of that, in the worst case, and
each of these rounds waits for a window. Pauses are nobody's promise and do not count, nor does a
host that loses what it had prepared, and takes a place again.

The work is bounded, however long the task: windows are followed only so far, and then the longest
time is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from coordinator.core.commands import PUT_BACK_GRACE
from coordinator.core.waves import sizes
from coordinator.core.windows import closes_at, opens_at
from protocol.strategy import Strategy

NOTHING_SAID = Strategy()
LOOKS = 400
"""So often a window is looked at, at most: a single one of every night is followed for a year."""


@dataclass(frozen=True, slots=True)
class Longest:
    """Seconds until a task has ended, whatever happens; None if that is not known."""

    seconds: float | None
    reason: str = ""
    """For people: why it is not known; "" if it is."""


def longest(
    strategy: Strategy | None, batches: Sequence[int], timeout: int, now: datetime
) -> Longest:
    """How long from `now` a task with batches of these sizes takes. It never raises.

    Without a limit is what waits for somebody to promote the canary.
    """
    strategy = strategy or NOTHING_SAID
    size = sizes(strategy, sum(batches))
    if strategy.promote == "manual" and size.canary and len(batches) > 1:
        return Longest(None, "no limit: somebody has to promote the canary")
    clock = _Clock(strategy, now)
    try:
        if strategy.prepare == "all":
            clock.rounds(_rounds(sum(batches), size.parallel), timeout)
        for number, batch in enumerate(batches):
            if number:
                clock.pass_on(strategy.bake)
            clock.rounds(_rounds(batch, size.parallel), timeout + PUT_BACK_GRACE)
    except _TooFarError:
        return Longest(None, "not known: it may need more windows than are counted")
    except OverflowError:
        return Longest(None, "not known: it may go on after the year 9999")
    return Longest((clock.now - now).total_seconds())


def _rounds(instances: int, parallel: int) -> int:
    return -(-instances // parallel)


class _TooFarError(Exception):
    """The windows were followed as far as they are."""


class _Clock:
    """The time, and what the windows make of it. It raises `OverflowError` where time ends."""

    def __init__(self, strategy: Strategy, begin: datetime) -> None:
        self._strategy = strategy
        self._looks = max(1, LOOKS // len(strategy.windows or (1,)))
        self._shut: datetime | None = begin
        """From when on the windows have to be looked at again; None: never."""
        self.now = begin

    def pass_on(self, seconds: float) -> None:
        """So long nothing begins."""
        self.now += timedelta(seconds=seconds)

    def rounds(self, count: int, each: float) -> None:
        """So many rounds, one after the other, each of which begins while a window is open."""
        span = timedelta(seconds=each)
        while count:
            shut = self._open()
            here = count if shut is None else min(count, -((self.now - shut) // span))
            self.now += here * span
            count -= here

    def _open(self) -> datetime | None:
        """Wait for a window, and tell when the windows that are open then have closed."""
        if self._shut is not None and self.now >= self._shut:
            if not self._looks:
                raise _TooFarError
            self._looks -= 1
            self.now = opens_at(self._strategy, self.now) or self.now
            self._shut = closes_at(self._strategy, self.now)
        return self._shut
