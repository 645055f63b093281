"""The commands of an assignment, derived from the saved task alone.

Each carries the assignment's attempt and what is left of its time. Whether one is sent is
decided elsewhere.
"""

from __future__ import annotations

from coordinator.core.task import Assignment, Moment, Task
from coordinator.core.waves import sizes
from protocol.messages import Activate, Cancel, Prepare

HOLD = 30 * 86_400.0
"""Seconds that a prepared release is kept where the rollout, not the host, lets it wait."""
PUT_BACK_GRACE = 120.0
"""Seconds after its deadline that a connected agent gets to put the old release back."""
LONGEST_WATCH = 30 * 86_400.0
"""Seconds that a host is asked to watch for a regression, at most."""


def prepare(task: Task, part: Assignment, now: Moment) -> Prepare:
    """Bring the release to the instance's disk."""
    target = task.target_of(part)
    waits = task.paused_at is not None or (task.strategy and task.strategy.prepare == "all")
    return Prepare(
        task_id=task.task_id,
        instance_id=part.instance_id,
        attempt=part.attempt,
        kind=task.kind,
        service=task.service,
        version=target.version,
        package_url=target.package_url,
        digest=target.digest,
        use_retained=task.use_retained,
        force=task.force,
        time_left=time_left(part, now),
        hold=HOLD if waits else 0,
    )


def activate(task: Task, part: Assignment, now: Moment) -> Activate:
    """Switch to the prepared release."""
    return Activate(
        task_id=task.task_id,
        instance_id=part.instance_id,
        attempt=part.attempt,
        digest=task.target_of(part).digest,
        time_left=time_left(part, now),
        watch=_watch(task, part),
    )


def watch(task: Task, part: Assignment, seconds: float) -> Activate:
    """Go on watching what the part has switched to, for so many seconds from now on at least."""
    return Activate(
        task_id=task.task_id,
        instance_id=part.instance_id,
        attempt=part.attempt,
        digest=task.target_of(part).digest,
        time_left=0,
        watch=seconds,
        renews=True,
    )


def cancel(task: Task, instance_id: str, attempt: int) -> Cancel:
    """Give an attempt up, unless its switch has begun."""
    return Cancel(task_id=task.task_id, instance_id=instance_id, attempt=attempt)


def time_left(part: Assignment, now: Moment) -> float:
    """What is left of the part's timeout."""
    if part.left is not None:
        return part.left
    return max(0.0, (part.deadline or 0.0) - now.steady)


def _watch(task: Task, part: Assignment) -> float:
    """A batch bakes from the end of its last instance on: the others are watched until then.

    A canary may be larger than what may be at work at once, and so take several rounds. What
    takes longer still is made up for when the batch begins to bake. The last one never does.
    """
    strategy = task.strategy
    if strategy is None:
        return 0
    if not strategy.bake or part.batch == task.last_batch:
        return strategy.guard
    size = sizes(strategy, len(task.assignments))
    rounds = max(1, -(-size.canary // size.parallel)) if part.batch == 0 else 1
    until_it_bakes = rounds * (task.timeout + PUT_BACK_GRACE)
    return min(LONGEST_WATCH, max(strategy.guard, until_it_bakes + strategy.bake))
