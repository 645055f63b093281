"""When a task stops by itself: exact counts, what becomes of the rest, and the way back."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.core.happenings import CancelAsked, Connected, Wake
from coordinator.core.rollout import wakes
from protocol.messages import Cancel, Ended, Result, Taken, WorkInHand
from protocol.messages import Step as AgentStep
from protocol.states import Phase, Receipt, TaskState
from protocol.strategy import Strategy
from tests.parts.rollouts import HEALTHY, failure
from tests.parts.rollouts_by_strategy import Story, named, of, shown

THERE_ALREADY = HEALTHY.model_copy(
    update={"step": AgentStep.PREPARED, "message": "already installed"}
)


def test_field_note_25_a_task_stops_at_exactly_what_its_percentage_came_to() -> None:
    """Of 95 % that have to succeed of 10, CodeDeploy stopped at the first failure."""
    story = Story(of(Strategy(max_failures="25%"), named(10)))
    story.fail("i0")
    story.fail("i1")
    assert story.task.stopped == ""
    story.fail("i2")
    assert story.task.stopped == "3 failed, more than max_failures allows (25%, which is 2)"


def test_a_number_stops_it_at_one_more() -> None:
    story = Story(of(Strategy(max_failures=0), named(3)))
    story.fail("i2")
    assert story.task.stopped == "1 failed, more than max_failures allows (0)"


def test_without_a_limit_any_number_may_fail() -> None:
    story = Story(of(Strategy(max_parallel=2), named(5)))
    for name in named(5):
        story.fail(name)
    assert (story.task.stopped, story.task.state) == ("", TaskState.FAILED)
    assert not story.in_phase(Phase.CANCELLED)


def test_an_attempt_that_is_tried_again_is_no_failure() -> None:
    story = Story(of(Strategy(max_failures=0), named(2), retry_count=1))
    story.say(failure(passing=True), "i0")
    assert (story.part("i0").phase, story.task.stopped) == (Phase.RETRYING, "")


def test_those_whose_agent_stayed_away_count_in_their_own_limit_only() -> None:
    strategy = Strategy(max_failures=0, max_unreachable=1)
    story = Story(of(strategy, named(5)))
    story.after(300)
    story.tick("i0", connected=False)
    assert (story.part("i0").unreachable, story.task.stopped) == (True, "")
    story.tick("i1", connected=False)
    text = "2 whose agent stayed away, more than max_unreachable allows (1)"
    assert story.task.stopped == text


def test_one_that_times_out_while_its_agent_is_there_has_failed() -> None:
    story = Story(of(Strategy(max_failures=0, max_unreachable=5), named(2)))
    story.after(300)
    story.tick("i0", connected=True)
    assert not story.part("i0").unreachable
    assert story.task.stopped


def test_one_that_vanishes_in_its_switch_has_failed() -> None:
    story = Story(of(Strategy(max_failures=0, max_unreachable=5), named(2)))
    story.prepare("i0")
    story.after(300)
    story.tick("i0", connected=False)
    assert not story.part("i0").unreachable
    assert story.task.stopped


def test_one_that_came_back_healthy_and_regressed_counts_as_failed() -> None:
    """Counted as away, told later that it is healthy, and no more since."""
    story = Story(of(Strategy(max_failures=0, max_unreachable=1), named(2), timeout=300))
    story.after(100)
    story.say(Taken(), "i1")
    story.after(200)
    story.tick("i0", connected=False)
    story.succeed("i0")
    assert not story.part("i0").unreachable
    story.regress("i0")
    assert story.task.stopped


# ---- where nothing is said of a limit ------------------------------------------


def test_a_canary_of_which_one_fails_stops_the_task() -> None:
    story = Story(of(Strategy(canary=2), named(5)))
    story.fail("i1")
    assert story.task.stopped == "the canary failed: i1"
    assert story.told_to_prepare() == []


def test_a_canary_whose_agent_stays_away_stops_the_task() -> None:
    story = Story(of(Strategy(canary=1), named(3)))
    story.after(300)
    story.tick("i0", connected=False)
    assert story.task.stopped == "the canary failed: i0"


def test_a_limit_holds_for_the_canary_too() -> None:
    story = Story(of(Strategy(canary=2, max_failures=1, max_unreachable=0), named(5)))
    story.fail("i1")
    assert story.task.stopped == ""
    story.complete("i0")
    assert story.told_to_prepare() == ["i2", "i3", "i4"]


def test_after_the_canary_any_number_may_fail() -> None:
    story = Story(of(Strategy(canary=1), named(4)))
    story.complete("i0")
    story.fail("i1", "i2")
    assert story.task.stopped == ""


def test_with_prepare_all_nobody_goes_on_without_one_that_could_not() -> None:
    story = Story(of(Strategy(prepare="all"), named(3)))
    story.prepare("i0", "i1")
    story.fail("i2")
    assert story.task.stopped == "not every instance could prepare: i2 could not"
    assert story.told_to_switch() == []
    assert story.in_phase(Phase.CANCELLED) == ["i0", "i1"]


def test_with_a_limit_the_others_go_on_without_it() -> None:
    story = Story(of(Strategy(prepare="all", max_failures=1), named(3)))
    story.prepare("i0", "i1")
    story.fail("i2")
    assert story.told_to_switch() == ["i0", "i1"]


def test_once_something_was_stopped_prepare_all_is_no_limit() -> None:
    story = Story(of(Strategy(prepare="all"), named(3)))
    story.prepare(*named(3))
    story.fail("i0")
    assert story.task.stopped == ""


# ---- the stop --------------------------------------------------------------------


def test_the_stop_leaves_a_receipt_with_each_and_lets_a_switch_end() -> None:
    names = ["switching", "done", "retrying", "preparing", "waiting", "sick", "last"]
    story = Story(of(Strategy(max_parallel=6, max_failures=0), names, retry_count=1))
    story.complete("done")
    story.prepare("switching")
    story.say(Taken(), "preparing")
    story.say(failure(passing=True), "retrying")
    assert story.part("last").phase is Phase.WAITING, "it has the place of `done`"
    story.fail("sick")
    stopped = "stopped: 1 failed, more than max_failures allows (0)"
    receipts = {name: story.part(name).receipt for name in names}
    assert receipts == {
        "switching": None,
        "done": None,
        "retrying": Receipt.STOPPED_BEFORE_SWITCH,
        "preparing": Receipt.STOPPED_BEFORE_SWITCH,
        "waiting": Receipt.NEVER_STARTED,
        "sick": None,
        "last": Receipt.NEVER_STARTED,
    }
    withdrawn = ["retrying", "preparing", "waiting", "last"]
    assert story.in_phase(Phase.CANCELLED) == withdrawn
    assert {story.part(name).reason for name in withdrawn} == {stopped}
    cancelled = [one.instance_id for one in story.commands() if isinstance(one, Cancel)]
    assert sorted(cancelled) == sorted(["switching", *withdrawn])
    assert not story.task.state.ended
    story.succeed("switching")
    assert story.part("switching").receipt is Receipt.TOO_LATE
    assert story.task.state is TaskState.FAILED, "not cancelled: nobody asked for it"


def stopped_while_i0_switches(**strategy: Any) -> Story:
    """Both i0 and i1 were told to switch; i1 has failed."""
    story = Story(of(Strategy(max_failures=0, **strategy), named(2)))
    story.prepare("i0", "i1")
    story.say(failure("start failed"), "i1")
    assert story.task.stopped
    return story


def test_one_that_never_heard_that_it_may_switch_gives_up_when_it_is_back() -> None:
    story = stopped_while_i0_switches()
    held = WorkInHand(task_id="deploy-1", instance_id="i0", attempt=1, step=AgentStep.PREPARED)
    story.after(60, Connected("i0", held))
    assert [type(one) for one in story.commands()] == [Cancel]
    assert "; the task has stopped: it finishes or is put back" in shown(story, "i0")
    given_up = Ended(result=Result.CANCELLED, step=AgentStep.PREPARED, message="given up")
    story.say(given_up, "i0")
    part = story.part("i0")
    assert (part.phase, part.receipt) == (Phase.CANCELLED, Receipt.STOPPED_BEFORE_SWITCH)
    assert part.reason == f"stopped: {story.task.stopped}"
    assert story.task.state is TaskState.FAILED


def test_at_the_stop_it_is_asked_for_at_once_whether_an_agent_is_away() -> None:
    story = stopped_while_i0_switches()
    assert story.wakes("i0") == [0]
    assert Wake("i0", 0.0) in [*wakes(story.task)], "after a restart, too"
    story.tick("i0", connected=True)
    assert story.part("i0").phase is Phase.ACTIVATING


@pytest.mark.parametrize("switched", [False, True])
def test_one_that_is_away_at_the_stop_is_not_waited_for_and_goes_back_if_it_had_switched(
    switched: bool,
) -> None:
    story = stopped_while_i0_switches(on_failure="rollback")
    story.tick("i0", connected=False)
    part = story.part("i0")
    assert (part.phase, part.receipt) == (Phase.CANCELLED, Receipt.UNKNOWN)
    assert part.reason.startswith("stopped while its agent was away: ")
    assert (story.task.state, story.taken_back()) == (TaskState.FAILED, [])
    story.after(100)
    story.say(HEALTHY if switched else failure("start failed"), "i0")
    assert story.part("i0").receipt is Receipt.TOO_LATE
    assert story.taken_back() == ([("on_failure", ("i0",))] if switched else [])


def test_one_that_ends_its_switch_after_the_stop_goes_back() -> None:
    story = stopped_while_i0_switches(on_failure="rollback")
    story.succeed("i0")
    assert story.taken_back() == [("on_failure", ("i0",))]


def test_what_was_never_begun_is_not_told_to_its_agent() -> None:
    story = Story(of(Strategy(max_parallel=1, max_failures=0), named(3)))
    story.fail("i0")
    assert story.in_phase(Phase.CANCELLED) == ["i1", "i2"]
    assert story.commands() == []


def test_a_stopped_task_begins_no_other_attempt() -> None:
    story = Story(of(Strategy(max_failures=0), named(2), retry_count=3))
    story.prepare("i0")
    story.fail("i1")
    story.say(failure("start failed", passing=True), "i0")
    assert story.part("i0").phase is Phase.FAILED
    assert story.task.state is TaskState.FAILED


def test_a_stopped_task_stays_failed_whatever_is_told_later() -> None:
    story = Story(of(Strategy(max_failures=0), named(1)))
    story.prepare("i0")
    story.after(300)
    story.tick("i0", connected=False)
    story.succeed("i0")
    assert story.task.progress.completed == 1
    assert story.task.state is TaskState.FAILED


def test_what_has_ended_is_not_stopped() -> None:
    """A regression after the end is the guard's business, and concerns that instance alone."""
    strategy = Strategy(max_failures=0, on_failure="rollback", guard=600)
    story = Story(of(strategy, named(2)))
    story.complete(*named(2))
    story.regress("i0")
    assert (story.task.stopped, story.taken_back()) == ("", [("guard", ("i0",))])
    assert story.task.state is TaskState.FAILED


