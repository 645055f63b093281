"""What a running task and its parts wait for, since when and until when, for people. Pure.

What keeps a task from beginning anything new is told of the task; if nothing does, what is under
way is what it waits for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
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
    """What is waited for, in a word ("" for work) and in a sentence; until when, where known."""

    what: str
    text: str
    since: datetime
    until: datetime | None = None


def rfc3339(moment: datetime | None) -> str:
    """A time as text, to the second; "" for none."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""


def wall(now: Moment, steady: float | None) -> datetime | None:
    """When it is or was so many steady seconds."""
    return None if steady is None else _wall(now, steady)


def _wall(now: Moment, steady: float) -> datetime:
    return now.wall + timedelta(seconds=steady - now.steady)


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
    """What one part waits for; `rollout` is what the task waits for. None if it has ended.

    `away`: its agent is silent, `silent_since` then, if that is known.
    """
    if part.phase.ended:
        return None
    since = _since(task, part)
    if part.blocked_by and part.phase is Phase.QUEUED:
        return Waits("task", f"waiting for {part.blocked_by}", since)
    if rollout is not None and _held(task, part, away=away):
        return replace(rollout, since=max(rollout.since, since))
    if part.phase is Phase.RETRYING:
        return Waits("retry", part.error, since, wall(now, part.retry_at))
    until = wall(now, part.deadline)
    if away or part.phase is Phase.WAITING:
        what = "return" if away else "take the command"
        since = (silent_since or since) if away else since
        return Waits("host", f"waiting for its agent to {what}", since, until)
    return Waits("", "at work", since, until)


def under_way(task: Task, now: Moment, silent: Mapping[str, datetime | None]) -> Waits | None:
    """What a task waits for that nothing keeps from going on; None if all of it has ended.

    `silent` are the instances whose agents are away, and since when, where that is known.
    """
    left = []
    for part in task.assignments.values():
        name = part.instance_id
        away, since = name in silent, silent.get(name)
        waits = part_waits_for(task, part, now, None, away=away, silent_since=since)
        if waits is not None:
            left.append((_TOLD.get("away" if away else waits.what, "at work"), waits))
    if not left:
        return None
    told = ", ".join(f"{count} {words}" for words, count in Counter(w for w, _ in left).items())
    untils = [waits.until for _, waits in left if waits.until is not None]
    until = max(untils) if len(untils) == len(left) else None
    return Waits("", f"waiting for {told}", min(waits.since for _, waits in left), until)


_TOLD = {
    "away": "whose agent is away",
    "host": "whose agent has not taken the command",
    "retry": "to be tried again",
    "task": "that another task has to leave first",
}
"""What those that are under way wait for, by the word for it."""


def _since(task: Task, part: Assignment) -> datetime:
    """When the part came into its phase."""
    return part.since or task.created_at


def _held(task: Task, part: Assignment, *, away: bool) -> bool:
    """Whether it is the rollout that the part waits for, and not its host."""
    if _not_let_on(part):
        return True
    begins = part.phase is Phase.RETRYING or (part.phase is Phase.WAITING and not away)
    return begins and task.paused_at is not None


def _of_strategy(task: Task, strategy: Strategy, now: Moment) -> Waits | None:
    left = [part for part in task.assignments.values() if not part.phase.ended]
    held = [_since(task, part) for part in left if _not_let_on(part)]
    if not held:
        return None
    since = min(held)
    opens = opens_at(strategy, now.wall)
    if opens is not None:
        early = strategy.not_before is not None and now.wall < strategy.not_before
        why = "not before" if early and opens == strategy.not_before else "its window opens at"
        return Waits("window", f"nothing new begins yet: {why} {rfc3339(opens)}", since, opens)
    if waits_for_promotion(task, now.steady):
        ended = [p.completed_at for p in task.assignments.values() if p.completed_at]
        baked = wall(now, task.bake_until)
        since = max(ended) if baked is None else baked
        text = f"{_canary(task)}; waiting since {rfc3339(since)} for somebody to promote it"
        return Waits("promotion", text, since)
    return _of_others(task, strategy, left, now, since)


def _canary(task: Task) -> str:
    """How the canary ended: somebody is to decide on that."""
    canary = [part for part in task.assignments.values() if part.batch == 0]
    failed = [part for part in canary if part.phase is Phase.FAILED]
    away = sum(part.unreachable for part in failed)
    ours = len(failed) - away
    said = [f"{ours} of {len(canary)} failed, which max_failures allows"] * bool(ours)
    said += [f"{away} of {len(canary)} stayed away, which max_unreachable allows"] * bool(away)
    return f"the canary has ended: {', and '.join(said)}" if said else "the canary has passed"


def _of_others(
    task: Task, strategy: Strategy, left: list[Assignment], now: Moment, since: datetime
) -> Waits:
    size = sizes(strategy, len(task.assignments))
    if missing := sum(1 for _ in still_to_prepare(strategy, left)):
        text = f"waiting until all have the release on disk: {missing} are still to be prepared"
        return Waits("preparation", text, since)
    if task.bake_until is not None:
        until = wall(now, task.bake_until)
        # A restart may have put off the end: it begins now at the latest.
        begun = min(now.wall, _wall(now, task.bake_until - strategy.bake))
        text = f"{_batch(task, size.canary)} must stay healthy until {rfc3339(until)}"
        return Waits("bake", text, begun, until)
    here = [part for part in left if part.batch <= task.passed]
    if any(_not_let_on(part) and not part.blocked_by for part in here):
        busy = sum(at_work(task, part) for part in left)
        text = f"waiting for a place: {busy} of at most {size.parallel} at work"
        return Waits("place", text, since)
    text = f"waiting for {_batch(task, size.canary)}: {len(here)} have not ended"
    return Waits("batch", text, since)


def _not_let_on(part: Assignment) -> bool:
    """Whether the rollout has to let the part begin, or switch."""
    return part.phase in (Phase.QUEUED, Phase.PREPARED) or part.waits_for_place


def _batch(task: Task, canary: int) -> str:
    if canary and task.passed == 0:
        return "the canary"
    last = max(part.batch for part in task.assignments.values())
    return f"batch {task.passed + 1} of {last + 1}"
