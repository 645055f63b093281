"""A running system on loopback: coordinator, package server, agents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.parts.daemons import AgentDaemon, CoordinatorDaemon, InstanceSpec, connected, free_port
from tests.parts.operator import Operator
from tests.parts.package_server import PackageServer

QUICK_CHECK = {"interval": 0.1, "timeout": 10, "stable": 0.5}


class System(Operator):
    """What a scenario needs, started in the order in which it asks for it."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        super().__init__()
        self.folder = folder
        self._stack = stack
        self.agents: dict[str, AgentDaemon] = {}
        self.ports: dict[str, int] = {}
        self.coordinator: CoordinatorDaemon

    async def open(self, heartbeat: float) -> None:
        (self.folder / "packages").mkdir()
        self.packages = PackageServer(self.folder / "packages")
        await self._stack.enter_async_context(self.packages)
        self.coordinator = CoordinatorDaemon(self.folder / "coordinator", heartbeat=heartbeat)
        await self._stack.enter_async_context(self.coordinator)
        self.client = await self._stack.enter_async_context(self.coordinator.client())

    def http_instance(
        self, instance_id: str, *, check: Mapping[str, Any] | None = None, **extra: Any
    ) -> InstanceSpec:
        """An instance of the small HTTP service, checked over HTTP; `check` changes its times."""
        port = self.ports[instance_id] = free_port()
        health = {"http": f"http://127.0.0.1:{port}/healthz", **QUICK_CHECK, **(check or {})}
        return InstanceSpec(instance_id, port=port, health=health, **extra)

    def service_url(self, instance_id: str) -> str:
        """Where the instance's service answers."""
        return f"http://127.0.0.1:{self.ports[instance_id]}/"

    async def agent(
        self,
        host_id: str,
        *instances: InstanceSpec | str,
        keep_releases: int = 3,
        packages: Mapping[str, Any] | None = None,
    ) -> AgentDaemon:
        """Start an agent and wait until its instances are connected."""
        specs = [self.http_instance(i) if isinstance(i, str) else i for i in instances]
        agent = AgentDaemon(
            self.folder,
            host_id,
            specs,
            coordinator=self.coordinator.url,
            join_token=await self.coordinator.join_token(),
            package_ca_file=self.packages.ca_file,
            keep_releases=keep_releases,
            packages=packages,
        )
        self.agents[host_id] = agent
        self._stack.push_async_callback(agent.stop_services)
        await self._stack.enter_async_context(agent)
        await connected(self.client, *(spec.instance_id for spec in specs))
        return agent


@asynccontextmanager
async def running(folder: Path, *, heartbeat: float = 0.5) -> AsyncIterator[System]:
    async with AsyncExitStack() as stack:
        system = System(folder, stack)
        await system.open(heartbeat)
        yield system


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running(tmp_path) as started:
        yield started
