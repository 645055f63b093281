"""Looks through the releases that one instance may go back to, and tells what it finds.

Never while an assignment is at work there: that changes what is on disk, and needs the disk
more. A look that an assignment interrupts finds nothing. A damaged release stays on disk, as
evidence and since its service may run; it is told, and no longer counts as a way back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from agent.core.age import age
from agent.instance import Instance
from agent.journal import Known
from agent.ledger import Ledger
from agent.ports import StepError


class InterruptedLookError(Exception):
    """Something more important has begun: nothing was found."""


class Verifier:
    """Verifies the releases that are kept of one instance, the running one among them."""

    def __init__(self, instance: Instance, ledger: Ledger, at_rest: Callable[[], bool]) -> None:
        """`at_rest` tells whether no assignment is at work there; it is asked in any thread."""
        self._instance = instance
        self._ledger = ledger
        self._at_rest = at_rest

    def at_rest(self) -> bool:
        """Whether no assignment is at work there."""
        return self._at_rest()

    def oldest(self) -> tuple[float, Known] | None:
        """The release that was not looked at for longest, and for how many seconds.

        None if there is none; infinitely long if it never was.
        """
        now = self._instance.releases.now()
        ages = []
        record = self._ledger.record
        for known in (*record.good, *record.fetched):
            finding = self._instance.releases.finding(known.version, known.digest)
            ages.append((age(finding.at, now) if finding else float("inf"), known))
        return max(ages, key=lambda pair: pair[0], default=None)

    def look(self, known: Known, stopped: Callable[[], bool]) -> None:
        """Verify one release, and keep what is found. For a thread.

        Raises `InterruptedLookError` as soon as `stopped`, or an assignment has begun.
        """

        def check() -> None:
            if stopped() or not self.at_rest():
                raise InterruptedLookError

        releases = self._instance.releases
        release = releases.find(known.version, known.digest)
        if release is None:
            check()
            releases.missed(known.version, known.digest)
        else:
            with suppress(StepError):
                releases.verify(release, check)

    def tell(self) -> None:
        """Tell the coordinator what was found."""
        self._ledger.tell_state()
