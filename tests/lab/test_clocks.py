"""Wall clocks that jump: they decide nothing, and certificates alone object, by name.

It is the daemons' clocks that jump; those of the test, of systemd and of the services are
right. A deployment is in its check when a clock jumps, and it is well only afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from coordinator.client import AsyncClient
from protocol.access import TokenParams
from protocol.errors import UnauthenticatedError
from protocol.events import Event
from protocol.messages import Step
from protocol.states import InstanceStatus, TaskState
from tests.lab.fleet import AGENT, COORDINATOR, STATE, FleetOnHosts, fleet_on_hosts, main_pid
from tests.lab.host import SystemdHost
from tests.lab.needs import need_hosts, need_programs
from tests.lab.tally import Tally
from tests.parts.waiting import until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.sweep,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
JUMPS = [HOUR, -HOUR, DAY, -DAY, 400 * DAY]
RIGHT = timedelta()
HERE = ["unit-a", "command-a"]
HEARTBEAT = 2.0
LONG = 1.5 * HEARTBEAT
"""Seconds in which a host that seemed silent for long would be shown as away."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FleetOnHosts]:
    need_hosts()
    need_programs("cc")
    folder = tmp_path_factory.mktemp("lab")
    async with fleet_on_hosts(
        folder, "a", heartbeat=HEARTBEAT, check_timeout=60.0, clocks=True
    ) as fleet:
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def fleet(booted: FleetOnHosts) -> AsyncIterator[FleetOnHosts]:
    await booted.everywhere("v1")
    yield booted
    await booted.mended()


async def time_told(fleet: FleetOnHosts) -> datetime:
    """What the coordinator takes the time to be."""
    return (await fleet.client.get_system_health()).timestamp


def off_by(wrong_by: timedelta, told: datetime) -> bool:
    """Whether a clock that is wrong by so much tells this time."""
    return abs(told - datetime.now(UTC) - wrong_by) < timedelta(minutes=1)


@asynccontextmanager
async def news(fleet: FleetOnHosts) -> AsyncIterator[list[Event]]:
    """Everything that the coordinator tells of during the block, on one stream of events."""
    told: list[Event] = []

    async def listen() -> None:
        async for event in fleet.client.events(after=0):
            told.append(event)

    listening = asyncio.create_task(listen())
    try:
        await until(lambda: told)
        old = len(told)
        yield told
        del told[:old]
        assert not listening.done(), "the stream of events broke off"
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def stays_connected(fleet: FleetOnHosts) -> None:
    """For long enough that a false silence would be seen, none is."""
    end = asyncio.get_running_loop().time() + LONG
    while asyncio.get_running_loop().time() < end:
        assert {(await fleet.instance(name)).connected for name in HERE} == {True}


async def says(host: SystemdHost, unit: str, what: str) -> str:
    """Wait until a daemon has logged it; return the line."""
    journal = ("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    async def lines() -> list[str]:
        told = (await host.run(*journal)).output.splitlines()
        return [line for line in told if what in line]

    return (await until(lines))[-1]


async def test_a_coordinator_whose_clock_is_far_ahead_refuses_new_connections_by_name(
    fleet: FleetOnHosts, tally: Tally
) -> None:
    agent = fleet.agents["a"]
    await agent.run("systemctl", "stop", AGENT)
    fleet.coordinator.clock(400 * DAY)
    await agent.run("systemctl", "start", AGENT)

    named = "the certificate of a ended on "
    line = await says(agent, AGENT, named)
    assert line.endswith("is that clock right?")
    await says(fleet.coordinator, COORDINATOR, "host a was refused: its certificate ended on ")
    assert await fleet.answers() == {"v1"}

    fleet.coordinator.clock(RIGHT)
    await until(fleet.shown, lambda seen: seen == {(InstanceStatus.RUNNING, True, "v1")})
    await fleet.everywhere("v2")
    tally(points=1)


@pytest.mark.parametrize("whose", ["agent", "coordinator"])
async def test_a_clock_that_jumps_during_a_deployment_changes_nothing(
    fleet: FleetOnHosts, whose: str, tally: Tally
) -> None:
    host = fleet.agents["a"] if whose == "agent" else fleet.coordinator
    well = fleet.agents["a"].files("/srv/well")
    daemons = [(fleet.agents["a"], AGENT), (fleet.coordinator, COORDINATOR)]
    pids = [await main_pid(*daemon) for daemon in daemons]

    async with news(fleet) as told:
        for number, jump in enumerate(JUMPS):
            well.unlink(missing_ok=True)
            version = f"{whose}-{number}"
            url = fleet.put(version, well_while="/srv/well")
            task = await fleet.deploy(version, HERE, url=url, deploy_id=version, timeout=60)
            await until(fleet.steps, lambda steps: steps == {Step.CHECK})

            host.clock(jump)
            await stays_connected(fleet)
            assert off_by(jump if whose == "coordinator" else RIGHT, await time_told(fleet))
            well.touch()

            ended = await fleet.ended(task)
            assert ended.status is TaskState.COMPLETED, (jump, ended)
            assert [await fleet.intact(name) for name in HERE] == [version, version]
            host.clock(RIGHT)

    assert not [event for event in told if event.data.get("connected") is False]
    assert {event.data["attempt"] for event in told if event.kind == "assignment"} == {1}
    assert [await main_pid(*daemon) for daemon in daemons] == pids
    tally(points=len(JUMPS))


async def test_tokens_are_good_whichever_way_the_coordinators_clock_jumps(
    fleet: FleetOnHosts, tally: Tally
) -> None:
    created = await fleet.client.create_token(TokenParams(role="viewer", ttl=2 * 86_400))
    authority = fleet.coordinator.files("/var/lib/ferryman/ca.pem")
    async with AsyncClient(fleet.client.url, created.secret, authority) as viewer:
        for jump in (HOUR, -HOUR, DAY, -DAY):
            fleet.coordinator.clock(jump)
            assert (await viewer.get_system_health()).status == "healthy"
            assert (await viewer.get_system_stats("1h")).instances.healthy == len(HERE)

        fleet.coordinator.clock(400 * DAY)
        with pytest.raises(UnauthenticatedError, match="the token has expired"):
            await viewer.get_system_health()
        fleet.coordinator.clock(RIGHT)
        await viewer.get_system_health()
    tally(points=len(JUMPS))


@pytest.mark.parametrize("wrong_by", [-400 * DAY, 400 * DAY], ids=["behind", "ahead"])
async def test_a_host_whose_clock_is_wrong_joins(
    fleet: FleetOnHosts, wrong_by: timedelta, tally: Tally
) -> None:
    agent = fleet.agents["a"]
    await agent.run("systemctl", "stop", AGENT)
    await fleet.away("unit-a")
    for file in ("agent.key", "agent.pem", "ca.pem"):
        agent.files(f"{STATE}/{file}").unlink(missing_ok=True)

    agent.clock(wrong_by)
    await agent.run("systemctl", "start", AGENT)
    await until(fleet.shown, lambda seen: seen == {(InstanceStatus.RUNNING, True, "v1")})
    await fleet.everywhere("v2")
    tally(points=1)
