"""From values to rows and back. Nothing here talks to a database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any, TypeAlias

from sqlalchemy import Row

from coordinator.core.chain import AuditRow
from coordinator.core.pins import PinRow
from coordinator.core.task import Assignment, Target, Task
from coordinator.core.timeline import Transition
from coordinator.ports import (
    EventRow,
    HistoryRow,
    HostRow,
    InstanceRow,
    Retained,
    TaskSummary,
    TokenRow,
)
from coordinator.store.tables import assignments, tasks, transitions
from protocol.models import TaskProgress
from protocol.states import HostState, InstanceStatus, Phase, Receipt, TaskKind, TaskState
from protocol.strategy import Strategy

AnyRow: TypeAlias = "Row[*tuple[Any, ...]]"
"""A row as a query returns it."""

Params = dict[str, Any]
"""One row as a statement takes it: a value for each column."""

ENDED_PHASES = tuple(phase.value for phase in Phase if phase.ended)
UNFINISHED_STATES = tuple(state.value for state in TaskState if not state.ended)

_TASK_FIELDS = (
    tasks.c.task_id,
    tasks.c.service,
    tasks.c.version,
    tasks.c.timeout,
    tasks.c.retry_count,
    tasks.c.created_at,
    tasks.c.updated_at,
    tasks.c.package_url,
    tasks.c.digest,
    tasks.c.use_retained,
    tasks.c.force,
    tasks.c.rollback_type,
    tasks.c.fingerprint,
    tasks.c.completed_at,
    tasks.c.cancelled_at,
    tasks.c.revision,
    tasks.c.paused_at,
    tasks.c.passed,
    tasks.c.bake_until,
    tasks.c.promoted_by,
    tasks.c.stopped,
    tasks.c.taken_back,
    tasks.c.follows,
    tasks.c.relation,
)
_TASK_NAMES = tuple(column.name for column in _TASK_FIELDS)
TASK_COLUMNS = (tasks.c.seq, tasks.c.kind, tasks.c.strategy, tasks.c.led_to, *_TASK_FIELDS)
"""What `task_of` reads."""

_COUNTS = ("total", "completed", "failed", "cancelled", "pending", "in_progress")
SUMMARY_COLUMNS = (
    tasks.c.task_id,
    tasks.c.kind,
    tasks.c.service,
    tasks.c.version,
    tasks.c.rollback_type,
    tasks.c.state,
    tasks.c.created_at,
    tasks.c.updated_at,
    *(tasks.c[name] for name in _COUNTS),
)
"""What `summary_of` reads."""

_PART_FIELDS = (
    assignments.c.attempt,
    assignments.c.started_at,
    assignments.c.completed_at,
    assignments.c.deadline,
    assignments.c.retry_at,
    assignments.c.reason,
    assignments.c.error,
    assignments.c.cancel_asked,
    assignments.c.blocked_by,
    assignments.c.regressed,
    assignments.c.since,
    assignments.c.left,
    assignments.c.batch,
    assignments.c.turn,
    assignments.c.let_go,
    assignments.c.guarded,
    assignments.c.unreachable,
    assignments.c.discards,
)
_PART_NAMES = tuple(column.name for column in _PART_FIELDS)
ASSIGNMENT_COLUMNS = (
    assignments.c.instance_id,
    assignments.c.phase,
    assignments.c.receipt,
    assignments.c.target,
    assignments.c.ran,
    *_PART_FIELDS,
)
"""What `assignment_of` reads, in its order."""

TRANSITION_COLUMNS = (
    transitions.c.instance_id,
    transitions.c.at,
    transitions.c.phase,
    transitions.c.attempt,
    transitions.c.reason,
)
"""What `transition_of` reads."""


def task_params(task: Task) -> Params:
    """A task's own row, with its state and its counts."""
    progress = task.progress
    return {
        **{name: getattr(task, name) for name in _TASK_NAMES},
        "kind": task.kind.value,
        "state": task.state.value,
        "strategy": task.strategy
        and task.strategy.model_dump(mode="json", exclude_defaults=True, exclude_none=True),
        "led_to": list(task.led_to),
        **{name: getattr(progress, name) for name in _COUNTS},
    }


def task_of(row: AnyRow, parts: Iterable[Assignment]) -> Task:
    """The task of a row of `TASK_COLUMNS` and its parts in their order."""
    stored = row._mapping
    return Task(
        kind=TaskKind(row.kind),
        assignments={part.instance_id: part for part in parts},
        strategy=None if row.strategy is None else Strategy.model_validate(row.strategy),
        led_to=tuple(row.led_to),
        **{name: stored[name] for name in _TASK_NAMES},
    )


