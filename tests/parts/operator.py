"""Whoever deploys in a scenario: offers packages, asks the coordinator, waits for the ends.

It works on any fleet; starting one is the business of the classes that derive from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aiohttp

from coordinator.client import AsyncClient
from protocol.models import (
    AssignmentStatus,
    DeployParams,
    DeployStatus,
    InstanceQueryParams,
    RollbackStatus,
    ServiceInstance,
)
from protocol.states import Phase
from tests.parts.package_server import PackageServer
from tests.parts.service import service_package
from tests.parts.steady_client import SteadyClient
from tests.parts.waiting import until


class Operator:
    """Deploys `user-service` to a fleet and looks at it."""

    packages: PackageServer
    client: AsyncClient

    def __init__(self) -> None:
        self._number = 0

    def package(self, version: str, **behaviour: Any) -> bytes:
        """A version of the service as an archive."""
        return service_package(version, **behaviour)

    def service_url(self, instance_id: str) -> str:
        """Where the instance's service answers."""
        raise NotImplementedError

    def put(self, version: str, **behaviour: Any) -> str:
        """Offer a version of the service; returns its URL."""
        name = f"user-service-{version}.tar.gz"
        return self.packages.put(name, self.package(version, **behaviour))

    async def deploy(
        self, version: str, instances: Sequence[str], *, url: str = "", **options: Any
    ) -> str:
        """Start a deployment; returns its id."""
        self._number += 1
        options.setdefault("deploy_id", f"deploy-{self._number}")
        params = DeployParams(
            service="user-service",
            version=version,
            instances=list(instances),
            package_url=url or self.put(version),
            **{"timeout": 60, "retry_count": 0, **options},
        )
        result = await self.client.execute_deployment(params)
        return result.deploy_id

    async def ended(self, deploy_id: str) -> DeployStatus:
        """Wait for the end of a deployment."""
        return await until(
            lambda: self.client.get_deployment_status(deploy_id),
            lambda seen: seen.status.ended,
        )

    async def reached(self, deploy_id: str, *phases: Phase) -> DeployStatus:
        """Wait until every part of a deployment is in one of these phases."""
        return await until(
            lambda: self.client.get_deployment_status(deploy_id),
            lambda seen: all(part.phase in phases for part in seen.instances),
        )

    async def at_step(self, task_id: str, step: str) -> None:
        """Wait until an agent has told that it is at this step of a task."""

        async def look() -> list[AssignmentStatus]:
            if task_id.startswith("rollback-"):
                return (await self.client.get_rollback_status(task_id)).instances
            return (await self.client.get_deployment_status(task_id)).instances

        await until(look, lambda parts: any(part.step == step for part in parts))

    async def instance(self, instance_id: str) -> ServiceInstance:
        """One instance as the coordinator shows it."""
        params = InstanceQueryParams(service_name="user-service", limit=1000)
        shown = await self.client.get_service_instances(params)
        return next(row for row in shown.instances if row.instance_id == instance_id)

    async def away(self, instance_id: str) -> None:
        """Wait until the coordinator has noticed that the instance's agent is gone."""
        await until(lambda: self.instance(instance_id), lambda seen: not seen.connected)

    async def deployed(
        self, version: str, instances: Sequence[str], **options: Any
    ) -> DeployStatus:
        """Deploy and wait for the end."""
        return await self.ended(await self.deploy(version, instances, **options))

    async def rolled_back(self, rollback_id: str) -> RollbackStatus:
        """Wait for the end of a rollback."""
        return await until(
            lambda: self.client.get_rollback_status(rollback_id),
            lambda seen: seen.status.ended,
        )

    def steady_client(self, instance_id: str) -> SteadyClient:
        """A client that asks the instance's service all the time."""
        return SteadyClient(self.service_url(instance_id))

    async def serving(self, instance_id: str) -> str:
        """The version that answers where the instance's service should; "" if nothing does."""
        limit = aiohttp.ClientTimeout(total=5)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit) as http,
                http.get(self.service_url(instance_id)) as answer,
            ):
                return await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return ""
