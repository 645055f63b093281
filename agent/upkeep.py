"""Verifies all retained releases of a host in the background, so that a way back is known to work.

One release at a time, the one that was not looked at for longest; none is looked at again
before its interval is nearly over. After each look the agent rests for a thousand times as long
as it computed, so that an idle agent stays quiet: on a host with very much on its disk the
interval becomes longer by that. When within the last quarter of the interval a host begins is
drawn, so that a fleet does not read its disks in the same moment.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from agent.journal import Known
from agent.verifier import InterruptedLookError
from agent.yielding import stand_back

log = logging.getLogger(__name__)

SHARE = 0.001
"""Of one core, at the most, over any longer time."""

LONGEST_REST = 3600.0
"""Seconds; what is new is found due no later than that."""

AFTER_INTERRUPTION = 60.0
"""Seconds before anything is looked at again where an assignment came between."""

SPREAD = 0.25


class Looks(Protocol):
    """What upkeep asks of one instance; see `Verifier`."""

    def at_rest(self) -> bool:
        """Whether no assignment is at work there."""
        ...

    def oldest(self) -> tuple[float, Known] | None:
        """The release that was not looked at for longest, and for how many seconds."""
        ...

    def look(self, known: Known, stopped: Callable[[], bool]) -> None:
        """Verify it, in a thread; raises `InterruptedLookError`."""
        ...

    def tell(self) -> None:
        """Tell what was found."""
        ...


class Upkeep:
    """Looks through the releases of these instances, from `start` to `stop`."""

    def __init__(
        self,
        verifiers: Collection[Looks],
        interval: float,
        *,
        share: float = SHARE,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`interval` is in seconds, above 0; `draw` is uniform in [0, 1)."""
        self._verifiers = verifiers
        self._due = interval * (1.0 - SPREAD * draw())
        self._share = share
        self._stopped = False
        self._work: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the background."""
        self._work = asyncio.create_task(self._go_on())
        self._work.add_done_callback(_log_crash)

    async def stop(self) -> None:
        """End; a look that is under way finds nothing."""
        self._stopped = True
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])

    async def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="verify", initializer=stand_back)
        try:
            while True:
                began = time.thread_time()
                rest, due = self._next()
                spent = time.thread_time() - began
                if due is not None:
                    look = await loop.run_in_executor(thread, self._look, *due)
                    rest = 0.0 if look.ended else AFTER_INTERRUPTION
                    spent += look.seconds
                    if look.ended:
                        due[0].tell()
                await asyncio.sleep(max(rest, spent / self._share))
        finally:
            thread.shutdown(wait=False)

    def _next(self) -> tuple[float, tuple[Looks, Known] | None]:
        """What is due; or else for how long nothing is."""
        at_rest = [one for one in self._verifiers if one.at_rest()]
        oldest = [(one, found) for one in at_rest if (found := one.oldest())]
        if not oldest:
            return min(LONGEST_REST, self._due), None
        verifier, (age, known) = max(oldest, key=lambda pair: pair[1][0])
        if age < self._due:
            return min(LONGEST_REST, self._due - age), None
        return 0.0, (verifier, known)

    def _look(self, verifier: Looks, known: Known) -> _Look:
        began = time.thread_time()
        try:
            verifier.look(known, lambda: self._stopped)
        except InterruptedLookError:
            ended = False
        else:
            ended = True
        return _Look(ended, time.thread_time() - began)


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at a release: whether it came to its end, and the seconds of CPU it took."""

    ended: bool
    seconds: float


def _log_crash(work: asyncio.Task[None]) -> None:
    if not work.cancelled() and work.exception() is not None:
        log.error("releases are no longer verified", exc_info=work.exception())