# ---- the way back ----------------------------------------------------------------


def test_on_failure_rollback_takes_back_exactly_what_was_switched() -> None:
    strategy = Strategy(max_parallel=4, max_failures=0, on_failure="rollback")
    story = Story(of(strategy, named(6), ran={"i1": None}))
    story.complete("i0", "i1")
    story.say(THERE_ALREADY, "i2")
    story.prepare("i3")
    story.fail("i4")
    assert story.taken_back() == [], "i3 is switching"
    story.succeed("i3")
    assert story.taken_back() == [("on_failure", ("i0", "i3"))]
    stays = "not taken back, as nothing ran there before"
    assert story.task.stopped == f"1 failed, more than max_failures allows (0); {stays}: i1"
    assert story.part("i1").reason == f"healthy; {stays}"
    assert story.task.taken_back


def test_each_that_stays_is_named_however_many_they_are() -> None:
    strategy = Strategy(max_failures=0, on_failure="rollback")
    names = named(9)
    story = Story(of(strategy, names, ran=dict.fromkeys(names)))
    story.complete(*names[:8])
    story.fail("i8")
    assert story.taken_back() == []
    assert story.task.stopped.endswith(": i0, i1, i2, i3, i4 and 3 more")
    for name in names[:8]:
        assert "nothing ran there before" in story.part(name).reason


