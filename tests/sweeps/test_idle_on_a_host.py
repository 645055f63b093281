"""What an idle agent costs where systemd runs its services: CPU, with all that it starts."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from tests.lab.fleet import fleet_on_hosts, main_pid
from tests.lab.host import SystemdHost
from tests.lab.needs import need_hosts
from tests.parts.daemons import connected
from tests.parts.waiting import until

IDLE_CPU = 0.002
"""Of one core."""

WATCHED = 30.0
"""Seconds for which the agent is watched: three of its heartbeats."""

INSTANCES = ["idle-1", "idle-2", "idle-3", "idle-4"]
STOPPED = INSTANCES[-1]
UNIT = "[Service]\nExecStart=sleep 3600\n"
INSTANCE = """
[[instances]]
id = "{name}"
service = "idle-service"
driver = "systemd"
unit = "{name}.service"
"""

pytestmark = [pytest.mark.lab, pytest.mark.sweep, pytest.mark.alone]


async def cpu_seconds(host: SystemdHost, pid: int) -> float:
    """Of a process of the host and of all children that it has waited for."""
    stat = (await host.run("cat", f"/proc/{pid}/stat")).output.rpartition(")")[2].split()
    return sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK")


async def until_settled(host: SystemdHost, pid: int) -> None:
    """Wait until what a start costs is spent."""
    seen = [0.0, 0.0]

    async def look() -> list[float]:
        seen[:] = seen[1], await cpu_seconds(host, pid)
        return seen

    await until(look, lambda two: two[1] - two[0] < 0.01, every=2.0)


@pytest.mark.timeout(300)
async def test_an_agent_of_four_units_one_of_them_stopped_is_light(tmp_path: Path) -> None:
    need_hosts()
    async with fleet_on_hosts(tmp_path, "a", heartbeat=10.0) as fleet:
        host = fleet.agents["a"]
        for name in INSTANCES:
            host.write(f"/etc/systemd/system/{name}.service", UNIT)
        config = host.files("/etc/ferryman/agent.toml").read_text().partition("[[instances]]")[0]
        config += "".join(INSTANCE.format(name=name) for name in INSTANCES)
        host.write("/etc/ferryman/agent.toml", config, mode=0o600)
        await host.run("systemctl", "daemon-reload")
        running = [f"{name}.service" for name in INSTANCES if name != STOPPED]
        await host.run("systemctl", "start", *running)
        await host.run("systemctl", "restart", "ferryman-agent.service")
        await connected(fleet.client, *INSTANCES)

        agent = await main_pid(host, "ferryman-agent.service")
        await until_settled(host, agent)
        used, systemd, began = (
            await cpu_seconds(host, agent),
            await cpu_seconds(host, 1),
            time.monotonic(),
        )
        await asyncio.sleep(WATCHED)
        share = (await cpu_seconds(host, agent) - used) / (time.monotonic() - began)
        theirs = (await cpu_seconds(host, 1) - systemd) / (time.monotonic() - began)

    print(f"\nagent, 4 units, one stopped: {share:.3%} of a core; systemd {theirs:.3%}")
    assert share < IDLE_CPU
