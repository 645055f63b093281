"""The audit trail as the doors write it: who asks, for what, and what came of it.

The row of a change goes into the transaction of the change itself, by whoever makes that. A
refusal is handed to the engine, which groups it with whatever else is to be written; nobody
waits for it. Refusals that are only counted are written once in `EVERY`, and so is what a host
brings that brings something new without end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from coordinator.batch import Brings
from coordinator.caller import Caller, Proof
from coordinator.core.chain import AuditRow
from coordinator.core.evidence import LONGEST_MESSAGE, done, said, text
from coordinator.core.refusals import REFUSED, Refusals
from coordinator.engine import Engine
from coordinator.ports import Clock
from protocol.errors import FerrymanError, UnavailableError

log = logging.getLogger(__name__)

EVERY: Final = 60.0
"""Seconds between two times that counted refusals are written."""

BRING: Final = "bring_instance"
"""What a host does by which instances become its own, or another service's."""

SETTLED_WITHIN: Final = 5.0
"""Seconds that a reader waits for what was handed in before."""


class Audit:
    """Makes rows, and sees to it that refusals get into the trail."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._refusals = Refusals()
        self._process = _who_runs_this()

    def row(
        self,
        caller: Caller,
        operation: str,
        object_id: object = "",
        parameters: Mapping[str, Any] | None = None,
        before: Mapping[str, Any] | None = None,
    ) -> AuditRow:
        """The row of a request, as far as it is known before it is done."""
        in_process = caller.proof is Proof.IN_PROCESS
        return AuditRow(
            at=self._clock.now().wall,
            proof=caller.proof.value,
            who=self._process if in_process else text(caller.name),
            token_id=caller.token_id,
            role=caller.role.value if caller.role and not in_process else "",
            address=text(caller.address),
            operation=operation,
            object_id=text(object_id),
            parameters=said(parameters or {}),
            before=said(before or {}),
        )

    @contextmanager
    def asked(
        self,
        caller: Caller,
        operation: str,
        object_id: object = "",
        parameters: Mapping[str, Any] | None = None,
        before: Mapping[str, Any] | None = None,
    ) -> Iterator[AuditRow]:
        """The row for what is done inside; if that is refused, the refusal's is handed in."""
        row = self.row(caller, operation, object_id, parameters, before)
        try:
            yield row
        except FerrymanError as error:
            self.refused(row, error)
            raise

    def refused(self, row: AuditRow, error: FerrymanError) -> None:
        """This request was refused. What the database could not save is none: it may be later."""
        if not isinstance(error, UnavailableError):
            self._take(
                replace(row, result=error.type, message=text(error.message, LONGEST_MESSAGE))
            )

    def host_refused(
        self, host_id: str, address: str, operation: str, object_id: str, why: str
    ) -> None:
        """What a host with a valid certificate says or wants was refused."""
        row = self.row(Caller.of_host(host_id, address), operation, object_id)
        self._take(replace(row, result=REFUSED, message=text(why, LONGEST_MESSAGE)))

    def by_host(
        self,
        host_id: str,
        address: str,
        operation: str,
        *,
        object_id: str = "",
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any],
    ) -> AuditRow:
        """The row of what a host's certificate has let it do; by default it is about the host."""
        caller = Caller.of_host(host_id, address)
        return done(self.row(caller, operation, object_id or host_id, before=before), after)

    def save(self, row: AuditRow, saved: Callable[[], None]) -> None:
        """Write a row with which nothing else is changed; `saved` is called once it is there."""
        self._engine.happened(audit=[row], done=saved)

    def brings(self, host_id: str, address: str) -> Brings:
        """What makes the row of one frame by which instances become the host's.

        Whether it is a row of its own is decided once, however often its commit is tried.
        """
        decided: list[bool] = []

        def rows(before: Mapping[str, str], after: Mapping[str, str]) -> Sequence[AuditRow]:
            row = self.by_host(
                host_id,
                address,
                BRING,
                object_id=next(iter(after)) if len(after) == 1 else "",
                before={"instances": before},
                after={"host_id": host_id, "instances": after},
            )
            if not decided:
                decided.append(self._own(row) is not None)
            return [row] if decided[0] else []

        return rows

    def _take(self, refusal: AuditRow) -> None:
        if (row := self._own(refusal)) is not None:
            self._engine.happened(audit=[row])

    def _own(self, row: AuditRow) -> AuditRow | None:
        """The row if it is written by itself; None if it is counted."""
        return self._refusals.take(row, self._clock.now().steady)

    def hand_in(self) -> None:
        """Let what was only counted be written."""
        rows = self._refusals.counted(self._clock.now().steady)
        if rows:
            self._engine.happened(audit=rows)

    async def settled(self) -> None:
        """Wait until everything that was asked so far is in the trail, or can't get there now."""
        self.hand_in()
        saved = asyncio.Event()
        self._engine.happened(done=saved.set)
        try:
            async with asyncio.timeout(SETTLED_WITHIN):
                await saved.wait()
        except TimeoutError:
            log.warning("the newest refusals are not in the audit trail yet")

    async def watch(self) -> None:
        """Write what was counted, for ever."""
        while True:
            await asyncio.sleep(EVERY)
            self.hand_in()


def _who_runs_this() -> str:
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return f"user {text(name)}, process {os.getpid()}"
