"""Interface section 3, "One task an instance"."""

from __future__ import annotations

import asyncio

import pytest

from protocol.errors import ConflictError
from protocol.states import Phase, Receipt, TaskState
from tests.behaviour.world import World, all_doors_at_once, part_of
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_second_task_is_a_conflict_that_names_the_instance_and_the_task_holding_it(
    world: World,
) -> None:
    held, free = await world.places(2)
    gate = held.driver.hold("start")
    holder = await world.deploy("v1", held)
    await gate.reached.wait()

    with pytest.raises(ConflictError) as refused:
        await world.deploy("v2", held, free)

    assert held.id in refused.value.message
    assert holder in refused.value.message
    assert refused.value.details == [{"instance_id": held.id, "task_id": holder}]
    assert await world.task_ids() == {holder}
    assert world.downloads("v2") == 0

    gate.open()
    await world.ended(holder)
    assert (await world.deployed("v2", held, free)).status is TaskState.COMPLETED


async def test_a_rollback_without_force_is_such_a_conflict_too(world: World) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    gate = place.driver.hold("start")
    holder = await world.deploy("v3", place)
    await gate.reached.wait()

    for start in (world.roll_back("v1", place), world.roll_one_back("v1", place)):
        with pytest.raises(ConflictError) as refused:
            await start
        assert refused.value.details == [{"instance_id": place.id, "task_id": holder}]

    gate.open()
    assert (await world.ended(holder)).status is TaskState.COMPLETED


@all_doors_at_once
async def test_a_task_that_waits_for_its_agent_holds_its_instance(world: World) -> None:
    place = await world.place()
    await world.away(place)
    holder = await world.deploy("v1", place)
    with pytest.raises(ConflictError, match=holder):
        await world.deploy("v2", place)

    await world.door.cancel_deployment(holder)
    await place.agent.let_back()
    assert (await world.deployed("v2", place)).status is TaskState.COMPLETED


async def test_an_assignment_that_ended_frees_its_instance_before_the_task_has_ended(
    world: World,
) -> None:
    quick, slow = await world.places(2)
    gate = slow.driver.hold("start")
    holder = await world.deploy("v1", quick, slow)
    await world.in_phase(holder, quick, Phase.COMPLETED)

    assert (await world.deployed("v2", quick)).status is TaskState.COMPLETED

    gate.open()
    await world.ended(holder)


async def test_force_takes_the_instance_over_and_the_older_assignment_there_is_cancelled_first(
    world: World,
) -> None:
    taken, left = await world.places(2)
    await world.deployed("v1", taken, left)
    await world.deployed("v2", taken, left)
    url, slowly = world.put("v3"), asyncio.Event()
    world.site.packages.slow(world.name("v3"), chunk=10, gate=slowly)
    older = await world.deploy("v3", taken, left, package_url=url)
    await world.in_phase(older, taken, Phase.PREPARING)

    rollback_id = await world.roll_one_back("v1", taken, force=True)
    part = await world.part(older, taken)
    assert (part.phase, part.receipt) == (Phase.CANCELLED, Receipt.STOPPED_BEFORE_SWITCH)
    assert rollback_id in part.reason
    assert (await world.rollback_ended(rollback_id)).status is TaskState.COMPLETED
    assert taken.current == "v1"

    slowly.set()
    status = await world.ended(older)
    assert status.status is TaskState.CANCELLED
    assert part_of(status, left).status is TaskState.COMPLETED
    assert (taken.current, left.current) == ("v1", "v3")


async def test_force_waits_for_an_older_assignment_that_is_switching_already(
    world: World,
) -> None:
    place = await world.place("v1")
    gate = place.driver.hold("start")
    older = await world.deploy("v2", place)
    await gate.reached.wait()

    rollback_id = await world.roll_back("v1", place, force=True)
    waiting = part_of(await world.door.get_rollback_status(rollback_id), place)
    assert (waiting.phase, waiting.status) == (Phase.QUEUED, TaskState.PENDING)
    assert older in waiting.reason

    gate.open()
    await world.rollback_ended(rollback_id)
    part = await world.part(older, place)
    assert (part.status, part.receipt) == (TaskState.COMPLETED, Receipt.TOO_LATE)
    assert await place.runs() == "v1"


async def test_of_two_tasks_at_the_same_moment_one_gets_the_instance(world: World) -> None:
    place = await world.place()
    gate = place.driver.hold("start")
    started = await asyncio.gather(
        world.deploy("v1", place), world.deploy("v2", place), return_exceptions=True
    )
    refused = [one for one in started if isinstance(one, ConflictError)]
    (won,) = [one for one in started if isinstance(one, str)]
    assert len(refused) == 1
    assert won in refused[0].message

    gate.open()
    await world.ended(won)
    assert len(place.driver.starts) == 1
    await until(world.task_ids, lambda ids: ids == {won})
