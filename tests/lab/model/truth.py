"""What really happened on the hosts, and what must never happen.

`Truth` reads every journal record and every commit as it is written. It complains at once
(`Violation`) about what must not even be for a moment; the end of a trace is compared by
`compare`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from agent.core.swap import STEPS
from agent.journal import Record, Work
from coordinator.core.task import Assignment, Task
from coordinator.ports import Changes, HistoryRow, InstanceRow
from protocol.messages import Ended, Result
from protocol.states import TASK, InstanceStatus, Phase, Receipt, TaskState
from tests.lab.model.host import Place

Attempt = tuple[str, int]
"""A task's id and the attempt's number."""


class Violation(AssertionError):  # noqa: N818 - it is what the model looks for
    """A promise was broken."""


@dataclass
class Truth:
    """The record of a trace."""

    activated: dict[str, list[Attempt]] = field(default_factory=dict)
    """By instance, in their order: attempts that began to stop the old release."""
    ended: dict[tuple[str, str, int], Ended] = field(default_factory=dict)
    """By instance, task and attempt: the first end that the journal held."""
    records: dict[str, Record] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    """Every task that was ever committed, in the order of their creation, as last committed."""
    entered: dict[tuple[str, str], tuple[Phase, int]] = field(default_factory=dict)
    """By task and instance: the phase and attempt of the last transition that was committed."""

    # ---- agents ------------------------------------------------------------

    def loaded(self, record: Record) -> None:
        """An agent has read this record at its start."""
        self.records[record.instance_id] = record

    def saved(self, record: Record) -> None:
        """An agent has saved this record."""
        before = self.records.get(record.instance_id, Record(record.instance_id))
        self.records[record.instance_id] = record
        work = record.work
        if work and _switching(work) and not (before.work and _same_switch(before.work, work)):
            self._activates(record.instance_id, (work.task_id, work.attempt))
        if record.last is not None and record.last != before.last:
            assert isinstance(record.last.event, Ended)
            key = (record.instance_id, record.last.task_id, record.last.attempt)
            self.ended.setdefault(key, record.last.event)

    def _activates(self, instance_id: str, new: Attempt) -> None:
        order = list(self.tasks)
        if new[0] not in order:
            raise Violation(f"{instance_id}: {new} is applied, and no such task was committed")
        for old in self.activated.setdefault(instance_id, []):
            if (order.index(old[0]), old[1]) >= (order.index(new[0]), new[1]):
                raise Violation(f"{instance_id}: {new} is applied after {old}")
        self.activated[instance_id].append(new)

    # ---- the coordinator ---------------------------------------------------

    def committed(self, changes: Changes) -> None:
        """The store has taken these changes."""
        self.entered.update(
            ((task_id, made.instance_id), (made.phase, made.attempt))
            for task_id, made in changes.transitions
        )
        for task in (*changes.created, *changes.tasks):
            before = self.tasks.get(task.task_id)
            self.tasks[task.task_id] = task
            check_counts(task)
            self._check_transitions(task)
            if before is not None:
                _check_moves(before, task)

    def _check_transitions(self, task: Task) -> None:
        """The last transition that is kept of each assignment led to where it is."""
        for name, part in task.assignments.items():
            if self.entered.get((task.task_id, name)) != (part.phase, part.attempt):
                raise Violation(f"{task.task_id} on {name}: no transition led to {part}")


def _switching(work: Work) -> bool:
    return work.step in STEPS


def _same_switch(before: Work, work: Work) -> bool:
    same = (before.task_id, before.attempt) == (work.task_id, work.attempt)
    return same and _switching(before)


def check_counts(task: Task) -> None:
    """The counters add up and are those of the assignments."""
    told = task.progress
    real = Counter(part.phase.state for part in task.assignments.values())
    pending = real[TaskState.PENDING] + real[TaskState.IN_PROGRESS]
    if told.total != told.completed + told.failed + told.pending + told.cancelled or (
        (told.total, told.completed, told.failed, told.cancelled, told.pending)
        != (
            len(task.assignments),
            real[TaskState.COMPLETED],
            real[TaskState.FAILED],
            real[TaskState.CANCELLED],
            pending,
        )
    ):
        raise Violation(f"{task.task_id}: {told} is not {real}")


def _check_moves(before: Task, after: Task) -> None:
    if after.state is not before.state and after.state not in TASK[before.state]:
        raise Violation(f"{after.task_id}: from {before.state} to {after.state}")
    for name, part in after.assignments.items():
        old = before.assignments[name]
        if old.phase.ended and not part.phase.ended:
            raise Violation(f"{after.task_id} on {name} goes on after its end: {old} {part}")
        if part.attempt < old.attempt:
            raise Violation(f"{after.task_id} on {name} goes back to an older attempt")


# ---- at the end of a trace -------------------------------------------------------


def check_outcome(truth: Truth, task: Task, part: Assignment) -> None:
    """The assignment's end is what the host did."""
    attempt = (task.task_id, part.attempt)
    activated = truth.activated.get(part.instance_id, [])
    ended = truth.ended.get((part.instance_id, *attempt))
    where = f"{task.task_id} on {part.instance_id}: {part}; the host: {ended}"
    if not part.phase.ended:
        raise Violation(f"never ends: {where}")
    if part.receipt is Receipt.UNKNOWN:
        raise Violation(f"what became of it is not known: {where}")
    succeeded = ended is not None and ended.result is Result.SUCCEEDED
    if part.phase is Phase.COMPLETED and not succeeded:
        raise Violation(f"completed, and the host did not: {where}")
    if attempt in activated and succeeded and part.phase is not Phase.COMPLETED:
        raise Violation(f"the host did it, and it is not completed: {where}")
    untouched = part.receipt in (Receipt.NEVER_STARTED, Receipt.STOPPED_BEFORE_SWITCH)
    if untouched and attempt in activated and not _between_attempts(part, ended):
        raise Violation(f"cancelled in time, and the host switched: {where}")


def _between_attempts(part: Assignment, ended: Ended | None) -> bool:
    """Whether this attempt had failed and was told before the cancellation met the next one."""
    return ended is not None and ended.result is Result.FAILED and part.error == ended.message


def check_host(place: Place, record: Record, row: InstanceRow) -> None:
    """What is shown of the instance is what is there, and one whole release serves."""
    current = record.current
    where = f"{place.instance_id}: shown {row}; journal {record}; serves {place.serves()!r}"
    name = f"{current.version}-{current.digest[:12]}" if current else ""
    if record.work is not None or record.unsent:
        raise Violation(f"something is left over: {where}")
    if (row.version, row.digest) != ((current.version, current.digest) if current else ("", "")):
        raise Violation(f"the version shown is wrong: {where}")
    if record.trouble:
        if row.status is not InstanceStatus.ERROR:
            raise Violation(f"in trouble, and not shown: {where}")
        return
    if place.linked() != name:
        raise Violation(f"`current` leads to {place.linked()!r}: {where}")
    if place.serves() not in ("", name):
        raise Violation(f"another release serves: {where}")
    if (row.status is InstanceStatus.RUNNING) != bool(place.serves()):
        raise Violation(f"the status shown is wrong: {where}")


def check_history(task: Task, part: Assignment, rows: list[HistoryRow]) -> None:
    """The assignment has one row, which tells its end."""
    found = [row.status for row in rows if row.task_id == task.task_id]
    expected = "success" if part.phase is Phase.COMPLETED else part.phase.state.value
    if found != [expected]:
        raise Violation(f"{task.task_id} on {part.instance_id}: {part}; history {found}")
