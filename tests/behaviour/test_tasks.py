"""Interface section 3, "Tasks"."""

from __future__ import annotations

import pytest

from protocol.models import DeployStatus
from protocol.states import Phase, TaskState
from tests.behaviour.world import OFTEN, World, all_doors_at_once, part_of
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


@all_doors_at_once
async def test_a_task_is_pending_then_in_progress_then_completed(world: World) -> None:
    place = await world.place()
    await world.away(place)
    deploy_id = await world.deploy("v1", place)
    seen = [await world.door.get_deployment_status(deploy_id)]

    gate = place.driver.hold("start")
    await place.agent.let_back()
    await gate.reached.wait()
    seen.append(await world.door.get_deployment_status(deploy_id))

    gate.open()
    seen.append(await world.ended(deploy_id))

    expected = [TaskState.PENDING, TaskState.IN_PROGRESS, TaskState.COMPLETED]
    assert [status.status for status in seen] == expected
    assert [part_of(status, place).status for status in seen] == expected


async def test_a_task_is_completed_when_every_assignment_is(world: World) -> None:
    first, second = await world.places(2)
    gate = second.driver.hold("start")
    deploy_id = await world.deploy("v1", first, second)

    await world.in_phase(deploy_id, first, Phase.COMPLETED)
    assert (await world.door.get_deployment_status(deploy_id)).status is TaskState.IN_PROGRESS

    gate.open()
    status = await world.ended(deploy_id)
    assert status.status is TaskState.COMPLETED
    assert [part.status for part in status.instances] == [TaskState.COMPLETED] * 2


async def test_a_task_is_failed_when_all_have_ended_and_at_least_one_failed(world: World) -> None:
    well, sick = await world.places(2)
    sick.check.sick["v1"] = "database unreachable"
    gate = well.driver.hold("start")
    deploy_id = await world.deploy("v1", well, sick)

    await world.in_phase(deploy_id, sick, Phase.FAILED)
    assert (await world.door.get_deployment_status(deploy_id)).status is TaskState.IN_PROGRESS

    gate.open()
    status = await world.ended(deploy_id)
    assert status.status is TaskState.FAILED
    assert part_of(status, well).status is TaskState.COMPLETED
    assert part_of(status, sick).status is TaskState.FAILED


@all_doors_at_once
async def test_a_task_is_cancelled_when_a_cancellation_stopped_at_least_one_of_it(
    world: World,
) -> None:
    well, sick = await world.places(2)
    away = await world.place()
    await world.away(away)
    sick.check.sick["v1"] = "database unreachable"
    deploy_id = await world.deploy("v1", well, sick, away)
    await world.in_phase(deploy_id, well, Phase.COMPLETED)
    await world.in_phase(deploy_id, sick, Phase.FAILED)

    await world.door.cancel_deployment(deploy_id)

    status = await world.door.get_deployment_status(deploy_id)
    assert status.status is TaskState.CANCELLED
    assert [part.status for part in status.instances] == [
        TaskState.COMPLETED,
        TaskState.FAILED,
        TaskState.CANCELLED,
    ]
    progress = status.progress
    assert (progress.completed, progress.failed, progress.cancelled) == (1, 1, 1)


@all_doors_at_once
async def test_pending_counts_what_waits_and_what_runs_and_in_progress_only_the_latter(
    world: World,
) -> None:
    runs, done = await world.places(2)
    waits = await world.place()
    await world.away(waits)
    gate = runs.driver.hold("start")
    deploy_id = await world.deploy("v1", runs, waits, done)
    await gate.reached.wait()
    await world.in_phase(deploy_id, done, Phase.COMPLETED)

    progress = (await world.door.get_deployment_status(deploy_id)).progress
    assert (progress.total, progress.completed) == (3, 1)
    assert (progress.pending, progress.in_progress) == (2, 1)

    await world.door.cancel_deployment(deploy_id)
    gate.open()
    progress = (await world.ended(deploy_id)).progress
    assert (progress.pending, progress.in_progress, progress.cancelled) == (0, 0, 1)


