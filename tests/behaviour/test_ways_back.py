"""Ways back to more than one version: of a deployment, to @previous, by a strategy itself."""

from __future__ import annotations

from shutil import rmtree

import pytest

from protocol.errors import ConflictError, InvalidRequestError
from protocol.models import RollbackStatus
from protocol.states import Phase, TaskState
from protocol.strategy import Strategy
from tests.behaviour.world import OFTEN, Place, World, asked, part_of, phases
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

ONE_BY_ONE = Strategy(max_parallel=1)


def targets(status: RollbackStatus) -> dict[str, str]:
    return {part.instance_id: part.target_version for part in status.instances}


# ---- take back -------------------------------------------------------------


async def from_two_versions(world: World) -> tuple[Place, Place]:
    """Two instances that run v3; one ran v1 before, the other v2."""
    one, other = await world.places(2)
    await world.deployed("v1", one)
    await world.deployed("v2", other)
    await world.deployed("v3", one, other)
    return one, other


async def test_each_instance_goes_back_to_what_it_ran_before_the_deployment(world: World) -> None:
    one, other = await from_two_versions(world)
    task = (await world.door.get_instance_version_history(one.id)).history[0].deploy_id

    result = await asked(world, "rollback_deployment", task)
    assert (result.target_version, result.total_instances) == ("@previous", 2)
    ended = await world.rollback_ended(result.rollback_id)
    assert ended.status is TaskState.COMPLETED
    assert targets(ended) == {one.id: "v1", other.id: "v2"}
    assert (await one.runs(), await other.runs()) == ("v1", "v2")
    assert (ended.rollout.follows, ended.rollout.relation) == (task, "rollback")
    assert [row.version for row in (await world.history(one))[:2]] == ["v1", "v3"]
    led_to = (await world.door.get_deployment_status(task)).rollout.led_to
    assert led_to == [result.rollback_id]

    with pytest.raises(ConflictError, match="nothing to take back"):
        await asked(world, "rollback_deployment", task)


async def test_what_ran_nothing_before_is_named_and_with_force_left_out(world: World) -> None:
    old, new = await world.places(2)
    await world.deployed("v1", old)
    task = (await world.deployed("v2", old, new)).deploy_id
    with pytest.raises(ConflictError, match="nothing ran there before") as refused:
        await asked(world, "rollback_deployment", task)
    assert [detail["instance_id"] for detail in refused.value.details] == [new.id]

    result = await asked(world, "rollback_deployment", task, force=True, timeout=30)
    assert (result.instances, result.target_version) == ([old.id], "v1")
    assert (await world.rollback_ended(result.rollback_id)).status is TaskState.COMPLETED
    assert (await old.runs(), await new.runs()) == ("v1", "v2")


async def test_with_force_what_runs_still_is_cancelled_and_taken_back(world: World) -> None:
    first, second, third = await world.places(3)
    await world.deployed("v1", first, second, third)
    gate = second.driver.hold("start")
    task = await world.deploy("v2", first, second, third, strategy=ONE_BY_ONE)
    await gate.reached.wait()
    with pytest.raises(ConflictError, match="has not ended: in_progress; cancel it first"):
        await asked(world, "rollback_deployment", task)

    result = await asked(world, "rollback_deployment", task, force=True)
    assert result.instances == [first.id, second.id]
    gate.open()
    assert (await world.rollback_ended(result.rollback_id)).status is TaskState.COMPLETED
    cancelled = await world.ended(task)
    assert cancelled.status is TaskState.CANCELLED
    assert part_of(cancelled, third).reason == "taken back by force"
    told = [
        row.operation
        for row in (await world.site.coordinator.list_audit(limit=1000)).rows
        if (row.object_id, row.result) == (task, "accepted")
    ]
    assert told == ["rollback_deployment", "cancel_deployment", "execute_deployment"]
    assert [await place.runs() for place in (first, second, third)] == ["v1"] * 3
    assert len(third.driver.starts) == 1


async def test_what_runs_something_newer_is_not_taken_back_unasked(world: World) -> None:
    place = await world.place("v1")
    task = (await world.deployed("v2", place)).deploy_id
    await world.deployed("v3", place)
    with pytest.raises(ConflictError, match=f"{place.id}: runs v3 by now, not the v2 of {task}"):
        await asked(world, "rollback_deployment", task)
    result = await asked(world, "rollback_deployment", task, force=True)
    await world.rollback_ended(result.rollback_id)
    assert await place.runs() == "v1"


# ---- @previous -------------------------------------------------------------


