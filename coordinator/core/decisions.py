"""The rollout's decisions: who begins, who may switch, when it stops, and who goes back.

`advance` looks at the task after each step, whatever had happened in it, and lets go on what
may. Nothing is remembered besides what is saved with the task: the same task at the same
moment always comes to the same decisions. Without a strategy everything goes at once.

At work is every instance between its turn and its end, but for two that nothing is done for:
with `prepare: all` those that hold the release and wait for the others, and those whose host
lost what it had prepared. The latter take a place again, in the order of their turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from heapq import nsmallest

from coordinator.core.clocks import run_clock, set_clocks
from coordinator.core.draft import Draft, allowed
from coordinator.core.limits import send_back, stop_at_limits
from coordinator.core.task import Assignment, Task
from coordinator.core.waves import sizes
from coordinator.core.windows import opens_at
from protocol.states import Happening, Phase
from protocol.strategy import Strategy

_BEGUN = [phase for phase in Phase if phase is not Phase.QUEUED and not phase.ended]


def advance(draft: Draft) -> None:
    """Let begin and switch what may."""
    strategy = draft.task.strategy
    if strategy is not None:
        stop_at_limits(draft, strategy)
        _pass_batches(draft, strategy)
    if draft.task.paused_at is None and not draft.task.stopped:
        if strategy is None:
            _everything(draft)
        else:
            _in_turn(draft, strategy)
    set_clocks(draft)
    if strategy is not None:
        send_back(draft, strategy)


def at_work(task: Task, part: Assignment) -> bool:
    """Whether the part takes a place among those that may be at work at once."""
    if part.phase is Phase.PREPARED and not part.let_go:
        return task.strategy is None or task.strategy.prepare == "each"
    return part.phase is not Phase.QUEUED and not part.phase.ended and not part.waits_for_place


def still_to_prepare(strategy: Strategy, parts: Iterable[Assignment]) -> Iterator[Assignment]:
    """With `prepare: all`: those of the parts that have not ended for whose release others wait."""
    if strategy.prepare == "all":
        for part in parts:
            if part.phase is not Phase.PREPARED and not part.let_go:
                yield part


def waits_for_promotion(task: Task, steady: float) -> bool:
    """Whether the canary has ended and baked, and only a promotion is missing."""
    strategy = task.strategy
    if strategy is None or strategy.promote == "auto" or task.passed or task.promoted_by:
        return False
    if not sizes(strategy, len(task.assignments)).canary:
        return False
    if strategy.bake and (task.bake_until is None or steady < task.bake_until):
        return False
    left = [part for part in task.assignments.values() if not part.phase.ended]
    return bool(left) and all(part.batch > 0 for part in left)


def bakes(task: Task, part: Assignment | None) -> bool:
    """Whether the part's batch has ended and bakes, and the part has switched for it."""
    if part is None or task.bake_until is None or part.batch != task.passed:
        return False
    return part.let_go and part.phase is Phase.COMPLETED


# ---- who goes on -----------------------------------------------------------


def _everything(draft: Draft) -> None:
    for part in list(draft.parts.values() if draft.everywhere else draft.changed.values()):
        if part.phase is Phase.QUEUED or part.waits_for_place:
            _take_turn(draft, part)
        elif part.phase is Phase.PREPARED:
            _let_go(draft, part)


def _in_turn(draft: Draft, strategy: Strategy) -> None:
    opens = opens_at(strategy, draft.now.wall)
    together = strategy.prepare == "all"
    for part in draft.by_phase()[Phase.PREPARED]:
        if part.let_go or not together:
            _let_go(draft, part)
    if opens is not None:
        _wake_when_it_opens(draft, strategy, opens)
        return
    room = sizes(strategy, len(draft.parts)).parallel - _at_work(draft)
    if together and not any(still_to_prepare(strategy, draft.not_ended())):
        held = draft.by_phase()[Phase.PREPARED]
        for part in _first([one for one in held if may_switch(draft.task, one)], room):
            _let_go(draft, part)
            room -= 1
    if room > 0:
        for part in _first(_to_begin(draft, together=together), room):
            _take_turn(draft, part)


def _at_work(draft: Draft) -> int:
    parts = draft.by_phase()
    return sum(at_work(draft.task, part) for phase in _BEGUN for part in parts[phase])


def may_switch(task: Task, part: Assignment) -> bool:
    """Whether the part's batch has its turn."""
    return part.batch <= task.passed


def _to_begin(draft: Draft, *, together: bool) -> list[Assignment]:
    """What may begin, or begin again: with `together`, of all batches."""
    parts = draft.by_phase()
    last = len(draft.parts) if together else draft.task.passed
    queued = [p for p in parts[Phase.QUEUED] if p.batch <= last and not p.blocked_by]
    return queued + [part for part in parts[Phase.RETRYING] if part.waits_for_place]


def _first(parts: list[Assignment], room: int) -> list[Assignment]:
    return nsmallest(min(max(room, 0), len(parts)), parts, key=lambda part: part.turn)


def _wake_when_it_opens(draft: Draft, strategy: Strategy, opens: datetime) -> None:
    """Ask for a look then, unless the step that last changed the task has asked for the same."""
    asked = opens_at(strategy, draft.task.updated_at) == opens and not draft.everywhere
    if not asked and not draft.ended_now():
        draft.wake(None, draft.now.steady + (opens - draft.now.wall).total_seconds())


def _take_turn(draft: Draft, part: Assignment) -> None:
    """Let the part begin, unless another task must leave the instance first; its time starts.

    One that begins again has what is left of its time.
    """
    if part.waits_for_place:
        part = run_clock(draft, replace(part, attempt=part.attempt + 1))
        draft.send_prepare(draft.move(part, Happening.RETRY_DUE))
        return
    if part.blocked_by or not allowed(part, Happening.TURN):
        return
    part = replace(
        part,
        attempt=1,
        started_at=draft.now.wall,
        deadline=draft.now.steady + draft.task.timeout,
    )
    part = draft.move(part, Happening.TURN)
    draft.wake(part, part.deadline)
    draft.send_prepare(part)


def _let_go(draft: Draft, part: Assignment) -> None:
    """Let the prepared part switch; its clock runs again if it had stood."""
    if allowed(part, Happening.GO):
        part = run_clock(draft, replace(part, let_go=True))
        draft.send_activate(draft.move(part, Happening.GO))


# ---- batches ---------------------------------------------------------------


def _pass_batches(draft: Draft, strategy: Strategy) -> None:
    """Let the next batch have its turn once the one before has ended, baked and was promoted."""
    while not draft.task.stopped and not draft.ended_now():
        here = draft.task.passed
        if any(part.batch <= here for part in draft.not_ended()):
            return
        if strategy.bake and draft.task.bake_until is None:
            until = draft.now.steady + strategy.bake
            draft.task = replace(draft.task, bake_until=until)
            draft.wake(None, until)
            for part in draft.by_phase()[Phase.COMPLETED]:
                if bakes(draft.task, part):
                    draft.send_watch(part, strategy.bake)
        if draft.task.bake_until is not None and draft.now.steady < draft.task.bake_until:
            return
        if waits_for_promotion(draft.view(), draft.now.steady):
            return
        draft.task = replace(draft.task, passed=here + 1, bake_until=None)
