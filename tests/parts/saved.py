"""A task as a coordinator finds it after a restart: through the store's rows and back."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import JSON, Table

from coordinator.core.task import Task
from coordinator.store import rows
from coordinator.store.tables import UtcTime, assignments, tasks


def saved(task: Task) -> Task:
    """The task of the rows that it is saved as."""
    stored = _stored(tasks, rows.task_params(task))
    row = SimpleNamespace(**stored, _mapping=stored)
    names = [column.name for column in rows.ASSIGNMENT_COLUMNS]
    parts = [_stored(assignments, params) for params in rows.assignments_params(task)]
    found = [rows.assignment_of(part[name] for name in names) for part in parts]
    return rows.task_of(cast("rows.AnyRow", row), found)


def _stored(table: Table, params: dict[str, Any]) -> dict[str, Any]:
    """The values as they are read after they were written."""
    return {name: _read(table.c[name].type, value) for name, value in params.items()}


def _read(kind: object, value: Any) -> Any:
    if isinstance(kind, UtcTime):
        return kind.process_result_value(kind.process_bind_param(value, None), None)
    return json.loads(json.dumps(value)) if isinstance(kind, JSON) else value
