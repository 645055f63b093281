"""One commit: how `Changes` become rows. The caller brings the transaction.

Each kind of row is one statement with many parameters: a thousand assignments cost one
round trip to the database. Order matters: new tasks first, then what changed (it may
concern the new ones), then who holds which instance, and the numbers of events and of the
audit trail last, because they are the rows that several coordinators write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from sqlalchemy import Update, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from coordinator.core.task import Assignment, Task
from coordinator.ports import Changes, EventRow, HistoryRow, StaleRevisionError
from coordinator.store import rows
from coordinator.store.audit import append_audit
from coordinator.store.database import upsert
from coordinator.store.tables import (
    EVENTS_COUNTER,
    assignments,
    counters,
    events,
    history,
    holds,
    hosts,
    instances,
    pins,
    tasks,
    transitions,
)
from coordinator.store.told import write_told

_PRUNE_EVERY = 1000


async def write_changes(
    connection: AsyncConnection, changes: Changes, keep_events: int
) -> list[EventRow]:
    """Write `changes`; return its events with their numbers.

    Raises StaleRevisionError if a task is not as its author saw it.
    """
    await _create(connection, changes.created)
    await _update_tasks(connection, changes.tasks)
    await _update_assignments(connection, changes.assignments)
    await _release(connection, changes.assignments)
    for task in changes.created:
        await _hold(connection, task)
    await _many(
        connection,
        insert(transitions),
        [rows.transition_params(task_id, made) for task_id, made in changes.transitions],
    )
    await _write_history(connection, changes.history)
    await _many(
        connection,
        delete(instances).where(instances.c.instance_id == bindparam("of_instance")),
        [{"of_instance": name} for name in changes.released],
    )
    dialect = connection.dialect.name
    await _many(
        connection,
        upsert(dialect, instances),
        [rows.instance_params(row) for row in changes.instances],
    )
    await _many(
        connection, upsert(dialect, hosts), [rows.host_params(row) for row in changes.hosts]
    )
    await _many(
        connection,
        delete(pins).where(
            pins.c.service == bindparam("of_service"), pins.c.version == bindparam("of_version")
        ),
        [{"of_service": name, "of_version": version} for name, version in changes.unpinned],
    )
    await _many(connection, upsert(dialect, pins), [rows.pin_params(row) for row in changes.pinned])
    numbered = await _append_events(connection, changes.events, keep_events)
    await append_audit(connection, changes.audit)
    return numbered


async def _create(connection: AsyncConnection, created: Sequence[Task]) -> None:
    try:
        await _many(connection, insert(tasks), [rows.task_params(task) for task in created])
    except IntegrityError as error:
        names = ", ".join(task.task_id for task in created)
        raise StaleRevisionError(f"one of these tasks exists already: {names}") from error
    parts = [params for task in created for params in rows.assignments_params(task)]
    await _many(connection, insert(assignments), parts)


async def _update_tasks(connection: AsyncConnection, changed: Sequence[Task]) -> None:
    statement = update(tasks).where(
        tasks.c.task_id == bindparam("of_task"), tasks.c.revision == bindparam("of_revision")
    )
    params = [
        {
            **rows.task_params(task),
            "of_task": task.task_id,
            "of_revision": task.revision - 1,
        }
        for task in changed
    ]
    await _update_each(connection, statement, params)


async def _update_assignments(
    connection: AsyncConnection, changed: Sequence[tuple[str, Assignment]]
) -> None:
    statement = update(assignments).where(
        assignments.c.task_id == bindparam("of_task"),
        assignments.c.instance_id == bindparam("of_instance"),
    )
    params = [
        {
            **rows.assignment_params(part),
            "of_task": task_id,
            "of_instance": part.instance_id,
        }
        for task_id, part in changed
    ]
    await _update_each(connection, statement, params)


async def _release(connection: AsyncConnection, changed: Sequence[tuple[str, Assignment]]) -> None:
    statement = delete(holds).where(
        holds.c.instance_id == bindparam("of_instance"), holds.c.task_id == bindparam("of_task")
    )
    ended = [
        {"of_instance": part.instance_id, "of_task": task_id}
        for task_id, part in changed
        if part.phase.ended
    ]
    await _many(connection, statement, ended)


async def _hold(connection: AsyncConnection, task: Task) -> None:
    """Give the task its instances; only one with `force` takes them from another."""
    wanted = select(assignments.c.instance_id, assignments.c.task_id).where(
        assignments.c.task_id == task.task_id, assignments.c.phase.not_in(rows.ENDED_PHASES)
    )
    if task.force:
        taken = wanted.with_only_columns(assignments.c.instance_id)
        await connection.execute(delete(holds).where(holds.c.instance_id.in_(taken)))
    try:
        await connection.execute(insert(holds).from_select(["instance_id", "task_id"], wanted))
    except IntegrityError as error:
        raise StaleRevisionError(
            f"another unfinished task has an instance of {task.task_id}"
        ) from error


async def _write_history(connection: AsyncConnection, ended: Sequence[HistoryRow]) -> None:
    """One row for each assignment: a correction changes the one that is there."""
    new = [row for row in ended if not row.corrects]
    for told, some in groupby(new, lambda row: row.told_attempt > 0):
        if told:
            await write_told(connection, list(some))
        else:
            await _many(connection, insert(history), [rows.history_params(row) for row in some])
    truer = update(history).where(
        history.c.instance_id == bindparam("of_instance"), history.c.task_id == bindparam("of_task")
    )
    params = [
        {
            "of_instance": row.instance_id,
            "of_task": row.task_id,
            "status": row.status,
            "reason": row.reason,
            "regressed_at": row.regressed_at,
        }
        for row in ended
        if row.corrects
    ]
    await _many(connection, truer, params)


async def _append_events(
    connection: AsyncConnection, new: Sequence[EventRow], keep: int
) -> list[EventRow]:
    if not new:
        return []
    counted = await connection.execute(
        update(counters)
        .where(counters.c.name == EVENTS_COUNTER)
        .values(value=counters.c.value + len(new))
        .returning(counters.c.value)
    )
    last = int(counted.scalar_one())
    before = last - len(new)
    numbered = [replace(event, seq=seq) for seq, event in enumerate(new, before + 1)]
    await _many(connection, insert(events), [rows.event_params(event) for event in numbered])
    if last // _PRUNE_EVERY > before // _PRUNE_EVERY:
        await connection.execute(delete(events).where(events.c.seq <= last - keep))
    return numbered


async def _many(connection: AsyncConnection, statement: Any, params: list[rows.Params]) -> None:
    if params:
        await connection.execute(statement, params)


async def _update_each(
    connection: AsyncConnection, statement: Update, params: list[rows.Params]
) -> None:
    """Update one row for each of `params`, or raise StaleRevisionError."""
    if not params:
        return
    if connection.dialect.supports_sane_multi_rowcount:
        found = (await connection.execute(statement, params)).rowcount
    else:
        found = 0
        for row in params:
            found += (await connection.execute(statement, row)).rowcount
    if found != len(params):
        raise StaleRevisionError(f"{len(params) - found} of {len(params)} rows changed meanwhile")
