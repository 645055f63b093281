"""Whatever is not final says what it waits for and since when: in the status and in the events."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from protocol.access import TokenParams
from protocol.models import DeployStatus
from protocol.states import Phase, TaskState
from protocol.strategy import Strategy
from tests.behaviour.world import World, part_of
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def assignment_events(own: World, deploy_id: str) -> list[dict[str, Any]]:
    """What the stream tells of a task's assignments, up to the end of the task."""
    made = await own.site.coordinator.create_token(TokenParams(role="viewer"))
    told: list[dict[str, Any]] = []
    async with own.site.events(made.secret, after=0) as stream, asyncio.timeout(60):
        while True:
            line = (await stream.content.readline()).decode()
            if not line.startswith("data: "):
                continue
            event = json.loads(line.removeprefix("data: "))
            if event["data"].get("task_id") != deploy_id:
                continue
            if event["kind"] == "assignment":
                told.append(event["data"])
            elif TaskState(event["data"]["status"]).ended:
                return told


def all_is_told(status: DeployStatus) -> None:
    rollout = status.rollout
    assert rollout.reason
    assert rollout.waits_since is not None
    for row in status.instances:
        if not row.status.ended:
            assert row.reason, row
            assert row.waits_since is not None, row


@pytest.mark.parametrize("strategy", [None, Strategy(prepare="all", max_parallel=1)])
async def test_every_state_that_is_not_final_says_why_and_since_when(
    own: World, strategy: Strategy | None
) -> None:
    here, away = await own.place("v1"), await own.place("v1")
    await away.agent.cut_off()
    task_id = await own.deploy("v2", here, away, strategy=strategy)
    await own.in_phase(task_id, away, Phase.WAITING if strategy is None else Phase.QUEUED)
    all_is_told(await own.door.get_deployment_status(task_id))
    await own.in_phase(task_id, here, Phase.COMPLETED if strategy is None else Phase.PREPARED)
    await own.in_phase(task_id, away, Phase.WAITING)
    status = await until(
        lambda: own.door.get_deployment_status(task_id),
        lambda seen: "agent silent since" in part_of(seen, away).reason,
    )
    all_is_told(status)
    if strategy is None:
        assert status.rollout.reason == "waiting for 1 whose agent is away"
    await away.agent.let_back()
    assert (await own.ended(task_id)).status is TaskState.COMPLETED

    told = await assignment_events(own, task_id)
    phases = {one["phase"] for one in told}
    assert phases >= {"waiting", "preparing", "activating", "completed"}
    for one in told:
        assert one["reason"], one
    waiting = {one["reason"].partition(";")[0] for one in told if one["phase"] == "waiting"}
    assert "waiting for its agent to take the command" in waiting
