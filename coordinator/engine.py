"""The one loop: load, step, save, then send.

Everything that changes a task or an instance comes through the inbox. What has piled
up is worked off as one batch and committed as one transaction; only then are commands
sent, reports acknowledged, callers answered and events published. If the database can't
commit, callers are refused and agents' reports wait: nothing is half done.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from coordinator.batch import Batch, Brings
from coordinator.core import happenings, rollout
from coordinator.core.chain import AuditRow
from coordinator.core.decisions import bakes
from coordinator.core.fleet import MISSED_HEARTBEATS
from coordinator.core.pins import PinDraft, PinRow
from coordinator.core.task import Task
from coordinator.fleet import Fleet
from coordinator.ids import new_id
from coordinator.inbox import (
    ChangePins,
    Create,
    Decide,
    Happened,
    Item,
    Release,
    Steer,
    Stop,
    Told,
)
from coordinator.package_sizes import PackageSizes
from coordinator.ports import (
    Clock,
    EventRow,
    HistoryRow,
    HostRow,
    InstanceRow,
    Sender,
    StaleRevisionError,
    Store,
)
from protocol.errors import UnavailableError
from protocol.messages import Command, PastEntry, Progress
from protocol.states import Phase, TaskKind

log = logging.getLogger(__name__)

T = TypeVar("T")

LARGEST_BATCH = 2_000
PAUSE_AFTER_FAILED_COMMIT = 1.0
LONGEST_SLEEP = 3600.0


@dataclass(order=True, slots=True)
class _Alarm:
    at: float
    task_id: str = field(compare=False)
    instance_id: str = field(compare=False)


class Engine:
    """Drives all tasks of one coordinator."""

    def __init__(
        self,
        store: Store,
        sender: Sender,
        clock: Clock,
        fleet: Fleet,
        publish: Callable[[Sequence[EventRow]], None],
        *,
        new_id: Callable[[], str] = new_id,
    ) -> None:
        self._store = store
        self._new_id = new_id
        self._sender = sender
        self._clock = clock
        self._fleet = fleet
        self._publish = publish
        self._inbox: asyncio.Queue[Item] = asyncio.Queue()
        self._tasks: dict[str, Task] = {}
        self._holds: dict[str, str] = {}
        self._heard_by = 0.0
        """By when, in steady seconds, all agents have come back after the last start, and told."""
        self._alarms: list[_Alarm] = []
        self._progress: dict[tuple[str, str], Progress] = {}
        self._turned = asyncio.Event()
        self._turned.set()
        self.trouble = ""
        """Why the live picture may be behind: the last commit's failure; "" if it succeeded."""
        self.sizes = PackageSizes()
        """How large packages are, as far as agents told."""

    # ---- questions ---------------------------------------------------------

    async def task(self, task_id: str) -> Task | None:
        """The task as it is saved."""
        return self._tasks.get(task_id) or await self._store.task(task_id)

    def progress_of(self, task_id: str, instance_id: str) -> Progress | None:
        """How far the attempt in hand is, if its agent has said so."""
        return self._progress.get((task_id, instance_id))

    def holder_of(self, instance_id: str) -> str:
        """The unfinished task that has the instance; "" if none has."""
        return self._holds.get(instance_id, "")

    # ---- requests ----------------------------------------------------------

    async def create(self, task: Task, audit: AuditRow) -> Task:
        """Accept a task; the same one again is answered with the first.

        `audit` is the request's row, which is kept with the task.
        Raises `ConflictError` for the same id with another body, and for instances that
        another task holds (unless the new one has `force`).
        """
        return await self._ask(lambda answer: Create(task, audit, answer))

    async def steer(
        self, kind: TaskKind, task_id: str, event: happenings.Steering, audit: AuditRow
    ) -> Task:
        """Cancel, pause, resume or promote a task.

        Raises `NotFoundError`, or `ConflictError` if it has ended or nothing waits for that.
        """
        return await self._ask(lambda answer: Steer(kind, task_id, event, audit, answer))

    async def decide(
        self, host_id: str, decide: Callable[[HostRow | None], HostRow], audit: AuditRow
    ) -> HostRow:
        """Make a host's new row of its present one (None if there is none), and save it.

        `audit` is the request's row. Raises what `decide` raises, and changes nothing then.
        """
        return await self._ask(lambda answer: Decide(host_id, decide, audit, answer))

    async def release(self, instance_id: str, audit: AuditRow) -> InstanceRow:
        """Let an instance belong to no host; returns its last row. `audit` is the request's.

        Raises `NotFoundError`, or `ConflictError` while an unfinished task holds it.
        """
        return await self._ask(lambda answer: Release(instance_id, audit, answer))

    async def change_pins(
        self,
        service: str,
        change: Callable[[PinDraft], PinRow],
        audit: AuditRow,
        done: Callable[[], None],
    ) -> PinRow:
        """Pin or unpin a version of a service; `done` is called when it is committed.

        `audit` is the request's row. Raises what `change` raises, and changes nothing then.
        """
        return await self._ask(lambda answer: ChangePins(service, change, audit, done, answer))

    def happened(
        self,
        task_id: str = "",
        event: happenings.Said | happenings.Connected | None = None,
        *,
        instances: Sequence[InstanceRow] = (),
        hosts: Sequence[HostRow] = (),
        events: Sequence[EventRow] = (),
        unknown: Command | None = None,
        lost: HistoryRow | None = None,
        past: tuple[str, int] | None = None,
        audit: Sequence[AuditRow] = (),
        brings: Brings | None = None,
        done: Callable[[], None] | None = None,
    ) -> None:
        """Take in what an agent told; `done` is called when it is committed.

        If there is no such assignment, `unknown` is sent to the agent and `lost` is kept.
        `past` is a host and up to which number its past is known with that. `brings` makes the
        rows of instances that become a host's by it.
        """
        self._inbox.put_nowait(
            Happened(
                task_id,
                event,
                instances=instances,
                hosts=hosts,
                events=events,
                unknown=unknown,
                lost=lost,
                past=past,
                audit=audit,
                brings=brings,
                done=done,
            )
        )

    def told(
        self,
        host_id: str,
        entries: Sequence[PastEntry],
        number: int,
        done: Callable[[], None],
    ) -> None:
        """Take in what a host told of its past: known up to `number` once `done` is called."""
        self._inbox.put_nowait(Told(host_id, entries, number, done))

    def went_away(self, instance_ids: Sequence[str]) -> None:
        """These instances' agent has fallen silent."""
        for instance_id in instance_ids:
            for task_id in self._concerned(instance_id):
                self._tick(task_id, instance_id)

    def reconnected(self, instance_id: str, told: Sequence[str]) -> None:
        """The instance's agent is back; `told` are the tasks that it named as in hand itself."""
        for task_id in self._concerned(instance_id):
            if task_id not in told:
                self.happened(task_id, happenings.Connected(instance_id, None))

    def progressed(self, progress: Progress) -> None:
        """Remember how far an attempt is, as long as its task runs."""
        task = self._tasks.get(progress.task_id)
        part = task.assignments.get(progress.instance_id) if task else None
        if task is None or part is None:
            return
        self.sizes.learn(task.target_of(part), progress)
        if progress.release_bytes is None:
            self._progress[progress.task_id, progress.instance_id] = progress

    def _concerned(self, instance_id: str) -> list[str]:
        """The tasks that have the instance, or wait for it, or whether it stays healthy."""
        tasks = [t for t in self._tasks.values() if t.bake_until is not None]
        found = [t.task_id for t in tasks if bakes(t, t.assignments.get(instance_id))]
        if holder := self._holds.get(instance_id):
            blocker = self._tasks[holder].assignments[instance_id].blocked_by
            found += [holder, blocker] if blocker else [holder]
        return found

    async def _ask(self, make: Callable[[asyncio.Future[T]], Item]) -> T:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(make(answer))
        return await answer

    # ---- the loop ----------------------------------------------------------

    async def turned(self) -> None:
        """Wait until the batch in hand was saved or refused; return at once if there is none."""
        await self._turned.wait()

    async def start(self) -> None:
        """Load what is unfinished and arm its timers."""
        now = self._clock.now().steady
        first_look = now + MISSED_HEARTBEATS * self._fleet.heartbeat_interval
        self._heard_by = first_look
        await self._read_unfinished()
        for task in self._tasks.values():
            for wake in rollout.wakes(task):
                part = task.assignments.get(wake.instance_id)
                switching = part is not None and part.phase is Phase.ACTIVATING
                at = max(wake.at, first_look) if switching else wake.at
                self._arm(task.task_id, wake.instance_id, at)

    async def _read_unfinished(self) -> None:
        """Make the picture of unfinished tasks anew from the store."""
        saved = await self._store.unfinished()
        tasks = [rollout.restarted(task, self._heard_by) for task in saved]
        self._tasks = {task.task_id: task for task in tasks}
        self._holds = {}
        for task in tasks:
            for part in task.assignments.values():
                if not part.phase.ended:
                    self._holds[part.instance_id] = task.task_id

    async def run(self) -> None:
        """Work until `stop`."""
        kept: list[Item] = []
        while True:
            items = kept + await self._next_items(wait=not kept)
            kept = await self._work(items)
            if any(isinstance(item, Stop) for item in items):
                return
            if kept:
                await asyncio.sleep(PAUSE_AFTER_FAILED_COMMIT)

    def stop(self) -> None:
        """End `run` after what is in the inbox."""
        self._inbox.put_nowait(Stop())

    async def _next_items(self, *, wait: bool) -> list[Item]:
        """What has piled up; if that is nothing, the next one if `wait` is set."""
        now = self._clock.now().steady
        due: list[Item] = []
        while self._alarms and self._alarms[0].at <= now:
            alarm = heapq.heappop(self._alarms)
            if alarm.task_id in self._tasks:
                due.append(self._tick_item(alarm.task_id, alarm.instance_id))
        if wait and not due and self._inbox.empty():
            longest = min(self._alarms[0].at - now, LONGEST_SLEEP) if self._alarms else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(longest):
                    due.append(await self._inbox.get())
        room = LARGEST_BATCH - sum(item.weight for item in due)
        while room > 0 and not self._inbox.empty():
            item = self._inbox.get_nowait()
            room -= item.weight
            due.append(item)
        return due

    async def _work(self, items: list[Item]) -> list[Item]:
        """Work the items off; return those that could not be saved and are to be tried again."""
        while items:
            self._turned.clear()
            try:
                loaded = await self._load(items)
                batch = Batch(
                    {**self._tasks, **loaded},
                    self._holds,
                    self._fleet,
                    self._sender,
                    self._clock,
                    new_id=self._new_id,
                )
                for item in items:
                    item.apply(batch)
                changes = batch.changes()
                events = await self._store.commit(changes) if changes else []
            except StaleRevisionError as error:
                log.warning("the database was changed by another writer: %s", error)
                try:
                    await self._read_unfinished()
                except UnavailableError as unavailable:
                    return self._refuse(items, unavailable)
            except UnavailableError as error:
                return self._refuse(items, error)
            else:
                self._adopt(batch, events)
                break
            finally:
                self._turned.set()
        return []

    async def _load(self, items: Sequence[Item]) -> dict[str, Task]:
        names = {name for item in items for name in item.names()} - self._tasks.keys()
        found = await self._store.named(names) if names else []
        return {task.task_id: task for task in found}

    def _refuse(self, items: list[Item], error: UnavailableError) -> list[Item]:
        """Refuse the callers; return what agents told, to be tried again after a pause."""
        self.trouble = f"the last change was not saved: {error.message}"
        log.error("nothing was saved: %s", error.message)
        kept: list[Item] = []
        for item in items:
            if isinstance(item, Create | Steer | Decide | Release | ChangePins):
                if not item.answer.done():
                    item.answer.set_exception(error)
            else:
                kept.append(item)
        return kept

    def _adopt(self, batch: Batch, events: Sequence[EventRow]) -> None:
        """The batch is saved: make it the truth here, and let the world know."""
        self.trouble = ""
        self._fleet.forget(batch.released)
        self._fleet.load(batch.hosts, batch.instances)
        self._fleet.load_pins(batch.pins.added, batch.pins.removed)
        self._holds = batch.holds
        for task in batch.touched():
            if task.state.ended:
                self._tasks.pop(task.task_id, None)
                self._forget_progress(task)
            else:
                self._tasks[task.task_id] = task
        for task_id, effect in batch.effects:
            if isinstance(effect, happenings.Wake):
                self._arm(task_id, effect.instance_id, effect.at)
            else:
                self._sender.send(effect.instance_id, effect.command)
        for call in batch.after_commit:
            call()
        self._publish(events)

    def _forget_progress(self, task: Task) -> None:
        for instance_id in task.assignments:
            self._progress.pop((task.task_id, instance_id), None)

    def _arm(self, task_id: str, instance_id: str, at: float) -> None:
        heapq.heappush(self._alarms, _Alarm(at, task_id, instance_id))

    def _tick(self, task_id: str, instance_id: str) -> None:
        self._inbox.put_nowait(self._tick_item(task_id, instance_id))

    def _tick_item(self, task_id: str, instance_id: str) -> Happened:
        connected = self._sender.connected(instance_id)
        return Happened(task_id, happenings.Tick(instance_id, connected))
