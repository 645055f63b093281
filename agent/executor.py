"""Journal, do, and on failure undo: the swap table carried out on one instance.

Each step is journalled before it is done. A step that fails is undone by the table, to
the old release or, where there was none, to a clean and stopped instance. What the steps
mean for the coordinator is the worker's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from agent.core.swap import Undo, steps_from, undo_of
from agent.health import wait_healthy
from agent.instance import Instance
from agent.journal import Work
from agent.ports import StepError
from agent.releases import Release
from protocol.messages import Step

log = logging.getLogger(__name__)

LINK_BACK_TRIES = 3
PAUSE_BETWEEN_TRIES = 0.5
"""Seconds."""


class SwapFailedError(Exception):
    """A step of the swap failed; `work` is as it was journalled, with the failure."""

    def __init__(self, work: Work) -> None:
        super().__init__(work.failure)
        self.work = work


class Executor:
    """Goes through the table. `save` journals the work; `commit` makes it the truth."""

    def __init__(
        self, instance: Instance, save: Callable[[Work], None], commit: Callable[[Work], None]
    ) -> None:
        self._instance = instance
        self._save = save
        self._commit = commit

    async def forward(self, work: Work, first: Step, time_left: float) -> None:
        """Do `first` and all that follow within `time_left` seconds, or raise `SwapFailedError`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + time_left
        for step in steps_from(first):
            work = replace(work, step=step)
            try:
                self._save(work)
                async with asyncio.timeout_at(deadline):
                    work = await self._do(step, work, deadline - loop.time())
            except TimeoutError:
                failure = "the time given for the assignment is over"
                raise SwapFailedError(replace(work, failure=f"{step.value}: {failure}")) from None
            except StepError as error:
                failed = replace(
                    work, failure=f"{step.value}: {error.message}", passing=error.passing
                )
                raise SwapFailedError(failed) from None

    async def put_back(self, work: Work, *, in_trouble: bool) -> str:
        """Undo all that was done; return "" or, if that failed, why.

        `in_trouble`: the instance was in `error` before; what had led there is undone, too.
        """
        try:
            self._save(replace(work, putting_back=True))
            for undo in undo_of(work.step, in_trouble=in_trouble):
                await self._undo(undo, work)
        except StepError as error:
            return error.message
        return ""

    async def _link_back(self, work: Work) -> None:
        """Let `current` lead to the old release again, if the disk lets it at all.

        A link that leads there, but was not synced, is enough to start the old release: a
        power cut may take it back, and then the next start of the agent mends it.
        """
        releases = self._instance.releases
        old = self._release(work.old.version, work.old.digest) if work.old else None
        for tries_left in reversed(range(LINK_BACK_TRIES)):
            try:
                return await asyncio.to_thread(releases.switch, old)
            except StepError as error:
                if releases.current() == old:
                    log.error("%s: not synced: %s", self._instance.instance_id, error.message)
                    return None
                if not tries_left:
                    raise
            await asyncio.sleep(PAUSE_BETWEEN_TRIES)
        return None

    async def _do(self, step: Step, work: Work, time_left: float) -> Work:
        """Do one step; return the work with what it has shown."""
        instance = self._instance
        match step:
            case Step.STOP:
                await instance.driver.check_startable(instance.releases.current_link)
                await instance.driver.stop()
            case Step.SWITCH:
                release = self._release(work.version, work.digest)
                await asyncio.to_thread(instance.releases.switch, release)
            case Step.START:
                await self._start(work.version)
            case Step.CHECK:
                generation = await self._check(min(instance.check_timeout, time_left))
                return replace(work, generation=generation)
            case Step.COMMIT:
                self._commit(work)
        return work

    async def _undo(self, undo: Undo, work: Work) -> None:
        match undo:
            case Undo.STOP_NEW:
                await self._instance.driver.stop()
            case Undo.LINK_BACK:
                await self._link_back(work)
            case Undo.START_OLD if work.old:
                await self._start(work.old.version)
            case Undo.CHECK_OLD if work.old:
                await self._check(self._instance.check_timeout)

    async def _start(self, version: str) -> None:
        instance = self._instance
        await instance.driver.start(instance.releases.current_link, instance.environment(version))

    async def _check(self, timeout: float) -> str:
        instance = self._instance
        return await wait_healthy(
            instance.driver,
            instance.check,
            instance.releases.current_link,
            interval=instance.check_interval,
            timeout=timeout,
            stable=instance.check_stable,
        )

    def _release(self, version: str, digest: str) -> Release:
        release = self._instance.releases.find(version, digest)
        if release is None:
            raise StepError(f"release {version} is no longer on disk")
        return release
