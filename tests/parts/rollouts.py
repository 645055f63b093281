"""A task in the hands of the pure rollout: how it begins, and what agents say of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from coordinator.core.happenings import Begin, Said, Send
from coordinator.core.rollout import Step, step
from coordinator.core.task import Assignment, Moment, Task
from protocol.messages import Command, Ended, Prepared, Result, WorkInHand
from protocol.messages import Step as AgentStep
from protocol.states import Phase, TaskKind

START = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "a" * 64
OTHER = "b" * 64
HEALTHY = Ended(result=Result.SUCCEEDED, step=AgentStep.COMMIT, message="healthy", digest=DIGEST)


def at(seconds: float) -> Moment:
    return Moment(1000.0 + seconds, START + timedelta(seconds=seconds))


def task(*names: str, timeout: int = 300, retry_count: int = 3) -> Task:
    return Task(
        task_id="deploy-1",
        kind=TaskKind.DEPLOY,
        service="user-service",
        version="v2",
        timeout=timeout,
        retry_count=retry_count,
        created_at=START,
        updated_at=START,
        assignments={name: Assignment(name) for name in names},
        package_url="https://packages.example/v2.tar.gz",
    )


def failure(message: str = "no space", *, passing: bool = False) -> Ended:
    return Ended(result=Result.FAILED, step=AgentStep.PREPARE, message=message, passing=passing)


def sent(done: Step, name: str = "a") -> list[Command]:
    return [e.command for e in done.effects if isinstance(e, Send) and e.instance_id == name]


def begun(*names: str, timeout: int = 300, retry_count: int = 3) -> Task:
    return step(task(*names, timeout=timeout, retry_count=retry_count), [Begin()], at(0)).task


def prepared(*names: str, **options: int) -> Task:
    """Every instance holds the release and was told to switch."""
    says = [Said(name, 1, Prepared(digest=DIGEST)) for name in names]
    return step(begun(*names, **options), says, at(1)).task


def phase(of: Task, name: str = "a") -> Phase:
    return of.assignments[name].phase


def in_hand(attempt: int, reached: AgentStep) -> WorkInHand:
    return WorkInHand(task_id="deploy-1", instance_id="a", attempt=attempt, step=reached)
