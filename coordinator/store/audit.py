"""The audit trail in the database: rows are added at its end, and the oldest ones removed.

What is added comes with the caller's transaction, so that a change and its row are one. The
counter's row is locked until the commit: several coordinators make one chain. Rows are removed
only for their age, up to a number that is stored first; in SQLite, triggers refuse all else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from coordinator.core.chain import FIRST, AuditRow, chained, removal
from coordinator.store import rows
from coordinator.store.database import Database
from coordinator.store.tables import AUDIT_COUNTER, AUDIT_REMOVED_COUNTER, audit, counters

_AT_ONCE: Final = 200
"""Rows between two turns of everybody else, who must not wait for millions of hashes."""


class AuditTrail:
    """The part of the Store port that reads the audit trail and removes what is old."""

    _database: Database

    async def audit(
        self, since: datetime | None = None, limit: int = 100, offset: int = 0
    ) -> tuple[list[AuditRow], int]:
        """One page of the audit trail (its rows from `since` on), newest first, and how many."""
        page = select(audit).order_by(audit.c.seq.desc()).limit(limit).offset(offset)
        counted = select(func.count()).select_from(audit)
        if since is not None:
            page, counted = page.where(audit.c.at >= since), counted.where(audit.c.at >= since)
        async with self._database.reading() as connection:
            found = (await connection.execute(page)).all()
            total = (await connection.execute(counted)).scalar_one()
        return [rows.audit_of(row) for row in found], total

    async def walk_audit(self, look: Callable[[AuditRow], None]) -> int:
        """Show every row to `look`, the oldest first; return the last number ever given.

        `look` is called from another thread, a few hundred rows at a time.
        """
        seen = -1
        async with self._database.reading() as connection:
            last = await connection.execute(
                select(counters.c.value).where(counters.c.name == AUDIT_COUNTER)
            )
            numbered = int(last.scalar_one())
            some = select(audit).order_by(audit.c.seq).limit(_AT_ONCE)
            while found := (await connection.execute(some.where(audit.c.seq > seen))).all():
                await asyncio.to_thread(_show, found, look)
                seen = found[-1].seq
        return numbered

    async def remove_audit(self, before: datetime, now: datetime, limit: int) -> int:
        """Remove at most `limit` of the oldest rows that are older than `before`; return how many.

        A row that vouches for them is added in the same transaction.
        """

        async def work(connection: AsyncConnection) -> int:
            return await _remove(connection, before, now, limit)

        return await self._database.write(work)


def _show(found: Sequence[rows.AnyRow], look: Callable[[AuditRow], None]) -> None:
    for row in found:
        look(rows.audit_of(row))


async def append_audit(connection: AsyncConnection, new: Sequence[AuditRow]) -> None:
    """Add rows at the end of the chain."""
    if not new:
        return
    counted = await connection.execute(
        update(counters)
        .where(counters.c.name == AUDIT_COUNTER)
        .values(value=counters.c.value + len(new))
        .returning(counters.c.value)
    )
    before = int(counted.scalar_one()) - len(new)
    newest = await connection.execute(select(audit.c.hash).order_by(audit.c.seq.desc()).limit(1))
    made = chained(new, before, newest.scalar_one_or_none() or FIRST)
    await connection.execute(insert(audit), [rows.audit_params(row) for row in made])


async def _remove(connection: AsyncConnection, before: datetime, now: datetime, limit: int) -> int:
    """The oldest rows in their order: the first one that is young enough ends it."""
    young = select(func.min(audit.c.seq)).where(audit.c.at >= before).scalar_subquery()
    old = select(audit).order_by(audit.c.seq).limit(limit)
    found = (await connection.execute(old.where(audit.c.seq < func.coalesce(young, 2**62)))).all()
    if not found:
        return 0
    last = rows.audit_of(found[-1])
    await append_audit(connection, [removal(now, len(found), last)])
    await connection.execute(
        update(counters).where(counters.c.name == AUDIT_REMOVED_COUNTER).values(value=last.seq)
    )
    await connection.execute(delete(audit).where(audit.c.seq <= last.seq))
    return len(found)
