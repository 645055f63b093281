"""What is answered when a task was taken: `pending`, whatever has become of it meanwhile."""

from __future__ import annotations

from coordinator.core.task import Task
from protocol.models import BatchRollbackResult, DeployResult
from protocol.states import TaskState


def deployment(task: Task) -> DeployResult:
    """Reference 1.1."""
    return DeployResult(
        deploy_id=task.task_id,
        service=task.service,
        version=task.version,
        status=TaskState.PENDING,
        total_instances=len(task.assignments),
        started_at=task.created_at,
    )


def rollback(task: Task) -> BatchRollbackResult:
    """Reference 3.2."""
    return BatchRollbackResult(
        rollback_id=task.task_id,
        service=task.service,
        target_version=task.version,
        status=TaskState.PENDING,
        instances=list(task.assignments),
        total_instances=len(task.assignments),
        started_at=task.created_at,
    )
