"""A pause: nothing new begins, what runs goes on, and what waits keeps what is left of its time."""

from __future__ import annotations

import pytest

from coordinator.core.commands import HOLD
from coordinator.core.happenings import (
    CancelAsked,
    Connected,
    PauseAsked,
    PromoteAsked,
    ResumeAsked,
    Wake,
)
from coordinator.core.retries import pause_before
from coordinator.core.rollout import wakes
from protocol.messages import Activate, Prepare, Taken
from protocol.messages import Step as AgentStep
from protocol.states import Phase, TaskState
from protocol.strategy import Strategy
from tests.parts.rollouts import at, failure, in_hand
from tests.parts.rollouts_by_strategy import DISCARDED, Story, named, of

PAUSE, RESUME = PauseAsked(), ResumeAsked()
NONE = None
"""A task without a strategy."""


def left(story: Story, name: str) -> float:
    """What the part has left of its time, as its clock runs."""
    deadline = story.part(name).deadline
    assert deadline is not None
    return deadline - at(story.seconds).steady


@pytest.mark.parametrize("strategy", [NONE, Strategy(max_parallel=4)], ids=["plain", "strategy"])
def test_nothing_new_begins_and_what_runs_goes_on(strategy: Strategy | None) -> None:
    story = Story(of(strategy, ["a", "b"]))
    story.prepare("a")
    story.do(PAUSE)
    assert story.task.paused_at == at(0).wall
    story.after(10)
    story.succeed("a")
    story.prepare("b")
    assert story.part("a").phase is Phase.COMPLETED
    assert (story.part("b").phase, story.told_to_switch()) == (Phase.PREPARED, [])
    story.do(RESUME)
    assert story.told_to_switch() == ["b"]
    assert story.task.paused_at is None


def test_no_turn_is_given_in_a_pause() -> None:
    story = Story(of(Strategy(max_parallel=1), named(3)))
    story.do(PAUSE)
    story.complete("i0")
    assert story.told_to_prepare() == []
    story.prepare("i0")
    story.do(RESUME)
    story.succeed("i0")
    assert story.told_to_prepare() == ["i1"]


def test_a_second_pause_and_a_second_resume_change_nothing() -> None:
    story = Story(of(NONE, ["a"]))
    story.do(PAUSE)
    story.after(5, PAUSE)
    assert story.last.changed == ()
    assert story.task.paused_at == at(0).wall
    story.do(RESUME)
    before = story.task
    story.after(5, RESUME)
    assert story.task == before


@pytest.mark.parametrize("strategy", [NONE, Strategy(max_parallel=1)], ids=["plain", "strategy"])
def test_field_note_27_the_clock_of_what_waits_runs_on_with_exactly_what_was_left(
    strategy: Strategy | None,
) -> None:
    """A day's pause of which nothing was used up: the agent is away, and has 290 s left."""
    story = Story(of(strategy, ["a"], timeout=300))
    story.after(10, PAUSE)
    assert (story.part("a").left, story.part("a").deadline) == (290, None)
    story.after(86_400)
    story.tick("a", connected=False)
    assert story.part("a").phase is Phase.WAITING
    story.do(RESUME)
    assert (story.part("a").left, left(story, "a")) == (None, 290)
    assert story.wakes("a") == [story.seconds + 290]
    story.after(289)
    story.tick("a", connected=False)
    assert story.part("a").phase is Phase.WAITING
    story.after(1)
    story.tick("a", connected=False)
    assert story.part("a").phase is Phase.FAILED


def test_a_prepared_release_waits_with_what_is_left_of_its_time() -> None:
    story = Story(of(NONE, ["a"], timeout=300))
    story.say(Taken(), "a")
    story.after(5, PAUSE)
    story.after(100)
    assert left(story, "a") == 195, "what runs is not stopped"
    story.prepare("a")
    assert story.part("a").left == 195
    story.after(1000, RESUME)
    assert left(story, "a") == 195
    (command,) = story.commands()
    assert isinstance(command, Activate)
    assert command.time_left == 195


