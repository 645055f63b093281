"""Tasks and assignments as immutable values.

`Task` holds everything that a decision needs, so that commands can be derived again
from a saved one after any restart. Deadlines are seconds of the coordinator's steady
clock (`ports.Clock`); the datetimes are for people and decide nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

from protocol.models import TaskProgress
from protocol.states import Phase, Receipt, TaskKind, TaskState
from protocol.strategy import Strategy

Relation = Literal["", "retry", "rollback", "on_failure", "guard"]
"""Why a task comes from another: an operator asked for it, or the other one's strategy did."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One point in time: `steady` seconds for decisions, `wall` (UTC) for people."""

    steady: float
    wall: datetime


@dataclass(frozen=True, slots=True)
class Target:
    """A version, and where it comes from: "" for what is not known or not needed."""

    version: str
    package_url: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One task's part on one instance."""

    instance_id: str
    phase: Phase = Phase.QUEUED
    attempt: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    deadline: float | None = None
    retry_at: float | None = None
    """When the next attempt begins; None while it retries: once the task has a place for it."""
    reason: str = ""
    error: str = ""
    receipt: Receipt | None = None
    cancel_asked: bool = False
    blocked_by: str = ""
    """The task that must leave the instance first, after `force` took it over."""
    regressed: bool = False
    """It had completed, and its host then told that the service is healthy no more."""
    guarded: bool = False
    """It regressed within the strategy's `guard`."""
    since: datetime | None = None
    """When it came into its phase; None: with the task."""
    left: float | None = None
    """What is left of its timeout while its clock is stopped; None while it runs."""
    batch: int = 0
    turn: int = 0
    """Its place in the order in which the task takes its instances."""
    let_go: bool = False
    """Whether it was ever told to switch."""
    unreachable: bool = False
    """Whether it failed because its agent stayed away."""
    discards: int = 0
    """So many of its attempts prepared the release and lost it again while it waited."""
    target: Target | None = None
    """What it is brought to, if that is not the same for the whole task."""
    ran: Target | None = None
    """What the instance ran before; None if that was nothing."""

    @property
    def waits_for_place(self) -> bool:
        """Whether it lost what it had prepared, and prepares it again once there is a place."""
        return self.phase is Phase.RETRYING and self.retry_at is None


@dataclass(frozen=True)
class Task:
    """A task with all its assignments, in the order they were named."""

    task_id: str
    kind: TaskKind
    service: str
    version: str
    timeout: int
    retry_count: int
    created_at: datetime
    updated_at: datetime
    assignments: Mapping[str, Assignment]
    package_url: str = ""
    digest: str = ""
    """The task's one digest: given, from the history, or of the first verified download."""
    use_retained: bool = False
    force: bool = False
    rollback_type: str = ""
    fingerprint: str = ""
    """SHA-256 of the request body: tells "the same again" from "another"."""
    completed_at: datetime | None = None
    cancelled_at: datetime | None = None
    revision: int = 0
    strategy: Strategy | None = None
    paused_at: datetime | None = None
    passed: int = 0
    """So many batches have passed: the next one may begin."""
    bake_until: float | None = None
    """Until when the batch that has ended must stay healthy, in steady seconds."""
    promoted_by: str = ""
    """Who let the others follow the canary."""
    stopped: str = ""
    """Why the task stopped by itself; "" if it did not."""
    taken_back: bool = False
    """Whether what it had switched was sent back, after it had stopped."""
    follows: str = ""
    """The task that this one comes from."""
    relation: Relation = ""
    """How it comes from that one."""
    led_to: tuple[str, ...] = ()
    """The tasks that come from this one."""

    @property
    def state(self) -> TaskState:
        """The documented state, from the counts alone; a task that stopped itself has failed."""
        state = state_of(self.progress)
        return TaskState.FAILED if self.stopped and state.ended else state

    def target_of(self, part: Assignment) -> Target:
        """What a part is brought to."""
        return part.target or Target(self.version, self.package_url, self.digest)

    @cached_property
    def last_batch(self) -> int:
        """The number of the last batch."""
        return max((part.batch for part in self.assignments.values()), default=0)

    @cached_property
    def progress(self) -> TaskProgress:
        """The documented counts."""
        phases = Counter(part.phase for part in self.assignments.values())
        counts = dict.fromkeys(TaskState, 0)
        for phase, count in phases.items():
            counts[phase.state] += count
        return TaskProgress(
            total=len(self.assignments),
            completed=counts[TaskState.COMPLETED],
            failed=counts[TaskState.FAILED],
            cancelled=counts[TaskState.CANCELLED],
            pending=counts[TaskState.PENDING] + counts[TaskState.IN_PROGRESS],
            in_progress=counts[TaskState.IN_PROGRESS],
        )


def state_of(progress: TaskProgress) -> TaskState:
    """The documented state of a task with these counts (interface section 3, "Tasks")."""
    if progress.pending == progress.total and not progress.in_progress:
        return TaskState.PENDING
    if progress.pending:
        return TaskState.IN_PROGRESS
    if progress.cancelled:
        return TaskState.CANCELLED
    if progress.failed:
        return TaskState.FAILED
    return TaskState.COMPLETED
