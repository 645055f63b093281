"""What had completed and regressed while its host watched: failed, and nothing turns it back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.core.happenings import CancelAsked, Connected, Event, Said, TakeBack, Tick
from coordinator.core.rollout import step, wakes
from coordinator.core.task import Task
from protocol.messages import Ended, Prepared, Regressed, Taken
from protocol.states import ASSIGNMENT, TASK, Happening, Phase, Receipt, TaskState
from protocol.strategy import Strategy
from tests.parts.rollouts import DIGEST, HEALTHY, at, begun, failure, phase, prepared
from tests.parts.rollouts_by_strategy import OLD

FELL_SICK = Regressed(message="health check answered 500", digest=DIGEST, after=5)
REASON = "healthy at first, then: health check answered 500"


def completed(*names: str) -> Task:
    says = [Said(name, 1, HEALTHY) for name in names]
    return step(guarded(*names), says, at(2)).task


def guarded(*names: str) -> Task:
    """Told to switch, and guarded afterwards."""
    task = replace(prepared(*names), strategy=Strategy(guard=60))
    parts = {name: replace(part, ran=OLD) for name, part in task.assignments.items()}
    return replace(task, assignments=parts)


def regressed(*names: str) -> Task:
    return step(completed(*names), [Said("a", 1, FELL_SICK)], at(9)).task


def test_what_had_completed_fails_with_what_the_host_saw() -> None:
    done = step(completed("a", "b"), [Said("a", 1, FELL_SICK)], at(9))
    part = done.task.assignments["a"]
    assert (part.phase, part.reason, part.error) == (Phase.FAILED, REASON, REASON)
    assert part.regressed
    assert part.completed_at == at(9).wall
    assert done.ended == (part,)
    assert done.task.state is TaskState.FAILED
    assert (done.task.progress.completed, done.task.progress.failed) == (1, 1)
    assert done.task.completed_at == at(2).wall
    assert done.effects == (TakeBack(("a",), "guard"),)
    assert not [*wakes(done.task)]


def test_the_task_goes_on_with_the_others() -> None:
    one = step(prepared("a", "b"), [Said("a", 1, HEALTHY), Said("a", 1, FELL_SICK)], at(2)).task
    assert one.state is TaskState.IN_PROGRESS
    both = step(one, [Said("b", 1, HEALTHY)], at(3)).task
    assert (phase(both, "a"), phase(both, "b")) == (Phase.FAILED, Phase.COMPLETED)
    assert both.state is TaskState.FAILED
    assert both.completed_at == at(3).wall


@pytest.mark.parametrize(
    "again",
    [
        HEALTHY.model_copy(update={"message": "healthy as ever"}),
        failure(),
        FELL_SICK.model_copy(update={"message": "it restarted by itself"}),
        Prepared(digest=DIGEST),
        Taken(),
    ],
    ids=["succeeded", "failed", "regressed", "prepared", "taken"],
)
def test_nothing_that_comes_later_turns_it_back(
    again: Ended | Regressed | Prepared | Taken,
) -> None:
    before = regressed("a")
    after = step(before, [Said("a", 1, again)], at(20)).task
    part = after.assignments["a"]
    assert (part.phase, part.error, part.regressed) == (Phase.FAILED, REASON, True)
    assert part.reason.startswith(REASON)
    assert after.state is TaskState.FAILED


@pytest.mark.parametrize("again", [HEALTHY, FELL_SICK], ids=["ended", "regressed"])
def test_its_own_repeat_changes_nothing_at_all(again: Ended | Regressed) -> None:
    before = regressed("a")
    done = step(before, [Said("a", 1, again)], at(20))
    assert done.task is before
    assert not done.changed
    assert not done.effects


@pytest.mark.parametrize(
    "event",
    [Connected("a", None), Tick("a", connected=True), Said("a", 2, HEALTHY)],
    ids=["connected", "tick", "later attempt"],
)
def test_nothing_else_moves_it_either(event: Event) -> None:
    before = regressed("a")
    assert step(before, [event], at(9999)).task is before


def test_another_attempt_regresses_nothing() -> None:
    before = completed("a")
    for number in (2, 7):
        assert step(before, [Said("a", number, FELL_SICK)], at(9)).task is before


def test_a_correction_that_completed_it_may_regress() -> None:
    """Counted as failed by the time, told later to be healthy, and no more since."""
    late = step(guarded("a"), [Tick("a", connected=False)], at(301)).task
    assert phase(late) is Phase.FAILED
    told = step(late, [Said("a", 1, HEALTHY), Said("a", 1, FELL_SICK)], at(400)).task
    assert (phase(told), told.assignments["a"].error) == (Phase.FAILED, REASON)
    assert step(told, [Said("a", 1, HEALTHY)], at(401)).task is told


def test_a_cancellation_that_came_too_late_stays_so() -> None:
    asked = step(guarded("a"), [CancelAsked(frozenset({"a"}))], at(2)).task
    told = step(asked, [Said("a", 1, HEALTHY), Said("a", 1, FELL_SICK)], at(3)).task
    assert told.assignments["a"].receipt is Receipt.TOO_LATE
    assert phase(told) is Phase.FAILED


# ---- in any other phase ------------------------------------------------------


def test_before_the_end_it_changes_nothing() -> None:
    switching = prepared("a")
    assert phase(switching) is Phase.ACTIVATING
    for before in (switching, begun("a"), step(begun("a"), [Said("a", 1, Taken())], at(1)).task):
        done = step(before, [Said("a", 1, FELL_SICK)], at(2))
        assert done.task is before
        assert not done.ended


def test_after_another_end_it_is_kept_as_evidence_once() -> None:
    failed = step(prepared("a"), [Said("a", 1, failure("start failed"))], at(2)).task
    withdrawn = step(begun("a"), [CancelAsked(frozenset())], at(2)).task
    for before, end in ((failed, Phase.FAILED), (withdrawn, Phase.CANCELLED)):
        done = step(before, [Said("a", 1, FELL_SICK)], at(3))
        part = done.task.assignments["a"]
        assert part.phase is end
        assert part.reason.endswith(f"; the agent said: {REASON}")
        assert part.error == before.assignments["a"].error
        assert not part.regressed
        again = step(done.task, [Said("a", 1, FELL_SICK)], at(4))
        assert again.task is done.task


def test_the_table_has_one_way_out_of_completed() -> None:
    assert ASSIGNMENT[Phase.COMPLETED] == {Happening.REGRESSED: Phase.FAILED}
    assert TASK[TaskState.COMPLETED] == {TaskState.FAILED}
