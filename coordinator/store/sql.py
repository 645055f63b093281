"""`SqlStore`: the Store port on an SQL database.

Queries only, and which of the other files does the rest: `database` has the connections
and transactions, `commit` writes, `rows` converts, `migrate` brings the schema up to date.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Executable,
    bindparam,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from coordinator.core.chain import AuditRow
from coordinator.core.pins import PinRow
from coordinator.core.task import Assignment, Task
from coordinator.core.timeline import Transition
from coordinator.ports import (
    Changes,
    EventRow,
    HistoryRow,
    HostRow,
    InstanceRow,
    TaskSummary,
    TokenRow,
)
from coordinator.store import rows, tables
from coordinator.store.audit import AuditTrail, append_audit
from coordinator.store.commit import write_changes
from coordinator.store.database import Database, upsert
from coordinator.store.migrate import migrate
from coordinator.store.tables import assignments, tasks
from protocol.errors import ConflictError
from protocol.states import TaskKind, TaskState

KEEP_EVENTS = 100_000
"""How many of the newest events are kept for replay, at the least."""

_NAMES_AT_ONCE = 1000
"""So many parameters in one query: every database takes that many."""


class SqlStore(AuditTrail):
    """All tasks, instances, hosts, events and tokens in one database."""

    def __init__(self, database: Database, keep_events: int = KEEP_EVENTS) -> None:
        self._database = database
        self._keep_events = keep_events

    @classmethod
    async def open(
        cls, url: str, *, busy_timeout: float = 5.0, keep_events: int = KEEP_EVENTS
    ) -> SqlStore:
        """Open the database at `url` (such as `sqlite+aiosqlite:////var/lib/x.db`).

        An empty one gets the schema, an older one is brought up to date. `busy_timeout` is how
        many seconds a write waits for another process's.

        Raises SchemaError if what is there is newer, damaged or something else's: it is left as
        it is; UnavailableError if the database can't be reached.
        """
        await migrate(url, busy_timeout)
        return cls(Database(url, busy_timeout), keep_events)

    async def close(self) -> None:
        """Let the writes under way finish and close the database."""
        await self._database.close()

    async def check(self) -> None:
        """Return if the database answers; raise `UnavailableError` saying why not."""
        await self._database.rows(select(tables.counters.c.value))

    # ---- tasks -------------------------------------------------------------

    async def commit(self, changes: Changes) -> list[EventRow]:
        """Write `changes` durably in one transaction; return its events with their numbers.

        Raises `StaleRevisionError` and writes nothing if a task's revision does not follow, if a
        new task's id exists, or if another unfinished task has an instance that a new task
        without `force` names.
        """
        if not changes:
            return []

        async def work(connection: AsyncConnection) -> list[EventRow]:
            return await write_changes(connection, changes, self._keep_events)

        return await self._database.write(work)

    async def task(self, task_id: str) -> Task | None:
        """Load one task with its assignments in their order."""
        found = await self._load(tasks.c.task_id == task_id)
        return found[0] if found else None

    async def named(self, task_ids: Collection[str]) -> list[Task]:
        """Load these tasks with their assignments, oldest first; unknown ones are left out."""
        names = sorted(task_ids)
        found: list[Task] = []
        for start in range(0, len(names), _NAMES_AT_ONCE):
            some = names[start : start + _NAMES_AT_ONCE]
            found += await self._load(tasks.c.task_id.in_(some))
        return found

    async def unfinished(self) -> list[Task]:
        """Load every task with an assignment that has not ended, oldest first."""
        return await self._load(tasks.c.state.in_(rows.UNFINISHED_STATES))

    async def _load(self, which: ColumnElement[bool]) -> list[Task]:
        parts = (
            select(tasks.c.seq, *rows.ASSIGNMENT_COLUMNS)
            .join(tasks, tasks.c.task_id == assignments.c.task_id)
            .where(which)
            .order_by(tasks.c.seq, assignments.c.position)
        )
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(*rows.TASK_COLUMNS).where(which).order_by(tasks.c.seq)
            )
            heads = found.all()
            by_task: dict[int, list[Assignment]] = {head.seq: [] for head in heads}
            for seq, *values in await connection.execute(parts):
                by_task[seq].append(rows.assignment_of(values))
        return [rows.task_of(head, by_task[head.seq]) for head in heads]

    async def transitions(self, task_id: str) -> list[Transition]:
        """Every transition of the task's assignments, in the order in which they happened."""
        table = tables.transitions
        found = await self._database.rows(
            select(*rows.TRANSITION_COLUMNS).where(table.c.task_id == task_id).order_by(table.c.seq)
        )
        return [rows.transition_of(row) for row in found]

    async def tasks(
        self,
        kind: TaskKind,
        *,
        services: Collection[str] | None = None,
        state: TaskState | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[list[TaskSummary], int]:
        """One page of tasks (of these services), newest first, and how many match in all."""
        which = (tasks.c.kind == kind.value) & _among(services)
        if state:
            which &= tasks.c.state == state.value
        page = (
            select(*rows.SUMMARY_COLUMNS).where(which).order_by(tasks.c.seq.desc()).limit(limit)
        ).offset(offset)
        counted = select(func.count()).select_from(tasks).where(which)
        found, total = await self._page(page, counted)
        return [rows.summary_of(row) for row in found], total

    async def services_of_tasks(self) -> Collection[str]:
        """The names of all services that ever had a task."""
        found = await self._database.rows(select(tasks.c.service).distinct())
        return [row.service for row in found]

    async def task_counts(
        self, kind: TaskKind, since: datetime, services: Collection[str] | None = None
    ) -> Mapping[TaskState, int]:
        """How many tasks (of these services) created at or after `since` are in each state."""
        found = await self._database.rows(
            select(tasks.c.state, func.count())
            .where(tasks.c.kind == kind.value, tasks.c.created_at >= since, _among(services))
            .group_by(tasks.c.state)
        )
        return {
            **dict.fromkeys(TaskState, 0),
            **{TaskState(row[0]): row[1] for row in found},
        }

    async def last_success(self, service: str, version: str) -> tuple[str, str] | None:
        """(package_url, digest) of the last completed task that brought this version by URL."""
        found = await self._database.rows(
            select(tasks.c.package_url, tasks.c.digest)
            .where(
                tasks.c.service == service,
                tasks.c.version == version,
                tasks.c.kind != TaskKind.PREFETCH.value,
                tasks.c.state == TaskState.COMPLETED.value,
                tasks.c.package_url != "",
                tasks.c.digest != "",
            )
            .order_by(tasks.c.seq.desc())
            .limit(1)
        )
        return (found[0].package_url, found[0].digest) if found else None

    async def last_prefetched(self, service: str, version: str, package_url: str) -> str:
        """The digest of the last prefetch of this that brought it to some host; "" if none did."""
        found = await self._database.rows(
            select(tasks.c.digest)
            .where(
                tasks.c.service == service,
                tasks.c.version == version,
                tasks.c.kind == TaskKind.PREFETCH.value,
                tasks.c.package_url == package_url,
                tasks.c.completed > 0,
                tasks.c.digest != "",
            )
            .order_by(tasks.c.seq.desc())
            .limit(1)
        )
        return str(found[0].digest) if found else ""

    # ---- instances, hosts and what happened to them ------------------------

    async def history(
        self, instance_id: str, limit: int = 50, offset: int = 0, *, service: str = ""
    ) -> tuple[list[HistoryRow], int]:
        """One page of an instance's history, newest first, and how many rows there are."""
        table = tables.history
        which = table.c.instance_id == instance_id
        if service:
            which &= table.c.service == service
        page = select(table).where(which).order_by(table.c.seq.desc()).limit(limit).offset(offset)
        counted = select(func.count()).select_from(table).where(which)
        found, total = await self._page(page, counted)
        return [rows.history_of(row) for row in found], total

    async def history_up_to(self, service: str, at: datetime) -> Mapping[str, Sequence[HistoryRow]]:
        """Of every instance that the history ever names as the service's, what it says of `at`.

        The last row up to then, whichever service's it is, and the last that brought a version.
        """
        table, named, latest = (tables.history.alias() for _ in range(3))
        names = select(named.c.instance_id).where(named.c.service == service).distinct()
        last_ones = (
            select(func.max(latest.c.seq))
            .where(latest.c.instance_id.in_(names), latest.c.timestamp <= at)
            .group_by(latest.c.instance_id)
        )
        brought = (latest.c.status == "success") | latest.c.regressed_at.is_not(None)
        both = last_ones.union(last_ones.where(brought))
        wanted = select(table).where(table.c.seq.in_(both)).order_by(table.c.seq.desc())
        async with self._database.reading() as connection:
            known = (await connection.execute(names)).scalars()
            found: dict[str, list[HistoryRow]] = {name: [] for name in known}
            for row in await connection.execute(wanted):
                found[row.instance_id].append(rows.history_of(row))
        return found

    async def ever_ran(self, instance_id: str, service: str) -> bool:
        """Whether any assignment of the service succeeded on the instance."""
        table = tables.history
        found = await self._database.rows(
            select(true())
            .where(
                table.c.instance_id == instance_id,
                table.c.service == service,
                table.c.status == "success",
            )
            .limit(1)
        )
        return bool(found)

    async def last_healthy(self, instance_id: str, service: str, *, but: str) -> str:
        """The last version but this one that was healthy there, by its history; "" if none was."""
        table = tables.history
        found = await self._database.rows(
            select(table.c.version)
            .where(
                table.c.instance_id == instance_id,
                table.c.service == service,
                table.c.status == "success",
                table.c.version != but,
            )
            .order_by(table.c.seq.desc())
            .limit(1)
        )
        return str(found[0].version) if found else ""

    async def instances(self) -> list[InstanceRow]:
        """Every instance that was ever reported, by id."""
        table = tables.instances
        found = await self._database.rows(select(table).order_by(table.c.instance_id))
        return [rows.instance_of(row) for row in found]

    async def hosts(self) -> list[HostRow]:
        """Every host that joined, by id."""
        table = tables.hosts
        found = await self._database.rows(select(table).order_by(table.c.host_id))
        return [rows.host_of(row) for row in found]

    async def pins(self) -> list[PinRow]:
        """Every pinned version, by service and version."""
        table = tables.pins
        found = await self._database.rows(select(table).order_by(table.c.service, table.c.version))
        return [rows.pin_of(row) for row in found]

    async def events_after(self, seq: int, limit: int = 1000) -> list[EventRow]:
        """Events with a greater number, in order."""
        table = tables.events
        found = await self._database.rows(
            select(table).where(table.c.seq > seq).order_by(table.c.seq).limit(limit)
        )
        return [rows.event_of(row) for row in found]

    async def last_event(self) -> int:
        """The number of the newest event; 0 if there is none."""
        table = tables.counters
        found = await self._database.rows(
            select(table.c.value).where(table.c.name == tables.EVENTS_COUNTER)
        )
        return int(found[0].value)

    # ---- tokens and the clock ----------------------------------------------

    async def add_token(self, token: TokenRow, audit: Sequence[AuditRow] = ()) -> None:
        """Keep a new token, and these rows of the audit trail with it.

        Raises ConflictError if its id or digest is there already.
        """
        try:
            await self._write(insert(tables.tokens).values(rows.token_params(token)), audit)
        except IntegrityError as error:
            raise ConflictError(f"token {token.token_id} exists already") from error

    async def token_by_digest(self, digest: str) -> TokenRow | None:
        """The token with this digest, whether it is still valid or not."""
        return await self._token(tables.tokens.c.digest == digest)

    async def tokens(self) -> list[TokenRow]:
        """All tokens, newest first."""
        found = await self._database.rows(
            select(tables.tokens).order_by(tables.tokens.c.seq.desc())
        )
        return [rows.token_of(row) for row in found]

    async def token(self, token_id: str) -> TokenRow | None:
        """The token with this id; None if there is no such token."""
        return await self._token(tables.tokens.c.token_id == token_id)

    async def revoke_token(
        self, token_id: str, at: datetime, audit: Sequence[AuditRow] = ()
    ) -> TokenRow | None:
        """Mark a token as revoked (the first time counts); None if there is no such token.

        The rows of the audit trail are kept with it, if there is one.
        """
        table = tables.tokens
        await self._write(
            update(table)
            .where(table.c.token_id == token_id)
            .values(
                revoked_at=func.coalesce(
                    table.c.revoked_at, bindparam("at", at, table.c.revoked_at.type)
                )
            ),
            audit,
        )
        return await self._token(table.c.token_id == token_id)

    async def touch_token(self, token_id: str, at: datetime) -> None:
        """Remember when a token was last used."""
        table = tables.tokens
        await self._write(update(table).where(table.c.token_id == token_id).values(last_used_at=at))

    async def use_token(self, token_id: str, host_id: str, fingerprint: str) -> bool:
        """Count a use of a join token by a host with this key, once; False if it is used up."""
        table, used = tables.tokens, tables.token_uses
        key = {"token_id": token_id, "host_id": host_id, "fingerprint": fingerprint}

        async def work(connection: AsyncConnection) -> bool:
            known = select(used).filter_by(**key)
            if (await connection.execute(known)).first() is not None:
                return True
            left = table.c.uses.is_(None) | (table.c.used < table.c.uses)
            counted = await connection.execute(
                update(table)
                .where(table.c.token_id == token_id, left)
                .values(used=table.c.used + 1)
            )
            if counted.rowcount:
                await connection.execute(insert(used).values(key))
            return bool(counted.rowcount)

        return await self._database.write(work)

    async def anchor(self) -> tuple[str, float, datetime, float] | None:
        """The saved clock anchor: (boot id, boot-time seconds, wall time, steady seconds)."""
        table = tables.clock
        found = await self._database.rows(
            select(table.c.boot, table.c.boottime, table.c.wall, table.c.steady)
        )
        if not found:
            return None
        saved = found[0]
        return saved.boot, saved.boottime, saved.wall, saved.steady

    async def save_anchor(self, boot: str, boottime: float, wall: datetime, steady: float) -> None:
        """Save the clock anchor."""
        row = {"id": 1, "boot": boot, "boottime": boottime, "wall": wall, "steady": steady}

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(upsert(connection.dialect.name, tables.clock), row)

        await self._database.write(work)

    # ---- shared ------------------------------------------------------------

    async def _page(
        self, page: Executable, counted: Executable
    ) -> tuple[Sequence[rows.AnyRow], int]:
        async with self._database.reading() as connection:
            found = (await connection.execute(page)).all()
            total = (await connection.execute(counted)).scalar_one()
        return found, total

    async def _token(self, which: ColumnElement[bool]) -> TokenRow | None:
        found = await self._database.rows(select(tables.tokens).where(which))
        return rows.token_of(found[0]) if found else None

    async def _write(self, statement: Executable, audit: Sequence[AuditRow] = ()) -> None:
        """Execute one statement; the rows of the audit trail go with it if it changed a row."""

        async def work(connection: AsyncConnection) -> None:
            changed = await connection.execute(statement)
            if changed.rowcount:
                await append_audit(connection, audit)

        await self._database.write(work)


def _among(services: Collection[str] | None) -> ColumnElement[bool]:
    """Whether a task is of one of these services; None: any."""
    return true() if services is None else tasks.c.service.in_(services)
