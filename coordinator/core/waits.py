"""What keeps a running task from going on, in one sentence for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from coordinator.core.decisions import at_work, still_to_prepare, waits_for_promotion
from coordinator.core.task import Assignment, Moment, Task
from coordinator.core.waves import sizes
from coordinator.core.windows import opens_at
from protocol.states import Phase
from protocol.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Waits:
    """What is waited for, in a word and in a sentence; since and until when, where known."""

    what: str
    text: str
    since: datetime | None = None
    until: datetime | None = None


def rfc3339(moment: datetime | None) -> str:
    """A time as text, to the second; "" for none."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""


def wall(now: Moment, steady: float | None) -> datetime | None:
    """When it is or was so many steady seconds."""
    return None if steady is None else now.wall + timedelta(seconds=steady - now.steady)


def waits_for(task: Task, now: Moment) -> Waits | None:
    """Why the task begins nothing new now; None if nothing waits for it."""
    if task.state.ended:
        return None
    if task.paused_at is not None:
        since = rfc3339(task.paused_at)
        return Waits("resume", f"paused since {since}: nothing new begins", task.paused_at)
    if task.strategy is None:
        return None
    return _of_strategy(task, task.strategy, now)


def part_waits_for(
    task: Task,
    part: Assignment,
    now: Moment,
    rollout: Waits | None,
    *,
    away: bool,
    silent_since: datetime | None = None,
) -> Waits | None:
    """What one part waits for; `rollout` is what the task waits for. None: it is at work, or ended.

    `away`: its agent is silent, `silent_since` then, if that is known.
    """
    since = part.since or task.created_at
    if part.blocked_by and part.phase is Phase.QUEUED:
        return Waits("task", f"waiting for {part.blocked_by}", since)
    if rollout is not None and _held(task, part, away=away):
        return replace(rollout, since=rollout.since or since)
    if part.phase is Phase.RETRYING:
        return Waits("retry", part.error, since, wall(now, part.retry_at))
    if part.phase is Phase.WAITING or (away and not part.phase.ended):
        what = "return" if away else "take the command"
        since = (silent_since or since) if away else since
        return Waits("host", f"waiting for its agent to {what}", since, wall(now, part.deadline))
    return None


def _held(task: Task, part: Assignment, *, away: bool) -> bool:
    """Whether it is the rollout that the part waits for, and not its host."""
    if _not_let_on(part):
        return True
    begins = part.phase is Phase.RETRYING or (part.phase is Phase.WAITING and not away)
    return begins and task.paused_at is not None


def _of_strategy(task: Task, strategy: Strategy, now: Moment) -> Waits | None:
    left = [part for part in task.assignments.values() if not part.phase.ended]
    if not any(_not_let_on(part) for part in left):
        return None
    opens = opens_at(strategy, now.wall)
    if opens is not None:
        early = strategy.not_before is not None and now.wall < strategy.not_before
        why = "not before" if early and opens == strategy.not_before else "its window opens at"
        return Waits("window", f"nothing new begins yet: {why} {rfc3339(opens)}", until=opens)
    if waits_for_promotion(task, now.steady):
        ended = [p.completed_at for p in task.assignments.values() if p.completed_at]
        baked = wall(now, task.bake_until)
        since = max(ended) if baked is None else baked
        text = f"the canary has passed; waiting since {rfc3339(since)} for somebody to promote it"
        return Waits("promotion", text, since)
    return _of_others(task, strategy, left, now)


def _of_others(task: Task, strategy: Strategy, left: list[Assignment], now: Moment) -> Waits:
    size = sizes(strategy, len(task.assignments))
    if missing := sum(1 for _ in still_to_prepare(strategy, left)):
        text = f"waiting until all have the release on disk: {missing} are still to be prepared"
        return Waits("preparation", text)
    if task.bake_until is not None:
        until = wall(now, task.bake_until)
        begun = wall(now, task.bake_until - strategy.bake)
        text = f"{_batch(task, size.canary)} must stay healthy until {rfc3339(until)}"
        return Waits("bake", text, begun, until)
    here = [part for part in left if part.batch <= task.passed]
    if any(_not_let_on(part) and not part.blocked_by for part in here):
        busy = sum(at_work(task, part) for part in left)
        return Waits("place", f"waiting for a place: {busy} of at most {size.parallel} at work")
    return Waits("batch", f"waiting for {_batch(task, size.canary)}: {len(here)} have not ended")


def _not_let_on(part: Assignment) -> bool:
    """Whether the rollout has to let the part begin, or switch."""
    return part.phase in (Phase.QUEUED, Phase.PREPARED) or part.waits_for_place


def _batch(task: Task, canary: int) -> str:
    if canary and task.passed == 0:
        return "the canary"
    last = max(part.batch for part in task.assignments.values())
    return f"batch {task.passed + 1} of {last + 1}"
