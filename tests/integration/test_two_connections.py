"""A host whose new connection is there before the coordinator has noticed the old one's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from coordinator.audit import Audit
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.ports import Changes, HostRow
from coordinator.reception import Reception
from coordinator.session import Session
from protocol.messages import Hello, InstanceState, Inventory, StateChanged
from protocol.states import InstanceStatus
from tests.lab.model.coordinator import LIFE, START, LoopClock, NoBeliefs, NoRenewals
from tests.parts.memory_store import MemoryStore
from tests.parts.waiting import until


@dataclass
class Desk:
    reception: Reception
    fleet: Fleet

    def connect(self) -> Session:
        session = Session("host-a", "10.0.0.5", lambda why: None, LIFE)
        self.reception.greet(session, Hello(host_id="host-a", agent_version="1"))
        return session

    def shows(self) -> str:
        row = self.fleet.instance("i-1")
        return row.version if row else "nothing"


def looks(version: str) -> InstanceState:
    return InstanceState(
        instance_id="i-1", service="web", status=InstanceStatus.RUNNING, version=version
    )


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    store, clock = MemoryStore(), LoopClock()
    await store.commit(Changes(hosts=[HostRow("host-a", START)]))
    fleet = Fleet(clock, 10.0)
    fleet.load(await store.hosts(), [])
    reception = Reception(fleet, clock, NoRenewals(), NoBeliefs())
    engine = Engine(store, reception, clock, fleet, lambda events: None)
    reception.attach(engine, Audit(engine, clock))
    work = asyncio.create_task(engine.run())
    yield Desk(reception, fleet)
    engine.stop()
    await work


async def test_what_comes_late_on_the_older_connection_is_not_believed(desk: Desk) -> None:
    older = desk.connect()
    newer = desk.connect()
    desk.reception.hear(newer, Inventory(instances=[looks("v2")]))
    desk.reception.hear(older, StateChanged(instance=looks("v1")))
    desk.reception.hear(older, Inventory(instances=[looks("v1")]))

    async def compared() -> bool:
        return newer.compared

    await until(compared, bool)
    assert desk.shows() == "v2"
    assert not older.compared
