"""What comes through the engine's inbox: each item applies itself to a batch.

Callers are answered, and `done` runs, once the batch is saved; a refused request is
answered at once. When a batch is made and what becomes of its items if the database can't
commit it is the engine's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from coordinator.batch import Batch, Brings
from coordinator.core import happenings
from coordinator.core.chain import AuditRow
from coordinator.core.pins import PinDraft, PinRow
from coordinator.core.task import Task
from coordinator.ports import EventRow, HistoryRow, HostRow, InstanceRow
from protocol.errors import FerrymanError
from protocol.messages import Command, PastEntry
from protocol.states import TaskKind

T = TypeVar("T")


class Item:
    """Something that changes tasks, instances or hosts."""

    __slots__ = ()

    @property
    def weight(self) -> int:
        """How much of a batch it takes; most items take 1."""
        return 1

    def names(self) -> list[str]:
        """The tasks that it needs."""
        return []

    def apply(self, batch: Batch) -> None:
        """Do it on the batch's working copies."""


@dataclass(slots=True)
class Create(Item):
    """A request to accept a task."""

    task: Task
    audit: AuditRow
    answer: asyncio.Future[Task]

    def names(self) -> list[str]:
        """The task itself, which may exist already, and the one that it comes from."""
        return [name for name in (self.task.task_id, self.task.follows) if name]

    def apply(self, batch: Batch) -> None:
        """Accept it, or refuse it at once."""
        _settle(batch, self.answer, lambda: batch.create(self.task, self.audit))


@dataclass(slots=True)
class Steer(Item):
    """A request to cancel, pause, resume or promote a task."""

    kind: TaskKind
    task_id: str
    event: happenings.Steering
    audit: AuditRow
    answer: asyncio.Future[Task]

    def names(self) -> list[str]:
        """The task."""
        return [self.task_id]

    def apply(self, batch: Batch) -> None:
        """Do it, or refuse it at once."""
        _settle(
            batch,
            self.answer,
            lambda: batch.steer(self.kind, self.task_id, self.event, self.audit),
        )


@dataclass(slots=True)
class Happened(Item):
    """Something happened to one assignment, to instances or hosts; `done` runs once saved."""

    task_id: str = ""
    event: happenings.Said | happenings.Connected | happenings.Tick | None = None
    instances: Sequence[InstanceRow] = ()
    hosts: Sequence[HostRow] = ()
    events: Sequence[EventRow] = ()
    unknown: Command | None = None
    """What is sent if there is no such assignment."""
    lost: HistoryRow | None = None
    """What is kept if there is no such assignment."""
    past: tuple[str, int] | None = None
    """A host and up to which number its past is known with this."""
    audit: Sequence[AuditRow] = ()
    """What the audit trail tells of it."""
    brings: Brings | None = None
    """Makes what it tells of instances that become a host's."""
    done: Callable[[], None] | None = None

    def names(self) -> list[str]:
        """The assignment's task, if it is about one."""
        return [self.task_id] if self.task_id else []

    def apply(self, batch: Batch) -> None:
        """Take it in."""
        batch.describe(self.instances, self.hosts, self.brings)
        batch.events.extend(self.events)
        batch.audit.extend(self.audit)
        known = self.event is None or batch.happened(self.task_id, self.event)
        if not known and self.unknown is not None:
            batch.send(self.unknown)
        if not known and self.lost is not None:
            batch.remember(self.lost)
        if self.past is not None:
            batch.knows_past(*self.past)
        if self.done is not None:
            batch.after_commit.append(self.done)


@dataclass(slots=True)
class Told(Item):
    """A host told of its past."""

    host_id: str
    entries: Sequence[PastEntry]
    number: int
    done: Callable[[], None]

    @property
    def weight(self) -> int:
        """As many as there are entries."""
        return max(1, len(self.entries))

    def names(self) -> list[str]:
        """The tasks of all entries."""
        return [entry.task_id for entry in self.entries]

    def apply(self, batch: Batch) -> None:
        """Take all entries in."""
        batch.told(self.entries)
        batch.knows_past(self.host_id, self.number)
        batch.after_commit.append(self.done)


@dataclass(slots=True)
class Decide(Item):
    """A decision about a host: `decide` makes its new row of the present one, or refuses."""

    host_id: str
    decide: Callable[[HostRow | None], HostRow]
    audit: AuditRow
    answer: asyncio.Future[HostRow]

    def apply(self, batch: Batch) -> None:
        """Take it, or refuse it at once."""
        _settle(batch, self.answer, lambda: batch.decide(self.host_id, self.decide, self.audit))


@dataclass(slots=True)
class Release(Item):
    """A request to let an instance belong to no host."""

    instance_id: str
    audit: AuditRow
    answer: asyncio.Future[InstanceRow]

    def apply(self, batch: Batch) -> None:
        """Do it, or refuse it at once."""
        _settle(batch, self.answer, lambda: batch.release(self.instance_id, self.audit))


@dataclass(slots=True)
class ChangePins(Item):
    """A request to pin or unpin a version; `done` runs once it is saved."""

    service: str
    change: Callable[[PinDraft], PinRow]
    audit: AuditRow
    done: Callable[[], None]
    answer: asyncio.Future[PinRow]

    def apply(self, batch: Batch) -> None:
        """Do it, or refuse it at once."""

        def changed() -> PinRow:
            row = batch.change_pins(self.service, self.change, self.audit)
            batch.after_commit.append(self.done)
            return row

        _settle(batch, self.answer, changed)


@dataclass(slots=True)
class Stop(Item):
    """The engine ends after the batch that this is in."""


def _settle(batch: Batch, answer: asyncio.Future[T], work: Callable[[], T]) -> None:
    """Answer the caller once the batch is saved; at once if the request is refused."""
    try:
        made = work()
    except FerrymanError as error:
        if not answer.done():
            answer.set_exception(error)
        return
    batch.after_commit.append(lambda: None if answer.done() else answer.set_result(made))
