"""The pure rollout when it is cancelled: the receipt tells what came first."""

from __future__ import annotations

from coordinator.core.happenings import CancelAsked, Said
from coordinator.core.rollout import step
from protocol.messages import Cancel, Ended, Prepared, Result, Taken
from protocol.messages import Step as AgentStep
from protocol.states import Phase, Receipt, TaskState
from tests.parts.rollouts import DIGEST, HEALTHY, at, begun, failure, phase, prepared, sent


def test_cancelling_what_never_started() -> None:
    done = step(begun("a"), [CancelAsked(connected=())], at(1))
    part = done.task.assignments["a"]
    assert (part.phase, part.receipt) == (Phase.CANCELLED, Receipt.NEVER_STARTED)
    assert done.task.cancelled_at == at(1).wall


def test_cancelling_before_the_switch_always_wins() -> None:
    fetching = step(begun("a"), [Said("a", 1, Taken())], at(1)).task
    done = step(fetching, [CancelAsked(connected={"a"})], at(2))
    assert done.task.assignments["a"].receipt is Receipt.STOPPED_BEFORE_SWITCH
    assert done.task.state is TaskState.CANCELLED
    late = step(done.task, [Said("a", 1, Prepared(digest=DIGEST))], at(3))
    assert phase(late.task) is Phase.CANCELLED
    assert [type(command) for command in sent(late)] == [Cancel]


def test_field_note_1_cancelling_during_the_switch_tells_which_came_first() -> None:
    asked = step(prepared("a"), [CancelAsked(connected={"a"})], at(2))
    assert asked.task.state is TaskState.IN_PROGRESS
    finished = step(asked.task, [Said("a", 1, HEALTHY)], at(3)).task
    assert finished.assignments["a"].receipt is Receipt.TOO_LATE
    assert finished.state is TaskState.COMPLETED

    given_up = Ended(result=Result.CANCELLED, step=AgentStep.PREPARED, message="given up")
    stopped = step(asked.task, [Said("a", 1, given_up)], at(3)).task
    assert stopped.assignments["a"].receipt is Receipt.STOPPED_BEFORE_SWITCH
    assert stopped.state is TaskState.CANCELLED


def test_cancelling_while_the_agent_is_away_is_unknown_and_corrected_later() -> None:
    asked = step(prepared("a"), [CancelAsked(connected=())], at(2)).task
    assert asked.assignments["a"].receipt is Receipt.UNKNOWN
    assert asked.state is TaskState.CANCELLED
    back = step(asked, [Said("a", 1, HEALTHY)], at(9)).task
    assert back.assignments["a"].receipt is Receipt.TOO_LATE
    assert back.state is TaskState.COMPLETED


def test_field_note_3_cancelling_interrupts_the_pause_between_attempts() -> None:
    pausing = step(begun("a"), [Said("a", 1, failure(passing=True))], at(1)).task
    done = step(pausing, [CancelAsked(connected={"a"})], at(1.1)).task
    assert done.state is TaskState.CANCELLED
