"""The documented parameters and results, with their documented names and JSON names.

Sections in the docstrings are those of the interface reference. Fields marked (+) are
additions. What was added as a whole stands in files of its own: `lists`, `readiness`, `events`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from protocol.causes import FailureCause
from protocol.names import (
    DIGEST_RULE,
    NAME_RULE,
    TARGET_RULE,
    VERSION_RULE,
    Digest,
    InstanceId,
    ServiceName,
    TargetVersion,
    TaskId,
    Version,
)
from protocol.params import (
    BOOL_RULE,
    DEFAULT_RETRY_COUNT,
    DEFAULT_TIMEOUT,
    INSTANCES_RULE,
    LIMIT_RULE,
    OFFSET_RULE,
    ONE_PACKAGE_FOR_ONE_VERSION,
    TIMEOUT_RULE,
    URL_RULE,
    InstanceIds,
    Limit,
    Offset,
    OneDigest,
    OnePackageUrl,
    PackageUrl,
    Params,
    Timeout,
)
from protocol.plan import PLAN_RULE, PlanId
from protocol.results import Model, Time
from protocol.states import InstanceStatus, Phase, Receipt, TaskState
from protocol.strategy import STRATEGY_RULE, Strategy

PERIODS = {"1h": 3600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000}


# ---- 1. deployments --------------------------------------------------------


class DeployParams(Params):
    """Reference 1.1: what `execute_deployment` takes."""

    ADDED_LATER = ("force",)

    service: ServiceName = Field(description=NAME_RULE)
    version: Version = Field(description=VERSION_RULE)
    instances: InstanceIds = Field(description=INSTANCES_RULE)
    package_url: PackageUrl = Field(description=URL_RULE)
    deploy_id: TaskId = Field(description=NAME_RULE)
    timeout: Timeout = Field(DEFAULT_TIMEOUT, description=TIMEOUT_RULE)
    retry_count: int = Field(
        DEFAULT_RETRY_COUNT, ge=0, le=100, description="a whole number from 0 to 100"
    )
    sha256: Digest | None = Field(None, description=f"(+) {DIGEST_RULE}: the package must have it")
    strategy: Strategy | None = Field(None, description=f"(+) {STRATEGY_RULE}")
    force: bool = Field(
        False, description=f"(+) {BOOL_RULE}: even where no way back to what runs would be left"
    )
    plan: PlanId | None = Field(
        None, description=f"(+) {PLAN_RULE}: refused if it is another plan by now"
    )


class DeployResult(Model):
    """Reference 1.1: the deployment as it was accepted."""

    deploy_id: str
    service: str
    version: str
    status: TaskState
    total_instances: int
    started_at: Time


class TaskProgress(Model):
    """Counts of assignments; `total = completed + failed + pending + cancelled`, always."""

    total: int
    completed: int
    failed: int
    pending: int = Field(description="not ended: waiting or running")
    in_progress: int = Field(0, description="(+) those of `pending` that are running")
    cancelled: int = Field(0, description="(+) stopped by a cancellation")


class AssignmentStatus(Model):
    """One instance's row in reference 1.2 and 3.3."""

    instance_id: str
    status: TaskState
    current_version: str = Field(description='what runs now; "" if nothing was ever deployed')
    target_version: str
    started_at: Time
    completed_at: Time | None
    error_message: str
    phase: Phase = Field(description="(+) where the assignment stands")
    step: str = Field("", description="(+) the agent's step of the attempt in hand")
    attempt: int = Field(0, description="(+) the attempt in hand, from 1; 0 before the first")
    reason: str = Field("", description="(+) why it waits, or why it ended")
    receipt: Receipt | None = Field(None, description="(+) what a cancellation met")
    deadline: Time | None = Field(None, description="(+) when its timeout ends, while it runs")
    bytes_done: int = Field(0, description="(+) bytes of the package fetched so far")
    bytes_total: int | None = Field(None, description="(+) bytes of the package, if known")
    batch: int = Field(0, description="(+) its batch, from 0; a canary is batch 0")
    waits_for: str = Field("", description='(+) what it waits for, in a word; "" for work')
    waits_since: Time | None = Field(None, description="(+) since when, until it has ended")
    waits_until: Time | None = Field(None, description="(+) until when, if that is known")


