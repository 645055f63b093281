"""The audit trail as it is shown, and as the doors add to it. The facade's third part."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import fields
from datetime import datetime, timedelta

from coordinator.audit import Audit
from coordinator.caller import Caller
from coordinator.core.chain import AuditRow, Examination, Verdict
from coordinator.ports import Clock, Store
from protocol.errors import FerrymanError, UnavailableError
from protocol.evidence import (
    AuditEntry,
    AuditList,
    AuditListParams,
    AuditVerdict,
    AuditVerifyParams,
)
from protocol.params import parse_params

log = logging.getLogger(__name__)

REMOVE_EVERY = 86_400.0
REMOVED_AT_ONCE = 10_000
"""So many rows in one transaction: others wait for it."""


class Evidence:
    """Shows the audit trail and whether it is whole; forgets what is too old."""

    def __init__(self, *, store: Store, clock: Clock, audit: Audit) -> None:
        self._store = store
        self._clock = clock
        self._audit = audit
        self._one_examination = asyncio.Lock()

    async def list_audit(
        self, *, since: datetime | None = None, limit: int = 100, offset: int = 0
    ) -> AuditList:
        """(+) What was asked and refused, newest first; with `since` only from then on."""
        asked = {"since": since, "limit": limit, "offset": offset}
        page = parse_params(AuditListParams, asked)
        await self._audit.settled()
        rows, total = await self._store.audit(page.since, limit, offset)
        return AuditList(
            rows=[_entry(row) for row in rows], total=total, limit=limit, offset=offset
        )

    async def verify_audit(self, expect: str = "") -> AuditVerdict:
        """(+) Look at every row of the audit trail, and at the hash that somebody noted."""
        noted = parse_params(AuditVerifyParams, {"expect": expect}).expect
        await self._audit.settled()
        examination = Examination(noted)
        async with self._one_examination:
            numbered = await self._store.walk_audit(examination.look)
        return _told(examination.verdict(numbered))

    def refused(self, caller: Caller, operation: str, object_id: str, error: FerrymanError) -> None:
        """A door refused the caller, before anything was asked of the coordinator."""
        self._audit.refused(self._audit.row(caller, operation, object_id), error)

    async def forget_old_audit(self, keep_days: int) -> None:
        """Remove what is older, for ever, once a day; 0 keeps everything."""
        while True:
            if keep_days:
                await self._forget(keep_days)
            await asyncio.sleep(REMOVE_EVERY)

    async def _forget(self, keep_days: int) -> None:
        now = self._clock.now().wall
        before = now - timedelta(days=keep_days)
        try:
            removed = REMOVED_AT_ONCE
            while removed == REMOVED_AT_ONCE:
                removed = await self._store.remove_audit(before, now, REMOVED_AT_ONCE)
        except UnavailableError as error:
            log.warning("old rows of the audit trail were not removed: %s", error.message)


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry.model_validate(
        {field.name: getattr(row, field.name) for field in fields(row)}
    )


def _told(verdict: Verdict) -> AuditVerdict:
    first, last, removed = verdict.first, verdict.last, verdict.removed
    return AuditVerdict(
        sound=not verdict.problem,
        rows=verdict.rows,
        first_seq=first.seq if first else 0,
        first_at=first.at if first else None,
        last_seq=last.seq if last else 0,
        last_at=last.at if last else None,
        last_hash=last.hash if last else "",
        broken_seq=verdict.broken_seq or None,
        problem=verdict.problem,
        removed_up_to_seq=first.seq - 1 if first and removed else 0,
        removed_at=removed.at if removed else None,
    )