async def test_previous_is_for_each_the_last_other_version_that_was_healthy(world: World) -> None:
    one, other = await from_two_versions(world)
    one.check.sick["v4"] = "no database"
    await world.deployed("v4", one)

    result = await world.roll_back("@previous", one, other)
    ended = await world.rollback_ended(result)
    assert ended.status is TaskState.COMPLETED
    assert ended.target_version == "@previous"
    assert targets(ended) == {one.id: "v1", other.id: "v2"}
    assert (await one.runs(), await other.runs()) == ("v1", "v2")

    back = await world.rollback_ended(await world.roll_one_back("@previous", one))
    assert (back.target_version, back.rollback_type) == ("v3", "single")
    assert await one.runs() == "v3"


async def test_previous_is_fetched_where_the_host_retains_it_no_more(world: World) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    (release,) = place.agent.root(place.id).glob("releases/v1-*")
    rmtree(release)
    before = world.downloads("v1")
    assert (await world.rolled_back("@previous", place)).status is TaskState.COMPLETED
    assert await place.runs() == "v1"
    assert world.downloads("v1") == before + 1


async def test_an_instance_without_a_previous_version_is_named(world: World) -> None:
    old, new = await world.places(2)
    await world.deployed("v1", old, new)
    await world.deployed("v2", old)
    before = await world.task_ids()
    with pytest.raises(ConflictError, match="no other version was ever healthy there") as refused:
        await world.roll_back("@previous", old, new)
    assert [detail["instance_id"] for detail in refused.value.details] == [new.id]
    assert await world.task_ids() == before


async def test_previous_takes_no_package(world: World) -> None:
    place = await world.place("v1")
    url = world.put("v1")
    with pytest.raises(InvalidRequestError, match=r"^package_url: can't be given with @previous"):
        await world.roll_back("@previous", place, package_url=url)
    with pytest.raises(InvalidRequestError, match=r"^sha256: can't be given with @previous"):
        await world.roll_back("@previous", place, sha256="0" * 64)


async def test_a_retried_rollback_keeps_the_version_of_each_instance(world: World) -> None:
    one, other = await from_two_versions(world)
    for place in (one, other):
        place.check.sick |= {"v1": "too old", "v2": "too old"}
    task = await world.roll_back("@previous", one, other)
    await until(
        lambda: world.site.coordinator.get_rollback_status(task),
        lambda seen: phases(seen) == [Phase.RETRYING, Phase.RETRYING],
        every=OFTEN,
    )
    await world.door.cancel_rollback(task)
    await world.rollback_ended(task)
    for place in (one, other):
        place.check.sick.clear()
    result = await asked(world, "retry_rollback", task)
    assert result.rollback_id.startswith("rollback-")
    ended = await world.rollback_ended(result.rollback_id)
    assert targets(ended) == {one.id: "v1", other.id: "v2"}
    assert (await one.runs(), await other.runs()) == ("v1", "v2")


# ---- what a strategy does by itself ------------------------------------------


async def test_at_its_limit_it_takes_back_what_it_had_switched(world: World) -> None:
    first, second, third = await world.places(3)
    await world.deployed("v1", first, second, third)
    second.check.sick["v2"] = "no database"
    strategy = Strategy(max_parallel=1, max_failures=0, on_failure="rollback")
    stopped = await world.deployed("v2", first, second, third, strategy=strategy)
    assert stopped.status is TaskState.FAILED
    assert phases(stopped) == [Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED]
    assert "1 failed, more than max_failures allows (0)" in stopped.rollout.reason

    (back,) = stopped.rollout.led_to
    ended = await world.rollback_ended(back)
    assert (ended.rollout.follows, ended.rollout.relation) == (stopped.deploy_id, "on_failure")
    assert targets(ended) == {first.id: "v1"}
    assert [await place.runs() for place in (first, second, third)] == ["v1"] * 3


async def test_what_regresses_under_guard_is_taken_back_and_the_others_stay(world: World) -> None:
    first, second = await world.places(2)
    await world.deployed("v1", first, second)
    task = (await world.deployed("v2", first, second, strategy=Strategy(guard=600))).deploy_id
    first.driver.crash("it ended by itself")
    coordinator = world.site.coordinator
    status = await until(
        lambda: coordinator.get_deployment_status(task),
        lambda seen: seen.rollout.led_to,
        every=OFTEN,
    )
    assert status.status is TaskState.FAILED
    assert "healthy at first, then:" in part_of(status, first).error_message
    ended = await world.rollback_ended(status.rollout.led_to[0])
    assert (ended.status, ended.rollout.relation) == (TaskState.COMPLETED, "guard")
    assert targets(ended) == {first.id: "v1"}
    assert (await first.runs(), await second.runs()) == ("v1", "v2")
