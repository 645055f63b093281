"""`prepare: all`: nothing is stopped before every instance has the verified release on disk."""

from __future__ import annotations

from dataclasses import replace

from coordinator.core.commands import HOLD
from coordinator.core.happenings import CancelAsked, Unblocked
from protocol.messages import Prepare, Taken
from protocol.states import Phase, TaskState
from protocol.strategy import Strategy, Window
from tests.parts.rollouts import at, failure
from tests.parts.rollouts_by_strategy import DISCARDED, Story, named, of

ALL = Strategy(prepare="all")


def test_the_last_one_that_prepared_lets_all_switch() -> None:
    story = Story(of(ALL, named(3)))
    story.prepare("i0")
    story.prepare("i2")
    assert (story.told_to_switch(), story.in_phase(Phase.PREPARED)) == ([], ["i0", "i2"])
    story.prepare("i1")
    assert story.told_to_switch() == named(3)


def test_hosts_are_told_to_keep_it_however_long_that_takes() -> None:
    story = Story(of(ALL, named(2)))
    commands = story.commands()
    assert [one.hold for one in commands if isinstance(one, Prepare)] == [HOLD, HOLD]


def test_those_that_wait_for_the_others_are_not_at_work() -> None:
    story = Story(of(Strategy(prepare="all", max_parallel=2), named(5)))
    assert story.told_to_prepare() == ["i0", "i1"]
    story.prepare("i0")
    assert story.told_to_prepare() == ["i2"]
    story.prepare("i1", "i2")
    assert story.told_to_prepare() == ["i3", "i4"]
    story.prepare("i4")
    story.prepare("i3")
    assert story.told_to_switch() == ["i0", "i1"], "so many are at work at once"
    story.succeed("i1")
    assert story.told_to_switch() == ["i2"]


def test_their_clocks_stand_meanwhile() -> None:
    story = Story(of(ALL, named(2), timeout=300))
    story.after(10)
    story.prepare("i0")
    story.after(280)
    story.tick("i0")
    assert story.part("i0").left == 290
    story.prepare("i1")
    assert story.part("i0").deadline == at(290 + 290).steady


def test_all_are_of_all_batches_and_the_canary_switches_first() -> None:
    story = Story(of(Strategy(prepare="all", canary=1, promote="manual"), named(3)))
    assert story.told_to_prepare() == named(3)
    story.prepare("i1", "i2")
    assert story.told_to_switch() == []
    story.prepare("i0")
    assert story.told_to_switch() == ["i0"]


def test_what_has_ended_is_not_waited_for() -> None:
    story = Story(of(Strategy(prepare="all", max_failures=1), named(4)))
    story.prepare("i0", "i1")
    story.fail("i2")
    story.do(CancelAsked(connected={"i3"}, only=["i3"]))
    assert story.told_to_switch() == ["i0", "i1"]


def test_one_that_another_task_holds_is_waited_for() -> None:
    before = of(ALL, named(2))
    held = replace(before.assignments["i1"], blocked_by="deploy-0")
    story = Story(replace(before, assignments={**before.assignments, "i1": held}))
    story.prepare("i0")
    assert story.told_to_switch() == []
    story.do(Unblocked("i1"))
    assert story.told_to_prepare() == ["i1"]
    story.prepare("i1")
    assert story.told_to_switch() == named(2)


def test_one_that_is_to_try_again_is_waited_for() -> None:
    story = Story(of(ALL, named(2), retry_count=1))
    story.prepare("i0")
    story.say(failure("HTTP 503", passing=True), "i1")
    assert (story.part("i1").phase, story.told_to_switch()) == (Phase.RETRYING, [])


def test_one_whose_switch_failed_tries_again_without_the_others() -> None:
    story = Story(of(ALL, named(2), retry_count=1))
    story.prepare(*named(2))
    story.say(failure("start failed", passing=True), "i0")
    story.after(5)
    story.tick("i0")
    story.prepare("i0")
    assert story.told_to_switch() == ["i0"]


def test_outside_of_the_windows_nothing_switches() -> None:
    """The story begins at midnight."""
    strategy = Strategy(prepare="all", windows=[Window(begin="00:00", until="01:00")])
    story = Story(of(strategy, named(2), timeout=7200))
    story.prepare("i0")
    story.after(3600)
    story.prepare("i1")
    assert (story.told_to_switch(), story.wakes()) == ([], [86_400])
    story.seconds = 86_400
    story.tick()
    assert story.told_to_switch() == named(2)


# ---- what a host lost meanwhile --------------------------------------------------


def test_a_release_that_was_discarded_holds_the_others_until_it_is_there_again() -> None:
    story = Story(of(ALL, named(2), retry_count=0))
    story.prepare("i0")
    story.say(DISCARDED, "i0")
    assert story.told_to_prepare() == ["i0"]
    assert (story.part("i0").attempt, story.part("i0").phase) == (2, Phase.PREPARING)
    story.prepare("i1")
    assert story.told_to_switch() == []
    story.prepare("i0")
    assert story.told_to_switch() == named(2)


def test_one_that_prepares_again_takes_a_place_like_any_other() -> None:
    story = Story(of(Strategy(prepare="all", max_parallel=1), named(3)))
    story.prepare("i0")
    story.say(Taken(), "i1")
    story.say(DISCARDED, "i0")
    assert story.told_to_prepare() == [], "i1 is at work"
    assert story.part("i0").left == 300
    story.prepare("i1")
    assert story.told_to_prepare() == ["i0"], "its turn is before that of i2"
    story.prepare("i0")
    story.prepare("i2")
    assert story.told_to_switch() == ["i0"]


def test_a_host_that_no_longer_knows_of_its_release_holds_the_others() -> None:
    story = Story(of(ALL, named(2), retry_count=0))
    story.prepare("i0")
    story.back("i0")
    assert story.told_to_prepare() == ["i0"]
    story.prepare("i1")
    assert story.told_to_switch() == []


def test_one_that_always_discards_ends_with_its_time() -> None:
    """An agent before 1.3 that keeps a release for as long as its time lasts, and no longer."""
    story = Story(of(ALL, named(2), timeout=300, retry_count=0))
    rounds = 0
    while not story.part("i0").phase.ended:
        story.after(20)
        story.prepare("i0")
        story.after(280)
        story.say(DISCARDED, "i0")
        rounds += 1
        story.tick("i0")
    assert rounds == 15, "each preparing takes 20 s of its 300 s"
    assert story.part("i0").phase is Phase.FAILED


def test_stopped_while_all_prepare_it_has_touched_nothing() -> None:
    story = Story(of(Strategy(prepare="all", max_failures=0), named(3)))
    story.prepare("i0", "i1")
    story.fail("i2")
    assert story.task.state is TaskState.FAILED
    assert not any(part.let_go for part in story.task.assignments.values())
