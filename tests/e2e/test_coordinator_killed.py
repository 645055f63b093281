"""The coordinator is killed with 20 instances under way: all end true, none is applied twice.

What decides is the start log: every start of a service adds a line to it.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path

from protocol.models import DeployStatus
from protocol.states import Phase, TaskState
from tests.e2e.conftest import System
from tests.parts.daemons import InstanceSpec
from tests.parts.service import sleeper_package
from tests.parts.waiting import until

HOSTS, PER_HOST = 4, 5
TIMEOUT = 90


def sleeper(instance_id: str, well: Path) -> InstanceSpec:
    """An instance that costs next to nothing, healthy while the file is there."""
    check = {"command": ["test", "-e", str(well)], "interval": 0.5, "timeout": 60, "stable": 0.2}
    return InstanceSpec(instance_id, health=check)


async def with_hosts(system: System, well: Path) -> list[str]:
    names = []
    for host in range(HOSTS):
        own = [f"instance-{host}-{number}" for number in range(PER_HOST)]
        await system.agent(f"host-{host}", *(sleeper(name, well) for name in own))
        names += own
    return names


def started(starts: Path, instance_id: str) -> list[str]:
    """The versions in the order in which the instance's service was started."""
    return [line.split()[0] for line in (starts / instance_id).read_text().splitlines()]


def deadlines(task: DeployStatus) -> dict[str, datetime]:
    return {part.instance_id: part.deadline for part in task.instances if part.deadline}


async def test_twenty_instances_under_way_through_two_kills(system: System) -> None:
    starts, well = system.folder / "starts", system.folder / "well"
    starts.mkdir()
    well.touch()
    names = await with_hosts(system, well)
    url = system.packages.put("v1.tar.gz", sleeper_package("v1", starts))
    first = await system.deployed("v1", names, url=url, timeout=TIMEOUT)
    assert first.status is TaskState.COMPLETED, first

    gate = asyncio.Event()
    well.unlink()
    url = system.packages.put("v2.tar.gz", sleeper_package("v2", starts))
    system.packages.slow("v2.tar.gz", chunk=50, gate=gate)
    task = await system.deploy("v2", names, url=url, timeout=TIMEOUT)
    under_way = await system.reached(task, Phase.PREPARING)
    promised = deadlines(under_way)
    assert len(promised) == len(names)

    await system.coordinator.kill()
    gate.set()
    await until(
        lambda: all(
            system.agents[f"host-{n}"].versions_on_disk(f"instance-{n}-0") == {"v1", "v2"}
            for n in range(HOSTS)
        )
    )
    await system.coordinator.start()
    switching = await system.reached(task, Phase.ACTIVATING)
    assert switching.status is TaskState.IN_PROGRESS
    for name, deadline in deadlines(switching).items():
        assert abs(deadline - promised[name]) < timedelta(seconds=1), "a restart moves no deadline"

    await system.coordinator.kill()
    well.touch()
    await until(lambda: all(started(starts, name)[-1] == "v2" for name in names))
    await system.coordinator.start()
    ended = await system.ended(task)

    assert ended.status is TaskState.COMPLETED, ended
    assert ended.progress.completed == len(names)
    assert {part.attempt for part in ended.instances} == {1}
    for name in names:
        assert started(starts, name) == ["v1", "v2"], name
    versions = await system.client.get_service_instance_versions("user-service")
    assert versions.version_summary == {"v2": len(names)}
    for number in range(HOSTS):
        name = f"instance-{number}-0"
        assert len(system.agents[f"host-{number}"].service_pids(name)) == 1
        history = await system.client.get_instance_version_history(name)
        assert [row.version for row in history.history] == ["v2", "v1"], "one row each"


async def test_field_note_11_what_happened_while_it_was_away_is_told_later(
    system: System,
) -> None:
    agent = await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])
    gate, well = asyncio.Event(), system.folder / "well"
    url = system.put("v2", well_while=well)
    system.packages.slow("user-service-v2.tar.gz", chunk=100, gate=gate)
    task = await system.deploy("v2", ["instance-1"], url=url, timeout=TIMEOUT)
    await system.reached(task, Phase.PREPARING)

    def in_hand() -> str:
        journal = agent.state_dir / "journal" / "instance-1.json"
        work = json.loads(journal.read_bytes())["work"]
        return str(work["step"]) if work else "nothing"

    await system.coordinator.kill()
    gate.set()
    await until(in_hand, lambda step: step == "prepared")
    await agent.kill()
    await agent.start()
    await system.coordinator.start()
    await system.at_step(task, "check")

    await system.coordinator.kill()
    well.touch()
    await until(in_hand, lambda step: step == "nothing")
    await agent.kill()
    assert await system.serving("instance-1") == "v2"
    await agent.start()
    await system.coordinator.start()
    ended = await system.ended(task)

    assert ended.status is TaskState.COMPLETED, ended
    assert ended.instances[0].attempt == 1
    assert len(agent.service_pids("instance-1")) == 1
    fetched = [one for one in system.packages.requests if "v2" in one.name]
    assert len(fetched) == 1
