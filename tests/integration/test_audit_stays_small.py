"""The audit trail stays small, whoever asks however often: what repeats itself is counted."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from coordinator.app import Coordinator
from coordinator.core.refusals import AT_ONCE
from coordinator.store import SqlStore
from protocol.access import TokenParams
from protocol.errors import UnauthenticatedError
from protocol.models import DeployParams
from tests.behaviour.installation import Site
from tests.behaviour.world import World
from tests.parts.audit_trail import ask, newest, rows_after, settings

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_strangers_who_do_not_stop_leave_one_row(site: Site) -> None:
    before = await newest(site)
    for _ in range(20):
        asked = [ask(site, "", "POST", "/v1/deployment", {}) for _ in range(25)]
        await asyncio.gather(*asked)
    (row,) = await rows_after(site, before)
    assert (row.operation, row.result, row.count) == ("execute_deployment", "unauthenticated", 500)


async def test_a_token_that_asks_in_vain_for_ever_is_counted(site: Site) -> None:
    made = await site.coordinator.create_token(TokenParams(role="deployer", name="stuck"))
    before = await newest(site)
    for n in range(AT_ONCE + 50):
        await ask(site, made.secret, "POST", f"/v1/deployment/d-{n}/cancel")
    rows = await rows_after(site, before)
    assert sum(row.count for row in rows) == AT_ONCE + 50
    assert len(rows) <= AT_ONCE + 3


async def test_what_was_counted_is_written_when_the_coordinator_stops(tmp_path: Path) -> None:
    async with Coordinator(settings(tmp_path)) as coordinator:
        for _ in range(3):
            with pytest.raises(UnauthenticatedError):
                await coordinator.enroll("wrong", "host-a", "", "10.0.0.1")
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path}/coordinator.db")
    rows, _ = await store.audit()
    await store.close()
    assert [(row.operation, row.count) for row in rows] == [("enroll", 3), ("create_token", 1)]


async def test_strangers_cost_no_commit(tmp_path: Path) -> None:
    async with Coordinator(settings(tmp_path)) as coordinator:
        assert (await coordinator.list_audit()).total == 1
        with closing(sqlite3.connect(tmp_path / "coordinator.db")) as looking:
            before = looking.execute("PRAGMA data_version").fetchone()
            for n in range(500):
                with pytest.raises(UnauthenticatedError):
                    await coordinator.enroll("wrong", f"host-{n}", "", f"10.0.0.{n % 250}")
            assert looking.execute("PRAGMA data_version").fetchone() == before
            found = await coordinator.list_audit(limit=1000)
            assert looking.execute("PRAGMA data_version").fetchone() != before
        assert sum(row.count for row in found.rows if row.operation != "create_token") == 500
        assert found.total == 1 + AT_ONCE + 1


async def test_a_deployment_of_many_instances_is_one_small_row(world: World) -> None:
    places = await world.places(25)
    before = await newest(world.site)
    await world.site.client.execute_deployment(
        DeployParams(**world.params("v1", *places).model_dump())
    )
    (row,) = await rows_after(world.site, before)
    assert row.before["versions"] == {"none": 25}
    assert len(row.model_dump_json()) < 3000
