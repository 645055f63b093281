"""The units as they are shipped, sandbox included, bring the two daemons up and together."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.lab.host import SystemdHost
from tests.lab.installation import install_agent

pytestmark = pytest.mark.lab

CONFIG = """
host_id = "h1"
coordinator = "https://127.0.0.1:7420"
join_token_file = "/etc/ferryman/join.token"
"""
FERRYMAN = (
    "FERRYMAN_TOKEN=$(cat /var/lib/ferryman/admin.token) FERRYMAN_CA_FILE=/var/lib/ferryman/ca.pem "
    "FERRYMAN_URL=https://127.0.0.1:7420 exec /opt/ferryman/bin/ferryman "
)


async def ferryman(host: SystemdHost, command: str) -> str:
    return (await host.run("sh", "-c", FERRYMAN + command)).output


async def connected_hosts(host: SystemdHost) -> list[str]:
    answer = json.loads(await ferryman(host, "-o json hosts"))
    return [row["host_id"] for row in answer["hosts"] if row["connected"]]


async def until_joined(host: SystemdHost) -> None:
    async with asyncio.timeout(50):
        while True:
            if await connected_hosts(host) == ["h1"]:
                return
            await asyncio.sleep(0.2)


async def main_pid(host: SystemdHost, unit: str) -> str:
    return (await host.run("systemctl", "show", "--property=MainPID", "--value", unit)).output


async def test_coordinator_and_agent_start_join_and_come_back_after_sigkill(
    host: SystemdHost,
) -> None:
    await install_agent(host, CONFIG)
    await host.run("systemctl", "start", "ferryman-coordinator.service")
    token = (await ferryman(host, "token create --role join")).split()[-1]
    host.files("/etc/ferryman/join.token").write_text(token)
    await host.run("systemctl", "start", "ferryman-agent.service")
    await until_joined(host)
    for unit in ("ferryman-agent.service", "ferryman-coordinator.service"):
        before = await main_pid(host, unit)
        await host.run("systemctl", "kill", "--signal=KILL", unit)
        async with asyncio.timeout(50):
            while True:
                if await main_pid(host, unit) not in (before, "0\n"):
                    break
                await asyncio.sleep(0.1)
    await host.run("systemctl", "start", "ferryman-agent.service", "ferryman-coordinator.service")
    await until_joined(host)
