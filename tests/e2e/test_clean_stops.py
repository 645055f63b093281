"""SIGTERM in the middle of a deployment: the daemon exits 0, and the deployment ends true."""

from __future__ import annotations

import asyncio

from protocol.errors import UnavailableError
from protocol.states import Phase, TaskState
from tests.e2e.conftest import System


async def watch(system: System, follows: asyncio.Event) -> str:
    """Follow the events until the stream ends; returns how it told its end."""
    try:
        async for _ in system.client.events(after=0):
            follows.set()
    except UnavailableError as error:
        return error.message
    return ""


async def test_the_coordinator_stops_in_the_middle_and_resumes_after_its_restart(
    system: System,
) -> None:
    agent = await system.agent("host-a", "switching", "loading")
    well, gate = system.folder / "well", asyncio.Event()
    switching = await system.deploy(
        "v1", ["switching"], url=system.put("v1", well_while=well), timeout=80
    )
    url = system.put("v2")
    system.packages.slow("user-service-v2.tar.gz", chunk=100, gate=gate)
    loading = await system.deploy("v2", ["loading"], url=url, timeout=80)
    await system.at_step(switching, "check")
    await system.reached(loading, Phase.PREPARING)

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch(system, follows := asyncio.Event()))
        await follows.wait()
        assert await system.coordinator.stop() == 0
    assert "the event stream ended" in watching.result()
    assert "Traceback" not in system.coordinator.said()
    well.touch()
    gate.set()
    await system.coordinator.start()

    for task in (switching, loading):
        ended = await system.ended(task)
        assert ended.status is TaskState.COMPLETED, ended
        assert ended.instances[0].attempt == 1
    assert (await system.serving("switching"), await system.serving("loading")) == ("v1", "v2")
    assert await agent.stop() == 0
    assert "Traceback" not in agent.said()
