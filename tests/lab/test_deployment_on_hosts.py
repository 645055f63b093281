"""Whole deployments on hosts of their own: shipped units, mDNS, both drivers, real failures.

The scenarios share one fleet, which is mended after each; each begins by deploying v1.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from protocol.models import BatchRollbackParams
from protocol.states import InstanceStatus, TaskState
from tests.lab.fleet import AGENT, FleetOnHosts, fleet_on_hosts, main_pid, replaced
from tests.lab.needs import need_hosts
from tests.parts.steady_client import SteadyClient
from tests.parts.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

RUNNING = InstanceStatus.RUNNING


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FleetOnHosts]:
    need_hosts()
    async with fleet_on_hosts(tmp_path_factory.mktemp("lab"), "a", "b") as fleet:
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def fleet(booted: FleetOnHosts) -> AsyncIterator[FleetOnHosts]:
    yield booted
    await booted.mended()


async def test_deployed_upgraded_put_back_and_rolled_back_from_disk(fleet: FleetOnHosts) -> None:
    await fleet.everywhere("v1")
    await fleet.everywhere("v2")

    broken = fleet.put("v3", crash_after=0.0)
    failed = await fleet.deployed("v3", fleet.instances, url=broken)
    assert failed.progress.failed == len(fleet.instances), failed
    for part in failed.instances:
        assert "fatal: out of ideas" in part.error_message
        assert part.error_message.endswith("v2 was put back")
    assert await fleet.answers() == {"v2"}

    downloads = len(fleet.packages.requests)
    params = BatchRollbackParams(
        service="user-service", target_version="v1", instances=fleet.instances
    )
    rollback = await fleet.rolled_back((await fleet.client.rollback_batch(params)).rollback_id)
    assert rollback.status is TaskState.COMPLETED, rollback
    assert len(fleet.packages.requests) == downloads
    assert await fleet.answers() == {"v1"}
    assert await fleet.shown() == {(RUNNING, True, "v1")}


async def test_restarting_and_killing_the_agent_leaves_its_services_alone(
    fleet: FleetOnHosts,
) -> None:
    await fleet.everywhere("v1")
    host, pids = fleet.agents["a"], await fleet.pids()
    unit, command = (SteadyClient(fleet.service_url(name), pause=0.05) for name in fleet.on("a"))

    async with unit, command:
        for order in (["restart"], ["kill", "--signal=KILL"]):
            agent = await main_pid(host, AGENT)
            await host.run("systemctl", *order, AGENT)
            await replaced(host, AGENT, agent)

    assert await fleet.pids() == pids
    assert (unit.failed, command.failed) == (0, 0)
    await fleet.everywhere("v2")


async def test_power_lost_during_the_download(fleet: FleetOnHosts) -> None:
    await fleet.everywhere("v1")
    host, gate = fleet.agents["a"], asyncio.Event()
    url = fleet.put("v2-large", ballast=bytes(1_000_000))
    fleet.packages.slow("user-service-v2-large.tar.gz", chunk=500, gate=gate)
    task = await fleet.deploy("v2-large", fleet.on("a"), url=url)
    await until(lambda: [seen for seen in fleet.packages.requests if "large" in seen.name])

    await host.power_off()
    assert await fleet.answers(fleet.on("a")) == {""}
    await host.power_on()
    await until(lambda: fleet.answers(fleet.on("a")), lambda seen: seen == {"v1"})

    gate.set()
    ended = await fleet.ended(task)
    assert ended.status is TaskState.COMPLETED, [part.error_message for part in ended.instances]
    assert {part.attempt for part in ended.instances} == {1}
    assert await fleet.answers(fleet.on("a")) == {"v2-large"}
    assert await fleet.shown(fleet.on("a")) == {(RUNNING, True, "v2-large")}


async def test_power_lost_during_the_check_is_no_fault_of_the_release(fleet: FleetOnHosts) -> None:
    await fleet.everywhere("v1")
    host = fleet.agents["a"]
    url = fleet.put("v2-picky", well_while="/srv/well")
    task = await fleet.deploy("v2-picky", fleet.on("a"), url=url)
    await until(
        lambda: fleet.client.get_deployment_status(task),
        lambda seen: {part.step for part in seen.instances} == {"check"},
    )

    await host.power_off()
    host.files("/srv/well").touch()
    await host.power_on()

    ended = await fleet.ended(task)
    assert ended.status is TaskState.COMPLETED, [part.error_message for part in ended.instances]
    assert await fleet.answers(fleet.on("a")) == {"v2-picky"}
    assert await fleet.shown(fleet.on("a")) == {(RUNNING, True, "v2-picky")}


async def test_a_host_that_is_cut_off_is_shown_so_within_three_heartbeats(
    fleet: FleetOnHosts,
) -> None:
    await fleet.everywhere("v1")
    pids = await fleet.pids()

    await fleet.agents["b"].cut_off()
    await fleet.seen_away_in_time("unit-b")
    await fleet.away("command-b")
    assert await fleet.shown(fleet.on("b")) == {(InstanceStatus.ERROR, False, "v1")}
    assert await fleet.shown(fleet.on("a")) == {(RUNNING, True, "v1")}

    await fleet.agents["b"].heal()
    await until(fleet.shown, lambda seen: seen == {(RUNNING, True, "v1")})
    assert await fleet.pids() == pids
    assert await fleet.answers() == {"v1"}


async def test_packages_are_unpacked_without_roots_rights_and_releases_are_roots(
    fleet: FleetOnHosts,
) -> None:
    await fleet.everywhere("v1")
    host, gate = fleet.agents["a"], asyncio.Event()
    url = fleet.put("v2-watched", ballast=bytes(1_000_000))
    fleet.packages.slow("user-service-v2-watched.tar.gz", chunk=500, gate=gate)
    task = await fleet.deploy("v2-watched", fleet.on("a"), url=url)

    async def unpackers() -> set[str]:
        seen = await host.run("ps", "-wweo", "user:32,args")
        return {line.split()[0] for line in seen.output.splitlines() if "agent.unpacker" in line}

    await until(unpackers, lambda users: users == {"ferryman-unpack"})
    gate.set()
    ended = await fleet.ended(task)
    assert ended.status is TaskState.COMPLETED, [part.error_message for part in ended.instances]
    for name in fleet.on("a"):
        releases = fleet.releases(name).current_link.with_name("releases")
        assert {path.lstat().st_uid for path in releases.rglob("*")} == {0}