def summary_of(row: AnyRow) -> TaskSummary:
    """The summary of a row of `SUMMARY_COLUMNS`."""
    stored = row._mapping
    return TaskSummary(
        task_id=row.task_id,
        kind=TaskKind(row.kind),
        service=row.service,
        version=row.version,
        rollback_type=row.rollback_type,
        state=TaskState(row.state),
        progress=TaskProgress(**{name: stored[name] for name in _COUNTS}),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def assignment_params(part: Assignment) -> Params:
    """What may change of an assignment; not its task, instance and position."""
    return {
        **{name: getattr(part, name) for name in _PART_NAMES},
        "phase": part.phase.value,
        "receipt": part.receipt.value if part.receipt else None,
        "target": part.target and asdict(part.target),
        "ran": part.ran and asdict(part.ran),
    }


def assignments_params(task: Task) -> list[Params]:
    """All rows of a new task's assignments."""
    return [
        {
            "task_id": task.task_id,
            "instance_id": part.instance_id,
            "position": position,
            **assignment_params(part),
        }
        for position, part in enumerate(task.assignments.values())
    ]


def assignment_of(values: Iterable[Any]) -> Assignment:
    """The assignment of a row of `ASSIGNMENT_COLUMNS`."""
    instance_id, phase, receipt, target, ran, *plain = values
    return Assignment(
        instance_id,
        Phase(phase),
        receipt=Receipt(receipt) if receipt else None,
        target=Target(**target) if target else None,
        ran=Target(**ran) if ran else None,
        **dict(zip(_PART_NAMES, plain, strict=True)),
    )


def transition_params(task_id: str, made: Transition) -> Params:
    """A row of what a task went through."""
    return {
        "task_id": task_id,
        "instance_id": made.instance_id,
        "at": made.at,
        "phase": made.phase.value,
        "attempt": made.attempt,
        "reason": made.reason,
    }


def transition_of(row: AnyRow) -> Transition:
    """The transition of a row of `TRANSITION_COLUMNS`."""
    return Transition(**{**row._mapping, "phase": Phase(row.phase)})


def instance_params(row: InstanceRow) -> Params:
    """An instance's row."""
    return {
        **_values(row),
        "status": row.status.value,
        "metadata": dict(row.metadata),
        "retained": [_release(one) for one in row.retained],
        "fetched": [_release(one) for one in row.fetched],
    }


def _release(one: Retained) -> list[Any]:
    return [one.version, one.digest, one.proven, one.damaged]


def instance_of(row: AnyRow) -> InstanceRow:
    """The instance of a row. An older coordinator's row has a version and digest alone."""
    return InstanceRow(
        **{
            **row._mapping,
            "status": InstanceStatus(row.status),
            "retained": tuple(Retained(*release) for release in row.retained),
            "fetched": tuple(Retained(*release) for release in row.fetched),
        }
    )


def host_params(row: HostRow) -> Params:
    """A host's row."""
    values = _values(row)
    major, minor = values.pop("protocol")
    return {
        **values,
        "state": row.state.value,
        "believes": list(row.believes),
        "protocol_major": major,
        "protocol_minor": minor,
    }


def host_of(row: AnyRow) -> HostRow:
    """The host of a row."""
    stored = dict(row._mapping)
    spoken = (stored.pop("protocol_major"), stored.pop("protocol_minor"))
    read = {"state": HostState(row.state), "believes": tuple(row.believes), "protocol": spoken}
    return HostRow(**{**stored, **read})


def history_params(row: HistoryRow) -> Params:
    """A row of an instance's history."""
    return {name: value for name, value in _values(row).items() if name != "corrects"}


def history_of(row: AnyRow) -> HistoryRow:
    """The history of a row, but for its number."""
    return HistoryRow(**{name: value for name, value in row._mapping.items() if name != "seq"})


def pin_params(row: PinRow) -> Params:
    """A pin's row."""
    return _values(row)


def pin_of(row: AnyRow) -> PinRow:
    """The pin of a row."""
    return PinRow(**row._mapping)


def event_params(event: EventRow) -> Params:
    """A numbered event's row."""
    return {"seq": event.seq, "at": event.at, "kind": event.kind, "data": dict(event.data)}


def event_of(row: AnyRow) -> EventRow:
    """The event of a row."""
    return EventRow(**row._mapping)


def token_params(token: TokenRow) -> Params:
    """A token's row."""
    return {**_values(token), "services": list(token.services)}


def token_of(row: AnyRow) -> TokenRow:
    """The token of a row, but for its number."""
    stored = {name: value for name, value in row._mapping.items() if name != "seq"}
    return TokenRow(**{**stored, "services": tuple(row.services)})


def audit_params(row: AuditRow) -> Params:
    """A numbered row of the audit trail."""
    said = {name: dict(getattr(row, name)) for name in ("parameters", "before", "after")}
    return {**_values(row), **said}


def audit_of(row: AnyRow) -> AuditRow:
    """The audit trail's row of a row."""
    return AuditRow(**row._mapping)


def _values(row: AuditRow | HistoryRow | HostRow | InstanceRow | PinRow | TokenRow) -> Params:
    return {field.name: getattr(row, field.name) for field in fields(row)}
