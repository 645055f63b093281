"""A task that exists is paused, resumed, promoted, tried again and taken back, at every door."""

from __future__ import annotations

from shutil import rmtree

import pytest

from protocol.errors import ConflictError, InvalidRequestError, NotFoundError
from protocol.models import DeployStatus, RollbackStatus
from protocol.states import Phase, TaskState
from protocol.strategy import Strategy
from tests.behaviour.world import OFTEN, Place, World, all_doors_at_once, asked, part_of
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

ONE_BY_ONE = Strategy(max_parallel=1)
ALL_PREPARED = Strategy(prepare="all")


async def waits_for(world: World, deploy_id: str, what: str) -> DeployStatus:
    """The deployment, once the task itself waits for this."""
    return await until(
        lambda: world.site.coordinator.get_deployment_status(deploy_id),
        lambda seen: seen.rollout.waits_for == what,
        every=OFTEN,
    )


def phases(status: DeployStatus | RollbackStatus) -> list[Phase]:
    return [part.phase for part in status.instances]


def targets(status: RollbackStatus) -> dict[str, str]:
    return {part.instance_id: part.target_version for part in status.instances}


# ---- pause and resume ------------------------------------------------------


async def test_a_paused_task_begins_nothing_new_until_it_is_resumed(world: World) -> None:
    first, second = await world.places(2)
    gate = first.driver.hold("start")
    task = await world.deploy("v1", first, second, strategy=ONE_BY_ONE)
    await gate.reached.wait()

    paused = await asked(world, "pause_deployment", task)
    assert (paused.deploy_id, paused.status) == (task, TaskState.IN_PROGRESS)
    assert (paused.rollout.waits_for, paused.rollout.waits_since) == (
        "resume",
        paused.rollout.paused_at,
    )
    again = await asked(world, "pause_deployment", task)
    assert again.rollout.paused_at == paused.rollout.paused_at

    gate.open()
    await world.in_phase(task, first, Phase.COMPLETED)
    status = await world.door.get_deployment_status(task)
    assert phases(status) == [Phase.COMPLETED, Phase.QUEUED]
    assert "paused since" in part_of(status, second).reason
    assert part_of(status, second).waits_for == "resume"

    resumed = await asked(world, "resume_deployment", task)
    assert resumed.rollout.paused_at is None
    assert (await world.ended(task)).status is TaskState.COMPLETED
    assert await second.runs() == "v1"


async def test_resuming_what_is_not_paused_changes_nothing(world: World) -> None:
    place = await world.place()
    gate = place.driver.hold("start")
    task = await world.deploy("v1", place)
    await gate.reached.wait()
    before = await world.door.get_deployment_status(task)
    after = await asked(world, "resume_deployment", task)
    assert (after.updated_at, after.rollout) == (before.updated_at, before.rollout)
    gate.open()
    await world.ended(task)


@all_doors_at_once
async def _clocks_of_what_waits_stand(world: World) -> None:
    here, away, control = await world.place(), await world.place(), await world.place()
    await world.away(away, control)
    both = await world.deploy("v1", here, away, strategy=ALL_PREPARED, timeout=3)
    await world.in_phase(both, here, Phase.PREPARED)
    await asked(world, "pause_deployment", both)
    late = await world.deployed("v1", control, timeout=3)
    assert "timed out after 3 s" in part_of(late, control).error_message

    paused = await world.door.get_deployment_status(both)
    assert phases(paused) == [Phase.PREPARED, Phase.WAITING]
    assert [part.deadline for part in paused.instances] == [None, None]
    await away.agent.let_back()
    await world.connected(away)
    await asked(world, "resume_deployment", both)
    assert (await world.ended(both)).status is TaskState.COMPLETED


async def test_the_clocks_of_what_waits_stand_while_it_is_paused(worlds: list[World]) -> None:
    await _clocks_of_what_waits_stand(worlds)


async def test_a_rollback_is_paused_and_resumed_too(world: World) -> None:
    first, second = await world.places(2)
    await world.deployed("v1", first, second)
    await world.deployed("v2", first, second)
    gate = first.driver.hold("start")
    task = await world.roll_back("v1", first, second, strategy=ONE_BY_ONE)
    await gate.reached.wait()
    paused = await asked(world, "pause_rollback", task)
    assert paused.rollout.waits_for == "resume"
    gate.open()
    await until(lambda: first.driver.running, every=OFTEN)
    assert (await asked(world, "resume_rollback", task)).rollout.paused_at is None
    assert (await world.rollback_ended(task)).status is TaskState.COMPLETED


async def test_what_has_ended_or_never_was_is_not_steered(world: World) -> None:
    place = await world.place()
    task = (await world.deployed("v1", place)).deploy_id
    for name in ("pause_deployment", "resume_deployment", "promote_deployment"):
        with pytest.raises(ConflictError, match="has ended already: completed"):
            await asked(world, name, task)
    for name in ("pause", "resume", "promote", "retry"):
        with pytest.raises(NotFoundError, match="no rollback"):
            await asked(world, f"{name}_rollback", task)
    with pytest.raises(NotFoundError, match="no deployment"):
        await asked(world, "rollback_deployment", "never-was")


# ---- promote ---------------------------------------------------------------


