"""An instance whose agent is away is accepted, and waits until its timeout: saying so."""

from __future__ import annotations

from datetime import timedelta

from protocol.states import InstanceStatus, Phase, TaskState
from tests.e2e.conftest import System
from tests.parts.waiting import until


async def test_one_that_returns_in_time_is_deployed_and_the_others_did_not_wait(
    system: System,
) -> None:
    away = await system.agent("host-a", "returns")
    await system.agent("host-b", "present")
    await system.deployed("v1", ["returns", "present"])
    await away.kill()
    await system.away("returns")
    shown = await system.instance("returns")
    assert (shown.status, shown.version) == (InstanceStatus.ERROR, "v1")
    assert shown.reason.startswith("agent not connected: silent since ")
    assert shown.reason.endswith("it last said running")

    task = await system.deploy("v2", ["returns", "present"])
    seen = await until(
        lambda: system.client.get_deployment_status(task),
        lambda seen: seen.instances[1].phase is Phase.COMPLETED,
    )
    assert seen.status is TaskState.IN_PROGRESS
    assert seen.instances[0].status is TaskState.PENDING
    assert seen.instances[0].reason.startswith("waiting for its agent to return")
    assert (seen.progress.completed, seen.progress.pending) == (1, 1)

    await away.start()
    ended = await system.ended(task)
    assert ended.status is TaskState.COMPLETED, ended
    assert await system.serving("returns") == "v2"
    assert (await system.instance("returns")).status is InstanceStatus.RUNNING


async def test_field_note_10_one_that_stays_away_times_out_by_the_deadline_that_was_stored(
    system: System,
) -> None:
    agent = await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])
    serving = agent.service_pids("instance-1")
    await agent.kill()
    task = await system.deploy("v2", ["instance-1"], timeout=4)
    promised = (await system.client.get_deployment_status(task)).instances[0].deadline
    assert promised is not None

    await system.coordinator.kill()
    await system.coordinator.start()
    ended = await system.ended(task)

    assert ended.status is TaskState.FAILED
    (part,) = ended.instances
    assert part.error_message == "timed out after 4 s: the agent was away"
    assert part.completed_at is not None
    assert promised - timedelta(seconds=0.5) <= part.completed_at

    await agent.start()
    await until(lambda: system.instance("instance-1"), lambda row: row.connected)
    assert agent.service_pids("instance-1") == serving, "what timed out is not done later"
    assert agent.versions_on_disk("instance-1") == {"v1"}
