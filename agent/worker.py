"""One instance's assignments: fencing, one at a time, and the word to switch.

Commands are answered from the record when they are repeated and ignored when they are
old. Until `stop` an assignment can be given up; from then on it ends by itself. What is
known and reported is the ledger's, the swap is the activation's business.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from agent.activation import Activation
from agent.core.swap import STEPS
from agent.crash import log_crash
from agent.instance import Instance
from agent.journal import Journal, Known, Unsent, Work
from agent.ledger import Ledger, Link
from agent.observe import Observer
from agent.ports import StepError
from agent.preparer import Preparer
from agent.pruner import Pruner
from agent.recovery import Job, Restart
from agent.verifier import Verifier
from agent.watcher import Watcher
from protocol.messages import (
    Activate,
    Cancel,
    Command,
    Ended,
    InstanceState,
    Prepare,
    Prepared,
    Result,
    Step,
    Taken,
    WorkInHand,
)
from protocol.states import InstanceStatus, TaskKind

log = logging.getLogger(__name__)


class Worker:
    """Serves one instance."""

    def __init__(
        self, instance: Instance, journal: Journal, preparer: Preparer, link: Link, boot_id: str
    ) -> None:
        self._instance = instance
        self._preparer = preparer
        self._boot_id = boot_id
        self._observer = Observer(instance)
        self._ledger = Ledger(instance.instance_id, journal, self._observer, link, boot_id)
        self._pruner = Pruner(instance, self._ledger, preparer)
        self._watcher = Watcher(instance, self._ledger, self._observer, boot_id)
        self._activation = Activation(
            instance, self._ledger, self._observer, self._pruner, self._watcher
        )
        self._restart = Restart(
            instance, self._ledger, self._observer, self._pruner, self._activation, boot_id=boot_id
        )
        self.verifier = Verifier(instance, self._ledger, self._at_rest)
        self._job: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._later: Prepare | None = None
        """What came while a switch was under way; it is taken when that has ended."""
        self._turn = asyncio.Lock()

    # ---- what the connection asks ------------------------------------------

    @property
    def state(self) -> InstanceState:
        """The instance as it was last seen."""
        return self._ledger.state

    @property
    def unsent(self) -> tuple[Unsent, ...]:
        """Reports that are not acknowledged, oldest first."""
        return self._ledger.record.unsent

    @property
    def in_hand(self) -> WorkInHand | None:
        """The assignment that the journal holds."""
        work = self._ledger.record.work
        if work is None:
            return None
        return WorkInHand(
            task_id=work.task_id,
            instance_id=self._instance.instance_id,
            attempt=work.attempt,
            step=Step.PUT_BACK if work.putting_back else work.step,
        )

    def acknowledged(self, number: int) -> None:
        """The coordinator has saved this report."""
        self._ledger.acknowledged(number)

    async def look(self) -> None:
        """Look at the service and its disk, and tell if they look different."""
        before = self._looks()
        await self._observer.look()
        await self._observer.look_at_the_disk()
        if self._looks() != before:
            self._ledger.tell_state()

    def _looks(self) -> tuple[InstanceStatus, str, str, int | None]:
        """What is told anew when it changes: not how much time has passed since a proof."""
        state = self.state
        return state.status, state.reason, state.version, state.free_bytes

    def _at_rest(self) -> bool:
        """Whether no assignment is at work here, nor what follows one."""
        working = self._job is not None and not self._job.done()
        return self._ledger.record.work is None and not working

    # ---- commands ----------------------------------------------------------

    def handle(self, command: Command) -> None:
        """Take a command. Never waits; never raises."""
        try:
            match command:
                case Prepare():
                    self._prepare(command)
                case Activate():
                    self._activate(command)
                case Cancel():
                    self._cancel(command)
        except StepError as error:
            log.error("%s: %s", self._instance.instance_id, error.message)
            self._end_unjournalled(command, error)

    def _prepare(self, command: Prepare) -> None:
        if self._answered_before(command):
            return
        work = self._ledger.record.work
        if work is not None:
            if (work.task_id, work.attempt) == (command.task_id, command.attempt):
                self._tell_again(self._held_anew(work, command.hold))
                return
            if work.task_id == command.task_id and command.attempt < work.attempt:
                return
            if work.step in STEPS:
                self._later = command
                return
            self._drop_job()
        taken = Work(
            command.task_id,
            command.attempt,
            command.version,
            Step.PREPARE,
            kind=command.kind,
            service=command.service,
            allowed=command.time_left,
            until=asyncio.get_running_loop().time() + command.time_left,
            boot_id=self._boot_id,
            hold=command.hold,
        )
        record = self._ledger.record
        if work is not None and work.task_id != command.task_id:
            why = f"given up for {command.task_id} before anything was stopped"
            record = record.ending(
                work, Ended(result=Result.CANCELLED, step=work.step, message=why)
            )
        record = replace(record, work=taken)
        self._ledger.save(record.reporting(command.task_id, command.attempt, Taken()))
        self._begin(lambda: self._run_prepare(command, taken))

    def _activate(self, command: Activate) -> None:
        answered = self._answered_before(command)
        if command.renews:
            self._watcher.renew(command)
        if answered or command.renews:
            return
        work = self._ledger.record.work
        if work is None or (work.task_id, work.attempt) != (command.task_id, command.attempt):
            why = "nothing is prepared for it on this host, and how it ended is not known here"
            self._refuse(command, why, passing=False)
        elif work.step is Step.PREPARED and work.digest != command.digest:
            self._refuse(command, "another digest was prepared on this host")
        elif work.step is Step.PREPARED:
            if why := self._preparer.why_not(self._instance, work):
                self._refuse(command, why)
                return
            self._watcher.end()
            record = self._ledger.record
            going = replace(work, step=Step.STOP, old=record.current, watch=command.watch)
            self._ledger.remember(replace(record, work=going, boot_id=self._boot_id, watch=None))
            self._begin(lambda: self._activation.forward(going, Step.STOP, command.time_left))

    def _cancel(self, command: Cancel) -> None:
        if self._answered_before(command):
            return
        if self._later is not None and self._later.task_id == command.task_id:
            self._later = None
        work = self._ledger.record.work
        if work is None or work.task_id != command.task_id or work.step in STEPS:
            return
        if command.attempt < work.attempt:
            return
        self._drop_job()
        ended = Ended(
            result=Result.CANCELLED, step=work.step, message="given up before anything was stopped"
        )
        self._ledger.save(self._ledger.record.ending(work, ended))
        self._begin(self._pruner.tidy)

    def _answered_before(self, command: Command) -> bool:
        """Whether the journal knows how this attempt, or a later one of the task, ended."""
        last = self._ledger.record.last
        if last is None or last.task_id != command.task_id or last.attempt < command.attempt:
            return False
        for report in self._ledger.record.answer:
            self._ledger.report(report)
        return True

    def _tell_again(self, work: Work) -> None:
        """Repeat the last report of the work in hand, if it is still what counts."""
        for report in self._ledger.record.unsent:
            if (report.task_id, report.attempt) == (work.task_id, work.attempt):
                self._ledger.report(report)
        if work.step is Step.PREPARED and not self._ledger.record.unsent:
            event = Prepared(digest=work.digest)
            self._ledger.save(self._ledger.record.reporting(work.task_id, work.attempt, event))

    def _refuse(self, command: Prepare | Activate, why: str, *, passing: bool = True) -> None:
        ended = Ended(result=Result.FAILED, step=Step.PREPARE, message=why, passing=passing)
        self._ledger.save(self._ledger.record.reporting(command.task_id, command.attempt, ended))

    def _end_unjournalled(self, command: Command, error: StepError) -> None:
        """The journal can't be written: say so without it, so that nobody waits."""
        ended = Ended(result=Result.FAILED, step=Step.PREPARE, message=error.message)
        report = Unsent(0, command.task_id, command.attempt, ended)
        if not isinstance(command, Cancel):
            self._ledger.report(report)

    # ---- jobs --------------------------------------------------------------

    def _begin(self, job: Job) -> None:
        """Run `job` once those before it have ended."""

        async def in_turn() -> None:
            async with self._turn:
                await job()
            later, self._later = self._later, None
            if later is not None:
                self.handle(later)

        self._job = asyncio.create_task(in_turn())
        self._job.add_done_callback(log_crash)

    def _drop_job(self) -> None:
        if self._job is not None:
            self._job.cancel()

    async def stop(self) -> None:
        """Leave what is in hand to the next start of the agent."""
        await self._watcher.stop()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._job is not None:
            self._job.cancel()
            await asyncio.wait([self._job])

    async def _run_prepare(self, command: Prepare, work: Work) -> None:
        try:
            async with asyncio.timeout(command.time_left):
                release = await self._preparer.prepare(
                    self._instance,
                    self._ledger.record,
                    command,
                    lambda done, total: self._ledger.progress(work, done, total),
                )
                self._ledger.tell_size(work, release.size)
                running = await self._runs_already(release.version, release.digest)
        except TimeoutError:
            self._ledger.end(work, Result.FAILED, "timed out while preparing; nothing was stopped")
            return
        except StepError as error:
            self._ledger.end(
                work,
                Result.FAILED,
                error.message,
                passing=error.passing,
                retry_after=error.retry_after,
            )
            return
        work = replace(self._in_hand(work), step=Step.PREPARED, digest=release.digest)
        if command.kind is TaskKind.PREFETCH:
            await self._keep_fetched(work)
        elif running and not command.force:
            note = "already installed: this very release runs; nothing was stopped"
            self._ledger.end(work, Result.SUCCEEDED, note)
        else:
            await self._keep_prepared(work)

    def _in_hand(self, work: Work) -> Work:
        """The work as the record has it by now: its `hold` may have been renewed."""
        return self._ledger.record.work or work

    async def _keep_fetched(self, work: Work) -> None:
        try:
            self._ledger.fetched(work)
        except StepError as error:
            self._ledger.end(work, Result.FAILED, error.message)
        await self._pruner.tidy()

    async def _keep_prepared(self, work: Work) -> None:
        work = _held(work)
        record = replace(self._ledger.record, work=work)
        event = Prepared(digest=work.digest)
        try:
            self._ledger.save(record.reporting(work.task_id, work.attempt, event))
        except StepError as error:
            self._ledger.end(work, Result.FAILED, error.message)
            await self._pruner.tidy()
        else:
            self._wait_for_the_word(work)

    def _held_anew(self, work: Work, hold: float) -> Work:
        """Let the word come later than was said before, if `hold` says so."""
        if not hold or work.step in STEPS:
            return work
        work = replace(work, hold=hold)
        if work.step is Step.PREPARED:
            work = _held(work)
        self._ledger.save_or_remember(replace(self._ledger.record, work=work))
        if work.step is Step.PREPARED:
            self._wait_for_the_word(work)
        return work

    def _wait_for_the_word(self, work: Work) -> None:
        """Keep the prepared release until the time given for it is over."""
        if not work.until:
            return
        if work.boot_id != self._boot_id:
            # Nobody knows how long the host was off: its time begins anew.
            until = asyncio.get_running_loop().time() + work.allowed
            work = replace(work, until=until, boot_id=self._boot_id)
            self._ledger.save_or_remember(replace(self._ledger.record, work=work))
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_at(work.until, self._discard_prepared, work)

    def _discard_prepared(self, work: Work) -> None:
        if self._ledger.record.work != work:
            return
        message = "the word to switch did not come in the time given; nothing was stopped"
        # Whoever stopped the clock of the task meanwhile may want it prepared again.
        self._ledger.end(work, Result.FAILED, message, passing=True)
        self._begin(self._pruner.tidy)

    async def _runs_already(self, version: str, digest: str) -> bool:
        if self._ledger.record.current != Known(version, digest) or self._ledger.record.trouble:
            return False
        await self._observer.look()
        return self._observer.running

    # ---- after a start of the agent ----------------------------------------

    async def recover(self) -> None:
        """Take up what the last run of the agent left, by the swap table."""
        job = await self._restart.take_up()
        work = self._ledger.record.work
        if job is not None:
            self._begin(job)
        elif work is not None and work.step is Step.PREPARED:
            self._wait_for_the_word(work)
        self._watcher.begin()


def _held(work: Work) -> Work:
    """Prepared work with the time for which it waits from now on."""
    if not work.hold:
        return work
    return replace(work, allowed=work.hold, until=asyncio.get_running_loop().time() + work.hold)
