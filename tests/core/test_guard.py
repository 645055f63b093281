"""What regressed within the guard goes back, and nothing else does."""

from __future__ import annotations

import pytest

from protocol.messages import Ended, Result
from protocol.messages import Step as AgentStep
from protocol.states import TaskState
from protocol.strategy import Strategy
from tests.parts.rollouts_by_strategy import Story, named, of


def test_the_guard_takes_back_what_regressed_and_nothing_else() -> None:
    story = Story(of(Strategy(guard=600), named(3)))
    story.complete(*named(3))
    story.after(100)
    story.regress("i1")
    assert story.taken_back() == [("guard", ("i1",))]


@pytest.mark.parametrize(("after", "counts"), [(60, True), (61, False), (3000, False)])
def test_after_the_end_the_guard_is_exact(after: float, counts: bool) -> None:
    story = Story(of(Strategy(guard=60, bake=30, max_parallel=1), named(2), timeout=3600))
    story.complete("i0")
    story.after(30)
    story.complete("i1")
    story.seconds = after
    story.regress("i0")
    part = story.part("i0")
    assert part.regressed is counts
    assert story.taken_back() == ([("guard", ("i0",))] if counts else [])
    assert story.task.state is (TaskState.FAILED if counts else TaskState.COMPLETED)
    assert "healthy at first, then: it restarted" in part.reason
    kept = story.task
    story.regress("i0")
    assert story.task == kept, "told twice, kept once"


def test_what_was_watched_for_its_bake_only_fails_nothing_after_the_end() -> None:
    story = Story(of(Strategy(bake=30, max_parallel=1), named(2), timeout=3600))
    story.complete("i0")
    story.after(30)
    story.complete("i1")
    story.after(1)
    story.regress("i0")
    assert story.part("i0").reason == (
        "healthy; the agent said: healthy at first, then: it restarted"
    )
    assert story.task.state is TaskState.COMPLETED


@pytest.mark.parametrize("running", [True, False])
def test_where_nobody_knows_since_when_it_counts_while_the_task_runs_only(running: bool) -> None:
    story = Story(of(Strategy(guard=600), named(2)))
    story.complete("i0")
    if not running:
        story.complete("i1")
    story.regress("i0", known=False)
    assert story.part("i0").regressed is running
    assert story.taken_back() == [], "not known to be within the guard"


def test_while_the_task_runs_it_counts_always_and_is_taken_back_within_the_guard_only() -> None:
    strategy = Strategy(guard=60, bake=600, max_parallel=2, max_failures=1, on_failure="rollback")
    story = Story(of(strategy, named(4)))
    story.complete("i0", "i1")
    story.after(60)
    story.regress("i0")
    assert story.taken_back() == [("guard", ("i0",))]
    story.after(1)
    story.regress("i1")
    assert story.task.stopped
    assert story.taken_back() == [("on_failure", ("i1",))], "i0 is on its way back already"


def test_a_regression_that_is_told_of_again_is_taken_back_once() -> None:
    """The words of the repeat are kept as evidence, which is a change of the part."""
    story = Story(of(Strategy(guard=600), named(1)))
    story.complete("i0")
    story.regress("i0")
    later = Ended(result=Result.FAILED, step=AgentStep.COMMIT, message="and it restarted again")
    story.say(later, "i0")
    assert "and it restarted again" in story.part("i0").reason
    assert story.taken_back() == []


def test_what_the_guard_took_back_is_not_taken_back_again_at_the_stop() -> None:
    strategy = Strategy(max_failures=1, on_failure="rollback", guard=600)
    story = Story(of(strategy, named(4)))
    story.complete("i0", "i1")
    story.prepare("i2")
    story.regress("i0")
    assert story.taken_back() == [("guard", ("i0",))]
    story.fail("i3")
    story.regress("i1")
    assert story.taken_back() == [("guard", ("i1",))], "at once, though the task is stopping"
    story.succeed("i2")
    assert story.taken_back() == [("on_failure", ("i2",))]


def test_the_guard_says_where_there_is_nothing_to_go_back_to() -> None:
    story = Story(of(Strategy(guard=600), named(1), ran={"i0": None}))
    story.complete("i0")
    story.regress("i0")
    assert story.taken_back() == []
    assert story.part("i0").reason.endswith("; not taken back, as nothing ran there before")


def test_without_a_guard_a_regression_fails_and_stays() -> None:
    story = Story(of(Strategy(bake=60, canary=1), named(2)))
    story.complete("i0")
    story.regress("i0")
    assert story.taken_back() == []
    assert story.task.stopped == "the canary failed: i0"
