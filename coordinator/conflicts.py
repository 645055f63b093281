"""The refusals of requests about tasks: each names the field, the task and what stands there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coordinator.core.task import Task
from protocol.errors import ConflictError, NotFoundError
from protocol.states import TaskKind

_CALLED: Mapping[TaskKind, tuple[str, str]] = {
    TaskKind.DEPLOY: ("deploy_id", "deployment"),
    TaskKind.ROLLBACK: ("rollback_id", "rollback"),
    TaskKind.PREFETCH: ("prefetch_id", "prefetch"),
}


def id_field(kind: TaskKind) -> str:
    """What requests call the id of such a task."""
    return _CALLED[kind][0]


def no_task(kind: TaskKind, task_id: str) -> NotFoundError:
    """The refusal of a task that is not known."""
    field, word = _CALLED[kind]
    return NotFoundError(f"no {word} {task_id}", [{"field": field, "message": task_id}])


def exists_otherwise(field: str, task_id: str) -> ConflictError:
    """The refusal of a new task's id that another task has."""
    return ConflictError(
        f"{field}: {task_id} exists already with other parameters",
        [{"field": field, "message": "exists with other parameters"}],
    )


def nothing_to_promote(task: Task) -> ConflictError:
    """The refusal of a promotion that nothing waits for."""
    strategy = task.strategy
    if strategy is None or strategy.promote == "auto" or not strategy.canary:
        why = "it has no canary that waits for a promotion"
    elif task.promoted_by:
        why = f"{task.promoted_by} has promoted it already"
    else:
        why = "its canary has not passed yet"
    return ConflictError(f"{task.task_id}: {why}", [{"task_id": task.task_id, "message": why}])


def held_conflict(held: Mapping[str, str]) -> ConflictError:
    """The refusal that names each held instance and the task that holds it."""
    first = "; ".join(f"{name} is held by {task}" for name, task in list(held.items())[:5])
    more = f"; and {len(held) - 5} more" if len(held) > 5 else ""
    return ConflictError(
        f"instances: {first}{more}",
        [{"instance_id": name, "task_id": task} for name, task in held.items()],
    )


def has_ended(task: Task) -> ConflictError:
    """The refusal of what is only asked of running tasks."""
    return ConflictError(
        f"{task.task_id} has ended already: {task.state.value}",
        [{"task_id": task.task_id, "status": task.state.value}],
    )


def held_instance(instance_id: str, holder: str) -> ConflictError:
    """The refusal of what can't be done to an instance while a task has it."""
    return ConflictError(
        f"instance_id: {instance_id} is held by {holder}",
        [{"field": "instance_id", "instance_id": instance_id, "task_id": holder}],
    )


def unknown_instances(names: Sequence[str], field: str = "instances") -> NotFoundError:
    """The refusal that names each instance that is not known."""
    first = ", ".join(names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return NotFoundError(
        f"{field}: no agent ever reported {first}{more}",
        [{"field": field, "instance_id": name, "message": "never reported"} for name in names],
    )
