"""The blocking `Client` as an awaitable door, so that one suite can ask all three.

Its calls run in one thread of their own, as a plain script's do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

from coordinator.client import Client
from protocol.access import AuthorityStatus
from protocol.models import (
    BatchRollbackParams,
    BatchRollbackResult,
    DeployCancelResult,
    DeployParams,
    DeployResult,
    DeployStatus,
    InstanceQueryParams,
    InstanceRollbackParams,
    RollbackCancelResult,
    RollbackResult,
    RollbackStatus,
    ServiceInstances,
    ServiceVersions,
    SystemHealth,
    SystemStats,
    VersionHistory,
)

P = ParamSpec("P")
R = TypeVar("R")


class InThread:
    """`protocol.api.CoordinatorAPI` by way of a `Client`. Close it."""

    def __init__(self, url: str, token: str, ca_file: str) -> None:
        self._client = Client(url, token, ca_file)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="blocking-client")

    async def close(self) -> None:
        await self._run(self._client.close)
        self._thread.shutdown()

    async def _run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(call, *args, **kwargs))

    async def ask(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Call a method by its name: one of those that are added to the twelve."""
        return await self._run(getattr(self._client, name), *arguments, **named)

    async def execute_deployment(self, params: DeployParams) -> DeployResult:
        return await self._run(self._client.execute_deployment, params)

    async def get_deployment_status(self, deploy_id: str) -> DeployStatus:
        return await self._run(self._client.get_deployment_status, deploy_id)

    async def cancel_deployment(self, deploy_id: str) -> DeployCancelResult:
        return await self._run(self._client.cancel_deployment, deploy_id)

    async def get_service_instance_versions(
        self, service_name: str, include_stopped: bool = False, at: datetime | None = None
    ) -> ServiceVersions:
        call = self._client.get_service_instance_versions
        return await self._run(call, service_name, include_stopped, at)

    async def get_service_instances(self, params: InstanceQueryParams) -> ServiceInstances:
        return await self._run(self._client.get_service_instances, params)

    async def get_instance_version_history(
        self, instance_id: str, limit: int = 50, offset: int = 0
    ) -> VersionHistory:
        return await self._run(
            self._client.get_instance_version_history, instance_id, limit, offset
        )

    async def rollback_instance(self, params: InstanceRollbackParams) -> RollbackResult:
        return await self._run(self._client.rollback_instance, params)

    async def rollback_batch(self, params: BatchRollbackParams) -> BatchRollbackResult:
        return await self._run(self._client.rollback_batch, params)

    async def get_rollback_status(self, rollback_id: str) -> RollbackStatus:
        return await self._run(self._client.get_rollback_status, rollback_id)

    async def cancel_rollback(self, rollback_id: str) -> RollbackCancelResult:
        return await self._run(self._client.cancel_rollback, rollback_id)

    async def get_system_health(self) -> SystemHealth:
        return await self._run(self._client.get_system_health)

    async def authority_status(self) -> AuthorityStatus:
        return await self._run(self._client.authority_status)

    async def begin_rotation(self) -> AuthorityStatus:
        return await self._run(self._client.begin_rotation)

    async def switch_rotation(self, force: bool = False) -> AuthorityStatus:
        return await self._run(self._client.switch_rotation, force)

    async def finish_rotation(self, force: bool = False) -> AuthorityStatus:
        return await self._run(self._client.finish_rotation, force)

    async def abort_rotation(self) -> AuthorityStatus:
        return await self._run(self._client.abort_rotation)

    async def get_system_stats(self, period: str = "24h") -> SystemStats:
        return await self._run(self._client.get_system_stats, period)


async def asked(door: object, name: str, *arguments: Any, **named: Any) -> Any:
    """Call a method that is added to the twelve, through any of the three doors."""
    if isinstance(door, InThread):
        return await door.ask(name, *arguments, **named)
    return await getattr(door, name)(*arguments, **named)
