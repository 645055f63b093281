"""200 agents of one process on loopback, 1,000 instances, one deployment of a tiny package.

The coordinator is a process of its own on the real disk. The agents' state lies in memory
where the system offers that: 200 hosts do not wait for one disk's fsync.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.download import PackageSource
from protocol.models import DeployParams
from protocol.states import TaskState
from tests.parts.daemons import CoordinatorDaemon
from tests.parts.local_agent import LocalAgent, LocalInstance
from tests.parts.package_server import PackageServer
from tests.parts.packages import tar_gz
from tests.parts.waiting import until

pytestmark = [pytest.mark.sweep, pytest.mark.alone]

HOSTS = 200
INSTANCES_EACH = 5
AT_ONCE = 20


@pytest.fixture
def hosts_folder(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.mark.timeout(300)
async def test_a_thousand_instances_complete_and_the_counts_add_up(
    tmp_path: Path, hosts_folder: Path
) -> None:
    (tmp_path / "packages").mkdir()
    names = [f"h{h}-i{i}" for h in range(HOSTS) for i in range(INSTANCES_EACH)]
    async with (
        PackageServer(tmp_path / "packages") as packages,
        CoordinatorDaemon(tmp_path / "coordinator", heartbeat=5.0) as coordinator,
        coordinator.client() as client,
        PackageSource(packages.ca_file) as source,
    ):
        join_token = await coordinator.join_token()
        agents = [
            LocalAgent(
                hosts_folder,
                f"host-{h}",
                [LocalInstance(f"h{h}-i{i}", check_timeout=5.0) for i in range(INSTANCES_EACH)],
                url=coordinator.url,
                join_token=join_token,
                source=source,
            )
            for h in range(HOSTS)
        ]
        began = time.monotonic()
        await start_all(agents)
        try:
            await until(
                client.list_services,
                lambda seen: [one.connected for one in seen.services] == [len(names)],
            )
            joined = time.monotonic() - began
            url = packages.put("v1.tar.gz", tar_gz({"bin/server": (b"#!/bin/sh\n", 0o755)}))
            began = time.monotonic()
            await client.execute_deployment(
                DeployParams(
                    service="user-service",
                    version="v1",
                    instances=names,
                    package_url=url,
                    deploy_id="deploy-all",
                    timeout=240,
                )
            )
            polls = 0
            while True:
                seen = await client.get_deployment_status("deploy-all")
                polls += 1
                progress = seen.progress
                assert progress.total == len(names)
                assert progress.total == (
                    progress.completed + progress.failed + progress.pending + progress.cancelled
                )
                if seen.status.ended:
                    break
                await asyncio.sleep(0.2)
            took = time.monotonic() - began
            assert seen.status is TaskState.COMPLETED, seen.progress
            assert polls > 1
            versions = await client.get_service_instance_versions("user-service")
            assert versions.version_summary == {"v1": len(names)}
            starts = [
                len(local.driver.starts) for agent in agents for local in agent.instances.values()
            ]
            assert starts == [1] * len(names)
            print(
                f"\n{HOSTS} agents joined in {joined:.1f} s; "
                f"{len(names)} instances deployed in {took:.1f} s, {polls} polls"
            )
        finally:
            await asyncio.gather(*(agent.stop() for agent in agents))


async def start_all(agents: list[LocalAgent]) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def start(agent: LocalAgent) -> None:
        async with places:
            await agent.start()

    await asyncio.gather(*(start(agent) for agent in agents))
