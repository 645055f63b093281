"""How assignments went through their phases: what is kept of it, and how long each took. Pure.

A transition is kept where a phase or an attempt began; what was entered and left in the same
step took no time, and is not. A phase lasts until the next transition, the last one until now.
An ended phase takes no time: a truer report or a regression may follow it, and is no more work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest

from coordinator.core.task import Assignment, Task
from protocol.states import Phase, TaskKind
from protocol.timeline import InstanceTimeline, TaskTimeline, TimelineStep

_WITHOUT_WORK = frozenset({Phase.QUEUED, Phase.WAITING, Phase.FAILED, Phase.CANCELLED})
"""Phases that an assignment may go through without its agent ever having taken it."""


@dataclass(frozen=True, slots=True)
class Transition:
    """An assignment entered a phase, or another attempt in it."""

    instance_id: str
    at: datetime
    phase: Phase
    attempt: int
    reason: str


def entered(part: Assignment, at: datetime) -> Transition:
    """The transition into what the part is in since `at`."""
    reason = part.error if part.phase is Phase.RETRYING else part.reason
    return Transition(part.instance_id, at, part.phase, part.attempt, reason)


def has_moved(before: Assignment, after: Assignment) -> bool:
    """Whether another phase or attempt began."""
    return (before.phase, before.attempt) != (after.phase, after.attempt)


def timeline(task: Task, transitions: Iterable[Transition], now: datetime) -> TaskTimeline:
    """The task's timeline as of `now`; each instance's transitions are in their order."""
    of_instance: dict[str, list[Transition]] = {name: [] for name in task.assignments}
    for transition in transitions:
        of_instance[transition.instance_id].append(transition)
    instances = [
        _of_instance(part, of_instance[name], now) for name, part in task.assignments.items()
    ]
    return TaskTimeline(
        task_id=task.task_id,
        kind="deploy" if task.kind is TaskKind.DEPLOY else "rollback",
        service=task.service,
        version=task.version,
        status=task.state,
        started_at=task.created_at,
        ended_at=task.completed_at,
        as_of=now,
        seconds=_between(task.created_at, task.completed_at or now),
        phases=_added((name, took) for row in instances for name, took in row.phases.items()),
        instances=instances,
    )


def _of_instance(
    part: Assignment, transitions: Sequence[Transition], now: datetime
) -> InstanceTimeline:
    steps = [
        TimelineStep(
            at=one.at,
            phase=one.phase,
            attempt=one.attempt,
            reason=one.reason,
            seconds=None if one.phase.ended else _between(one.at, after.at if after else now),
        )
        for one, after in zip_longest(transitions, transitions[1:])
    ]
    phases = _added((s.phase.value, s.seconds) for s in steps if s.seconds is not None)
    phase = steps[-1].phase if steps else part.phase
    return InstanceTimeline(
        instance_id=part.instance_id,
        status=phase.state,
        phase=phase,
        attempts=steps[-1].attempt if steps else part.attempt,
        began_at=next((step.at for step in steps if step.phase not in _WITHOUT_WORK), None),
        ended_at=next((step.at for step in steps if step.phase.ended), None),
        seconds=_sum(took for name, took in phases.items() if name != Phase.QUEUED.value),
        phases=phases,
        steps=steps,
    )


def _added(parts: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Seconds by phase, in the order in which an assignment goes through them."""
    took: dict[str, list[float]] = {}
    for name, seconds in parts:
        took.setdefault(name, []).append(seconds)
    return {phase.value: _sum(took[phase.value]) for phase in Phase if phase.value in took}


def _between(start: datetime, end: datetime) -> float:
    """Seconds from `start` to `end`; none if the wall clock was set back between them."""
    return max((end - start).total_seconds(), 0.0)


def _sum(seconds: Iterable[float]) -> float:
    """To the microsecond, as the times are."""
    return round(sum(seconds), 6)
