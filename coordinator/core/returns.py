"""The way back as a task of its own: each instance to what it ran before. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from coordinator.core.task import Assignment, Relation, Target, Task
from protocol.names import PREVIOUS
from protocol.params import DEFAULT_RETRY_COUNT
from protocol.states import Phase, TaskKind


def version_of(targets: Mapping[str, Target]) -> str:
    """What such a task is called by: the one version, or `@previous` if they differ."""
    versions = {target.version for target in targets.values()}
    return versions.pop() if len(versions) == 1 else PREVIOUS


def switched(part: Assignment) -> bool:
    """Whether the task left the instance with the new version, for all that is known.

    Not where that very release ran already.
    """
    return part.let_go and (part.phase is Phase.COMPLETED or part.regressed)


def way_back(
    task: Task, instances: tuple[str, ...], relation: Relation, task_id: str, now: datetime
) -> Task:
    """The task that takes these instances of `task` back; each of them ran something before."""
    before = {name: task.assignments[name] for name in instances}
    targets = {name: part.ran for name, part in before.items() if part.ran is not None}
    return Task(
        task_id=task_id,
        kind=TaskKind.ROLLBACK,
        rollback_type="batch",
        service=task.service,
        version=version_of(targets),
        timeout=task.timeout,
        retry_count=DEFAULT_RETRY_COUNT,
        created_at=now,
        updated_at=now,
        assignments={
            name: Assignment(name, target=target, ran=task.target_of(before[name]))
            for name, target in targets.items()
        },
        use_retained=True,
        follows=task.task_id,
        relation=relation,
    )


def led_to(task: Task, task_id: str) -> Task:
    """The task, as one that another came from."""
    return replace(task, led_to=(*task.led_to, task_id))
