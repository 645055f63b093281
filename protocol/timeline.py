"""(+) The timeline of a task: when each assignment entered which phase, and for how long."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from protocol.results import Model, Time
from protocol.states import Phase, TaskState


class TimelineStep(Model):
    """An assignment entered a phase, or another attempt in it."""

    at: Time
    phase: Phase
    attempt: int
    reason: str
    seconds: float | None = Field(
        description="until the next step; until `as_of` in the phase that goes on; null at the end"
    )


class InstanceTimeline(Model):
    """One instance's part of a task. Without steps nothing was recorded of it."""

    instance_id: str
    status: TaskState
    phase: Phase
    attempts: int
    began_at: Time | None = Field(description="when work began there; null if it never did")
    ended_at: Time | None
    seconds: float = Field(description="from its turn to its end, or to `as_of`")
    phases: dict[str, float] = Field(description="seconds in each phase")
    steps: list[TimelineStep]


class TaskTimeline(Model):
    """A deployment or a rollback with every step of every assignment, in the order they were named.

    `as_of` is the coordinator's time of the answer: up to then phases that go on are counted.
    """

    task_id: str
    kind: Literal["deploy", "rollback"]
    service: str
    version: str
    status: TaskState
    started_at: Time
    ended_at: Time | None
    as_of: Time
    seconds: float = Field(description="from its start to its end, or to `as_of`")
    phases: dict[str, float] = Field(description="seconds in each phase, of all instances together")
    instances: list[InstanceTimeline]
