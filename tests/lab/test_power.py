"""Power lost at every phase of a deployment, and at every step of it on the agent's disk.

A recorded run finds them; then a deployment loses its host at each. At a step the agent ends
right before it writes its journal again, so that none is too short to be met. What a lost
power does to what the disk had not yet taken is not asked here: the disk keeps all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from agent.core.swap import STEPS
from protocol.messages import Step
from protocol.models import DeployStatus
from protocol.states import TaskState
from tests.lab.fleet import FleetOnHosts, fleet_on_hosts
from tests.lab.needs import need_hosts
from tests.lab.tally import Tally
from tests.parts.waiting import until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.sweep,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

SURE = {"waiting", "activating"}
"""Phases that are always seen: a command is only sent when they are committed. Of the others a
commit may take two at once."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FleetOnHosts]:
    need_hosts()
    async with fleet_on_hosts(tmp_path_factory.mktemp("lab"), "a") as fleet:
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def fleet(booted: FleetOnHosts) -> AsyncIterator[FleetOnHosts]:
    await booted.everywhere("v1")
    yield booted
    await booted.mended()


@dataclass
class Phases:
    """What one instance's deployment went through so far, in the order in which it was told."""

    seen: list[str] = field(default_factory=list)
    grew: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, phase: str) -> None:
        self.seen.append(phase)
        self.grew.set()

    async def reached(self, phase: str) -> None:
        """Wait until this one was told, or one that only comes after it."""
        while phase not in self.seen and "completed" not in self.seen:
            self.grew.clear()
            await self.grew.wait()


@asynccontextmanager
async def watched(fleet: FleetOnHosts, task: str, instance_id: str) -> AsyncIterator[Phases]:
    """Read the phases on the event stream."""
    phases = Phases()

    async def read() -> None:
        async for event in fleet.client.events(after=0):
            data = event.data
            if (data.get("task_id"), data.get("instance_id")) == (task, instance_id):
                phases.add(str(data["phase"]))

    reading = asyncio.create_task(read())
    try:
        yield phases
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def phases_of(fleet: FleetOnHosts, instance_id: str) -> list[str]:
    """The phases of an undisturbed deployment, but its end."""
    async with watched(fleet, f"recorded-{instance_id}", instance_id) as phases:
        await fleet.deployed("v2", [instance_id], deploy_id=f"recorded-{instance_id}")
        await phases.reached("completed")
    return [phase for phase in phases.seen if phase != "completed"]


async def loses_power_in(
    fleet: FleetOnHosts, instance_id: str, phase: str, version: str
) -> DeployStatus:
    """Deploy to both instances of the host; power goes in a phase of one, and comes back."""
    host, task = fleet.agents["a"], f"{instance_id}-loses-power-in-{phase}"
    async with watched(fleet, task, instance_id) as phases:
        await fleet.deploy(version, fleet.instances, deploy_id=task)
        await phases.reached(phase)
        await host.power_off()
    await host.power_on()
    return await fleet.ended(task)


async def writes_of(fleet: FleetOnHosts, instance_id: str) -> int:
    """How often the agent writes its journal in an undisturbed deployment."""
    counted = await fleet.agents["a"].kill_at("rename", 0, below=fleet.journal_file(instance_id))
    await fleet.deployed("v3", [instance_id])
    await at_rest(fleet, instance_id)
    return counted.count


async def loses_power_before_write(
    fleet: FleetOnHosts, instance_id: str, number: int, version: str
) -> tuple[Step | None, DeployStatus]:
    """Deploy to both instances; power goes when one's agent ends before it writes its journal.

    Returns also what that says then.
    """
    host, task = fleet.agents["a"], f"{instance_id}-loses-power-before-write-{number}"
    killed = await host.kill_at("rename", number, below=fleet.journal_file(instance_id))
    await fleet.deploy(version, fleet.instances, deploy_id=task)
    await until(lambda: killed.hit, every=0.002)
    await host.power_off()
    work = fleet.journal(instance_id).work
    killed.disarm()
    await host.power_on()
    return work.step if work else None, await fleet.ended(task)


async def told_true(
    fleet: FleetOnHosts, version: str, before: dict[str, str], ended: DeployStatus
) -> bool:
    """Whether each instance runs, whole, what the deployment's end says."""
    for part in ended.instances:
        completed = part.status is TaskState.COMPLETED
        told = version if completed else before[part.instance_id]
        if await fleet.intact(part.instance_id) != told:
            return False
    return True


async def at_rest(fleet: FleetOnHosts, instance_id: str) -> None:
    """Wait until the agent has nothing more to write."""
    await until(lambda: fleet.journal(instance_id), lambda seen: not (seen.work or seen.unsent))


async def running(fleet: FleetOnHosts) -> dict[str, str]:
    """The version of each instance, which all agree on, once all is told."""
    for name in fleet.instances:
        await at_rest(fleet, name)
    return {name: await fleet.intact(name) for name in fleet.instances}


@pytest.mark.parametrize("driver", ["unit", "command"])
async def test_power_lost_in_every_phase_of_a_deployment(
    fleet: FleetOnHosts, driver: str, tally: Tally
) -> None:
    phases = await phases_of(fleet, f"{driver}-a")
    assert set(phases) >= SURE

    for phase in phases:
        before, version = await running(fleet), f"{driver}-{phase}"
        ended = await loses_power_in(fleet, f"{driver}-a", phase, version)
        assert await told_true(fleet, version, before, ended), (phase, ended)
    tally(points=len(phases))


@pytest.mark.parametrize("driver", ["unit", "command"])
async def test_power_lost_at_every_step_of_a_deployment(
    fleet: FleetOnHosts, driver: str, tally: Tally
) -> None:
    writes = await writes_of(fleet, f"{driver}-a")

    met: set[Step | None] = set()
    for number in range(1, writes + 1):
        before, version = await running(fleet), f"{driver}-{number}"
        step, ended = await loses_power_before_write(fleet, f"{driver}-a", number, version)
        assert await told_true(fleet, version, before, ended), (number, step, ended)
        met.add(step)
    tally(points=writes)
    assert met == {None, Step.PREPARE, Step.PREPARED, *STEPS}
