"""A timeout bounds the whole assignment, whatever it is doing; the old version serves after it."""

from __future__ import annotations

import asyncio

from protocol.states import Phase, TaskState
from tests.e2e.conftest import System
from tests.parts.waiting import until


async def test_the_time_runs_out_during_the_download_and_during_the_check(
    system: System,
) -> None:
    agent = await system.agent("host-a", "loading", "checking")
    await system.deployed("v1", ["loading", "checking"])
    serving = agent.service_pids("loading")
    gate = asyncio.Event()
    url = system.put("v2", ballast=bytes(1_000_000))
    system.packages.slow("user-service-v2.tar.gz", chunk=500, gate=gate)
    never = system.put("v3", well_while=system.folder / "never")

    loading = await system.deploy("v2", ["loading"], url=url, timeout=2, retry_count=5)
    checking = await system.deploy("v3", ["checking"], url=never, timeout=4, retry_count=5)
    ended = [await system.ended(task) for task in (loading, checking)]
    gate.set()

    for task in ended:
        assert task.status is TaskState.FAILED, task
        (part,) = task.instances
        assert part.attempt == 1, "no attempt is begun that the timeout would cut off"
        assert part.phase is Phase.FAILED
    before, during = (task.instances[0].error_message for task in ended)
    assert before.startswith("timed out ")
    assert during.startswith("check: ")
    assert during.endswith("v1 was put back")
    assert agent.service_pids("loading") == serving, "nothing was stopped"
    assert await system.serving("loading") == "v1"
    assert await system.serving("checking") == "v1"
    await until(lambda: agent.versions_on_disk("loading"), lambda seen: seen == {"v1"})
