"""States, and the tables by which they move. The tables are the documentation.

`ASSIGNMENT[phase][event]` is the phase that follows; a pair that is not in the table
is stale or refused, and changes nothing. `docs/architecture.md` draws its diagrams
from these tables. Nothing here does I/O, reads a clock or logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class TaskState(Enum):
    """The documented states of a task, and of each of its parts."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more (but for a late, truer report)."""
        return self is not TaskState.PENDING and self is not TaskState.IN_PROGRESS


class Phase(Enum):
    """Where one assignment stands, seen from the coordinator."""

    QUEUED = "queued"  # its turn has not come
    WAITING = "waiting"  # its turn has come; the agent has not taken `prepare` yet
    PREPARING = "preparing"  # the agent fetches, verifies and unpacks; the old version serves
    PREPARED = "prepared"  # the verified release is on the host's disk
    ACTIVATING = "activating"  # `activate` was decided: the agent finishes or puts back
    RETRYING = "retrying"  # a failed attempt; the next one begins at `retry_at`
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    # By identity, as they are compared: each step of a rollout counts thousands of them.
    __hash__ = object.__hash__

    @property
    def state(self) -> TaskState:
        """The documented state that this phase is shown as."""
        return _SHOWN_AS[self]

    @property
    def ended(self) -> bool:
        """Whether the assignment has ended."""
        return self.state.ended


_SHOWN_AS: Mapping[Phase, TaskState] = {
    Phase.QUEUED: TaskState.PENDING,
    Phase.WAITING: TaskState.PENDING,
    Phase.PREPARING: TaskState.IN_PROGRESS,
    Phase.PREPARED: TaskState.IN_PROGRESS,
    Phase.ACTIVATING: TaskState.IN_PROGRESS,
    Phase.RETRYING: TaskState.IN_PROGRESS,
    Phase.COMPLETED: TaskState.COMPLETED,
    Phase.FAILED: TaskState.FAILED,
    Phase.CANCELLED: TaskState.CANCELLED,
}


class Happening(Enum):
    """What can happen to an assignment."""

    TURN = "turn"  # the rollout lets it begin
    TAKEN = "taken"  # the agent saved `prepare`
    PREPARED = "prepared"  # the agent holds the verified release
    GO = "go"  # the rollout allows the switch
    SUCCEEDED = "succeeded"
    ATTEMPT_FAILED = "attempt_failed"  # and another attempt is due
    GAVE_UP = "gave_up"  # failed for good
    RETRY_DUE = "retry_due"
    TIMED_OUT = "timed_out"
    WITHDRAWN = "withdrawn"  # cancelled where it stood
    REGRESSED = "regressed"  # healthy at first, and no more while it was watched


ASSIGNMENT: Mapping[Phase, Mapping[Happening, Phase]] = {
    Phase.QUEUED: {
        Happening.TURN: Phase.WAITING,
        Happening.WITHDRAWN: Phase.CANCELLED,
    },
    Phase.WAITING: {
        Happening.TAKEN: Phase.PREPARING,
        Happening.PREPARED: Phase.PREPARED,
        Happening.ATTEMPT_FAILED: Phase.RETRYING,
        Happening.GAVE_UP: Phase.FAILED,
        Happening.SUCCEEDED: Phase.COMPLETED,
        Happening.TIMED_OUT: Phase.FAILED,
        Happening.WITHDRAWN: Phase.CANCELLED,
    },
    Phase.PREPARING: {
        Happening.PREPARED: Phase.PREPARED,
        Happening.ATTEMPT_FAILED: Phase.RETRYING,
        Happening.GAVE_UP: Phase.FAILED,
        Happening.SUCCEEDED: Phase.COMPLETED,
        Happening.TIMED_OUT: Phase.FAILED,
        Happening.WITHDRAWN: Phase.CANCELLED,
    },
    Phase.PREPARED: {
        Happening.GO: Phase.ACTIVATING,
        Happening.ATTEMPT_FAILED: Phase.RETRYING,
        Happening.GAVE_UP: Phase.FAILED,
        Happening.TIMED_OUT: Phase.FAILED,
        Happening.WITHDRAWN: Phase.CANCELLED,
    },
    Phase.ACTIVATING: {
        Happening.SUCCEEDED: Phase.COMPLETED,
        Happening.ATTEMPT_FAILED: Phase.RETRYING,
        Happening.GAVE_UP: Phase.FAILED,
        Happening.TIMED_OUT: Phase.FAILED,
        Happening.WITHDRAWN: Phase.CANCELLED,
    },
    Phase.RETRYING: {
        Happening.RETRY_DUE: Phase.PREPARING,
        Happening.TIMED_OUT: Phase.FAILED,
        Happening.WITHDRAWN: Phase.CANCELLED,
    },
    Phase.COMPLETED: {Happening.REGRESSED: Phase.FAILED},
    # An agent that was away tells later what became of it: the truer report wins.
    Phase.FAILED: {Happening.SUCCEEDED: Phase.COMPLETED},
    Phase.CANCELLED: {Happening.SUCCEEDED: Phase.COMPLETED, Happening.GAVE_UP: Phase.FAILED},
}


TASK: Mapping[TaskState, frozenset[TaskState]] = {
    TaskState.PENDING: frozenset(
        {TaskState.IN_PROGRESS, TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED}
    ),
    TaskState.IN_PROGRESS: frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED}),
    # A regression, or a truer report of an agent that was away, may turn one end into another.
    TaskState.COMPLETED: frozenset({TaskState.FAILED}),
    TaskState.FAILED: frozenset({TaskState.COMPLETED}),
    TaskState.CANCELLED: frozenset({TaskState.COMPLETED, TaskState.FAILED}),
}


class Receipt(Enum):
    """What a cancellation met (interface section 3, "Cancel")."""

    NEVER_STARTED = "never_started"
    STOPPED_BEFORE_SWITCH = "stopped_before_switch"
    TOO_LATE = "too_late"
    UNKNOWN = "unknown"


class HostState(Enum):
    """What a host may do: only one that is let in (approved, joined) may speak."""

    PENDING = "pending"
    APPROVED = "approved"
    JOINED = "joined"
    REJECTED = "rejected"
    REVOKED = "revoked"


class InstanceStatus(Enum):
    """The documented states of an instance."""

    RUNNING = "running"
    STOPPED = "stopped"
    ERROR = "error"


class TaskKind(Enum):
    """Which of the tasks. A prefetch ends with the verified release on disk: nothing is run."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    PREFETCH = "prefetch"


class RotationPhase(Enum):
    """How far a rotation of the authority is."""

    NONE = "none"
    BEGUN = "begun"  # the next authority is there, and hosts are told to believe it, too
    SWITCHED = "switched"  # the next authority signs; the one before is still believed
