"""What the engine needs from outside: a `Store`, a `Sender`, a `Clock`.

Every implementation passes the contract tests in `tests/contract/`. Rows are plain
values; nothing here knows SQL, sockets or HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from coordinator.core.chain import AuditRow
from coordinator.core.pins import PinRow
from coordinator.core.task import Assignment, Moment, Task
from coordinator.core.timeline import Transition
from protocol.messages import Command
from protocol.models import TaskProgress
from protocol.states import HostState, InstanceStatus, TaskKind, TaskState


@dataclass(frozen=True, slots=True)
class Retained:
    """A release that a host keeps on its disk, as its agent last told of it."""

    version: str
    digest: str
    proven: float | None = None
    """When the host last found it whole, in steady seconds; None if that is not known."""
    damaged: str = ""
    """What the host found to differ; such a release is no way back. "": nothing."""


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """An instance as its agent last reported it."""

    instance_id: str
    host_id: str
    service: str
    address: str
    port: int
    status: InstanceStatus
    version: str
    digest: str
    reason: str
    metadata: Mapping[str, str]
    retained: tuple[Retained, ...]
    """Those that were healthy there, the latest at the end."""
    updated_at: datetime
    """When status, version or reason last changed, in the coordinator's time."""
    fetched: tuple[Retained, ...] = ()
    """Those that were brought there ahead of time and never ran."""
    free_bytes: int | None = None
    """About how many bytes the disk of its releases has free; None: its agent did not tell."""

    def has_on_disk(self, version: str) -> bool:
        """Whether a release of this version is known to be on the host's disk."""
        known = (*self.retained, *self.fetched)
        return version == self.version or any(one.version == version for one in known)


@dataclass(frozen=True, slots=True)
class HostRow:
    """A host that joined, or of which an operator has decided."""

    host_id: str
    joined_at: datetime
    agent_version: str = ""
    address: str = ""
    last_seen: datetime | None = None
    past_number: int = 0
    """The newest entry of the host's own past that is known to be in the history."""
    state: HostState = HostState.JOINED
    state_since: datetime | None = None
    fingerprint: str = ""
    """SHA-256 (hex) of the public key that it was let in with or last showed; "": not known."""
    token_id: str = ""
    """The join token that let it in; "" if none did."""
    generation: int = 0
    """Grows with each revocation: certificates of an older generation are refused."""
    protocol: tuple[int, int] = (0, 0)
    """The highest (major, minor) version of the protocol that it ever spoke."""
    certified_by: str = ""
    """The digest of the authority of the host's certificate; "" if it is not known."""
    believes: tuple[str, ...] = ()
    """The digests of the authorities that the host believes; empty if that is not known."""


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One assignment that ended on an instance."""

    instance_id: str
    service: str
    version: str
    action: Literal["deploy", "rollback"]
    task_id: str
    timestamp: datetime
    status: Literal["success", "failed", "cancelled"]
    reason: str = ""
    corrects: bool = False
    """Whether the assignment has a row already: its status, its reason and when it
    regressed are replaced."""
    regressed_at: datetime | None = None
    """When it failed after it had succeeded: its host did not put back what it had brought."""
    told_attempt: int = 0
    """The attempt that the host's own past told of, 0 for a row of the coordinator's own.
    A row that is told is left out if the assignment has one, and replaces an earlier attempt's
    that was told; it never stands before the instance's latest row."""

    @property
    def brought(self) -> bool:
        """Whether the version ran on the instance from then on."""
        return self.status == "success" or self.regressed_at is not None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One change for the event stream. `seq` is 0 until the store has numbered it."""

    at: datetime
    kind: Literal["task", "assignment", "instance"]
    data: Mapping[str, Any]
    seq: int = 0


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An access token; only its digest is kept."""

    token_id: str
    role: str
    digest: str
    name: str
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    host_id: str = ""
    """The one host that a join token lets in; "" for any."""
    uses: int | None = None
    """How many hosts a join token lets in; None: no limit."""
    used: int = 0
    services: tuple[str, ...] = ()
    """Shell-style patterns of the services that it is restricted to; none: all."""


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """A task without its assignments, for lists."""

    task_id: str
    kind: TaskKind
    service: str
    version: str
    rollback_type: str
    state: TaskState
    progress: TaskProgress
    created_at: datetime
    updated_at: datetime


