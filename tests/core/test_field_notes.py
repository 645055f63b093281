"""Field notes that the pure rollout alone has to keep (docs/field-notes.md)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from coordinator.core.commands import PUT_BACK_GRACE
from coordinator.core.happenings import CancelAsked, Event, Said, Send, Tick
from coordinator.core.rollout import step
from coordinator.core.task import Task
from protocol.messages import Ended, Result
from protocol.messages import Step as AgentStep
from protocol.states import Phase, Receipt, TaskState
from tests.parts.rollouts import HEALTHY, at, begun, failure, prepared, task

ASKED = CancelAsked(connected={"a"})


def after(before: Task, *events: Event, seconds: float = 2) -> Task:
    return step(before, events, at(seconds)).task


def test_field_note_2_what_has_no_turn_yet_is_cancelled_without_a_word_to_its_agent() -> None:
    done = step(task("a"), [ASKED], at(1))
    assert done.task.assignments["a"].receipt is Receipt.NEVER_STARTED
    assert [effect for effect in done.effects if isinstance(effect, Send)] == []


@pytest.mark.parametrize(
    ("events", "state", "receipt"),
    [
        ([Said("a", 1, HEALTHY), ASKED], TaskState.COMPLETED, None),
        ([ASKED, Said("a", 1, HEALTHY)], TaskState.COMPLETED, Receipt.TOO_LATE),
        ([Said("a", 1, failure("sick")), ASKED], TaskState.FAILED, None),
        ([ASKED, Said("a", 1, failure("sick"))], TaskState.FAILED, Receipt.TOO_LATE),
        ([Tick("a", connected=False), ASKED, ASKED], TaskState.IN_PROGRESS, None),
    ],
)
def test_field_note_4_cancel_and_finish_in_one_moment_have_one_end(
    events: Sequence[Event], state: TaskState, receipt: Receipt | None
) -> None:
    together = after(prepared("a"), *events)
    one_by_one = prepared("a")
    for event in events:
        one_by_one = after(one_by_one, event)
    for ended in (together, one_by_one):
        assert (ended.state, ended.assignments["a"].receipt) == (state, receipt)


def test_field_note_4_a_report_that_comes_after_the_end_stays_as_evidence() -> None:
    given_up = after(begun("a"), ASKED)
    for late in (failure("no space left on the disk"), HEALTHY):
        told = after(given_up, Said("a", 1, late), seconds=3)
        part = told.assignments["a"]
        assert (part.phase, part.receipt) == (Phase.CANCELLED, Receipt.NEVER_STARTED)
        assert part.reason == f"cancelled on request; the agent said: {late.message}"
        assert part.completed_at == given_up.assignments["a"].completed_at
        assert after(told, Said("a", 1, late), seconds=4) == told, "told twice, kept once"
    confirmed = Ended(result=Result.CANCELLED, step=AgentStep.PREPARE, message="given up")
    assert after(given_up, Said("a", 1, confirmed), seconds=3) == given_up


def test_field_note_5_a_cancellation_ends_although_the_agent_never_does() -> None:
    asked = after(prepared("a", timeout=300), ASKED)
    assert asked.state is TaskState.IN_PROGRESS

    gone = after(asked, Tick("a", connected=False), seconds=10)
    assert gone.state is TaskState.CANCELLED
    assert gone.assignments["a"].receipt is Receipt.UNKNOWN
    assert "whether it had switched is not known until it returns" in gone.assignments["a"].reason

    busy = after(asked, Tick("a", connected=True), seconds=300 + PUT_BACK_GRACE - 1)
    assert busy.state is TaskState.IN_PROGRESS
    given_up = after(busy, Tick("a", connected=True), seconds=300 + PUT_BACK_GRACE)
    assert given_up.state is TaskState.FAILED
    assert "what runs there is not known until its agent reports" in given_up.assignments["a"].error
