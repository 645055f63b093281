"""A pause is saved with the task: a coordinator that was restarted begins nothing of it either."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from protocol.states import Phase, TaskState
from protocol.strategy import Strategy
from tests.behaviour.installation import Site
from tests.behaviour.world import World


async def test_a_paused_task_is_paused_after_a_restart_too(tmp_path: Path) -> None:
    async with Site.open(tmp_path) as site, AsyncExitStack() as stack:
        before = World(site, site.coordinator, stack)
        (place,) = await before.places(1)
        await before.away(place)
        task = await before.deploy("v1", place, strategy=Strategy(max_parallel=1), timeout=2)
        paused = await site.coordinator.pause_deployment(task)
        url = before.put("v1")
    async with Site.open(tmp_path) as site, AsyncExitStack() as stack:
        after = World(site, site.coordinator, stack)
        assert after.put("v1") != url, "the packages are elsewhere now: nothing may be fetched yet"
        found = await site.coordinator.get_deployment_status(task)
        assert found.rollout == paused.rollout
        (again,) = await after.places(1)
        assert again.id == place.id
        control = await after.place()
        await after.away(control)
        late = await after.deployed("v1", control, timeout=2, deploy_id="control")
        assert late.status is TaskState.FAILED
        found = await site.coordinator.get_deployment_status(task)
        assert (found.instances[0].phase, found.instances[0].deadline) == (Phase.WAITING, None)
        assert await again.runs() == ""
        await site.coordinator.resume_deployment(task)
        ended = await after.ended(task)
        assert "can't" in ended.instances[0].error_message, "it was fetched from where it was"
