"""The demo's system: a coordinator, a package server and three agents in one folder."""

from __future__ import annotations

import asyncio
import logging
import secrets
from pathlib import Path

import aiohttp

from agent.discovery import find_coordinator
from agent.enroll import JoinToken
from protocol.models import DeployStatus
from tests.demo.packages import SERVICE, PackageDaemon
from tests.parts.daemons import (
    AgentDaemon,
    CoordinatorDaemon,
    Daemon,
    InstanceSpec,
    connected,
    free_port,
)
from tests.parts.multicast import why_not

HOSTS = {"demo-a": "instance-1", "demo-b": "instance-2", "demo-c": "instance-3"}
INSTANCES = tuple(HOSTS.values())
VERSIONS = ("v1", "v2", "v3")

HEARD_WITHIN = 8.0
"""Seconds that the coordinator's announcement has to come through; it takes about two."""

CHECK = {"interval": 0.1, "timeout": 3, "stable": 0.5}
BALLAST = 8_000_000
"""Bytes of noise in v2, so that there is a download to see."""


class Fleet:
    """Everything that the demo starts. Whoever starts it ends it by `traces.end_everything`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.coordinator = CoordinatorDaemon(folder / "coordinator", heartbeat=1, discovery=True)
        self.packages = PackageDaemon(folder / "packages")
        self.ports = {name: free_port() for name in INSTANCES}
        self.agents: list[AgentDaemon] = []

    @property
    def daemons(self) -> list[Daemon]:
        return [*self.agents, self.packages, self.coordinator]

    async def start_servers(self) -> None:
        """Start the coordinator and the package server, the latter with all versions."""
        self.packages.put("v1")
        self.packages.put("v2", ballast=secrets.token_bytes(BALLAST))
        self.packages.put("v3", healthy=False)
        await asyncio.gather(self.coordinator.start(), self.packages.start())

    async def why_no_mdns(self) -> str:
        """Look for the coordinator as an agent does; "" if it is found, else the reason."""
        if reason := why_not():
            return reason
        logging.getLogger("zeroconf").setLevel(logging.CRITICAL)
        digest = JoinToken.parse(await self.coordinator.join_token()).ca_digest
        if await find_coordinator(HEARD_WITHIN, [digest]) is None:
            return f"the coordinator's announcement was not heard within {HEARD_WITHIN:g} s"
        return ""

    async def start_agents(self, *, by_address: bool) -> None:
        """Start one agent for each host, and wait until all instances are connected."""
        for host_id, instance_id in HOSTS.items():
            agent = AgentDaemon(
                self.folder,
                host_id,
                [self._instance(instance_id)],
                coordinator=self.coordinator.url if by_address else None,
                join_token=await self.coordinator.join_token(),
                package_ca_file=self.packages.ca_file,
            )
            self.agents.append(agent)
            await agent.start()
        async with self.coordinator.client() as client:
            await connected(client, *INSTANCES)

    async def serving(self) -> list[str]:
        """The version that answers at each instance; the status or "" where none does."""
        async with aiohttp.ClientSession() as http:
            return [await _version_at(http, self.url(name)) for name in INSTANCES]

    def url(self, instance_id: str) -> str:
        """Where an instance's service listens."""
        return f"http://127.0.0.1:{self.ports[instance_id]}/"

    async def package_server_answers(self) -> bool:
        """Whether anything accepts connections where the package server was."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.packages.port)
        except OSError:
            return False
        writer.close()
        return True

    async def outcome(self, deploy_id: str) -> DeployStatus:
        """What the coordinator says of a deployment."""
        async with self.coordinator.client() as client:
            return await client.get_deployment_status(deploy_id)

    def _instance(self, instance_id: str) -> InstanceSpec:
        port = self.ports[instance_id]
        health = {"http": f"http://127.0.0.1:{port}/healthz", **CHECK}
        return InstanceSpec(instance_id, service=SERVICE, port=port, health=health)


async def _version_at(http: aiohttp.ClientSession, url: str) -> str:
    try:
        async with http.get(url) as answer:
            return await answer.text() if answer.status == 200 else str(answer.status)
    except aiohttp.ClientError:
        return ""