class Rollout(Model):
    """(+) How far a task is in its strategy, and the tasks that it comes from and led to."""

    strategy: Strategy | None = Field(None, description="as it is carried out; none: all at once")
    batches: int = Field(1, description="how many batches there are")
    batch: int = Field(0, description="the batch whose turn it is, from 0")
    waits_for: str = Field("", description="what the next instances wait for, in a word")
    reason: str = Field("", description="what the task waits for, and why it stopped")
    waits_since: Time | None = Field(None, description="since when, until it has ended")
    waits_until: Time | None = Field(None, description="until when, if that is known")
    paused_at: Time | None = Field(None, description="since when it is paused")
    promoted_by: str = Field("", description="who let the others follow the canary")
    follows: str = Field("", description="the task that this one comes from")
    relation: Literal["", "retry", "rollback", "on_failure", "guard"] = Field(
        "", description="how it comes from that one"
    )
    led_to: list[str] = Field(default_factory=list, description="the tasks that came from it")


class DeployStatus(Model):
    """Reference 1.2: the whole state of a deployment."""

    deploy_id: str
    service: str
    version: str
    status: TaskState
    progress: TaskProgress
    instances: list[AssignmentStatus]
    started_at: Time
    updated_at: Time
    digest: str = Field("", description="(+) the task's SHA-256, once given or verified")
    completed_at: Time | None = Field(None, description="(+)")
    cancelled_at: Time | None = Field(None, description="(+) when a cancellation was asked for")
    rollout: Rollout = Field(Rollout(), description="(+) how far it is in its strategy")
    package_url: str = Field("", description="(+) where the package is, without a query")
    versions: dict[str, int] = Field(
        default_factory=dict,
        description='(+) how many of its instances run which version now; "" is nothing',
    )
    causes: list[FailureCause] = Field(
        default_factory=list,
        description="(+) why instances failed, one for all that failed alike, the largest first",
    )


class DeployCancelResult(Model):
    """Reference 1.3. `status` is `in_progress` until all parts have ended."""

    deploy_id: str
    status: TaskState
    cancelled_at: Time


# ---- 2. versions -----------------------------------------------------------


class InstanceVersion(Model):
    """One row of reference 2.1."""

    instance_id: str
    version: str
    status: InstanceStatus
    last_updated: Time
    host_id: str = Field("", description="(+)")
    connected: bool = Field(True, description="(+) false: its agent is silent")
    reason: str = Field("", description="(+) why it is not running, or not connected")
    held_by: str = Field("", description='(+) the unfinished task that has it; "" if none has')


class ServiceVersions(Model):
    """Reference 2.1: what runs on every instance of a service."""

    service: str
    instances: list[InstanceVersion]
    version_summary: dict[str, int]
    total_instances: int
    updated_at: Time
    at: Time | None = Field(None, description="(+) the past moment that was asked for; null: now")


class InstanceQueryParams(Params):
    """Reference 2.2: what `get_service_instances` takes. Empty filters match everything."""

    service_name: ServiceName = Field(description=NAME_RULE)
    status: Literal["", "running", "stopped", "error"] = Field(
        "", description="running, stopped, error or empty"
    )
    version: Version | Literal[""] = Field("", description=f"{VERSION_RULE}, or empty")
    limit: Limit = Field(100, description=LIMIT_RULE)
    offset: Offset = Field(0, description=OFFSET_RULE)


class ServiceInstance(Model):
    """One row of reference 2.2."""

    instance_id: str
    host: str
    port: int
    status: InstanceStatus
    version: str
    last_heartbeat: Time
    metadata: dict[str, str]
    host_id: str = Field("", description="(+)")
    connected: bool = Field(True, description="(+) false: its agent is silent")
    reason: str = Field("", description="(+) why it is not running, or not connected")
    held_by: str = Field("", description='(+) the unfinished task that has it; "" if none has')


class ServiceInstances(Model):
    """Reference 2.2: one page of a service's instances; `total` counts all that match."""

    service: str
    instances: list[ServiceInstance]
    total: int
    limit: int
    offset: int


class HistoryEntry(Model):
    """One row of reference 2.3. `deploy_id` is the task's id, a rollback's too."""

    version: str
    action: Literal["deploy", "rollback"]
    deploy_id: str
    timestamp: Time
    status: Literal["success", "failed", "cancelled"]
    reason: str = Field("", description="(+)")


