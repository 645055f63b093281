"""What a plan makes of what the coordinator knows of the hosts, without hosts and doors."""

from __future__ import annotations

import pytest

from coordinator.core.task import Target
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.planning import Planner
from coordinator.ports import HostRow, InstanceRow, Retained
from coordinator.reception import Reception
from protocol.messages import Progress, Step
from protocol.models import DeployParams
from protocol.plan import DeploymentPlan
from tests.contract.rows import NOW, instance
from tests.lab.model.coordinator import LoopClock, NoBeliefs, NoRenewals
from tests.parts.memory_store import MemoryStore

URL = "https://packages.example.com/v2.tar.gz"
DIGEST = "22" * 32


async def plan_of(*rows: InstanceRow) -> DeploymentPlan:
    """A plan for v2, whose package has 50 bytes and unpacks to 100."""
    store, clock = MemoryStore(), LoopClock()
    fleet = Fleet(clock, 10.0)
    fleet.load([HostRow(row.host_id, NOW) for row in rows], rows)
    for row in rows:
        fleet.heard(row.host_id)
    reception = Reception(fleet, clock, NoRenewals(), NoBeliefs())
    engine = Engine(store, reception, clock, fleet, lambda events: None)
    told = Progress(
        task_id="d-1",
        instance_id="i-9",
        attempt=1,
        step=Step.PREPARE,
        bytes_total=50,
        release_bytes=100,
    )
    engine.sizes.learn(Target("v2", URL, DIGEST), told)
    params = DeployParams(
        service="user-service",
        version="v2",
        instances=[row.instance_id for row in rows],
        deploy_id="d-2",
        package_url=URL,
    )
    return await Planner(store, engine, fleet, clock).plan(params, None, DIGEST, rows)


FULL = "too little room on the disks of host-a: it would fail there"


@pytest.mark.parametrize(("free", "full"), [(199, True), (200, False)])
async def test_instances_of_one_host_share_its_room(free: int, full: bool) -> None:
    plan = await plan_of(instance("i-1", free_bytes=free), instance("i-2", free_bytes=free))
    assert (FULL in plan.warnings) is full
    assert {one.free_bytes_after for one in plan.instances} == {0}


async def test_those_of_other_hosts_and_what_is_on_the_disk_take_none() -> None:
    there = instance("i-2", free_bytes=100, fetched=(Retained("v2", DIGEST),))
    elsewhere = instance("i-3", free_bytes=100, host_id="host-b")
    plan = await plan_of(instance("i-1", free_bytes=100), there, elsewhere)
    assert not any("room" in text for text in plan.warnings)
