"""Tasks and rows as the tests of the Store name them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from coordinator.core.task import Assignment, Task
from coordinator.ports import Changes, EventRow, HistoryRow, InstanceRow, Retained, Store
from protocol.states import InstanceStatus, Phase, TaskKind

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def task(task_id: str = "d-1", *instances: str, **fields: Any) -> Task:
    made = Task(
        task_id=task_id,
        kind=TaskKind.DEPLOY,
        service="user-service",
        version="v1.2.3",
        timeout=300,
        retry_count=3,
        created_at=NOW,
        updated_at=NOW,
        assignments={name: Assignment(name) for name in instances or ("i-1",)},
        package_url="https://packages/v1.2.3.tar.gz",
        digest="ab" * 32,
    )
    return replace(made, **fields)


def moved(before: Task, phase: Phase, *instances: str) -> Changes:
    """The changes that bring some of a task's assignments into a phase."""
    parts = {
        name: replace(before.assignments[name], phase=phase)
        for name in instances or before.assignments
    }
    after = replace(
        before, revision=before.revision + 1, assignments={**before.assignments, **parts}
    )
    return Changes(
        tasks=[after],
        assignments=[(after.task_id, after.assignments[n]) for n in instances or after.assignments],
    )


async def create(store: Store, *tasks: Task) -> None:
    await store.commit(Changes(created=list(tasks)))


def event(number: int = 0) -> EventRow:
    return EventRow(at=NOW, kind="task", data={"n": number})


def instance(instance_id: str = "i-1", **fields: Any) -> InstanceRow:
    made = InstanceRow(
        instance_id=instance_id,
        host_id="host-a",
        service="user-service",
        address="10.0.0.5",
        port=8080,
        status=InstanceStatus.RUNNING,
        version="v1",
        digest="cd" * 32,
        reason="",
        metadata={"zone": "a", "Überraschung": "ja"},
        retained=(
            Retained("v0", "ef" * 32, damaged="bin/server is missing"),
            Retained("v1", "cd" * 32, proven=-1234.5),
        ),
        updated_at=NOW,
        free_bytes=3 * 10**12,
    )
    return replace(made, **fields)


def ended(instance_id: str, task_id: str, **fields: Any) -> HistoryRow:
    made = HistoryRow(instance_id, "user-service", "v1", "deploy", task_id, NOW, "success")
    return replace(made, **fields)
