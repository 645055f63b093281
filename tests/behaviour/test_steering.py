"""A task that exists is paused, resumed, promoted and tried again, at every door."""

from __future__ import annotations

import pytest

from protocol.errors import ConflictError, NotFoundError
from protocol.models import DeployStatus
from protocol.states import Phase, TaskState
from protocol.strategy import Strategy
from tests.behaviour.world import (
    OFTEN,
    World,
    all_doors_at_once,
    asked,
    part_of,
    phases,
)
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
    assert after.updated_at == before.updated_at
    shown_anew = {"waits_until"}  # the timeout's end, by the time of the question
    rollout = after.rollout.model_dump(exclude=shown_anew)
    assert rollout == before.rollout.model_dump(exclude=shown_anew)
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
