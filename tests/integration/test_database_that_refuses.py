"""While the database can't save: callers are refused, and what hosts told waits and is not lost."""

from __future__ import annotations

import pytest

from coordinator.core.chain import AuditRow
from coordinator.ports import HostRow
from protocol.errors import UnavailableError
from tests.lab.model.coordinator import START
from tests.parts.engines import FullStore, engine_of
from tests.parts.rollouts import task
from tests.parts.waiting import until


def asked() -> AuditRow:
    return AuditRow(at=START, proof="in_process", who="somebody", operation="execute_deployment")


async def test_who_asks_while_a_hosts_report_waits_to_be_saved_is_refused() -> None:
    store = FullStore()
    async with engine_of(store) as engine:
        engine.happened(hosts=[HostRow("host-a", START)])
        await until(lambda: engine.trouble)
        for _ in range(2):
            with pytest.raises(UnavailableError, match="database or disk is full"):
                await engine.create(task("a"), asked())

        store.room = True
        assert (await engine.create(task("a"), asked())).task_id == "deploy-1"
        assert [row.host_id for row in await store.hosts()] == ["host-a"]
        assert engine.trouble == ""


async def test_it_can_be_stopped_meanwhile() -> None:
    async with engine_of(FullStore()) as engine:
        engine.happened(hosts=[HostRow("host-a", START)])
        await until(lambda: engine.trouble)
