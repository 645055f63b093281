"""A rollback with `force` takes an instance over from a running deployment."""

from __future__ import annotations

import asyncio

import pytest

from protocol.errors import ConflictError
from protocol.models import InstanceRollbackParams
from protocol.states import Phase, Receipt, TaskState
from tests.e2e.conftest import System
from tests.parts.waiting import until


async def with_two_versions(system: System) -> None:
    """instance-1 went from v1 to v2."""
    await system.agent("host-a", "instance-1")
    for version in ("v1", "v2"):
        done = await system.deployed(version, ["instance-1"])
        assert done.status is TaskState.COMPLETED, done


async def test_force_cancels_a_download_and_takes_the_instance_over(system: System) -> None:
    await with_two_versions(system)
    gate = asyncio.Event()
    url = system.put("v3")
    system.packages.slow("user-service-v3.tar.gz", chunk=100, gate=gate)
    older = await system.deploy("v3", ["instance-1"], url=url)
    await system.reached(older, Phase.PREPARING)

    with pytest.raises(ConflictError) as refused:
        await system.client.rollback_instance(
            InstanceRollbackParams(instance_id="instance-1", target_version="v1")
        )
    assert refused.value.message == f"instances: instance-1 is held by {older}"
    assert refused.value.details == [{"instance_id": "instance-1", "task_id": older}]

    taker = await system.client.rollback_instance(
        InstanceRollbackParams(instance_id="instance-1", target_version="v1", force=True)
    )
    ended = await system.rolled_back(taker.rollback_id)
    gate.set()

    assert ended.status is TaskState.COMPLETED, ended
    assert await system.serving("instance-1") == "v1"
    cancelled = await system.client.get_deployment_status(older)
    assert cancelled.status is TaskState.CANCELLED
    assert cancelled.instances[0].receipt is Receipt.STOPPED_BEFORE_SWITCH
    assert cancelled.instances[0].reason == f"taken over by {taker.rollback_id}"


async def test_force_waits_for_a_switch_that_is_under_way(system: System) -> None:
    await with_two_versions(system)
    well = system.folder / "well"
    older = await system.deploy("v3", ["instance-1"], url=system.put("v3", well_while=well))
    await system.at_step(older, "check")

    taker = await system.client.rollback_instance(
        InstanceRollbackParams(instance_id="instance-1", target_version="v1", force=True)
    )
    queued = await system.client.get_rollback_status(taker.rollback_id)
    assert queued.status is TaskState.PENDING
    assert queued.instances[0].phase is Phase.QUEUED
    assert queued.instances[0].reason == f"waiting for {older} to end on this instance"
    assert queued.instances[0].deadline is None, "its time runs from its turn"
    await until(lambda: system.serving("instance-1"), lambda answer: answer == "v3")

    well.touch()
    switched = await system.ended(older)
    ended = await system.rolled_back(taker.rollback_id)

    assert switched.status is TaskState.COMPLETED, "nothing of it was stopped"
    assert switched.instances[0].receipt is Receipt.TOO_LATE
    assert ended.status is TaskState.COMPLETED, ended
    assert await system.serving("instance-1") == "v1"
    history = (await system.client.get_instance_version_history("instance-1")).history
    assert [row.deploy_id for row in history[:2]] == [taker.rollback_id, older]


async def test_force_goes_through_the_switch_although_the_version_runs(system: System) -> None:
    await with_two_versions(system)
    agent = system.agents["host-a"]
    before = agent.service_pids("instance-1")

    again = await system.client.rollback_instance(
        InstanceRollbackParams(instance_id="instance-1", target_version="v2", force=True)
    )
    ended = await system.rolled_back(again.rollback_id)

    assert ended.status is TaskState.COMPLETED, ended
    after = await until(lambda: agent.service_pids("instance-1"))
    assert len(after) == 1
    assert after != before, "it was stopped and started"
    assert await system.serving("instance-1") == "v2"


async def test_a_host_that_still_switches_takes_the_next_task_when_it_is_done(
    system: System,
) -> None:
    await with_two_versions(system)
    agent = system.agents["host-a"]
    well = system.folder / "well"
    older = await system.deploy("v3", ["instance-1"], url=system.put("v3", well_while=well))
    await system.at_step(older, "check")
    await agent.kill()
    await system.away("instance-1")
    taker = await system.client.rollback_instance(
        InstanceRollbackParams(instance_id="instance-1", target_version="v1", force=True)
    )
    unknown = await system.client.get_deployment_status(older)
    assert unknown.instances[0].receipt is Receipt.UNKNOWN, "the instance is free for the taker"

    await agent.return_to_work()
    await until(lambda: f"{older} at check" in agent.said())
    await until(lambda: system.instance("instance-1"), lambda row: row.connected)
    waiting = await system.client.get_rollback_status(taker.rollback_id)
    assert waiting.instances[0].phase is Phase.WAITING
    well.touch()
    ended = await system.rolled_back(taker.rollback_id)

    assert ended.status is TaskState.COMPLETED, ended
    assert ended.instances[0].attempt == 1, "waiting for the host costs no attempt"
    assert await system.serving("instance-1") == "v1"
    told = await system.client.get_deployment_status(older)
    assert told.instances[0].receipt is Receipt.TOO_LATE, "and what became of the older is told"