def test_one_that_stays_and_regresses_is_still_named() -> None:
    strategy = Strategy(max_failures=0, on_failure="rollback", guard=60)
    story = Story(of(strategy, named(2), ran={"i0": None}))
    story.complete("i0")
    story.fail("i1")
    story.regress("i0")
    assert story.part("i0").reason.count("not taken back, as nothing ran there before") == 1
    assert story.taken_back() == []


def test_what_failed_in_its_switch_was_put_back_by_its_host() -> None:
    strategy = Strategy(max_failures=0, on_failure="rollback")
    story = Story(of(strategy, named(2)))
    story.prepare(*named(2))
    story.say(failure("start failed"), "i0")
    story.succeed("i1")
    assert story.taken_back() == [("on_failure", ("i1",))]


def test_a_repeated_report_takes_nothing_back_again() -> None:
    strategy = Strategy(max_failures=0, on_failure="rollback", guard=60)
    story = Story(of(strategy, named(2)))
    story.complete("i0")
    story.fail("i1")
    assert story.taken_back() == [("on_failure", ("i0",))]
    story.succeed("i0")
    assert story.taken_back() == []
    story.regress("i0")
    assert story.taken_back() == [], "it is on its way back already"


def test_what_only_a_late_report_tells_to_have_switched_goes_back_then() -> None:
    strategy = Strategy(max_failures=0, on_failure="rollback")
    story = Story(of(strategy, named(3), ran={"i2": None}))
    story.complete("i0")
    story.prepare("i1", "i2")
    story.after(300)
    story.tick("i1", "i2", connected=False)
    assert story.taken_back() == [("on_failure", ("i0",))]
    assert "what runs there is not known" in story.part("i1").reason
    story.after(100)
    story.succeed("i1")
    assert story.taken_back() == [("on_failure", ("i1",))]
    story.succeed("i2")
    assert story.taken_back() == []
    assert story.task.stopped.endswith("not taken back, as nothing ran there before: i2")


