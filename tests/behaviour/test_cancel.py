"""Interface section 3, "Cancel"."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from coordinator.core.retries import pause_before
from protocol.errors import ConflictError
from protocol.states import InstanceStatus, Phase, Receipt, TaskState
from tests.behaviour.installation import Site
from tests.behaviour.world import World, all_doors_at_once, at_once, part_of
from tests.parts.waiting import until
from tests.parts.wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_has_not_reached_stop_does_not_go_on(world: World) -> None:
    place = await world.place("v1")
    url, rest = world.put("v2"), asyncio.Event()
    world.site.packages.slow(world.name("v2"), chunk=10, gate=rest)
    deploy_id = await world.deploy("v2", place, package_url=url)
    await world.in_phase(deploy_id, place, Phase.PREPARING)

    result = await world.door.cancel_deployment(deploy_id)
    rest.set()

    assert (result.deploy_id, result.status) == (deploy_id, TaskState.CANCELLED)
    part = await world.part(deploy_id, place)
    assert (part.phase, part.receipt) == (Phase.CANCELLED, Receipt.STOPPED_BEFORE_SWITCH)
    assert part.current_version == "v1"
    assert (await world.deployed("v3", place)).status is TaskState.COMPLETED
    assert [release.name.split("-")[0] for release, _ in place.driver.starts] == ["v1", "v3"]


async def test_what_has_reached_stop_finishes(world: World) -> None:
    place = await world.place("v1")
    gate = place.driver.hold("stop")
    deploy_id = await world.deploy("v2", place)
    await gate.reached.wait()

    result = await world.door.cancel_deployment(deploy_id)
    assert result.status is TaskState.IN_PROGRESS
    asked = await world.part(deploy_id, place)
    assert asked.phase is Phase.ACTIVATING
    assert "a cancellation was asked for: it finishes or is put back" in asked.reason

    gate.open()
    status = await world.ended(deploy_id)
    part = part_of(status, place)
    assert (part.status, part.receipt) == (TaskState.COMPLETED, Receipt.TOO_LATE)
    assert status.status is TaskState.COMPLETED, "nothing was stopped by the cancellation"
    assert await place.runs() == "v2"


async def test_or_is_put_back(world: World) -> None:
    place = await world.place("v1")
    place.check.sick["v2"] = "database unreachable"
    gate = place.driver.hold("start")
    deploy_id = await world.deploy("v2", place, retry_count=5)
    await gate.reached.wait()
    await world.door.cancel_deployment(deploy_id)

    gate.open()
    status = await world.ended(deploy_id)
    part = part_of(status, place)
    assert (part.status, part.receipt) == (TaskState.FAILED, Receipt.TOO_LATE)
    assert part.attempt == 1, "it was tried again although it had been cancelled"
    assert "v1 was put back" in part.error_message
    assert await place.runs() == "v1"


@all_doors_at_once
async def test_the_receipt_is_never_started_for_what_had_not_begun(world: World) -> None:
    place = await world.place("v1")
    await world.away(place)
    deploy_id = await world.deploy("v2", place)

    result = await world.door.cancel_deployment(deploy_id)

    assert result.status is TaskState.CANCELLED
    assert (await world.part(deploy_id, place)).receipt is Receipt.NEVER_STARTED
    await place.agent.let_back()
    await world.connected(place)
    assert (await world.deployed("v3", place)).status is TaskState.COMPLETED
    assert world.downloads("v2") == 0


async def test_a_pause_between_two_attempts_is_interrupted(world: World) -> None:
    place = await world.place("v1")
    world.site.packages.fail(world.name("v2"), 503)
    long_pause = next(
        name
        for name in (f"{world.new_id()}-{n}" for n in itertools.count())
        if pause_before(name, place.id, 2) > 1.3
    )
    deploy_id = await world.deploy("v2", place, retry_count=3, deploy_id=long_pause)
    await world.in_phase(deploy_id, place, Phase.RETRYING)

    assert (await world.door.cancel_deployment(deploy_id)).status is TaskState.CANCELLED
    part = await world.part(deploy_id, place)
    assert part.receipt is Receipt.STOPPED_BEFORE_SWITCH
    assert (await world.deployed("v3", place)).status is TaskState.COMPLETED
    assert world.downloads("v2") == 1


@all_doors_at_once
async def test_the_receipt_is_unknown_while_the_agent_is_away_and_is_corrected_when_it_returns(
    world: World,
) -> None:
    place = await world.place("v1")
    gate = place.driver.hold("start")
    deploy_id = await world.deploy("v2", place)
    await gate.reached.wait()
    await world.away(place)

    assert (await world.door.cancel_deployment(deploy_id)).status is TaskState.CANCELLED
    part = await world.part(deploy_id, place)
    assert (part.status, part.receipt) == (TaskState.CANCELLED, Receipt.UNKNOWN)
    assert "not known until it returns" in part.reason

    gate.open()
    await until(lambda: place.current == "v2")
    await place.agent.let_back()
    part = await world.in_phase(deploy_id, place, Phase.COMPLETED)
    assert part.receipt is Receipt.TOO_LATE
    status = await world.ended(deploy_id)
    assert (status.status, status.progress.cancelled) == (TaskState.COMPLETED, 0)
    rows = [(row.version, row.status) for row in await world.history(place)]
    assert rows == [("v2", "success"), ("v1", "success")], "one row for each assignment"


@all_doors_at_once
async def test_an_unknown_receipt_is_corrected_to_a_failure_too(world: World) -> None:
    place = await world.place("v1")
    place.check.sick["v2"] = "database unreachable"
    gate = place.driver.hold("start")
    deploy_id = await world.deploy("v2", place)
    await gate.reached.wait()
    await world.away(place)
    await world.door.cancel_deployment(deploy_id)

    gate.open()
    await until(lambda: place.current == "v1")
    await place.agent.let_back()
    part = await world.in_phase(deploy_id, place, Phase.FAILED)
    assert part.receipt is Receipt.TOO_LATE
    assert "v1 was put back" in part.error_message
    assert (await world.ended(deploy_id)).status is TaskState.FAILED


async def test_an_unknown_receipt_is_corrected_where_the_word_to_switch_never_came(
    tmp_path: Path,
) -> None:
    # What arrived is unpacked while nothing reaches the agent: that must end before it hangs up.
    async with Site.open(tmp_path, heartbeat=2.0) as site, AsyncExitStack() as stack:
        await at_once(
            [World(site, door, stack) for door in site.doors.values()], _word_to_switch_is_lost
        )


async def _word_to_switch_is_lost(world: World) -> None:
    async with Wire(world.site.url) as wire:
        (place,) = await world.places(1, url=wire.url)
        await world.deployed("v1", place)
        url, rest = world.put("v2"), asyncio.Event()
        world.site.packages.slow(world.name("v2"), chunk=10, gate=rest)
        deploy_id = await world.deploy("v2", place, package_url=url)
        await until(lambda: world.downloads("v2"))
        await world.in_phase(deploy_id, place, Phase.PREPARING)
        wire.block_to_agent()
        rest.set()
        await world.in_phase(deploy_id, place, Phase.ACTIVATING)
        await world.in_status(place, InstanceStatus.ERROR)
        await world.door.cancel_deployment(deploy_id)
        assert (await world.part(deploy_id, place)).receipt is Receipt.UNKNOWN

        wire.mend()
        part = await until(
            lambda: world.part(deploy_id, place),
            lambda part: part.receipt is not Receipt.UNKNOWN,
        )
        assert part.receipt is Receipt.STOPPED_BEFORE_SWITCH
        assert part.status is TaskState.CANCELLED
        assert await place.runs() == "v1"
        assert (await world.deployed("v3", place)).status is TaskState.COMPLETED
        await place.agent.stop()


async def test_cancelling_an_ended_task_is_a_conflict_that_tells_the_state(world: World) -> None:
    place = await world.place("v1")
    done = await world.deploy("v2", place)
    await world.ended(done)
    place.check.sick["v3"] = "database unreachable"
    failed = await world.deploy("v3", place)
    await world.ended(failed)
    world.site.packages.slow(world.name("v4"), chunk=10, gate=asyncio.Event())
    cancelled = await world.deploy("v4", place)
    await world.door.cancel_deployment(cancelled)

    for deploy_id, state in ((done, "completed"), (failed, "failed"), (cancelled, "cancelled")):
        with pytest.raises(ConflictError, match=state) as refused:
            await world.door.cancel_deployment(deploy_id)
        assert refused.value.details == [{"task_id": deploy_id, "status": state}]


async def test_cancelled_at_is_when_it_was_asked_for_first(world: World) -> None:
    place = await world.place("v1")
    gate = place.driver.hold("start")
    deploy_id = await world.deploy("v2", place)
    await gate.reached.wait()
    before = (await world.site.coordinator.get_system_health()).timestamp

    first = await world.door.cancel_deployment(deploy_id)
    again = await world.door.cancel_deployment(deploy_id)

    after = (await world.site.coordinator.get_system_health()).timestamp
    assert before <= first.cancelled_at <= after
    assert again == first
    gate.open()
    status = await world.ended(deploy_id)
    assert status.cancelled_at == first.cancelled_at
    assert status.completed_at is not None
    assert status.completed_at > first.cancelled_at


async def test_the_status_is_in_progress_until_all_parts_have_ended(world: World) -> None:
    stopped, finishing = await world.places(2)
    await world.deployed("v1", stopped, finishing)
    place_gate = finishing.driver.hold("start")
    url = world.put("v2")
    deploy_id = await world.deploy("v2", finishing, stopped, package_url=url)
    await place_gate.reached.wait()
    await world.in_phase(deploy_id, stopped, Phase.COMPLETED)

    result = await world.door.cancel_deployment(deploy_id)
    assert result.status is TaskState.IN_PROGRESS
    assert (await world.door.get_deployment_status(deploy_id)).status is TaskState.IN_PROGRESS

    place_gate.open()
    assert (await world.ended(deploy_id)).status is TaskState.COMPLETED


async def test_a_rollback_is_cancelled_by_the_same_rules(world: World) -> None:
    quick, held = await world.places(2)
    await world.deployed("v1", quick, held)
    await world.deployed("v2", quick, held)
    gate = held.driver.hold("start")
    rollback_id = await world.roll_back("v1", quick, held)
    await gate.reached.wait()
    await until(lambda: quick.current == "v1")

    result = await world.door.cancel_rollback(rollback_id)
    assert (result.rollback_id, result.status) == (rollback_id, TaskState.IN_PROGRESS)

    gate.open()
    status = await world.rollback_ended(rollback_id)
    assert part_of(status, held).receipt is Receipt.TOO_LATE
    assert status.cancelled_at == result.cancelled_at
    with pytest.raises(ConflictError, match="completed") as refused:
        await world.door.cancel_rollback(rollback_id)
    assert refused.value.details == [{"task_id": rollback_id, "status": "completed"}]


async def test_a_rollback_that_waits_is_cancelled_at_once(world: World) -> None:
    place = await world.place("v1")
    gate = place.driver.hold("start")
    older = await world.deploy("v2", place)
    await gate.reached.wait()
    rollback_id = await world.roll_back("v1", place, force=True)

    result = await world.door.cancel_rollback(rollback_id)

    assert result.status is TaskState.CANCELLED
    status = await world.door.get_rollback_status(rollback_id)
    assert part_of(status, place).receipt is Receipt.NEVER_STARTED
    gate.open()
    assert (await world.ended(older)).status is TaskState.COMPLETED
    assert await place.runs() == "v2"
    assert (await world.deployed("v3", place)).status is TaskState.COMPLETED
