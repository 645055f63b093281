"""After the commit: the service is watched for as long as the coordinator asked for.

What adds up to a regression is the rule of `agent.core.vigil`. A regression is journalled
with its report, once; a watch whose time is over, or which another assignment's switch
ends, leaves nothing to say. The instance stays free for whatever comes: a watch only looks. It
is renewed by whoever asked for it, while it lasts and after.

It outlives the agent, by the journal: what happened while the agent was away is seen at its
start, if the watch is not over by then. A boot of the host starts every service anew: from
there the watch goes on with the new one, for what was left.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from agent.core.vigil import Vigil
from agent.core.window import Verdict
from agent.crash import log_crash
from agent.health import PROBE_SECONDS, with_last_lines
from agent.instance import Instance
from agent.journal import Watch
from agent.ledger import Ledger
from agent.observe import Observer
from agent.ports import StepError
from protocol.messages import Activate

LEAST_INTERVAL = 1.0
"""Seconds between two probes, however often the check of a start may ask."""

LOOK_SECONDS = 1.0
"""A service that ended or restarted is noticed after this time, however rare the probes are."""

NOTE_SECONDS = 60.0
"""How much longer than asked for a watch may last because the host lost its power."""


class Watcher:
    """Watches one instance."""

    def __init__(
        self, instance: Instance, ledger: Ledger, observer: Observer, boot_id: str
    ) -> None:
        self._instance = instance
        self._ledger = ledger
        self._observer = observer
        self._boot_id = boot_id
        self._job: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Watch what the record says, if anything; nothing else from now on."""
        self.end()
        watch, now = self._ledger.record.watch, _now()
        if watch is None:
            return
        if watch.boot_id != self._boot_id:
            until = now + watch.left
            watch = replace(watch, generation="", until=until, boot_id=self._boot_id)
            self._ledger.keep_watch(watch)
        self._start(settle_by=None if watch.generation else now + self._instance.check_timeout)

    def renew(self, command: Activate) -> None:
        """Watch what the command's attempt has switched to for as long as it says, if it stands.

        Where the watch is over a new one begins, of the service as it runs now.
        """
        record, now = self._ledger.record, _now()
        if not record.stands(command.task_id, command.attempt, command.digest):
            return
        if record.watch is not None:
            self._ledger.keep_watch(record.watch.renewed(now, command.watch))
            return
        watch = Watch(
            command.task_id,
            command.attempt,
            command.digest,
            generation="",
            left=command.watch,
            until=now + command.watch,
            boot_id=self._boot_id,
        )
        self._ledger.keep_watch(watch)
        self._start(settle_by=None)

    def end(self) -> None:
        """Look no more. What the record says of it is the caller's to change."""
        if self._job is not None:
            self._job.cancel()

    async def stop(self) -> None:
        """Leave the watch to the next start of the agent."""
        self.end()
        if self._job is not None:
            await asyncio.wait([self._job])

    @property
    def _watch(self) -> Watch:
        """What is watched, which may have been renewed meanwhile."""
        watch = self._ledger.record.watch
        assert watch is not None, "whoever ends a watch ends the job before"
        return watch

    def _start(self, settle_by: float | None) -> None:
        self._job = asyncio.create_task(self._run(settle_by))
        self._job.add_done_callback(log_crash)

    async def _run(self, settle_by: float | None) -> None:
        now, watch = _now(), self._watch
        if watch.until <= now:
            # What happened since nobody saw; it may well have been after the time.
            self._ledger.keep_watch(None)
            return
        vigil = Vigil(watch.until, watch.generation, settle_by)
        probe_at = now
        while vigil.verdict is Verdict.WAITING:
            vigil = await self._look(vigil)
            if vigil.verdict is Verdict.WAITING and _now() >= probe_at:
                vigil = await self._probe(vigil)
                probe_at = self._next_probe(vigil)
            if vigil.verdict is Verdict.WAITING:
                self._note(vigil)
                await asyncio.sleep(min(max(0.0, probe_at - _now()), LOOK_SECONDS))
        if vigil.verdict is Verdict.PASSED:
            self._ledger.keep_watch(None)
            return
        message = await with_last_lines(vigil.reason, self._instance.driver)
        await self._observer.look()
        self._ledger.regressed(self._watch, message, vigil.failing_since)

    def _note(self, vigil: Vigil) -> None:
        """Journal what the next start of the agent has to know, not too often."""
        watch = self._watch
        left = max(0.0, watch.until - _now())
        proven = vigil.generation if vigil.settle_by is None else ""
        if proven != watch.generation or watch.left - left >= NOTE_SECONDS:
            self._ledger.keep_watch(replace(watch, left=left, generation=proven))

    def _next_probe(self, vigil: Vigil) -> float:
        """At the check's interval; one more at the end of the time."""
        now = _now()
        usual = now + max(self._instance.check_interval, LEAST_INTERVAL)
        return min(usual, max(vigil.until, now + LEAST_INTERVAL))

    async def _look(self, vigil: Vigil) -> Vigil:
        try:
            state = await self._instance.driver.state()
        except StepError:
            # Where the host can't tell, nothing is known of the service: its state says so.
            return vigil
        return vigil.looked(
            _now(), running=state.running, generation=state.generation, detail=state.detail
        )

    async def _probe(self, vigil: Vigil) -> Vigil:
        current = self._instance.releases.current_link
        problem = await self._instance.check.probe(current, PROBE_SECONDS)
        return replace(vigil, until=self._watch.until).probed(_now(), problem)


def _now() -> float:
    return asyncio.get_running_loop().time()