def test_the_clock_of_what_runs_does_not_stand() -> None:
    story = Story(of(NONE, ["a", "b"], timeout=300))
    story.prepare("a")
    story.say(Taken(), "b")
    story.do(PAUSE)
    story.after(300)
    story.tick("a", "b", connected=False)
    assert story.in_phase(Phase.FAILED) == ["a", "b"]


# ---- between two attempts ------------------------------------------------------


def retrying(strategy: Strategy | None = NONE) -> tuple[Story, float]:
    """One between two attempts, in a pause; and when the next one is due."""
    story = Story(of(strategy, ["a"], timeout=300, retry_count=1))
    story.say(failure("HTTP 503", passing=True), "a")
    story.do(PAUSE)
    return story, pause_before("deploy-1", "a", 2)


@pytest.mark.parametrize("strategy", [NONE, Strategy(max_parallel=1)], ids=["plain", "strategy"])
def test_an_attempt_that_is_due_waits_for_the_resume(strategy: Strategy | None) -> None:
    story, pause = retrying(strategy)
    story.after(pause)
    story.tick("a")
    assert (story.part("a").phase, story.commands()) == (Phase.RETRYING, [])
    assert story.part("a").left == pytest.approx(300 - pause)
    story.after(5000, RESUME)
    assert story.wakes("a")[-1] == pytest.approx(pause), "long due: at once"
    story.tick("a")
    assert story.told_to_prepare() == ["a"]
    assert left(story, "a") == pytest.approx(300 - pause)


def test_a_pause_that_ends_before_the_attempt_is_due_changes_nothing_at_all() -> None:
    story, pause = retrying()
    before = story.part("a")
    story.after(pause / 2, RESUME)
    assert story.part("a") == before


def test_a_restart_in_the_pause_uses_up_no_time_of_an_attempt_that_was_due() -> None:
    """The coordinator was away for an hour: both the attempt and the deadline are long over."""
    story, pause = retrying()
    story.after(3600)
    story.tick("a")
    assert story.part("a").phase is Phase.RETRYING
    assert story.part("a").left == pytest.approx(300 - pause)


# ---- agents that come and go -----------------------------------------------------


def test_whoever_may_come_to_hold_a_release_is_told_to_keep_it() -> None:
    story = Story(of(NONE, ["waiting", "preparing", "switching"]))
    story.say(Taken(), "preparing")
    story.prepare("switching")
    story.do(PAUSE)
    told = {one.instance_id: one for one in story.commands()}
    assert sorted(told) == ["preparing", "waiting"]
    for one in told.values():
        assert isinstance(one, Prepare)
        assert (one.hold, one.attempt) == (HOLD, 1)


def test_whoever_holds_one_in_a_pause_is_told_again_once() -> None:
    """It was away when the task was paused, and had been told to keep it for its timeout only."""
    story = Story(of(NONE, ["a"]))
    story.do(PAUSE)
    story.prepare("a")
    (command,) = story.commands()
    assert isinstance(command, Prepare)
    assert command.hold == HOLD
    story.prepare("a")
    assert story.commands() == [], "its answer is the same report"


def test_an_agent_that_comes_back_in_the_pause_begins_nothing() -> None:
    story = Story(of(NONE, ["a"]))
    story.do(PAUSE)
    story.back("a")
    assert story.commands() == []
    story.do(RESUME)
    assert story.told_to_prepare() == ["a"]


def test_an_agent_that_comes_back_in_the_pause_goes_on_with_what_it_had_begun() -> None:
    story = Story(of(NONE, ["a"]))
    story.say(Taken(), "a")
    story.do(PAUSE)
    story.back("a")
    assert story.told_to_prepare() == ["a"], "what it had taken is lost there"
    story.do(Connected("a", in_hand(1, AgentStep.PREPARE)))
    assert story.commands() == []


def test_the_hold_is_renewed_when_an_agent_comes_back() -> None:
    story = Story(of(NONE, ["a"]))
    story.do(PAUSE)
    story.prepare("a")
    story.do(Connected("a", in_hand(1, AgentStep.PREPARED)))
    (command,) = story.commands()
    assert isinstance(command, Prepare)
    assert command.hold == HOLD


# ---- what its host lost ------------------------------------------------------------


