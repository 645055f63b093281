"""Rows of history that hosts tell again: each at most once, and none over the coordinator's own.

A later attempt of the same assignment replaces an earlier one that was told. Times of one
instance's rows never go back. The caller brings the transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from coordinator.ports import HistoryRow
from coordinator.store import rows
from coordinator.store.tables import history


async def write_told(connection: AsyncConnection, told: Sequence[HistoryRow]) -> None:
    """Write what is new in `told`, in its order."""
    if not told:
        return
    known = await _known(connection, told)
    latest = await _latest(connection, told)
    fresh: dict[tuple[str, str], HistoryRow] = {}
    better: dict[tuple[str, str], HistoryRow] = {}
    for row in told:
        key = (row.instance_id, row.task_id)
        if key in known and not 0 < known[key] < row.told_attempt:
            continue
        at = max(row.timestamp, latest.get(row.instance_id, row.timestamp))
        target = better if key in known and key not in fresh else fresh
        target[key] = replace(row, timestamp=at)
        latest[row.instance_id] = at
        known[key] = row.told_attempt
    if fresh:
        await connection.execute(
            insert(history), [rows.history_params(row) for row in fresh.values()]
        )
    if better:
        await connection.execute(_REPLACE, [_replacement(row) for row in better.values()])


_REPLACE = update(history).where(
    history.c.instance_id == bindparam("of_instance"), history.c.task_id == bindparam("of_task")
)


def _replacement(row: HistoryRow) -> rows.Params:
    return {
        "of_instance": row.instance_id,
        "of_task": row.task_id,
        "status": row.status,
        "reason": row.reason,
        "timestamp": row.timestamp,
        "told_attempt": row.told_attempt,
    }


async def _known(
    connection: AsyncConnection, told: Sequence[HistoryRow]
) -> dict[tuple[str, str], int]:
    """The told attempt of each assignment that has a row; 0 for the coordinator's own."""
    found = await connection.execute(
        select(history.c.instance_id, history.c.task_id, history.c.told_attempt).where(
            history.c.instance_id.in_({row.instance_id for row in told}),
            history.c.task_id.in_({row.task_id for row in told}),
        )
    )
    return {(instance_id, task_id): attempt for instance_id, task_id, attempt in found}


async def _latest(connection: AsyncConnection, told: Sequence[HistoryRow]) -> dict[str, datetime]:
    """The time of each instance's latest row."""
    found = await connection.execute(
        select(history.c.instance_id, func.max(history.c.timestamp))
        .where(history.c.instance_id.in_({row.instance_id for row in told}))
        .group_by(history.c.instance_id)
    )
    return {row[0]: row[1] for row in found}
