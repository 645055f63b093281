"""Deployments, rollbacks and prefetches as one thing: a task with an id, a version and instances.

The three answers differ in a few names; this file alone knows which.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from protocol.errors import InvalidRequestError, NotFoundError
from protocol.states import TaskState

if TYPE_CHECKING:
    from coordinator.client import AsyncClient
    from protocol.models import (
        BatchRollbackResult,
        DeployCancelResult,
        DeployResult,
        DeployStatus,
        RollbackCancelResult,
        RollbackStatus,
        Rollout,
    )
    from protocol.releases import PrefetchCancelResult, PrefetchStatus
    from protocol.timeline import TaskTimeline

    Switching: TypeAlias = DeployStatus | RollbackStatus
    Status: TypeAlias = DeployStatus | RollbackStatus | PrefetchStatus

A = TypeVar("A")

_PREFIXES = {"deployment": "deploy-", "rollback": "rollback-", "prefetch": "prefetch-"}
"""What the ids begin with that are given to those who choose none."""

EXIT_CODES = {TaskState.COMPLETED: 0, TaskState.FAILED: 5, TaskState.CANCELLED: 6}


def id_of(status: Status) -> str:
    """The task's id."""
    if hasattr(status, "deploy_id"):
        return status.deploy_id
    return status.rollback_id if hasattr(status, "rollback_id") else status.prefetch_id


def id_of_new(result: DeployResult | BatchRollbackResult) -> str:
    """The id of the task that was accepted."""
    return result.deploy_id if hasattr(result, "deploy_id") else result.rollback_id


def version_of(status: Status) -> str:
    """The version that the task brings."""
    return status.version if hasattr(status, "version") else status.target_version


def is_deployment(status: Status) -> bool:
    """Whether it is a deployment's status."""
    return hasattr(status, "deploy_id")


def kind_of(status: Status) -> str:
    """`deployment`, `rollback` or `prefetch`."""
    if is_deployment(status):
        return "deployment"
    return "rollback" if hasattr(status, "rollback_id") else "prefetch"


def rollout_of(status: Status) -> Rollout | None:
    """How far the task is in its strategy; None for a prefetch, which has none."""
    return status.rollout if hasattr(status, "rollout") else None


def exit_code_of(status: Status) -> int:
    """The command's exit code for a task in this state; 0 while it has not ended."""
    return EXIT_CODES.get(status.status, 0)


async def find_status(client: AsyncClient, task_id: str) -> Status:
    """The status of the task with this id."""
    return await _of_any_kind(
        task_id,
        {
            "deployment": client.get_deployment_status,
            "rollback": client.get_rollback_status,
            "prefetch": client.get_prefetch_status,
        },
    )


async def find_timeline(client: AsyncClient, task_id: str) -> TaskTimeline:
    """The timeline of the deployment or rollback with this id."""
    return await _of_any_kind(
        task_id,
        {
            "deployment": client.get_deployment_timeline,
            "rollback": client.get_rollback_timeline,
        },
    )


async def cancel(
    client: AsyncClient, task_id: str
) -> DeployCancelResult | RollbackCancelResult | PrefetchCancelResult:
    """Cancel the task with this id."""
    return await _of_any_kind(
        task_id,
        {
            "deployment": client.cancel_deployment,
            "rollback": client.cancel_rollback,
            "prefetch": client.cancel_prefetch,
        },
    )


async def pause(client: AsyncClient, task_id: str) -> DeployStatus | RollbackStatus:
    """Pause the deployment or rollback with this id."""
    return await _of_any_kind(
        task_id, {"deployment": client.pause_deployment, "rollback": client.pause_rollback}
    )


async def resume(client: AsyncClient, task_id: str) -> DeployStatus | RollbackStatus:
    """Resume the deployment or rollback with this id."""
    return await _of_any_kind(
        task_id, {"deployment": client.resume_deployment, "rollback": client.resume_rollback}
    )


async def promote(client: AsyncClient, task_id: str) -> DeployStatus | RollbackStatus:
    """Promote the canary of the deployment or rollback with this id."""
    return await _of_any_kind(
        task_id, {"deployment": client.promote_deployment, "rollback": client.promote_rollback}
    )


async def retry(
    client: AsyncClient, task_id: str, new_id: str | None, *, force: bool
) -> DeployResult | BatchRollbackResult:
    """Try the deployment or rollback with this id again where it has not completed.

    Raises `InvalidRequestError` for a rollback with `force`, which only a deployment knows.
    """

    async def retry_rollback(rollback_id: str) -> BatchRollbackResult:
        if force:
            await client.get_rollback_status(rollback_id)
            message = f"{rollback_id} is a rollback: it needs no --force to be tried again"
            raise InvalidRequestError(message, [{"field": "force", "message": message}])
        return await client.retry_rollback(rollback_id, new_id)

    return await _of_any_kind(
        task_id,
        {
            "deployment": lambda deploy_id: client.retry_deployment(deploy_id, new_id, force=force),
            "rollback": retry_rollback,
        },
    )


async def _of_any_kind(task_id: str, ask: Mapping[str, Callable[[str], Awaitable[A]]]) -> A:
    """Ask for the likeliest kind first: who chooses an id is free, so the prefix proves nothing."""
    for kind in sorted(ask, key=lambda kind: not task_id.startswith(_PREFIXES[kind])):
        try:
            return await ask[kind](task_id)
        except NotFoundError:
            continue
    *others, last = ask
    raise NotFoundError(f"there is no {', '.join(others)} or {last} {task_id}")
