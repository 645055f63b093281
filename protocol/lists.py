"""(+) The lists of what the coordinator knows: deployments, rollbacks and services."""

from __future__ import annotations

from typing import Literal

from protocol.models import TaskProgress
from protocol.results import Model, Time
from protocol.states import TaskState


class DeploySummary(Model):
    """(+) One row of the list of deployments."""

    deploy_id: str
    service: str
    version: str
    status: TaskState
    progress: TaskProgress
    started_at: Time
    updated_at: Time


class DeploymentList(Model):
    """(+) Deployments, newest first."""

    deployments: list[DeploySummary]
    total: int
    limit: int
    offset: int


class RollbackSummary(Model):
    """(+) One row of the list of rollbacks."""

    rollback_id: str
    service: str
    target_version: str
    rollback_type: Literal["single", "batch"]
    status: TaskState
    progress: TaskProgress
    started_at: Time
    updated_at: Time


class RollbackList(Model):
    """(+) Rollbacks, newest first."""

    rollbacks: list[RollbackSummary]
    total: int
    limit: int
    offset: int


class ServiceSummary(Model):
    """(+) One row of the list of services."""

    service: str
    instances: int
    running: int
    connected: int
    version_summary: dict[str, int]


class ServiceList(Model):
    """(+) Services by name."""

    services: list[ServiceSummary]
    total: int
    limit: int
    offset: int