def test_what_a_lost_database_does_not_know_to_have_switched_goes_back_too() -> None:
    """Put back to an older state, it never let i0 go; the host tells that it has switched."""
    strategy = Strategy(max_failures=0, on_failure="rollback")
    story = Story(of(strategy, named(2)))
    story.succeed("i0")
    story.fail("i1")
    assert story.taken_back() == [("on_failure", ("i0",))]


def test_without_on_failure_nothing_goes_back() -> None:
    story = Story(of(Strategy(max_failures=0), named(2)))
    story.complete("i0")
    story.fail("i1")
    assert (story.taken_back(), story.task.taken_back) == ([], False)


def test_a_cancellation_on_request_takes_nothing_back() -> None:
    strategy = Strategy(max_parallel=1, max_failures=0, on_failure="rollback")
    story = Story(of(strategy, named(3)))
    story.complete("i0")
    story.do(CancelAsked(connected=set(named(3))))
    assert (story.taken_back(), story.task.state) == ([], TaskState.CANCELLED)


def test_a_failure_after_a_cancellation_stops_and_takes_back_nothing() -> None:
    """It is cancelled, whatever becomes of what was switching."""
    strategy = Strategy(max_parallel=1, max_failures=0, on_failure="rollback")
    story = Story(of(strategy, named(3)))
    story.complete("i0")
    story.prepare("i1")
    story.do(CancelAsked(connected=set(named(3))))
    story.say(failure("start failed"), "i1")
    assert (story.task.stopped, story.taken_back()) == ("", [])
    assert story.task.state is TaskState.CANCELLED


def test_what_a_takeover_cancels_leaves_the_limits_as_they_are() -> None:
    story = Story(of(Strategy(max_failures=0), named(3)))
    story.do(CancelAsked(connected={"i0"}, only=["i0"], why="taken over by rollback-1"))
    story.fail("i1")
    assert story.task.stopped
