"""The timeline of a task, through every door."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from agent.ports import StepError
from protocol.errors import InvalidRequestError, NotFoundError
from protocol.states import Phase, TaskState
from protocol.strategy import Strategy
from protocol.timeline import InstanceTimeline, TaskTimeline
from tests.behaviour.world import Place, World
from tests.parts.doors import InThread

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def asked(world: World, name: str, task_id: str) -> TaskTimeline:
    """Call a method that is added to the twelve, through the scenario's door."""
    door: Any = world.door
    if isinstance(door, InThread):
        answer = await door.ask(name, task_id)
    else:
        answer = await getattr(door, name)(task_id)
    assert isinstance(answer, TaskTimeline)
    return answer


async def of_deployment(world: World, deploy_id: str) -> TaskTimeline:
    return await asked(world, "get_deployment_timeline", deploy_id)


def row_of(told: TaskTimeline, place: Place) -> InstanceTimeline:
    return next(row for row in told.instances if row.instance_id == place.id)


def phases(row: InstanceTimeline) -> list[Phase]:
    return [step.phase for step in row.steps]


async def test_every_phase_of_every_instance_has_its_time(world: World) -> None:
    well, sick = await world.places(2)
    sick.check.sick["v1"] = "database unreachable"
    status = await world.deployed("v1", well, sick)
    told = await of_deployment(world, status.deploy_id)

    assert (told.task_id, told.kind, told.service) == (status.deploy_id, "deploy", world.service)
    assert (told.status, told.version) == (TaskState.FAILED, "v1")
    assert (told.started_at, told.ended_at) == (status.started_at, status.completed_at)
    assert status.completed_at is not None
    assert told.seconds == (status.completed_at - status.started_at).total_seconds()
    assert [row.instance_id for row in told.instances] == [well.id, sick.id]
    end = {well.id: Phase.COMPLETED, sick.id: Phase.FAILED}
    for row, part in zip(told.instances, status.instances, strict=True):
        assert phases(row)[0] is Phase.WAITING
        assert phases(row)[-1] is end[row.instance_id]
        assert {Phase.PREPARING, Phase.ACTIVATING} <= set(phases(row))
        assert all(before.at <= after.at for before, after in pairwise(row.steps))
        assert (row.steps[0].at, row.ended_at) == (part.started_at, part.completed_at)
        assert row.began_at is not None
        assert part.completed_at is not None
        assert row.seconds == pytest.approx((part.completed_at - part.started_at).total_seconds())
        assert sum(row.phases.values()) == pytest.approx(row.seconds)
    assert "database unreachable" in row_of(told, sick).steps[-1].reason


async def test_a_retry_is_a_phase_of_its_own_and_says_what_had_failed(world: World) -> None:
    place = await world.place()
    place.driver.refusals.append(StepError("no process came up", passing=True))
    status = await world.deployed("v1", place, retry_count=1)
    row = row_of(await of_deployment(world, status.deploy_id), place)

    again = phases(row).index(Phase.RETRYING)
    assert "no process came up" in row.steps[again].reason
    assert [step.attempt for step in row.steps[again : again + 2]] == [1, 2]
    assert row.phases["retrying"] > 0
    assert (row.attempts, row.status) == (2, TaskState.COMPLETED)


async def test_while_it_runs_the_last_phase_is_open(world: World) -> None:
    place = await world.place("v1")
    gate = place.driver.hold("start")
    deploy_id = await world.deploy("v2", place)
    await gate.reached.wait()
    first = await of_deployment(world, deploy_id)
    second = await of_deployment(world, deploy_id)
    for told in (first, second):
        row = row_of(told, place)
        assert (told.status, told.ended_at) == (TaskState.IN_PROGRESS, None)
        assert (row.phase, row.ended_at) == (Phase.ACTIVATING, None)
        last = row.steps[-1]
        assert last.seconds == pytest.approx((told.as_of - last.at).total_seconds())
    assert second.instances[0].phases["activating"] > first.instances[0].phases["activating"]
    gate.open()
    await world.ended(deploy_id)
    after = await of_deployment(world, deploy_id)
    assert phases(row_of(after, place))[-1] is Phase.COMPLETED


async def test_an_instance_that_never_began_is_told_as_such(world: World) -> None:
    place = await world.place("v1")
    await world.away(place)
    deploy_id = await world.deploy("v2", place)
    await world.door.cancel_deployment(deploy_id)
    row = row_of(await of_deployment(world, deploy_id), place)
    assert (phases(row), row.began_at) == ([Phase.WAITING, Phase.CANCELLED], None)
    assert row.steps[-1].reason == "cancelled on request"


async def test_one_that_waits_for_another_task_to_leave_is_queued_from_the_start(
    world: World,
) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    gate = place.driver.hold("start")
    older = await world.deploy("v3", place)
    await gate.reached.wait()
    rollback_id = await world.roll_back("v1", place, force=True)
    queued = await asked(world, "get_rollback_timeline", rollback_id)
    assert phases(queued.instances[0]) == [Phase.QUEUED]
    gate.open()
    await world.rollback_ended(rollback_id)

    told = await asked(world, "get_rollback_timeline", rollback_id)
    row = row_of(told, place)
    assert (told.kind, told.version) == ("rollback", "v1")
    assert phases(row)[:2] == [Phase.QUEUED, Phase.WAITING]
    assert row.phases["queued"] > 0
    assert row.seconds == pytest.approx(sum(row.phases.values()) - row.phases["queued"])
    assert (await of_deployment(world, older)).ended_at is not None


async def test_the_second_of_two_that_go_one_by_one_is_queued_while_the_first_works(
    world: World,
) -> None:
    first, second = await world.places(2)
    gate = first.driver.hold("start")
    deploy_id = await world.deploy("v1", first, second, strategy=Strategy(max_parallel=1))
    await gate.reached.wait()
    told = await of_deployment(world, deploy_id)
    assert phases(row_of(told, second)) == [Phase.QUEUED]
    gate.open()
    await world.ended(deploy_id)
    told = await of_deployment(world, deploy_id)
    waited = row_of(told, second)
    assert phases(waited)[:2] == [Phase.QUEUED, Phase.WAITING]
    assert row_of(told, first).ended_at == waited.steps[1].at
    assert waited.phases["queued"] > 0


async def test_it_is_all_there_when_many_instances_go_at_once(world: World) -> None:
    places = await world.places(5)
    ids = await asyncio.gather(*(world.deploy("v1", place) for place in places))
    for deploy_id, place in zip(ids, places, strict=True):
        await world.ended(deploy_id)
        told = await of_deployment(world, deploy_id)
        assert [row.instance_id for row in told.instances] == [place.id]
        assert told.phases == told.instances[0].phases


async def test_an_unknown_task_or_one_of_the_other_kind_is_not_found(world: World) -> None:
    place = await world.place()
    status = await world.deployed("v1", place)
    for name, task_id in (
        ("get_deployment_timeline", "nobody"),
        ("get_rollback_timeline", "nobody"),
        ("get_rollback_timeline", status.deploy_id),
    ):
        with pytest.raises(NotFoundError, match=task_id):
            await asked(world, name, task_id)
    for name, field in (
        ("get_deployment_timeline", "deploy_id"),
        ("get_rollback_timeline", "rollback_id"),
    ):
        with pytest.raises(InvalidRequestError, match=rf"^{field}: must be"):
            await asked(world, name, "a..b")
