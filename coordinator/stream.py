"""What the event stream tells of tasks, assignments and instances."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from coordinator.core.causes import causes
from coordinator.core.task import Assignment, Moment, Task
from coordinator.core.waits import waits_for
from coordinator.core.why import why
from coordinator.fleet import Fleet
from coordinator.ports import InstanceRow

MOST_CAUSES = 20
LONGEST_CAUSE = 1000
"""So many causes, of so many characters, are told in a task's event."""


def task_event(task: Task, host_of: Callable[[str], str]) -> dict[str, Any]:
    """What the event stream tells of a task; why instances failed, once it has ended."""
    told = causes(task, host_of) if task.state.ended else []
    return {
        "task_id": task.task_id,
        "kind": task.kind.value,
        "service": task.service,
        "version": task.version,
        "status": task.state.value,
        "progress": task.progress.model_dump(),
        "causes": [
            {**cause.model_dump(), "message": cause.message[:LONGEST_CAUSE]}
            for cause in told[:MOST_CAUSES]
        ],
    }


def assignment_events(
    task: Task, parts: Sequence[Assignment], now: Moment, fleet: Fleet
) -> Iterator[dict[str, Any]]:
    """What the event stream tells of assignments; the reason is that of the task's status."""
    goes_on = [part.instance_id for part in parts if not part.phase.ended]
    rollout = waits_for(task, now) if goes_on else None
    silent = fleet.silent(goes_on)
    for part in parts:
        name = part.instance_id
        away, since = name in silent, silent.get(name)
        yield {
            "task_id": task.task_id,
            "service": task.service,
            "instance_id": name,
            "status": part.phase.state.value,
            "phase": part.phase.value,
            "attempt": part.attempt,
            "reason": why(task, part, now, rollout, away=away, silent_since=since),
            "error_message": part.error,
            "receipt": part.receipt.value if part.receipt else None,
        }


def instance_event(row: InstanceRow) -> dict[str, Any]:
    """What the event stream tells of an instance."""
    return {
        "instance_id": row.instance_id,
        "service": row.service,
        "host_id": row.host_id,
        "status": row.status.value,
        "version": row.version,
        "reason": row.reason,
    }
