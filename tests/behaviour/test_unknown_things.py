"""Interface section 3, "Unknown things"."""

from __future__ import annotations

import pytest

from protocol.errors import InvalidRequestError, NotFoundError
from protocol.models import InstanceQueryParams
from protocol.states import Phase, TaskState
from tests.behaviour.world import World, all_doors_at_once, part_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_instance_that_no_agent_ever_reported_is_not_found_by_name(world: World) -> None:
    place = await world.place()
    with pytest.raises(NotFoundError, match="nobody") as refused:
        await world.deploy("v1", place, instances=[place.id, "nobody"])
    assert [detail["instance_id"] for detail in refused.value.details] == ["nobody"]

    with pytest.raises(NotFoundError, match="nobody"):
        await world.roll_back("v1", place, instances=["nobody", place.id])
    with pytest.raises(NotFoundError, match="nobody"):
        await world.roll_one_back("v1", place, instance_id="nobody")
    with pytest.raises(NotFoundError, match="nobody"):
        await world.door.get_instance_version_history("nobody")

    assert await world.task_ids() == set()
    assert world.downloads("v1") == 0


async def test_an_instance_of_another_service_is_an_invalid_request(world: World) -> None:
    place = await world.place("v1")
    other = await world.place(service=f"other-{world.number}")

    with pytest.raises(InvalidRequestError, match=other.id) as refused:
        await world.deploy("v2", place, other)
    (detail,) = refused.value.details
    assert detail["field"] == "instances"
    assert (detail["instance_id"], detail["service"]) == (other.id, other.local.service)

    with pytest.raises(InvalidRequestError, match=other.id):
        await world.roll_back("v1", other)
    assert world.downloads("v2") == 0
    assert len(await world.task_ids()) == 1


@all_doors_at_once
async def test_an_instance_whose_agent_is_away_is_accepted_and_waits_saying_so(
    world: World,
) -> None:
    place = await world.place("v1")
    await world.away(place)
    deploy_id = await world.deploy("v2", place)

    part = await world.part(deploy_id, place)
    assert (part.phase, part.status) == (Phase.WAITING, TaskState.PENDING)
    assert "waiting for its agent to return" in part.reason
    assert "silent since" in part.reason
    assert "until" in part.reason
    assert part.deadline is not None

    await place.agent.let_back()
    assert (await world.ended(deploy_id)).status is TaskState.COMPLETED
    assert await place.runs() == "v2"


@all_doors_at_once
async def test_it_waits_until_its_timeout(world: World) -> None:
    place = await world.place("v1")
    await world.away(place)

    part = part_of(await world.deployed("v2", place, timeout=1), place)
    assert part.status is TaskState.FAILED
    assert "timed out after 1 s: the agent was away" in part.error_message
    assert part.completed_at is not None
    assert (part.completed_at - part.started_at).total_seconds() >= 1
    await place.agent.let_back()
    await world.connected(place)
    assert await place.runs() == "v1"
    assert (await world.deployed("v3", place)).status is TaskState.COMPLETED


async def test_tasks_and_services_that_do_not_exist_are_not_found_by_name(world: World) -> None:
    door = world.door
    place = await world.place("v1")
    await world.deployed("v2", place)
    (deploy_id, _) = sorted(await world.task_ids())
    rollback_id = await world.roll_back("v1", place)
    await world.rollback_ended(rollback_id)

    for ask in (door.get_deployment_status, door.cancel_deployment):
        for unknown in ("no-such-task", rollback_id):
            with pytest.raises(NotFoundError, match=unknown):
                await ask(unknown)
    for question in (door.get_rollback_status, door.cancel_rollback):
        for unknown in ("no-such-task", deploy_id):
            with pytest.raises(NotFoundError, match=unknown):
                await question(unknown)
    with pytest.raises(NotFoundError, match="no-such-service"):
        await door.get_service_instance_versions("no-such-service")
    with pytest.raises(NotFoundError, match="no-such-service"):
        await door.get_service_instances(InstanceQueryParams(service_name="no-such-service"))
