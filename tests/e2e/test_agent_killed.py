"""The agent ends in the middle and starts again: the assignment ends true, and nothing doubles.

After each: exactly one service process, and no rubbish in releases/.
"""

from __future__ import annotations

import asyncio
import json
import signal
from functools import partial
from operator import eq

import pytest

from protocol.states import InstanceStatus, Phase, TaskState
from tests.e2e.conftest import System
from tests.parts.daemons import AgentDaemon
from tests.parts.waiting import until


async def one_process(agent: AgentDaemon) -> int:
    """The pid of the service, once nothing but it runs."""
    seen = await until(lambda: agent.service_pids("instance-1"), lambda pids: len(pids) == 1)
    return seen[0]


def clean(agent: AgentDaemon, *versions: str) -> None:
    """Hold releases/ to these versions: each a folder, its manifest and proof, nothing else."""
    names = [name for name in agent.release_names("instance-1") if not name.endswith(".proof")]
    assert agent.versions_on_disk("instance-1") == set(versions), names
    assert len(names) == 2 * len(versions), names


async def test_field_note_30_services_outlive_both_daemons(system: System) -> None:
    agent = await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])
    serving = await one_process(agent)

    async with system.steady_client("instance-1") as client:
        await agent.kill()
        await agent.return_to_work()
        assert await agent.stop() == 0
        await agent.return_to_work()
        await system.coordinator.kill()
        await system.coordinator.start()
        seen = await until(lambda: system.instance("instance-1"), lambda row: row.connected)
        await until(lambda: len(client.answers), lambda count: count > 20)

    assert client.failed == 0
    assert (seen.status, seen.version) == (InstanceStatus.RUNNING, "v1")
    assert await one_process(agent) == serving
    clean(agent, "v1")


async def test_killed_during_the_download(system: System) -> None:
    agent = await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])
    serving = await one_process(agent)
    gate = asyncio.Event()
    url = system.put("v2", ballast=bytes(1_000_000))
    system.packages.slow("user-service-v2.tar.gz", chunk=500, gate=gate)
    task = await system.deploy("v2", ["instance-1"], url=url)
    await until(lambda: [n for n in agent.release_names("instance-1") if "staging" in n])

    await agent.kill()
    gate.set()
    assert await one_process(agent) == serving
    await agent.start()
    ended = await system.ended(task)

    assert ended.status is TaskState.COMPLETED, ended
    assert ended.instances[0].attempt == 1, "a restart of the agent costs no attempt"
    assert await system.serving("instance-1") == "v2"
    await one_process(agent)
    clean(agent, "v1", "v2")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_field_note_8_ended_during_the_check_and_taken_up_where_it_was(
    system: System, number: signal.Signals
) -> None:
    agent = await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])
    well = system.folder / "well"
    task = await system.deploy("v2", ["instance-1"], url=system.put("v2", well_while=well))
    await system.at_step(task, "check")
    started = await one_process(agent)

    status = await agent.stop(number)
    assert status == (0 if number is signal.SIGTERM else -signal.SIGKILL)
    well.touch()
    await agent.start()
    ended = await system.ended(task)

    assert ended.status is TaskState.COMPLETED, ended
    assert await one_process(agent) == started, "it was not started a second time"
    assert await system.serving("instance-1") == "v2"
    clean(agent, "v1", "v2")


async def test_killed_while_putting_back(system: System) -> None:
    agent = await system.agent("host-a", "instance-1")
    well = system.folder / "well"
    well.touch()
    first = await system.deployed("v1", ["instance-1"], url=system.put("v1", well_while=well))
    assert first.status is TaskState.COMPLETED, first
    well.unlink()
    task = await system.deploy("v2", ["instance-1"], url=system.put("v2", crash_after=0.0))
    await system.at_step(task, "put_back")
    await until(lambda: system.serving("instance-1"), lambda answer: answer == "v1")
    started = await one_process(agent)

    await agent.kill()
    well.touch()
    await agent.start()
    ended = await system.ended(task)

    assert ended.status is TaskState.FAILED
    assert "exited with status 3" in ended.instances[0].error_message, "the first cause is kept"
    assert ended.instances[0].error_message.endswith("v1 was put back")
    assert ended.instances[0].current_version == "v1"
    assert await system.serving("instance-1") == "v1"
    assert agent.current("instance-1") == "v1"
    assert await one_process(agent) != started, "putting back begins anew: v1 is started again"
    assert (await system.instance("instance-1")).status is InstanceStatus.RUNNING


async def test_field_note_34_a_switch_that_ends_the_agent_every_time_is_given_up(
    system: System,
) -> None:
    agent = await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])
    well = system.folder / "well"
    task = await system.deploy("v2", ["instance-1"], url=system.put("v2", well_while=well))
    await system.at_step(task, "check")
    journal = agent.state_dir / "journal" / "instance-1.json"

    def recoveries() -> int:
        work = json.loads(journal.read_bytes())["work"]
        return int(work["recoveries"]) if work else -1

    await agent.kill()
    for number in (1, 2, 3):
        await agent.start()
        await until(recoveries, partial(eq, number))
        await agent.kill()
    await agent.start()
    ended = await system.ended(task)

    assert ended.instances[0].phase is Phase.FAILED
    assert "both releases were kept" in ended.instances[0].error_message
    clean(agent, "v1", "v2")
    # What ended is told before what the instance looks like.
    seen = await until(
        lambda: system.instance("instance-1"),
        lambda row: row.connected and row.status is InstanceStatus.ERROR,
    )
    assert "both releases were kept" in seen.reason

    well.touch()
    healed = await system.deployed("v3", ["instance-1"])
    assert healed.status is TaskState.COMPLETED, healed
    assert (await system.instance("instance-1")).status is InstanceStatus.RUNNING
    await one_process(agent)