@dataclass(slots=True)
class Changes:
    """What one commit writes: all of it or nothing.

    `created` tasks are inserted with all their assignments; `tasks` updates the other
    tasks' own rows (their `revision` must be one more than the stored one),
    `assignments` the named parts, as (task_id, assignment), and `transitions` is added to
    what the tasks went through, as (task_id, transition).
    """

    created: list[Task] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    assignments: list[tuple[str, Assignment]] = field(default_factory=list)
    transitions: list[tuple[str, Transition]] = field(default_factory=list)
    history: list[HistoryRow] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    """Instances whose rows go, before `instances` are written."""
    instances: list[InstanceRow] = field(default_factory=list)
    hosts: list[HostRow] = field(default_factory=list)
    unpinned: list[tuple[str, str]] = field(default_factory=list)
    """(service, version) of each pin that goes, before `pinned` are written."""
    pinned: list[PinRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    audit: list[AuditRow] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(
            (
                self.created,
                self.tasks,
                self.assignments,
                self.transitions,
                self.history,
                self.released,
                self.instances,
                self.hosts,
                self.unpinned,
                self.pinned,
                self.events,
                self.audit,
            )
        )


class StaleRevisionError(Exception):
    """Another coordinator has changed the task meanwhile: load it again and redo the step."""


class Store(Protocol):
    """The only memory of tasks. Methods raise `UnavailableError` when the database can't work."""

    async def commit(self, changes: Changes) -> list[EventRow]:
        """Write `changes` durably in one transaction; return its events with their numbers.

        Raises `StaleRevisionError` and writes nothing if a task's revision does not follow.
        """
        ...

    async def task(self, task_id: str) -> Task | None:
        """Load one task with its assignments in their order."""
        ...

    async def named(self, task_ids: Collection[str]) -> list[Task]:
        """Load these tasks with their assignments; those that are unknown are left out."""
        ...

    async def unfinished(self) -> list[Task]:
        """Load every task with an assignment that has not ended, oldest first."""
        ...

    async def transitions(self, task_id: str) -> list[Transition]:
        """Every transition of the task's assignments, in the order in which they happened."""
        ...

    async def tasks(
        self,
        kind: TaskKind,
        *,
        services: Collection[str] | None = None,
        state: TaskState | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[list[TaskSummary], int]:
        """One page of tasks, newest first, and how many match in all.

        `services` are those that count; None: all.
        """
        ...

    async def services_of_tasks(self) -> Collection[str]:
        """The names of all services that ever had a task."""
        ...

    async def task_counts(
        self, kind: TaskKind, since: datetime, services: Collection[str] | None = None
    ) -> Mapping[TaskState, int]:
        """How many tasks (of these services) created at or after `since` are in each state."""
        ...

    async def last_success(self, service: str, version: str) -> tuple[str, str] | None:
        """(package_url, digest) of the last completed task that brought this version by URL.

        A prefetch is none: what it brought never ran.
        """
        ...

    async def last_prefetched(self, service: str, version: str, package_url: str) -> str:
        """The digest of the last prefetch of this that brought it to some host; "" if none did."""
        ...

    async def history(
        self, instance_id: str, limit: int = 50, offset: int = 0, *, service: str = ""
    ) -> tuple[list[HistoryRow], int]:
        """One page of an instance's history, newest first, and how many rows there are.

        With `service` only what ended there as an instance of it.
        """
        ...

    async def history_up_to(self, service: str, at: datetime) -> Mapping[str, Sequence[HistoryRow]]:
        """What the history says of a moment, of each instance that it ever names as the service's.

        That is the instance's last row up to then, whichever service's it is, and the last one
        that brought a version, if that is another: the newest first, and none if nothing had
        ended.
        """
        ...

    async def ever_ran(self, instance_id: str, service: str) -> bool:
        """Whether any assignment of the service succeeded on the instance."""
        ...

    async def last_healthy(self, instance_id: str, service: str, *, but: str) -> str:
        """The last version but this one that was healthy there, by its history; "" if none was."""
        ...

    async def instances(self) -> list[InstanceRow]:
        """Every instance that was ever reported."""
        ...

    async def hosts(self) -> list[HostRow]:
        """Every host that joined."""
        ...

    async def pins(self) -> list[PinRow]:
        """Every pinned version."""
        ...

    async def events_after(self, seq: int, limit: int = 1000) -> list[EventRow]:
        """Events with a greater number, in order."""
        ...

    async def last_event(self) -> int:
        """The number of the newest event; 0 if there is none."""
        ...

    async def audit(
        self, since: datetime | None = None, limit: int = 100, offset: int = 0
    ) -> tuple[list[AuditRow], int]:
        """One page of the audit trail (its rows from `since` on), newest first, and how many."""
        ...

    async def walk_audit(self, look: Callable[[AuditRow], None]) -> int:
        """Show every row of the audit trail to `look`, the oldest first; return the last number.

        That is the last one that was ever given. All of it is one unchanging picture.
        """
        ...

    async def remove_audit(self, before: datetime, now: datetime, limit: int) -> int:
        """Remove at most `limit` of the oldest rows that are older than `before`; return how many.

        A row that vouches for them is added in the same transaction.
        """
        ...

    async def add_token(self, token: TokenRow, audit: Sequence[AuditRow] = ()) -> None:
        """Keep a new token, and these rows of the audit trail with it."""
        ...

    async def token_by_digest(self, digest: str) -> TokenRow | None:
        """The token with this digest, whether it is still valid or not."""
        ...

    async def tokens(self) -> list[TokenRow]:
        """All tokens, newest first."""
        ...

    async def token(self, token_id: str) -> TokenRow | None:
        """The token with this id; None if there is no such token."""
        ...

    async def revoke_token(
        self, token_id: str, at: datetime, audit: Sequence[AuditRow] = ()
    ) -> TokenRow | None:
        """Mark a token as revoked (the first time counts); None if there is no such token.

        The rows of the audit trail are kept with it, if there is one.
        """
        ...

    async def touch_token(self, token_id: str, at: datetime) -> None:
        """Remember when a token was last used."""
        ...

    async def use_token(self, token_id: str, host_id: str, fingerprint: str) -> bool:
        """Count a use of a join token by a host with this key, once; False if it is used up.

        The same host with the same key again is not counted again.
        """
        ...

    async def anchor(self) -> tuple[str, float, datetime, float] | None:
        """The saved clock anchor: (boot id, boot-time seconds, wall time, steady seconds)."""
        ...

    async def save_anchor(self, boot: str, boottime: float, wall: datetime, steady: float) -> None:
        """Save the clock anchor."""
        ...

    async def check(self) -> None:
        """Return if the database answers; raise `UnavailableError` saying why not."""
        ...


class Sender(Protocol):
    """The way to the agents."""

    def send(self, instance_id: str, command: Command) -> bool:
        """Hand a command to the instance's agent; False if it is away. Never waits."""
        ...

    def connected(self, instance_id: str) -> bool:
        """Whether the instance's agent has been heard of within three heartbeats."""
        ...


class Clock(Protocol):
    """The coordinator's time."""

    def now(self) -> Moment:
        """The present moment: steady seconds that survive restarts, and the wall time."""
        ...