class VersionHistory(Model):
    """Reference 2.3: what ended on one instance, newest first."""

    instance_id: str
    service: str
    history: list[HistoryEntry]
    total: int


# ---- 3. rollbacks ----------------------------------------------------------


class InstanceRollbackParams(Params):
    """Reference 3.1: what `rollback_instance` takes."""

    model_config = ConfigDict(json_schema_extra=ONE_PACKAGE_FOR_ONE_VERSION)

    instance_id: InstanceId = Field(description=NAME_RULE)
    target_version: TargetVersion = Field(description=TARGET_RULE)
    package_url: OnePackageUrl = Field("", description=f"{URL_RULE}, or empty")
    force: bool = Field(False, description=BOOL_RULE)
    timeout: Timeout = Field(DEFAULT_TIMEOUT, description=TIMEOUT_RULE)
    sha256: OneDigest | None = Field(
        None, description=f"(+) {DIGEST_RULE}: the package must have it"
    )
    strategy: Strategy | None = Field(None, description=f"(+) {STRATEGY_RULE}")


class RollbackResult(Model):
    """Reference 3.1: the rollback as it was accepted."""

    rollback_id: str
    instance_id: str
    target_version: str
    status: TaskState
    started_at: Time


class BatchRollbackParams(Params):
    """Reference 3.2: what `rollback_batch` takes."""

    model_config = ConfigDict(json_schema_extra=ONE_PACKAGE_FOR_ONE_VERSION)

    service: ServiceName = Field(description=NAME_RULE)
    target_version: TargetVersion = Field(description=TARGET_RULE)
    package_url: OnePackageUrl = Field("", description=f"{URL_RULE}, or empty")
    instances: InstanceIds = Field(description=INSTANCES_RULE)
    force: bool = Field(False, description=BOOL_RULE)
    timeout: Timeout = Field(DEFAULT_TIMEOUT, description=TIMEOUT_RULE)
    sha256: OneDigest | None = Field(
        None, description=f"(+) {DIGEST_RULE}: the package must have it"
    )
    strategy: Strategy | None = Field(None, description=f"(+) {STRATEGY_RULE}")


class BatchRollbackResult(Model):
    """Reference 3.2: the rollback as it was accepted."""

    rollback_id: str
    service: str
    target_version: str
    status: TaskState
    instances: list[str]
    total_instances: int
    started_at: Time


class RollbackStatus(Model):
    """Reference 3.3: the whole state of a rollback."""

    rollback_id: str
    service: str
    target_version: str
    rollback_type: Literal["single", "batch"]
    status: TaskState
    progress: TaskProgress
    instances: list[AssignmentStatus]
    started_at: Time
    completed_at: Time | None
    updated_at: Time | None = Field(None, description="(+)")
    digest: str = Field("", description="(+) the task's SHA-256, once given or verified")
    cancelled_at: Time | None = Field(None, description="(+) when a cancellation was asked for")
    rollout: Rollout = Field(Rollout(), description="(+) how far it is in its strategy")
    package_url: str = Field("", description="(+) where the package is, without a query")
    versions: dict[str, int] = Field(
        default_factory=dict,
        description='(+) how many of its instances run which version now; "" is nothing',
    )
    causes: list[FailureCause] = Field(
        default_factory=list,
        description="(+) why instances failed, one for all that failed alike, the largest first",
    )


class RollbackCancelResult(Model):
    """Reference 3.4. `status` is `in_progress` until all parts have ended."""

    rollback_id: str
    status: TaskState
    cancelled_at: Time


# ---- 4. system -------------------------------------------------------------


class SystemHealth(Model):
    """Reference 4.1. `uptime` reads as Go prints a duration: `26h3m5s`."""

    status: Literal["healthy", "degraded", "unhealthy"]
    version: str
    uptime: str
    database: str
    cache: str
    timestamp: Time


class TaskStats(Model):
    """Tasks of one kind that were created in the period."""

    total: int
    success: int
    failed: int
    success_rate: float = Field(description="success / (success + failed); 0.0 if there are none")


class InstanceStats(Model):
    """Instances now; `healthy` is running and connected."""

    total: int
    healthy: int
    unhealthy: int


class SystemStats(Model):
    """Reference 4.2."""

    period: Literal["1h", "24h", "7d", "30d"]
    deployments: TaskStats
    rollbacks: TaskStats
    instances: InstanceStats
    timestamp: Time
