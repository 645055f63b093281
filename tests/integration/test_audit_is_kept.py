"""How long the audit trail is kept, and that a backup carries it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coordinator.app import Coordinator
from coordinator.backup import backup
from coordinator.core.chain import REMOVED
from coordinator.ports import Changes
from coordinator.restore import restore
from coordinator.store import SqlStore
from protocol.access import TokenParams
from protocol.evidence import AuditEntry
from tests.contract.test_store_audit import row
from tests.parts.audit_trail import settings
from tests.parts.waiting import until


@pytest.mark.parametrize(("keep_days", "kept"), [(30, 1), (0, 4), (400, 4)])
async def test_rows_are_kept_as_long_as_the_settings_say(
    tmp_path: Path, keep_days: int, kept: int
) -> None:
    now = datetime.now(UTC)
    ages = (50, 40, 31, 29)
    old = [row(n, at=now - timedelta(days=age)) for n, age in enumerate(ages)]
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path}/coordinator.db")
    await store.commit(Changes(audit=old))
    noted = (await store.audit(limit=1))[0][0].hash
    await store.close()
    async with Coordinator(settings(tmp_path, keep_days)) as coordinator:

        async def left() -> list[AuditEntry]:
            found = await coordinator.list_audit()
            return [row for row in found.rows if row.operation == "execute_deployment"]

        assert len(await until(left, lambda rows: len(rows) == kept)) == kept
        verdict = await coordinator.verify_audit(noted)
        assert verdict.sound
        assert verdict.removed_up_to_seq == (3 if keep_days == 30 else 0)
        operations = [row.operation for row in (await coordinator.list_audit()).rows]
        assert operations.count(REMOVED) == (1 if keep_days == 30 else 0)


async def test_a_backup_carries_it(tmp_path: Path) -> None:
    """What was done after the backup is gone with the old database: the noted hash shows it."""
    folder, file = tmp_path / "coordinator", tmp_path / "backup.tar"
    async with Coordinator(settings(folder)) as coordinator:
        await coordinator.create_token(TokenParams(role="viewer", name="before"))
        await asyncio.to_thread(backup, file, data_dir=folder)
        noted = (await coordinator.verify_audit()).last_hash
        await coordinator.create_token(TokenParams(role="viewer", name="after"))
        later = (await coordinator.verify_audit()).last_hash
    await asyncio.to_thread(restore, file, data_dir=folder)
    async with Coordinator(settings(folder)) as coordinator:
        names = [row.after["name"] for row in (await coordinator.list_audit()).rows]
        assert names == ["before", "admin.token"]
        assert (await coordinator.verify_audit(noted)).sound
        assert not (await coordinator.verify_audit(later)).sound
