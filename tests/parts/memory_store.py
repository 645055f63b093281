"""The Store in memory: for tests of many coordinators in little time.

It keeps the port's rules (all of a commit or nothing, revisions that follow, one unfinished
task an instance) and passes the port's contract suite. It survives a coordinator that is
only an object, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from itertools import takewhile
from typing import TYPE_CHECKING, TypeVar

from coordinator.core.chain import FIRST, AuditRow, chained, removal
from coordinator.core.pins import Key, PinRow
from coordinator.core.task import Task
from coordinator.core.timeline import Transition
from coordinator.ports import (
    Changes,
    EventRow,
    HistoryRow,
    HostRow,
    InstanceRow,
    StaleRevisionError,
    TaskSummary,
    TokenRow,
)
from protocol.errors import ConflictError
from protocol.states import TaskKind, TaskState

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Row = TypeVar("Row", bound=DataclassInstance)

_PRUNE_EVERY = 1000


class MemoryStore:
    """Implements `ports.Store`. At least `keep_events` of the newest events are kept."""

    def __init__(self, keep_events: int = 100_000) -> None:
        self._keep_events = keep_events
        self._tasks: dict[str, Task] = {}
        self._holds: dict[str, str] = {}
        self._history: list[HistoryRow] = []
        self._transitions: list[tuple[str, Transition]] = []
        self._instances: dict[str, InstanceRow] = {}
        self._hosts: dict[str, HostRow] = {}
        self._pins: dict[Key, PinRow] = {}
        self._events: list[EventRow] = []
        self._last_event = 0
        self._audit: list[AuditRow] = []
        self._last_audit = 0
        self._tokens: dict[str, TokenRow] = {}
        self._token_uses: set[tuple[str, str, str]] = set()
        self._anchor: tuple[str, float, datetime, float] | None = None

    # ---- tasks -------------------------------------------------------------

    async def commit(self, changes: Changes) -> list[EventRow]:
        await asyncio.sleep(0)
        tasks, holds = self._with_tasks(changes)
        self._tasks, self._holds = tasks, holds
        self._transitions += [(task_id, _utc(made)) for task_id, made in changes.transitions]
        for row in changes.history:
            self._take_history(row)
        for name in changes.released:
            self._instances.pop(name, None)
        self._instances.update(
            (row.instance_id, replace(_utc(row), metadata=dict(row.metadata)))
            for row in changes.instances
        )
        self._hosts.update((row.host_id, _utc(row)) for row in changes.hosts)
        for key in changes.unpinned:
            self._pins.pop(key, None)
        self._pins.update(((row.service, row.version), _utc(row)) for row in changes.pinned)
        self._append_audit(changes.audit)
        return self._append_events(changes.events)

    def _with_tasks(self, changes: Changes) -> tuple[dict[str, Task], dict[str, str]]:
        """The tasks and holds as they are after `changes`; nothing is kept yet."""
        tasks, holds = dict(self._tasks), dict(self._holds)
        for new in changes.created:
            if new.task_id in tasks:
                raise StaleRevisionError(f"one of these tasks exists already: {new.task_id}")
            parts = {name: _utc(part) for name, part in new.assignments.items()}
            tasks[new.task_id] = replace(_utc(new), assignments=parts)
        for changed in changes.tasks:
            before = tasks.get(changed.task_id)
            if before is None or before.revision != changed.revision - 1:
                raise StaleRevisionError(f"{changed.task_id} changed meanwhile")
            tasks[changed.task_id] = replace(_utc(changed), assignments=before.assignments)
        for task_id, part in changes.assignments:
            task = tasks.get(task_id)
            if task is None or part.instance_id not in task.assignments:
                raise StaleRevisionError(f"{task_id} has no assignment {part.instance_id}")
            parts = {**task.assignments, part.instance_id: _utc(part)}
            tasks[task_id] = replace(task, assignments=parts)
            if part.phase.ended and holds.get(part.instance_id) == task_id:
                del holds[part.instance_id]
        for new in changes.created:
            wanted = [
                n for n, part in tasks[new.task_id].assignments.items() if not part.phase.ended
            ]
            if not new.force and any(name in holds for name in wanted):
                raise StaleRevisionError(
                    f"another unfinished task has an instance of {new.task_id}"
                )
            holds.update(dict.fromkeys(wanted, new.task_id))
        return tasks, holds

    async def task(self, task_id: str) -> Task | None:
        await asyncio.sleep(0)
        return self._tasks.get(task_id)

    async def named(self, task_ids: Collection[str]) -> list[Task]:
        return [task for task in self._tasks.values() if task.task_id in task_ids]

    async def unfinished(self) -> list[Task]:
        return [task for task in self._tasks.values() if not task.state.ended]

    async def transitions(self, task_id: str) -> list[Transition]:
        return [made for of_task, made in self._transitions if of_task == task_id]

    async def tasks(
        self,
        kind: TaskKind,
        *,
        services: Collection[str] | None = None,
        state: TaskState | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[list[TaskSummary], int]:
        found = [
            _summary(task)
            for task in reversed(self._tasks.values())
            if task.kind is kind
            and (services is None or task.service in services)
            and state in (None, task.state)
        ]
        return found[offset : offset + limit], len(found)

    async def services_of_tasks(self) -> Collection[str]:
        return {task.service for task in self._tasks.values()}

    async def task_counts(
        self, kind: TaskKind, since: datetime, services: Collection[str] | None = None
    ) -> Mapping[TaskState, int]:
        counted = Counter(
            task.state
            for task in self._tasks.values()
            if task.kind is kind
            and task.created_at >= since
            and (services is None or task.service in services)
        )
        return {state: counted[state] for state in TaskState}

    async def last_success(self, service: str, version: str) -> tuple[str, str] | None:
        for task in reversed(self._tasks.values()):
            if (
                (task.service, task.version) == (service, version)
                and task.kind is not TaskKind.PREFETCH
                and task.state is TaskState.COMPLETED
                and task.package_url
                and task.digest
            ):
                return task.package_url, task.digest
        return None

    async def last_prefetched(self, service: str, version: str, package_url: str) -> str:
        wanted = (TaskKind.PREFETCH, service, version, package_url)
        found = (
            task.digest
            for task in reversed(self._tasks.values())
            if (task.kind, task.service, task.version, task.package_url) == wanted
            and task.progress.completed
            and task.digest
        )
        return next(found, "")

    # ---- instances, hosts and what happened to them ------------------------

    def _take_history(self, row: HistoryRow) -> None:
        key = (row.instance_id, row.task_id)
        there = [n for n, old in enumerate(self._history) if (old.instance_id, old.task_id) == key]
        if row.corrects:
            for n in there:
                old = self._history[n]
                self._history[n] = replace(
                    old, status=row.status, reason=row.reason, regressed_at=row.regressed_at
                )
        elif row.told_attempt:
            self._take_told(_utc(row), there)
        else:
            self._history.append(_utc(row))

    def _take_told(self, row: HistoryRow, there: list[int]) -> None:
        """A row that a host tells again: once, and not over the coordinator's own."""
        times = [old.timestamp for old in self._history if old.instance_id == row.instance_id]
        row = replace(row, timestamp=max([row.timestamp, *times]))
        if not there:
            self._history.append(row)
        elif 0 < self._history[there[0]].told_attempt < row.told_attempt:
            self._history[there[0]] = row

    async def history(
        self, instance_id: str, limit: int = 50, offset: int = 0, *, service: str = ""
    ) -> tuple[list[HistoryRow], int]:
        found = [
            row
            for row in reversed(self._history)
            if row.instance_id == instance_id and service in ("", row.service)
        ]
        return found[offset : offset + limit], len(found)

    async def history_up_to(self, service: str, at: datetime) -> Mapping[str, Sequence[HistoryRow]]:
        names = {row.instance_id for row in self._history if row.service == service}
        until_then = [row for row in reversed(self._history) if row.timestamp <= at]
        found: dict[str, list[HistoryRow]] = {}
        for name in names:
            own = [row for row in until_then if row.instance_id == name]
            brought = [row for row in own if row.brought]
            found[name] = [row for row in own if row in (*own[:1], *brought[:1])]
        return found

    async def ever_ran(self, instance_id: str, service: str) -> bool:
        return any(
            (row.instance_id, row.service, row.status) == (instance_id, service, "success")
            for row in self._history
        )

    async def last_healthy(self, instance_id: str, service: str, *, but: str) -> str:
        healthy = (
            row.version
            for row in reversed(self._history)
            if (row.instance_id, row.service, row.status) == (instance_id, service, "success")
        )
        return next((version for version in healthy if version != but), "")

    async def instances(self) -> list[InstanceRow]:
        return [row for _, row in sorted(self._instances.items())]

    async def hosts(self) -> list[HostRow]:
        return [row for _, row in sorted(self._hosts.items())]

    async def pins(self) -> list[PinRow]:
        return [row for _, row in sorted(self._pins.items())]

    # ---- events ------------------------------------------------------------

    def _append_events(self, new: list[EventRow]) -> list[EventRow]:
        before = self._last_event
        numbered = [replace(_utc(event), seq=n) for n, event in enumerate(new, before + 1)]
        self._last_event += len(new)
        self._events += numbered
        if self._last_event // _PRUNE_EVERY > before // _PRUNE_EVERY:
            oldest = self._last_event - self._keep_events
            self._events = [event for event in self._events if event.seq > oldest]
        return numbered

    async def events_after(self, seq: int, limit: int = 1000) -> list[EventRow]:
        return [event for event in self._events if event.seq > seq][:limit]

    async def last_event(self) -> int:
        return self._last_event

    # ---- the audit trail ---------------------------------------------------

    def _append_audit(self, new: Sequence[AuditRow]) -> None:
        prev = self._audit[-1].hash if self._audit else FIRST
        self._audit += chained((_utc(row) for row in new), self._last_audit, prev)
        self._last_audit += len(new)

    async def audit(
        self, since: datetime | None = None, limit: int = 100, offset: int = 0
    ) -> tuple[list[AuditRow], int]:
        found = [row for row in reversed(self._audit) if since is None or row.at >= since]
        return found[offset : offset + limit], len(found)

    async def walk_audit(self, look: Callable[[AuditRow], None]) -> int:
        for row in self._audit:
            look(row)
        return self._last_audit

    async def remove_audit(self, before: datetime, now: datetime, limit: int) -> int:
        old = list(takewhile(lambda row: row.at < before, self._audit))[:limit]
        if old:
            self._append_audit([removal(now, len(old), old[-1])])
            del self._audit[: len(old)]
        return len(old)

    # ---- tokens and the clock ----------------------------------------------

    async def add_token(self, token: TokenRow, audit: Sequence[AuditRow] = ()) -> None:
        known = self._tokens.values()
        if token.token_id in self._tokens or any(one.digest == token.digest for one in known):
            raise ConflictError(f"token {token.token_id} exists already")
        self._tokens[token.token_id] = _utc(token)
        self._append_audit(audit)

    async def token_by_digest(self, digest: str) -> TokenRow | None:
        return next((one for one in self._tokens.values() if one.digest == digest), None)

    async def tokens(self) -> list[TokenRow]:
        return list(reversed(self._tokens.values()))

    async def token(self, token_id: str) -> TokenRow | None:
        return self._tokens.get(token_id)

    async def revoke_token(
        self, token_id: str, at: datetime, audit: Sequence[AuditRow] = ()
    ) -> TokenRow | None:
        token = self._tokens.get(token_id)
        if token is not None:
            self._append_audit(audit)
        if token is not None and token.revoked_at is None:
            token = self._tokens[token_id] = replace(token, revoked_at=at)
        return token

    async def touch_token(self, token_id: str, at: datetime) -> None:
        if token_id in self._tokens:
            self._tokens[token_id] = replace(self._tokens[token_id], last_used_at=at)

    async def use_token(self, token_id: str, host_id: str, fingerprint: str) -> bool:
        token = self._tokens.get(token_id)
        key = (token_id, host_id, fingerprint)
        if key in self._token_uses:
            return True
        if token is None or (token.uses is not None and token.used >= token.uses):
            return False
        self._token_uses.add(key)
        self._tokens[token_id] = replace(token, used=token.used + 1)
        return True

    async def anchor(self) -> tuple[str, float, datetime, float] | None:
        return self._anchor

    async def save_anchor(self, boot: str, boottime: float, wall: datetime, steady: float) -> None:
        self._anchor = (boot, boottime, wall, steady)

    async def check(self) -> None:
        """It always answers."""


def _utc(row: Row) -> Row:
    """The row with its times in UTC."""
    moved = {
        field.name: value.astimezone(UTC)
        for field in fields(row)
        if isinstance(value := getattr(row, field.name), datetime) and value.tzinfo is not UTC
    }
    return replace(row, **moved) if moved else row


def _summary(task: Task) -> TaskSummary:
    return TaskSummary(
        task_id=task.task_id,
        kind=task.kind,
        service=task.service,
        version=task.version,
        rollback_type=task.rollback_type,
        state=task.state,
        progress=task.progress,
        created_at=task.created_at,
        updated_at=task.updated_at,
    )