@pytest.mark.parametrize("strategy", [NONE, Strategy(max_parallel=1)], ids=["plain", "strategy"])
def test_what_the_host_discarded_is_prepared_again_after_the_pause(
    strategy: Strategy | None,
) -> None:
    """An agent before 1.3 knows of no hold. It counts as no attempt: there is only one."""
    story = Story(of(strategy, ["a"], timeout=300, retry_count=0))
    story.do(PAUSE)
    story.prepare("a")
    story.after(300)
    story.say(DISCARDED, "a")
    assert (story.part("a").phase, story.commands()) == (Phase.RETRYING, [])
    assert (story.part("a").left, story.part("a").discards) == (300, 1)
    story.after(9000)
    story.tick("a")
    assert story.part("a").phase is Phase.RETRYING
    story.do(RESUME)
    (command,) = story.commands()
    assert isinstance(command, Prepare)
    assert (command.attempt, command.time_left, command.hold) == (2, 300, 0)
    story.complete("a")
    assert story.task.state is TaskState.COMPLETED


def test_a_discard_leaves_all_the_attempts_there_were() -> None:
    story = Story(of(NONE, ["a"], retry_count=1))
    for _ in range(3):
        story.do(PAUSE)
        story.prepare("a")
        story.say(DISCARDED, "a")
        story.do(RESUME)
    assert story.part("a").attempt == 4
    story.say(failure(passing=True), "a")
    assert story.part("a").phase is Phase.RETRYING
    story.after(5)
    story.tick("a")
    story.say(failure(passing=True), "a")
    assert story.part("a").phase is Phase.FAILED


def test_a_discard_that_crosses_the_word_to_switch_counts_as_no_attempt_either() -> None:
    story = Story(of(NONE, ["a"], retry_count=0))
    story.do(PAUSE)
    story.prepare("a")
    story.do(RESUME)
    assert story.told_to_switch() == ["a"]
    story.say(DISCARDED, "a")
    assert story.told_to_prepare() == ["a"]


def test_what_the_host_no_longer_knows_of_is_prepared_again() -> None:
    """Its state folder was lost in the pause; nobody may be told that it holds the release."""
    story = Story(of(NONE, ["a"], retry_count=0))
    story.do(PAUSE)
    story.prepare("a")
    story.back("a")
    assert (story.part("a").phase, story.commands()) == (Phase.RETRYING, [])
    story.do(RESUME)
    assert story.told_to_prepare() == ["a"]
    assert story.part("a").attempt == 2


def test_a_discard_at_the_end_of_its_time_is_the_end() -> None:
    story = Story(of(NONE, ["a"], timeout=300, retry_count=5))
    story.prepare("a")
    story.after(300)
    story.say(DISCARDED, "a")
    assert story.part("a").phase is Phase.FAILED


# ---- what else happens in a pause --------------------------------------------------


def test_what_fails_in_a_pause_stops_the_task_all_the_same() -> None:
    story = Story(of(Strategy(max_parallel=2, max_failures=0), named(4)))
    story.prepare("i0")
    story.do(PAUSE)
    story.fail("i0")
    assert story.task.stopped
    assert story.task.state.ended


def test_a_batch_bakes_and_is_promoted_in_a_pause_and_the_next_waits() -> None:
    strategy = Strategy(canary=1, promote="manual", bake=60)
    story = Story(of(strategy, named(3)))
    story.prepare("i0")
    story.do(PAUSE)
    story.succeed("i0")
    story.after(60, PromoteAsked("somebody"))
    assert (story.task.passed, story.told_to_prepare()) == (1, [])
    story.do(RESUME)
    assert story.told_to_prepare() == ["i1", "i2"]


def test_a_paused_task_can_be_cancelled() -> None:
    story = Story(of(Strategy(max_parallel=1), named(3)))
    story.do(PAUSE)
    story.do(CancelAsked(connected={"i0"}))
    assert story.task.state is TaskState.CANCELLED


def test_a_restart_arms_nothing_for_a_clock_that_stands() -> None:
    story = Story(of(NONE, ["waiting", "held"]))
    story.do(PAUSE)
    story.prepare("held")
    assert [*wakes(story.task)] == []
    story.do(RESUME)
    start = at(300).steady
    assert Wake("waiting", start) in [*wakes(story.task)]
