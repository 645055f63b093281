"""How light the agent is: resident memory and CPU with four instances, real processes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from protocol.states import TaskState
from tests.e2e.conftest import System, running

MB = 1_000_000
IDLE_MEMORY = 60 * MB
IDLE_CPU = 0.002
"""Of one core."""

WATCHED = 60.0
"""Seconds for which an idle agent is watched: six of its heartbeats."""

PACKAGE = 100 * MB
INSTANCES = ["instance-1", "instance-2", "instance-3", "instance-4"]

pytestmark = [pytest.mark.sweep, pytest.mark.alone]


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running(tmp_path, heartbeat=10.0) as started:
        yield started


def cpu_seconds(process: psutil.Process) -> float:
    """Of the process and of all children that it has waited for."""
    return float(sum(process.cpu_times()[:4]))


@pytest.mark.timeout(300)
async def test_an_agent_with_four_instances_is_light(system: System) -> None:
    agent = await system.agent("host-a", *INSTANCES)
    deployed = await system.deployed("v1", INSTANCES)
    assert deployed.status is TaskState.COMPLETED, deployed
    process = psutil.Process(agent.pid)

    used, began = cpu_seconds(process), time.monotonic()
    await asyncio.sleep(WATCHED)
    share = (cpu_seconds(process) - used) / (time.monotonic() - began)
    idle = process.memory_info().rss

    url = system.put("v2", ballast=os.urandom(PACKAGE))
    deploy_id = await system.deploy("v2", INSTANCES[:1], url=url)
    peak = 0
    while not (seen := await system.client.get_deployment_status(deploy_id)).status.ended:
        peak = max(peak, process.memory_info().rss)
        await asyncio.sleep(0.02)
    assert seen.status is TaskState.COMPLETED, seen

    print(
        f"\nagent, 4 instances: idle {idle / MB:.1f} MB resident, {share:.3%} of a core; "
        f"at most {peak / MB:.1f} MB while deploying {PACKAGE / MB:.0f} MB"
    )
    assert idle <= IDLE_MEMORY
    assert share < IDLE_CPU
    assert peak - idle < 64 * MB
