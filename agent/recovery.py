"""What a start of the agent does with what its last run left, by the swap table.

`current` leads to what was committed, and runs if the host has booted since. Work in hand is
forgotten, kept, gone on with, put back or given up, as `core.swap.recover` says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from agent.activation import Activation
from agent.core.swap import Recovery, recover, step_to_repeat
from agent.instance import Instance
from agent.journal import Work
from agent.ledger import Ledger
from agent.observe import Observer
from agent.ports import StepError
from agent.pruner import Pruner

log = logging.getLogger(__name__)

TIME_AFTER_CRASH = 60.0
"""Seconds, besides the health check's own, to finish a swap that a crash interrupted."""

Job = Callable[[], Coroutine[Any, Any, None]]


class Restart:
    """Takes up one instance after a start of the agent."""

    def __init__(
        self,
        instance: Instance,
        ledger: Ledger,
        observer: Observer,
        pruner: Pruner,
        activation: Activation,
        *,
        boot_id: str,
    ) -> None:
        self._instance = instance
        self._ledger = ledger
        self._observer = observer
        self._pruner = pruner
        self._activation = activation
        self._boot_id = boot_id

    async def take_up(self) -> Job | None:
        """Set right what can be at once; return the job that finishes the rest, if any."""
        self._instance.releases.sweep()
        work = self._ledger.record.work
        if work is None:
            await self._start_after_boot()
            await self._observer.look()
            await self._pruner.tidy()
            return None
        await self._observer.look()
        decision = recover(work.step, putting_back=work.putting_back, recoveries=work.recoveries)
        log.info(
            "%s: %s at %s: %s",
            self._instance.instance_id,
            work.task_id,
            work.step.value,
            decision.value,
        )
        return await self._carry_out(decision, replace(work, recoveries=work.recoveries + 1))

    async def _carry_out(self, decision: Recovery, work: Work) -> Job | None:
        match decision:
            case Recovery.FORGET:
                self._ledger.save_or_remember(replace(self._ledger.record, work=None))
                await self._start_after_boot()
                await self._pruner.tidy()
            case Recovery.KEEP:
                await self._start_after_boot()
            case Recovery.GO_ON:
                return self._go_on(work)
            case Recovery.PUT_BACK:
                self._ledger.keep_work(work)
                return lambda: self._activation.put_back(work)
            case Recovery.GIVE_UP:
                message = (
                    f"{work.step.value}: the agent ended {work.recoveries - 1} times during it; "
                    "both releases were kept"
                )
                self._activation.end_in_trouble(work, message)
        return None

    def _go_on(self, work: Work) -> Job:
        record = self._ledger.record
        booted = record.boot_id != self._boot_id
        work = replace(work, step=step_to_repeat(work.step, booted=booted))
        self._ledger.save_or_remember(replace(record, work=work))
        time_left = self._instance.check_timeout + TIME_AFTER_CRASH
        return lambda: self._activation.forward(work, work.step, time_left)

    async def _mend_link(self) -> None:
        """`current` leads to what was committed, whatever a disk that failed had made of it."""
        record, releases = self._ledger.record, self._instance.releases
        known = record.current
        release = releases.find(known.version, known.digest) if known else None
        if release is None or releases.current() == release or record.trouble:
            return
        log.warning("%s: `current` was mended", self._instance.instance_id)
        try:
            await asyncio.to_thread(releases.switch, release)
        except StepError as error:
            log.error("%s: %s", self._instance.instance_id, error.message)

    async def _start_after_boot(self) -> None:
        """A booted host has none of the processes that the agent started."""
        await self._mend_link()
        record = self._ledger.record
        if (
            record.current is None
            or record.trouble
            or not self._instance.started_by_agent
            or record.boot_id == self._boot_id
        ):
            return
        try:
            await self._instance.driver.start(
                self._instance.releases.current_link,
                self._instance.environment(record.current.version),
            )
        except StepError as error:
            log.error("%s: not started after the boot: %s", self._instance.instance_id, error)
        else:
            self._ledger.save_or_remember(replace(self._ledger.record, boot_id=self._boot_id))
