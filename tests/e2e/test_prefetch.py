"""A release that was fetched ahead of time, and one that is pinned, with real processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from protocol.releases import PrefetchParams, PrefetchStatus
from protocol.states import TaskState
from tests.e2e.conftest import System
from tests.parts.command_line import Ended, piped
from tests.parts.waiting import until


async def ferryman(system: System, *arguments: str) -> Ended:
    return await asyncio.to_thread(piped, arguments, system.coordinator.environment())


async def prefetched(system: System, version: str, instances: Sequence[str]) -> PrefetchStatus:
    made = await system.client.prefetch(
        PrefetchParams(
            service="user-service",
            version=version,
            instances=list(instances),
            package_url=system.put(version),
            timeout=60,
        )
    )
    return await until(
        lambda: system.client.get_prefetch_status(made.prefetch_id),
        lambda seen: seen.status.ended,
    )


async def test_the_deployment_after_a_prefetch_downloads_nothing(system: System) -> None:
    agent = await system.agent("host-a", "instance-1", "instance-2")
    names = ["instance-1", "instance-2"]
    await system.deployed("v1", names)
    serving = agent.service_pids("instance-1")

    status = await prefetched(system, "v2", names)
    assert status.status is TaskState.COMPLETED, status
    assert agent.service_pids("instance-1") == serving, "nothing that serves was touched"
    assert agent.versions_on_disk("instance-1") == {"v1", "v2"}
    asked = len(system.packages.requests)

    deployed = await system.deployed("v2", names)
    assert deployed.status is TaskState.COMPLETED, deployed
    assert len(system.packages.requests) == asked
    assert [await system.serving(name) for name in names] == ["v2", "v2"]


async def test_it_outlasts_both_daemons_and_the_package_server(system: System) -> None:
    agent = await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])
    url = system.put("v2")
    await prefetched(system, "v2", ["instance-1"])
    await agent.kill()
    await system.coordinator.kill()
    await system.packages.stop()
    await system.coordinator.start()
    await agent.return_to_work()

    deployed = await system.deployed("v2", ["instance-1"], url=url)
    assert deployed.status is TaskState.COMPLETED, deployed
    assert await system.serving("instance-1") == "v2"


async def test_by_the_command_line(system: System) -> None:
    await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])
    url = system.put("v2")
    said = await ferryman(
        system, "prefetch", "user-service", "v2", "--package-url", url, "--all", "--wait"
    )
    assert said.code == 0, said
    prefetch_id = said.out.strip()
    assert prefetch_id.startswith("prefetch-")
    assert "completed" in (await ferryman(system, "status", prefetch_id)).out
    asked = len(system.packages.requests)
    deploy = ("deploy", "user-service", "v2", "--package-url", url, "--all", "--wait")
    assert (await ferryman(system, *deploy)).code == 0
    assert len(system.packages.requests) == asked
    assert "v2" not in {
        row.version
        for row in (await system.client.get_instance_version_history("instance-1")).history
        if row.deploy_id == prefetch_id
    }


@pytest.mark.sweep
async def test_a_pinned_version_outlasts_newer_ones_and_a_killed_agent(system: System) -> None:
    agent = await system.agent("host-a", "instance-1", keep_releases=1)
    await system.deployed("v1", ["instance-1"])
    assert (await ferryman(system, "release", "pin", "user-service", "v1")).code == 0
    await until((agent.state_dir / "pins.json").exists)
    await agent.kill()
    await agent.return_to_work()
    for version in ("v2", "v3", "v4"):
        await system.deployed(version, ["instance-1"])
    await until(
        lambda: agent.versions_on_disk("instance-1"), lambda seen: seen == {"v1", "v3", "v4"}
    )
    listed = await ferryman(system, "release", "list", "user-service")
    assert listed.out.splitlines()[1].split()[:5] == ["user-service", "v1", "1", "of", "1"]

    assert (await ferryman(system, "release", "unpin", "user-service", "v1")).code == 0
    await until(lambda: "v1" not in (agent.state_dir / "pins.json").read_text())
    await system.deployed("v5", ["instance-1"])
    await until(lambda: agent.versions_on_disk("instance-1"), lambda seen: seen == {"v4", "v5"})
