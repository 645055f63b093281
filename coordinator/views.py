"""How tasks and instances are shown: saved values and the live picture into documented results.

No decisions here, and nothing is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from coordinator.core.causes import causes
from coordinator.core.fleet import shown_status
from coordinator.core.task import Assignment, Moment, Task
from coordinator.core.waits import Waits, part_waits_for, rfc3339, under_way, waits_for, wall
from coordinator.core.why import why
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.ports import InstanceRow, TaskSummary, TokenRow
from protocol.access import Token
from protocol.lists import DeploySummary, RollbackSummary, ServiceSummary
from protocol.models import (
    AssignmentStatus,
    DeployStatus,
    InstanceVersion,
    RollbackStatus,
    Rollout,
    ServiceInstance,
    TaskStats,
)
from protocol.releases import PrefetchStatus, PrefetchSummary
from protocol.states import InstanceStatus, TaskState
from protocol.urls import without_queries


class Views:
    """Reads the live picture; every method is one shape of the interface."""

    def __init__(self, fleet: Fleet, engine: Engine) -> None:
        self._fleet = fleet
        self._engine = engine

    def deployment(self, task: Task, now: Moment) -> DeployStatus:
        """Reference 1.2."""
        silent = self._silent(task)
        rows = self._assignments(task, now, silent)
        return DeployStatus(
            deploy_id=task.task_id,
            service=task.service,
            version=task.version,
            status=task.state,
            progress=task.progress,
            instances=rows,
            started_at=task.created_at,
            updated_at=task.updated_at,
            digest=task.digest,
            completed_at=task.completed_at,
            cancelled_at=task.cancelled_at,
            rollout=_rollout(task, now, silent),
            package_url=without_queries(task.package_url),
            versions=_versions(rows),
            causes=causes(task, self._fleet.host_of),
        )

    def rollback(self, task: Task, now: Moment) -> RollbackStatus:
        """Reference 3.3."""
        silent = self._silent(task)
        rows = self._assignments(task, now, silent)
        return RollbackStatus(
            rollback_id=task.task_id,
            service=task.service,
            target_version=task.version,
            rollback_type="single" if task.rollback_type == "single" else "batch",
            status=task.state,
            progress=task.progress,
            instances=rows,
            started_at=task.created_at,
            completed_at=task.completed_at,
            updated_at=task.updated_at,
            digest=task.digest,
            cancelled_at=task.cancelled_at,
            rollout=_rollout(task, now, silent),
            package_url=without_queries(task.package_url),
            versions=_versions(rows),
            causes=causes(task, self._fleet.host_of),
        )

    def prefetch(self, task: Task, now: Moment) -> PrefetchStatus:
        """The whole state of a prefetch."""
        return PrefetchStatus(
            prefetch_id=task.task_id,
            service=task.service,
            version=task.version,
            status=task.state,
            progress=task.progress,
            instances=self._assignments(task, now, self._silent(task)),
            started_at=task.created_at,
            updated_at=task.updated_at,
            digest=task.digest,
            completed_at=task.completed_at,
            cancelled_at=task.cancelled_at,
            package_url=without_queries(task.package_url),
            causes=causes(task, self._fleet.host_of),
        )

    def _silent(self, task: Task) -> Mapping[str, datetime | None]:
        """Where the agent is away that the task still waits for, and since when."""
        parts = task.assignments.values()
        return self._fleet.silent(part.instance_id for part in parts if not part.phase.ended)

    def _assignments(
        self, task: Task, now: Moment, silent: Mapping[str, datetime | None]
    ) -> list[AssignmentStatus]:
        waits = waits_for(task, now)
        return [
            self._assignment(task, part, now, silent, waits) for part in task.assignments.values()
        ]

    def _assignment(
        self,
        task: Task,
        part: Assignment,
        now: Moment,
        silent: Mapping[str, datetime | None],
        rollout: Waits | None,
    ) -> AssignmentStatus:
        """One row; `rollout` is what the task waits for."""
        name = part.instance_id
        row = self._fleet.instance(name)
        told = self._engine.progress_of(task.task_id, name)
        if told is not None and (part.phase.ended or told.attempt != part.attempt):
            told = None
        step = told.step.value if told else ""
        away, since = name in silent, silent.get(name)
        waits = part_waits_for(task, part, now, rollout, away=away, silent_since=since)
        return AssignmentStatus(
            instance_id=name,
            status=part.phase.state,
            current_version=row.version if row else "",
            target_version=task.target_of(part).version,
            started_at=part.started_at or task.created_at,
            completed_at=part.completed_at,
            error_message=part.error,
            phase=part.phase,
            step=step,
            attempt=part.attempt,
            reason=why(task, part, now, rollout, away=away, silent_since=since, step=step),
            receipt=part.receipt,
            deadline=None if part.phase.ended else wall(now, part.deadline),
            bytes_done=told.bytes_done if told else 0,
            bytes_total=told.bytes_total if told else None,
            batch=part.batch,
            waits_for=waits.what if waits else "",
            waits_since=waits.since if waits else None,
            waits_until=waits.until if waits else None,
        )

    def status_of(self, row: InstanceRow) -> tuple[InstanceStatus, str, bool]:
        """The shown status, its reason, and whether the agent is connected."""
        connected = self._fleet.host_connected(row.host_id)
        seen = rfc3339(self._fleet.last_seen(row.host_id))
        return (*shown_status(row.status, row.reason, connected, seen), connected)

    def version(self, row: InstanceRow) -> InstanceVersion:
        """One row of reference 2.1."""
        status, reason, connected = self.status_of(row)
        return InstanceVersion(
            instance_id=row.instance_id,
            version=row.version,
            status=status,
            last_updated=row.updated_at,
            host_id=row.host_id,
            connected=connected,
            reason=reason,
            held_by=self._engine.holder_of(row.instance_id),
        )

    def instance(self, row: InstanceRow) -> ServiceInstance:
        """One row of reference 2.2."""
        status, reason, connected = self.status_of(row)
        return ServiceInstance(
            instance_id=row.instance_id,
            host=row.address,
            port=row.port,
            status=status,
            version=row.version,
            last_heartbeat=self._fleet.last_seen(row.host_id) or row.updated_at,
            metadata=dict(row.metadata),
            host_id=row.host_id,
            connected=connected,
            reason=reason,
            held_by=self._engine.holder_of(row.instance_id),
        )

    def service(self, name: str) -> ServiceSummary:
        """One row of the list of services."""
        shown = [(row, self.status_of(row)) for row in self._fleet.of_service(name)]
        return ServiceSummary(
            service=name,
            instances=len(shown),
            running=sum(status is InstanceStatus.RUNNING for _, (status, _, _) in shown),
            connected=sum(connected for _, (_, _, connected) in shown),
            version_summary=dict(Counter(row.version for row, _ in shown)),
        )


def _rollout(task: Task, now: Moment, silent: Mapping[str, datetime | None]) -> Rollout:
    waits = waits_for(task, now) or under_way(task, now, silent)
    reasons = (task.stopped, waits.text if waits else "")
    return Rollout(
        strategy=task.strategy,
        batches=1 + max(part.batch for part in task.assignments.values()),
        batch=task.passed,
        waits_for=waits.what if waits else "",
        reason="; ".join(reason for reason in reasons if reason),
        waits_since=waits.since if waits else None,
        waits_until=waits.until if waits else None,
        paused_at=task.paused_at,
        promoted_by=task.promoted_by,
        follows=task.follows,
        relation=task.relation,
        led_to=list(task.led_to),
    )


def deploy_summary(task: TaskSummary) -> DeploySummary:
    """One row of the list of deployments."""
    return DeploySummary(
        deploy_id=task.task_id,
        service=task.service,
        version=task.version,
        status=task.state,
        progress=task.progress,
        started_at=task.created_at,
        updated_at=task.updated_at,
    )


def rollback_summary(task: TaskSummary) -> RollbackSummary:
    """One row of the list of rollbacks."""
    return RollbackSummary(
        rollback_id=task.task_id,
        service=task.service,
        target_version=task.version,
        rollback_type="single" if task.rollback_type == "single" else "batch",
        status=task.state,
        progress=task.progress,
        started_at=task.created_at,
        updated_at=task.updated_at,
    )


def prefetch_summary(task: TaskSummary) -> PrefetchSummary:
    """One row of the list of prefetches."""
    return PrefetchSummary(
        prefetch_id=task.task_id,
        service=task.service,
        version=task.version,
        status=task.state,
        progress=task.progress,
        started_at=task.created_at,
        updated_at=task.updated_at,
    )


def token_view(row: TokenRow) -> Token:
    """A token as it is listed."""
    return Token.model_validate(
        {
            "token_id": row.token_id,
            "role": row.role,
            "name": row.name,
            "created_at": row.created_at,
            "expires_at": row.expires_at,
            "last_used_at": row.last_used_at,
            "revoked_at": row.revoked_at,
            "uses": row.uses,
            "used": row.used,
            "host_id": row.host_id,
            "services": list(row.services),
        }
    )


def task_stats(counts: Mapping[TaskState, int]) -> TaskStats:
    """Tasks counted by state as reference 4.2 shows them."""
    success = counts.get(TaskState.COMPLETED, 0)
    failed = counts.get(TaskState.FAILED, 0)
    ended = success + failed
    return TaskStats(
        total=sum(counts.values()),
        success=success,
        failed=failed,
        success_rate=success / ended if ended else 0.0,
    )


def go_duration(seconds: float) -> str:
    """A duration as Go prints it, in whole seconds: `26h3m5s`, `3m5s`, `5s`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _versions(rows: Sequence[AssignmentStatus]) -> dict[str, int]:
    return dict(Counter(row.current_version for row in rows).most_common())
