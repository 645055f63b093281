"""When a task stops by itself, and what becomes of what it had switched.

A limit counts assignments that ended, of all instances of the task: `max_failures` those that
failed, `max_unreachable` those whose agent stayed away until the timeout; each counts in one of
them. One whose agent vanishes after it was told to switch has failed: the release may be why.
Where nothing is said of a limit, any number may fail, but for two places that would make no
sense otherwise: a canary of which one fails stops the task, and so does a failure while, with
`prepare: all`, nothing was stopped anywhere yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from coordinator.core.cancellation import give_up
from coordinator.core.draft import Draft
from coordinator.core.returns import switched
from coordinator.core.task import Assignment, Relation
from coordinator.core.waves import sizes
from protocol.states import Phase
from protocol.strategy import Strategy

_AWAY = "whose agent stayed away"
_STAYS = "not taken back, as nothing ran there before"


def stop_at_limits(draft: Draft, strategy: Strategy) -> None:
    """Stop the task if more has failed than its strategy allows.

    One that has ended is not stopped, nor is one that was cancelled: that is what it ends by.
    """
    failed = draft.by_phase()[Phase.FAILED]
    if draft.task.stopped or draft.task.cancelled_at is not None or not failed:
        return
    if (why := _too_many(draft, strategy, failed)) and not draft.before.state.ended:
        draft.task = replace(draft.task, stopped=why)
        for part in list(draft.parts.values()):
            give_up(draft, part, f"stopped: {why}")
            if part.phase is Phase.ACTIVATING:
                # Nobody has said here whether its agent is there; the tick does.
                draft.wake(part, draft.now.steady)


def send_back(draft: Draft, strategy: Strategy) -> None:
    """Send back what goes back: what regressed within `guard`, and after a stop what was switched.

    Each goes back once. What only a late report tells to have switched, after the others were
    sent back, follows them.
    """
    task = draft.task
    fell = [p for p in draft.ended.values() if p.regressed and not _before(draft, p).regressed]
    if task.taken_back:
        _name_those_that_stay(draft, [part for part in fell if switched(_before(draft, part))])
    else:
        _take_back(draft, [part for part in fell if part.guarded], "guard")
    if not task.stopped or strategy.on_failure != "rollback":
        return
    if task.taken_back:
        late = [part for part in draft.ended.values() if not switched(_before(draft, part))]
        _take_back(draft, [part for part in late if switched(part)], "on_failure")
    elif draft.ended_now():
        draft.task = replace(task, taken_back=True)
        left = [part for part in draft.parts.values() if switched(part)]
        _take_back(draft, [part for part in left if not part.guarded], "on_failure")


def _take_back(draft: Draft, parts: list[Assignment], relation: Relation) -> None:
    """Bring these back, and say of those that ran nothing before that they stay."""
    draft.take_back(tuple(part.instance_id for part in parts if part.ran is not None), relation)
    first = _name_those_that_stay(draft, parts)
    if first and relation == "on_failure":
        stopped = f"{draft.task.stopped}; {_STAYS}: {_some(first)}"
        draft.task = replace(draft.task, stopped=stopped)


def _name_those_that_stay(draft: Draft, parts: list[Assignment]) -> list[Assignment]:
    first = [part for part in parts if part.ran is None]
    for part in first:
        draft.put(replace(part, reason=f"{part.reason}; {_STAYS}"))
    return first


def _too_many(draft: Draft, strategy: Strategy, failed: list[Assignment]) -> str:
    size = sizes(strategy, len(draft.parts))
    away = [part for part in failed if part.unreachable]
    ours = [part for part in failed if not part.unreachable]
    if size.failures is not None and len(ours) > size.failures:
        return _more(len(ours), "failed", "max_failures", strategy.max_failures, size.failures)
    if size.unreachable is not None and len(away) > size.unreachable:
        limit = strategy.max_unreachable
        return _more(len(away), _AWAY, "max_unreachable", limit, size.unreachable)
    unlimited = [part for part in ours if size.failures is None]
    unlimited += [part for part in away if size.unreachable is None]
    if size.canary and draft.task.passed == 0 and any(part.batch == 0 for part in unlimited):
        return f"the canary failed: {_some(part for part in unlimited if part.batch == 0)}"
    early = unlimited and strategy.prepare == "all"
    if early and not any(part.let_go for part in draft.parts.values()):
        return f"not every instance could prepare: {_some(unlimited)} could not"
    return ""


def _more(count: int, what: str, field: str, said: int | str | None, limit: int) -> str:
    shown = f"{said}, which is {limit}" if isinstance(said, str) else f"{limit}"
    return f"{count} {what}, more than {field} allows ({shown})"


def _before(draft: Draft, part: Assignment) -> Assignment:
    return draft.before.assignments[part.instance_id]


def _some(parts: Iterable[Assignment]) -> str:
    names = [part.instance_id for part in parts]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