async def test_the_others_follow_the_canary_once_it_is_promoted(world: World) -> None:
    places = await world.places(3)
    gate = places[0].driver.hold("start")
    task = await world.deploy("v1", *places, strategy=Strategy(canary=1, promote="manual"))
    await gate.reached.wait()
    with pytest.raises(ConflictError, match="its canary has not passed yet"):
        await asked(world, "promote_deployment", task)
    gate.open()

    waiting = await waits_for(world, task, "promotion")
    assert phases(waiting) == [Phase.COMPLETED, Phase.QUEUED, Phase.QUEUED]
    promoted = await asked(world, "promote_deployment", task)
    ended = await world.ended(task)
    assert (ended.status, ended.progress.completed) == (TaskState.COMPLETED, 3)
    assert ended.rollout.promoted_by == promoted.rollout.promoted_by != ""
    (row,) = [
        row
        for row in (await world.site.coordinator.list_audit(limit=1000)).rows
        if (row.operation, row.object_id, row.result) == ("promote_deployment", task, "accepted")
    ]
    assert row.who == ended.rollout.promoted_by


async def test_what_has_no_canary_is_not_promoted(world: World) -> None:
    place = await world.place()
    gate = place.driver.hold("start")
    task = await world.deploy("v1", place)
    await gate.reached.wait()
    with pytest.raises(ConflictError, match="has no canary that waits for a promotion"):
        await asked(world, "promote_deployment", task)
    gate.open()
    await world.ended(task)


# ---- retry -----------------------------------------------------------------


async def test_a_retry_is_of_exactly_what_has_failed_or_was_cancelled(world: World) -> None:
    good, sick = await world.places(2)
    away = await world.place()
    sick.check.sick["v1"] = "no database"
    await world.away(away)
    task = await world.deploy("v1", good, sick, away, strategy=Strategy(max_parallel=3), timeout=50)
    await world.in_phase(task, sick, Phase.FAILED)
    await world.in_phase(task, good, Phase.COMPLETED)
    with pytest.raises(ConflictError, match="has not ended: in_progress"):
        await asked(world, "retry_deployment", task)
    await world.door.cancel_deployment(task)
    first = await world.ended(task)
    assert phases(first) == [Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED]

    sick.check.sick.clear()
    await away.agent.let_back()
    await world.connected(away)
    result = await asked(world, "retry_deployment", task, world.new_id())
    assert (result.version, result.total_instances) == ("v1", 2)
    again = await asked(world, "retry_deployment", task, result.deploy_id)
    assert again == result
    second = await world.ended(result.deploy_id)
    assert second.status is TaskState.COMPLETED
    assert [part.instance_id for part in second.instances] == [sick.id, away.id]
    assert (second.digest, second.rollout.strategy) == (first.digest, first.rollout.strategy)
    assert (second.rollout.follows, second.rollout.relation) == (task, "retry")
    assert (await world.door.get_deployment_status(task)).rollout.led_to == [result.deploy_id]
    assert len(good.driver.starts) == 1


async def test_nothing_is_left_to_retry_where_all_has_completed(world: World) -> None:
    place = await world.place()
    task = (await world.deployed("v1", place)).deploy_id
    before = await world.task_ids()
    with pytest.raises(ConflictError, match="nothing is left to retry"):
        await asked(world, "retry_deployment", task)
    assert await world.task_ids() == before


async def test_a_retrys_id_that_another_task_has_is_a_conflict(world: World) -> None:
    place = await world.place()
    place.check.sick["v2"] = "no database"
    other = (await world.deployed("v1", place)).deploy_id
    task = (await world.deployed("v2", place)).deploy_id
    with pytest.raises(ConflictError, match=f"^new_id: {other} exists already"):
        await asked(world, "retry_deployment", task, other)
    made = await asked(world, "retry_deployment", task)
    assert made.deploy_id.startswith("deploy-")
    await world.ended(made.deploy_id)


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


# ---- why -------------------------------------------------------------------


async def test_an_instance_tells_which_task_has_it(world: World) -> None:
    first, second = await world.places(2)
    gate = first.driver.hold("start")
    task = await world.deploy("v1", first, second, strategy=ONE_BY_ONE)
    await gate.reached.wait()
    assert [(await world.row(place)).held_by for place in (first, second)] == [task, task]
    versions = await world.door.get_service_instance_versions(world.service, True)
    assert {row.held_by for row in versions.instances} == {task}
    gate.open()
    await world.ended(task)
    assert [(await world.row(place)).held_by for place in (first, second)] == ["", ""]


async def test_the_command_line_tells_why(own: World) -> None:
    first, second = await own.places(2)
    gate = first.driver.hold("start")
    task = await own.deploy("v1", first, second, strategy=ONE_BY_ONE)
    await gate.reached.wait()
    await own.site.coordinator.pause_deployment(task)
    told = (await own.site.ferryman("why", task)).out
    assert f"Deployment {task} ({own.service} v1) is in_progress: 0 of 2 have ended." in told
    assert "The task itself: paused since " in told
    assert f"For that waits {second.id}." in told
    assert f"{first.id}: starting the new version" in told
    told = (await own.site.ferryman("why", second.id)).out
    assert f"{second.id} of {own.service} on host {second.agent.host_id} runs nothing yet" in told
    assert f"Deployment {task} ({own.service} v1) has it. There it is queued: paused" in told
    gate.open()
    assert (await own.site.ferryman("resume", task)).code == 0
    await own.ended(task)
    assert "No task has it." in (await own.site.ferryman("why", second.id)).out
    assert "2 of 2 completed" in (await own.site.ferryman("why", task)).out