@all_doors_at_once
async def test_the_progress_adds_up_at_every_look_from_the_first_to_the_last(
    world: World,
) -> None:
    well, sick, late, switching = await world.places(4)
    away = await world.place()
    await world.away(away)
    sick.check.sick["v1"] = "database unreachable"
    gates = [late.driver.hold("stop"), switching.driver.hold("start")]
    places = [well, sick, late, switching, away]
    deploy_id = await world.deploy("v1", *places)
    looks: list[DeployStatus] = []

    async def look() -> DeployStatus:
        looks.append(await world.door.get_deployment_status(deploy_id))
        check_sums(looks[-1])
        return looks[-1]

    await until(look, lambda seen: seen.progress.completed == 1, every=OFTEN)
    await until(look, lambda seen: seen.progress.failed == 1, every=OFTEN)
    gates[0].open()
    await until(look, lambda seen: seen.progress.completed == 2, every=OFTEN)
    await world.door.cancel_deployment(deploy_id)
    await until(look, lambda seen: seen.progress.cancelled == 1, every=OFTEN)
    gates[1].open()
    last = await until(look, lambda seen: seen.status.ended, every=OFTEN)

    assert len({status.progress for status in looks}) >= 4, "hardly anything was seen to move"
    progress = last.progress
    assert (progress.completed, progress.failed, progress.cancelled) == (3, 1, 1)


def check_sums(status: DeployStatus) -> None:
    """The documented sum, and that the counts are those of the instances' rows."""
    counts = status.progress
    assert counts.total == counts.completed + counts.failed + counts.pending + counts.cancelled
    states = [part.status for part in status.instances]
    assert counts.total == len(states)
    assert counts.completed == states.count(TaskState.COMPLETED)
    assert counts.failed == states.count(TaskState.FAILED)
    assert counts.cancelled == states.count(TaskState.CANCELLED)
    assert counts.in_progress == states.count(TaskState.IN_PROGRESS)
    assert counts.pending - counts.in_progress == states.count(TaskState.PENDING)


@all_doors_at_once
async def test_every_assignment_tells_its_phase_attempt_and_reason(world: World) -> None:
    done, switching, sick = await world.places(3)
    away = await world.place()
    await world.away(away)
    gate = switching.driver.hold("start")
    sick.check.sick["v1"] = "database unreachable"
    deploy_id = await world.deploy("v1", done, switching, sick, away)
    await gate.reached.wait()
    await world.in_phase(deploy_id, done, Phase.COMPLETED)
    await world.in_phase(deploy_id, sick, Phase.FAILED)
    status = await world.door.get_deployment_status(deploy_id)

    told = {part.instance_id: part for part in status.instances}
    assert told[done.id].phase is Phase.COMPLETED
    assert told[done.id].reason == "healthy"
    assert told[switching.id].phase is Phase.ACTIVATING
    assert "until" in told[switching.id].reason
    assert told[sick.id].phase is Phase.FAILED
    assert "database unreachable" in told[sick.id].reason
    assert told[away.id].phase is Phase.WAITING
    assert "waiting for its agent to return" in told[away.id].reason
    assert [part.attempt for part in status.instances] == [1, 1, 1, 1]
    assert [part.receipt for part in status.instances] == [None] * 4

    gate.open()
    await world.door.cancel_deployment(deploy_id)


@all_doors_at_once
async def test_every_cancelled_assignment_tells_its_receipt(world: World) -> None:
    place = await world.place()
    await world.away(place)
    deploy_id = await world.deploy("v1", place)
    await world.door.cancel_deployment(deploy_id)

    part = await world.part(deploy_id, place)
    assert part.phase is Phase.CANCELLED
    assert part.receipt is not None
    assert part.reason == "cancelled on request"
