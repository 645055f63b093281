"""Canary, promotion, bake and batches: who has a turn when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.core.commands import LONGEST_WATCH, PUT_BACK_GRACE
from coordinator.core.happenings import (
    CancelAsked,
    PauseAsked,
    PromoteAsked,
    ResumeAsked,
    Tick,
    Unblocked,
)
from coordinator.core.rollout import restarted, wakes
from coordinator.core.task import Target, Task
from protocol.messages import Activate
from protocol.messages import Step as AgentStep
from protocol.states import Phase, TaskState
from protocol.strategy import Strategy
from tests.parts.rollouts import DIGEST, HEALTHY, at, failure
from tests.parts.rollouts_by_strategy import OLD, Story, named, of

PROMOTE = PromoteAsked("somebody")


def test_without_a_limit_all_begin_at_once() -> None:
    story = Story(of(Strategy(), named(3)))
    assert story.told_to_prepare() == named(3)


def test_so_many_are_at_work_and_the_next_follows_the_first_that_ends() -> None:
    story = Story(of(Strategy(max_parallel=2), named(5)))
    assert story.told_to_prepare() == ["i0", "i1"]
    story.prepare("i0", "i1")
    assert story.told_to_switch() == ["i0", "i1"]
    assert story.told_to_prepare() == [], "a switch is work"
    story.succeed("i1")
    assert story.told_to_prepare() == ["i2"]
    story.fail("i0", "i2")
    assert story.told_to_prepare() == ["i3", "i4"]


def test_between_two_attempts_a_place_is_kept() -> None:
    story = Story(of(Strategy(max_parallel=1), named(2), retry_count=1))
    story.say(failure(passing=True), "i0")
    assert (story.part("i0").phase, story.told_to_prepare()) == (Phase.RETRYING, [])


def test_they_are_taken_in_the_order_of_their_turns() -> None:
    zones = {"i0": "a", "i1": "a", "i2": "b", "i3": "b"}
    metadata = {name: {"zone": zone} for name, zone in zones.items()}
    story = Story(of(Strategy(max_parallel=2, spread="zone"), named(4), metadata=metadata))
    assert story.told_to_prepare() == ["i0", "i2"]
    story.complete("i2")
    assert story.told_to_prepare() == ["i1"]


# ---- canary --------------------------------------------------------------------


def test_the_others_follow_the_canary_once_all_of_it_has_ended() -> None:
    story = Story(of(Strategy(canary=2, max_parallel=2), named(5)))
    assert story.told_to_prepare() == ["i0", "i1"]
    story.complete("i0")
    assert story.told_to_prepare() == []
    story.complete("i1")
    assert story.told_to_prepare() == ["i2", "i3"]
    assert story.task.passed == 1


def test_a_promotion_by_hand_lets_the_others_follow() -> None:
    story = Story(of(Strategy(canary=1, promote="manual"), named(3)))
    story.do(PROMOTE)
    assert story.task.promoted_by == "", "too early: nothing was tried out"
    story.complete("i0")
    assert story.told_to_prepare() == []
    story.after(86_400)
    story.tick()
    assert story.told_to_prepare() == []
    story.do(PROMOTE)
    assert story.told_to_prepare() == ["i1", "i2"]
    assert story.task.promoted_by == "somebody"


def test_the_first_who_promotes_it_is_kept() -> None:
    story = Story(of(Strategy(canary=1, promote="manual"), named(3)))
    story.complete("i0")
    story.do(PROMOTE)
    story.do(PromoteAsked("somebody else"))
    assert story.task.promoted_by == "somebody"


def test_a_canary_of_all_waits_for_nobody() -> None:
    story = Story(of(Strategy(canary="100%", promote="manual"), named(2)))
    story.complete(*named(2))
    assert story.task.state is TaskState.COMPLETED


def test_promotion_by_hand_without_a_canary_holds_nothing() -> None:
    story = Story(of(Strategy(promote="manual", max_parallel=1, bake=1), named(2)))
    story.complete("i0")
    story.after(1)
    assert story.told_to_prepare() == ["i1"]


# ---- bake ----------------------------------------------------------------------


def test_the_next_batch_begins_when_the_one_before_has_baked() -> None:
    story = Story(of(Strategy(max_parallel=2, bake=60), named(5)))
    story.complete("i0")
    story.after(10)
    story.complete("i1")
    assert (story.told_to_prepare(), story.wakes()) == ([], [70])
    story.after(59)
    story.tick()
    assert story.told_to_prepare() == []
    story.after(1)
    assert story.told_to_prepare() == ["i2", "i3"]
    assert (story.task.passed, story.task.bake_until) == (1, None)


def test_a_restart_arms_the_end_of_the_bake() -> None:
    story = Story(of(Strategy(max_parallel=1, bake=60), named(2)))
    story.complete("i0")
    assert at(60).steady in [wake.at for wake in wakes(story.task)]


def test_a_canary_bakes_and_is_then_promoted() -> None:
    story = Story(of(Strategy(canary=1, promote="manual", bake=60), named(3)))
    story.complete("i0")
    story.after(30, PROMOTE)
    assert story.task.promoted_by == "", "refused: it is baking"
    story.after(30)
    story.tick()
    assert story.told_to_prepare() == []
    story.do(PROMOTE)
    assert story.told_to_prepare() == ["i1", "i2"]


def test_a_regression_in_the_bake_stops_at_the_canary() -> None:
    story = Story(of(Strategy(canary=1, bake=60), named(3)))
    story.complete("i0")
    story.after(59)
    story.regress("i0")
    assert story.task.stopped == "the canary failed: i0"
    story.after(1)
    story.tick()
    assert story.told_to_prepare() == []
    assert story.task.state is TaskState.FAILED


def test_a_regression_in_the_bake_of_a_batch_counts_as_a_failure() -> None:
    story = Story(of(Strategy(max_parallel=1, bake=60, max_failures=1), named(4)))
    story.complete("i0")
    story.regress("i0")
    story.after(60)
    story.tick()
    story.complete("i1")
    story.regress("i1")
    assert story.task.stopped == "2 failed, more than max_failures allows (1)"


def test_the_last_batch_ends_the_task_without_a_bake() -> None:
    story = Story(of(Strategy(max_parallel=1, bake=60), named(1)))
    story.complete("i0")
    assert (story.task.state, story.task.bake_until) == (TaskState.COMPLETED, None)


def watched(strategy: Strategy, count: int, timeout: int) -> float:
    """How long the first is watched after its switch."""
    story = Story(of(strategy, named(count), timeout=timeout))
    story.prepare("i0")
    (command,) = activated(story)
    assert not command.renews
    return command.watch


def activated(story: Story) -> list[Activate]:
    """What the last step sent to have something switched, or watched."""
    return [one for one in story.commands() if isinstance(one, Activate)]


def watches_on(story: Story) -> list[tuple[str, float]]:
    """Whom the last step told to go on watching, and for how long."""
    return [(one.instance_id, one.watch) for one in activated(story) if one.renews]


EACH = 100 + PUT_BACK_GRACE
"""Seconds that an instance takes at most."""


@pytest.mark.parametrize(
    ("strategy", "seconds"),
    [
        (Strategy(), 0),
        (Strategy(guard=50), 50),
        (Strategy(bake=60, canary=2), EACH + 60),
        (Strategy(bake=60, canary=2, guard=500), 500),
        (Strategy(bake=60, canary=6, max_parallel=2), 3 * EACH + 60),
        (Strategy(bake=60, max_parallel=2), EACH + 60),
        (Strategy(bake=60, max_parallel=8), 0),
        (Strategy(bake=60, canary=8, guard=50), 50),
    ],
)
def test_each_is_watched_until_its_batch_has_baked(strategy: Strategy, seconds: float) -> None:
    """However long the others take, who may only begin when a place is free."""
    assert watched(strategy, 8, timeout=100) == seconds


def test_nobody_is_watched_for_more_than_a_month() -> None:
    strategy = Strategy(bake=600_000, canary=40, max_parallel=1)
    assert watched(strategy, 41, timeout=86_400) == LONGEST_WATCH


def test_the_last_batch_is_watched_for_its_guard_alone() -> None:
    for guard in (0, 50):
        story = Story(of(Strategy(max_parallel=1, bake=60, guard=guard), named(2)))
        story.complete("i0")
        story.after(60)
        story.prepare("i1")
        assert [one.watch for one in activated(story)] == [guard]


def test_a_batch_that_begins_to_bake_is_watched_until_it_has() -> None:
    """However long it took: a pause in the middle of it may have lasted for hours."""
    story = Story(of(Strategy(canary=2, max_parallel=1, bake=600), named(4)))
    story.complete("i0")
    assert watches_on(story) == []
    story.do(PauseAsked())
    story.after(7200, ResumeAsked())
    story.complete("i1")
    assert watches_on(story) == [("i0", 600), ("i1", 600)]
    for one in activated(story):
        assert (one.attempt, one.digest, one.time_left) == (1, DIGEST, 0)
    story.after(1)
    story.tick()
    assert story.commands() == []


def test_what_was_not_switched_is_not_watched_in_the_bake() -> None:
    story = Story(of(Strategy(canary=3, bake=60, max_failures=3), named(4)))
    story.say(HEALTHY.model_copy(update={"step": AgentStep.PREPARED}), "i0")
    story.fail("i1")
    story.complete("i2")
    assert watches_on(story) == [("i2", 60)]


def test_an_agent_that_is_back_in_the_bake_is_told_to_watch_for_the_rest_of_it() -> None:
    story = Story(of(Strategy(max_parallel=1, bake=60), named(3)))
    story.complete("i0")
    story.after(20)
    story.back("i0")
    assert watches_on(story) == [("i0", 40)]
    story.after(40)
    story.back("i0")
    assert watches_on(story) == [], "it has baked"
    story.complete("i1")
    story.back("i0")
    assert watches_on(story) == [], "another batch bakes"
    story.back("i1")
    assert watches_on(story) == [("i1", 60)]


def test_its_answer_to_that_changes_nothing() -> None:
    story = Story(of(Strategy(max_parallel=1, bake=60), named(3)))
    story.complete("i0")
    before = story.task
    story.say(HEALTHY, "i0")
    assert story.task is not before
    assert story.task == before
    assert (story.last.changed, story.last.effects) == ((), ())


def test_after_a_restart_a_batch_bakes_until_agents_could_have_told() -> None:
    story = Story(of(Strategy(canary=1, bake=60), named(3)))
    story.complete("i0")
    story.seconds = 120
    story.task = restarted(story.task, at(150).steady)
    assert [wake.at for wake in wakes(story.task)] == [at(150).steady]
    story.tick()
    assert story.told_to_prepare() == []
    story.back("i0")
    assert watches_on(story) == [("i0", 30)]
    story.regress("i0")
    assert story.task.stopped == "the canary failed: i0"


def test_a_restart_shortens_no_bake_and_begins_none() -> None:
    story = Story(of(Strategy(canary=1, bake=600), named(3)))
    assert restarted(story.task, at(150).steady) is story.task
    story.complete("i0")
    assert restarted(story.task, at(150).steady) == story.task


# ---- a task that has ended -----------------------------------------------------


def test_a_cancelled_task_passes_no_more_batches() -> None:
    story = Story(of(Strategy(max_parallel=1, bake=60, canary=1), named(4)))
    story.complete("i0")
    story.do(CancelAsked(connected=set(named(4))))
    before = story.task
    assert story.wakes() == []
    for _ in range(3):
        story.after(100)
        story.tick()
        story.succeed("i0")
    assert story.task is not before
    assert story.task == before


# ---- a takeover ----------------------------------------------------------------


def blocked(before: Task, *names: str) -> Task:
    """The task, with these instances still held by another one."""
    parts = {
        name: replace(part, blocked_by="deploy-0") if name in names else part
        for name, part in before.assignments.items()
    }
    return replace(before, assignments=parts)


def test_one_that_is_held_by_another_task_takes_no_place() -> None:
    story = Story(blocked(of(Strategy(max_parallel=1), named(3)), "i0"))
    assert story.told_to_prepare() == ["i1"]
    story.do(Unblocked("i0", Target("v0")))
    assert story.told_to_prepare() == []
    story.complete("i1")
    assert story.told_to_prepare() == ["i0"]
    assert story.part("i0").ran == Target("v0")


def test_what_it_ran_stays_known_if_the_other_task_left_nothing_new() -> None:
    story = Story(blocked(of(Strategy(), named(1)), "i0"))
    story.do(Unblocked("i0"))
    assert story.part("i0").ran == OLD


def test_a_canary_that_is_held_holds_the_others() -> None:
    story = Story(blocked(of(Strategy(canary=1), named(3)), "i0"))
    assert story.told_to_prepare() == []
    story.do(Unblocked("i0"))
    assert story.told_to_prepare() == ["i0"]
    story.complete("i0")
    assert story.told_to_prepare() == ["i1", "i2"]


def test_one_that_another_task_took_over_holds_nobody() -> None:
    story = Story(of(Strategy(canary=1, max_parallel=1), named(3)))
    story.do(CancelAsked(connected={"i0"}, only=["i0"], why="taken over by rollback-1"))
    assert story.told_to_prepare() == ["i1"]
    assert story.task.cancelled_at is None


def test_ticks_for_all_in_one_step_give_the_turns_of_one() -> None:
    story = Story(of(Strategy(max_parallel=1), named(3)))
    story.after(300)
    story.do(*(Tick(name, connected=False) for name in named(3)))
    assert (story.in_phase(Phase.FAILED), story.told_to_prepare()) == (["i0"], ["i1"])
