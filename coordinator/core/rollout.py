"""The rollout as a pure function: `step(task, events, now) -> Step`.

Here is what each event comes to, and what time does; reports and reconnects are in
`core.reports`, cancellations in `core.cancellation`, pauses in `core.pauses`, clocks in
`core.clocks`, limits in `core.limits`, when something begins or switches in
`core.decisions`. They all work on a `core.draft`, where every change of an assignment goes
through the table in `protocol.states`; a pair that is not in it changes nothing.

Commands come out as effects and can be derived again from the saved task (`wakes`, and
`Connected` after every reconnect), so nothing needs a replay log. Nothing here sends,
saves, reads a clock or draws random numbers: jitter is a hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from coordinator.core.cancellation import cancel, lose_sight
from coordinator.core.clocks import stands
from coordinator.core.commands import PUT_BACK_GRACE
from coordinator.core.decisions import advance, waits_for_promotion
from coordinator.core.draft import Draft
from coordinator.core.happenings import (
    Begin,
    CancelAsked,
    Connected,
    Effect,
    Event,
    PauseAsked,
    PromoteAsked,
    ResumeAsked,
    Said,
    Tick,
    Unblocked,
    Wake,
)
from coordinator.core.pauses import pause, resume
from coordinator.core.reports import connected, said
from coordinator.core.task import Assignment, Moment, Task
from protocol.states import Happening, Phase


@dataclass(frozen=True, slots=True)
class Step:
    """What a step led to. `ended` are the assignments that ended or were corrected in it."""

    task: Task
    changed: tuple[Assignment, ...]
    ended: tuple[Assignment, ...]
    effects: tuple[Effect, ...]


def step(task: Task, events: Sequence[Event], now: Moment) -> Step:
    """Apply the events in order, and let go on what may after them."""
    draft = Draft(task, now)
    for event in events:
        _apply(draft, event)
    advance(draft)
    return Step(
        draft.finished(),
        tuple(draft.changed.values()),
        tuple(draft.ended.values()),
        tuple(draft.effects),
    )


def restarted(task: Task, heard_by: float) -> Task:
    """The saved task after a restart; agents have come back, and told, by `heard_by` at the latest.

    What bakes does so until then: nobody could tell of a regression meanwhile.
    """
    if task.bake_until is None:
        return task
    return replace(task, bake_until=max(task.bake_until, heard_by))


def wakes(task: Task) -> Iterator[Wake]:
    """Every moment at which the saved task wants a `Tick`: what a restart must arm again.

    One with a strategy wants one at once: it looks by itself what it waits for.
    """
    if task.strategy is not None and not task.state.ended:
        yield Wake("", 0.0 if task.bake_until is None else task.bake_until)
    for assignment in task.assignments.values():
        if not assignment.phase.ended:
            if assignment.phase is Phase.ACTIVATING and assignment.cancel_asked:
                yield Wake(assignment.instance_id, 0.0)
            if assignment.retry_at is not None:
                yield Wake(assignment.instance_id, assignment.retry_at)
            if assignment.deadline is not None:
                yield Wake(assignment.instance_id, assignment.deadline)
                yield Wake(assignment.instance_id, assignment.deadline + PUT_BACK_GRACE)


def _apply(draft: Draft, event: Event) -> None:
    match event:
        case Begin():
            draft.everywhere = True
        case CancelAsked():
            cancel(draft, event)
        case Unblocked(instance_id, ran):
            part = draft.parts[instance_id]
            if part.blocked_by:
                draft.put(replace(part, blocked_by="", ran=ran or part.ran))
        case PauseAsked():
            pause(draft)
        case ResumeAsked():
            resume(draft)
        case PromoteAsked(by):
            if waits_for_promotion(draft.view(), draft.now.steady):
                draft.task = replace(draft.task, promoted_by=by)
        case Said(instance_id, attempt, what):
            said(draft, draft.parts[instance_id], attempt, what)
        case Connected(instance_id, in_hand):
            connected(draft, draft.parts[instance_id], in_hand)
        case Tick(instance_id, is_connected) if instance_id:
            _tick(draft, draft.parts[instance_id], is_connected)
        case Tick():
            draft.everywhere = True


# ---- time ------------------------------------------------------------------


def _tick(draft: Draft, part: Assignment, connected: bool) -> None:
    if stands(draft, part):
        return
    if part.phase is Phase.RETRYING and part.retry_at is not None:
        if draft.now.steady >= part.retry_at:
            part = replace(part, retry_at=None, attempt=part.attempt + 1)
            draft.send_prepare(draft.move(part, Happening.RETRY_DUE))
    elif part.phase is Phase.ACTIVATING and part.cancel_asked and not connected:
        lose_sight(draft, part)
    part = draft.parts[part.instance_id]
    if part.phase.ended or part.deadline is None or draft.now.steady < part.deadline:
        return
    _overdue(draft, part, part.deadline, connected)


def _overdue(draft: Draft, part: Assignment, deadline: float, connected: bool) -> None:
    waited = f"timed out after {draft.task.timeout} s"
    if part.phase is Phase.ACTIVATING:
        last = deadline + PUT_BACK_GRACE
        if connected and draft.now.steady < last:
            draft.wake(part, last)
            return
        draft.fail(
            part,
            f"{waited} during the switch; what runs there is not known until its agent reports",
            Happening.TIMED_OUT,
        )
        return
    if part.phase is Phase.WAITING:
        text = f"{waited}: the agent was away" if not connected else f"{waited} before it began"
    elif part.phase is Phase.RETRYING:
        text = f"{waited}; the last attempt failed: {part.error}"
    else:
        text = f"{waited} before the switch; the old version was not touched"
        if part.error:
            text += f"; an earlier attempt failed: {part.error}"
    draft.send_cancel(part)
    draft.fail(replace(part, unreachable=not connected), text, Happening.TIMED_OUT)
