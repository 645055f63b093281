"""The twelve documented functions as one Protocol: every door implements exactly this."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

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


class CoordinatorAPI(Protocol):
    """What a coordinator answers. All raise the exceptions of `protocol.errors`."""

    async def execute_deployment(self, params: DeployParams) -> DeployResult:
        """Start a deployment (reference 1.1)."""
        ...

    async def get_deployment_status(self, deploy_id: str) -> DeployStatus:
        """Tell the state of a deployment (1.2)."""
        ...

    async def cancel_deployment(self, deploy_id: str) -> DeployCancelResult:
        """Stop what has not been switched yet (1.3)."""
        ...

    async def get_service_instance_versions(
        self, service_name: str, include_stopped: bool = False, at: datetime | None = None
    ) -> ServiceVersions:
        """Tell what runs on every instance of a service, or (+) what ran `at` a past time (2.1)."""
        ...

    async def get_service_instances(self, params: InstanceQueryParams) -> ServiceInstances:
        """Tell one page of a service's instances (2.2)."""
        ...

    async def get_instance_version_history(
        self, instance_id: str, limit: int = 50, offset: int = 0
    ) -> VersionHistory:
        """Tell what ended on one instance, newest first (2.3)."""
        ...

    async def rollback_instance(self, params: InstanceRollbackParams) -> RollbackResult:
        """Take one instance back to a version (3.1)."""
        ...

    async def rollback_batch(self, params: BatchRollbackParams) -> BatchRollbackResult:
        """Take several instances back to a version (3.2)."""
        ...

    async def get_rollback_status(self, rollback_id: str) -> RollbackStatus:
        """Tell the state of a rollback (3.3)."""
        ...

    async def cancel_rollback(self, rollback_id: str) -> RollbackCancelResult:
        """Stop what has not been switched back yet (3.4)."""
        ...

    async def get_system_health(self) -> SystemHealth:
        """Tell whether the coordinator works (4.1)."""
        ...

    async def get_system_stats(self, period: str = "24h") -> SystemStats:
        """Count tasks created in the period, and instances now (4.2)."""
        ...
