"""Each state that waits says for what, since when and until when; nothing waits in silence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from coordinator.core.happenings import PauseAsked, ResumeAsked
from coordinator.core.retries import pause_before
from coordinator.core.rollout import restarted
from coordinator.core.waits import Waits, part_waits_for
from protocol.messages import Taken
from protocol.states import Phase
from protocol.strategy import Strategy, Window
from tests.parts.rollouts import START, at, failure
from tests.parts.rollouts_by_strategy import DISCARDED, Story, named, of, shown

SECOND = timedelta(seconds=1)


def waits(story: Story) -> Waits:
    found = story.waits()
    assert found is not None
    return found


def part(story: Story, name: str, *, away: bool = False) -> Waits:
    found = story.part_waits(name, away=away)
    assert found is not None
    return found


# ---- the task ------------------------------------------------------------------


def test_a_pause() -> None:
    story = Story(of(None, ["a"]))
    story.after(5, PauseAsked())
    story.after(5)
    text = "paused since 2026-01-01T00:00:05Z: nothing new begins"
    assert waits(story) == Waits("resume", text, START + 5 * SECOND)


def test_a_window() -> None:
    story = Story(of(Strategy(windows=[Window(begin="01:00", until="02:00")]), named(2)))
    opens = START + timedelta(hours=1)
    text = "nothing new begins yet: its window opens at 2026-01-01T01:00:00Z"
    assert waits(story) == Waits("window", text, START, opens)
    assert part(story, "i0") == Waits("window", text, START, opens)


def test_a_start_time_and_the_window_after_it() -> None:
    start = datetime(2026, 1, 2, tzinfo=UTC)
    story = Story(of(Strategy(not_before=start), named(2)))
    text = "nothing new begins yet: not before 2026-01-02T00:00:00Z"
    assert waits(story) == Waits("window", text, START, start)
    window = Window(begin="01:00", until="02:00")
    story = Story(of(Strategy(not_before=start, windows=[window]), named(2)))
    assert waits(story).text.endswith("its window opens at 2026-01-02T01:00:00Z")


def test_a_closed_window_holds_nobody_once_all_have_begun() -> None:
    story = Story(of(Strategy(windows=[Window(begin="00:00", until="01:00")]), named(2)))
    story.after(3601)
    assert story.waits() is None


def test_a_promotion() -> None:
    story = Story(of(Strategy(canary=1, promote="manual"), named(3)))
    story.after(7)
    story.complete("i0")
    story.after(10)
    at_seven = "2026-01-01T00:00:07Z"
    text = f"the canary has passed; waiting since {at_seven} for somebody to promote it"
    assert waits(story) == Waits("promotion", text, START + 7 * SECOND)
    assert part(story, "i2") == waits(story)


@pytest.mark.parametrize(
    ("failed", "away", "how"),
    [
        (["i0"], [], "1 of 3 failed, which max_failures allows"),
        (["i0", "i2"], [], "2 of 3 failed, which max_failures allows"),
        ([], ["i1"], "1 of 3 stayed away, which max_unreachable allows"),
        (
            ["i0"],
            ["i1"],
            "1 of 3 failed, which max_failures allows, "
            "and 1 of 3 stayed away, which max_unreachable allows",
        ),
    ],
)
def test_a_promotion_says_what_of_the_canary_failed(
    failed: list[str], away: list[str], how: str
) -> None:
    strategy = Strategy(canary=3, promote="manual", max_failures=2, max_unreachable=1)
    story = Story(of(strategy, named(5)))
    story.fail(*failed)
    story.complete(*{*named(3)} - {*failed, *away})
    story.after(300)
    story.tick(*away, connected=False)
    since = "2026-01-01T00:05:00Z" if away else "2026-01-01T00:00:00Z"
    text = f"the canary has ended: {how}; waiting since {since} for somebody to promote it"
    assert waits(story).text == text


def test_a_promotion_is_waited_for_since_the_bake_was_over() -> None:
    story = Story(of(Strategy(canary=1, promote="manual", bake=60), named(3)))
    story.complete("i0")
    story.after(100)
    assert (waits(story).what, waits(story).since) == ("promotion", START + 60 * SECOND)


def test_the_preparation_of_all() -> None:
    story = Story(of(Strategy(prepare="all"), named(3)))
    story.after(3)
    story.prepare("i0")
    text = "waiting until all have the release on disk: 2 are still to be prepared"
    assert waits(story) == Waits("preparation", text, START + 3 * SECOND)
    assert part(story, "i0") == waits(story)
    story.after(4)
    story.prepare("i1")
    assert waits(story).since == START + 3 * SECOND, "since the first of them has waited"
    assert part(story, "i1").since == START + 7 * SECOND, "each since its own time"


def test_a_bake() -> None:
    story = Story(of(Strategy(canary=1, bake=60), named(3)))
    story.after(5)
    story.complete("i0")
    story.after(10)
    text = "the canary must stay healthy until 2026-01-01T00:01:05Z"
    expected = Waits("bake", text, START + 5 * SECOND, START + 65 * SECOND)
    assert waits(story) == expected
    assert part(story, "i1") == expected


def test_a_bake_that_a_restart_has_put_off_began_by_now() -> None:
    story = Story(of(Strategy(canary=1, bake=60), named(3)))
    story.after(5)
    story.complete("i0")
    story.task = restarted(story.task, at(story.seconds).steady + 90)
    baking = waits(story)
    assert baking.since == START + 5 * SECOND
    assert baking.until == START + 95 * SECOND


def test_a_place() -> None:
    story = Story(of(Strategy(max_parallel=2), named(3)))
    assert waits(story) == Waits("place", "waiting for a place: 2 of at most 2 at work", START)
    assert part(story, "i2").since == START


def test_a_place_to_switch() -> None:
    story = Story(of(Strategy(prepare="all", max_parallel=1), named(2)))
    story.prepare("i0")
    story.prepare("i1")
    assert waits(story).text == "waiting for a place: 1 of at most 1 at work"
    assert part(story, "i1").what == "place"


def test_the_batch_before() -> None:
    story = Story(of(Strategy(canary=2, bake=60, max_parallel=2), named(5)))
    assert waits(story) == Waits("batch", "waiting for the canary: 2 have not ended", START)
    story.complete("i0", "i1")
    story.after(60)
    assert waits(story) == Waits("batch", "waiting for batch 2 of 3: 2 have not ended", START)


@pytest.mark.parametrize("strategy", [None, Strategy()], ids=["plain", "strategy"])
def test_nothing_keeps_the_task_while_all_are_at_work_or_have_ended(
    strategy: Strategy | None,
) -> None:
    story = Story(of(strategy, named(2)))
    assert story.waits() is None
    story.complete(*named(2))
    assert story.waits() is None
    assert story.part_waits("i0") is None
    assert story.goes_on() is None


def test_what_nothing_keeps_waits_for_what_is_under_way() -> None:
    story = Story(of(None, named(5), timeout=300, retry_count=1))
    until = START + 300 * SECOND
    untaken = "waiting for 5 whose agent has not taken the command"
    assert story.goes_on() == Waits("", untaken, START, until)
    assert story.goes_on(*named(5)) == Waits("", "waiting for 5 whose agent is away", START, until)
    story.after(5)
    story.say(Taken(), "i0", "i1")
    story.prepare("i1")
    story.complete("i4")
    story.say(failure("HTTP 503", passing=True), "i2")
    found = story.goes_on("i3")
    assert found is not None
    assert found.text == "waiting for 2 at work, 1 to be tried again, 1 whose agent is away"
    assert (found.what, found.since, found.until) == ("", START, until)


def test_what_another_task_has_is_waited_for_without_an_end() -> None:
    before = of(None, ["a"])
    held = replace(before.assignments["a"], blocked_by="deploy-0")
    story = Story(replace(before, assignments={"a": held}))
    text = "waiting for 1 that another task has to leave first"
    assert story.goes_on() == Waits("", text, START)


def test_a_stopped_task_waits_for_what_is_switching_only() -> None:
    story = Story(of(Strategy(max_failures=0, max_parallel=2), named(5)))
    story.prepare("i0")
    story.fail("i1")
    assert story.waits() is None
    assert part(story, "i0").what == ""
    found = story.goes_on()
    assert found is not None
    assert found.text == "waiting for 1 at work"


# ---- one instance ----------------------------------------------------------------


def test_an_agent_that_is_away_or_has_not_taken_the_command() -> None:
    story = Story(of(None, ["a"], timeout=300))
    until = START + 300 * SECOND
    here = Waits("host", "waiting for its agent to take the command", START, until)
    assert part(story, "a") == here
    away = Waits("host", "waiting for its agent to return", START, until)
    assert part(story, "a", away=True) == away
    silent = at(20).wall
    task, now = story.task, at(story.seconds)
    seen = part_waits_for(task, task.assignments["a"], now, None, away=True, silent_since=silent)
    assert seen is not None
    assert seen.since == silent, "it is the host that is waited for"
    story.say(Taken(), "a")
    assert part(story, "a") == Waits("", "at work", START, until)
    assert part(story, "a", away=True) == away


def test_the_next_attempt() -> None:
    story = Story(of(None, ["a"], retry_count=1))
    story.say(failure("HTTP 503", passing=True), "a")
    due = START + timedelta(seconds=pause_before("deploy-1", "a", 2))
    assert part(story, "a") == Waits("retry", "HTTP 503", START, due)


def test_another_task() -> None:
    before = of(None, ["a"])
    held = replace(before.assignments["a"], blocked_by="deploy-0")
    story = Story(replace(before, assignments={"a": held}))
    assert part(story, "a") == Waits("task", "waiting for deploy-0", START)


@pytest.mark.parametrize("strategy", [None, Strategy()], ids=["plain", "strategy"])
def test_in_a_pause_it_is_the_resume_that_all_wait_for(strategy: Strategy | None) -> None:
    names = ["waiting", "retrying", "prepared", "discarded", "preparing"]
    story = Story(of(strategy, names, retry_count=1))
    story.say(failure(passing=True), "retrying")
    story.say(Taken(), "preparing")
    story.do(PauseAsked())
    story.prepare("prepared", "discarded")
    story.say(DISCARDED, "discarded")
    story.after(10)
    for name in names[:4]:
        assert part(story, name).what == "resume", name
    assert part(story, "preparing").what == "", "that goes on"
    assert part(story, "waiting", away=True).what == "host", "that comes first"


def test_what_was_discarded_waits_for_a_place() -> None:
    story = Story(of(Strategy(prepare="all", max_parallel=1), named(2)))
    story.prepare("i0")
    story.say(DISCARDED, "i0")
    assert part(story, "i0").what == "preparation"
    assert shown(story, "i0").startswith("to be prepared again: the word did not come; waiting")


def test_what_was_let_go_and_discarded_waits_for_a_place() -> None:
    story = Story(of(Strategy(max_parallel=1), named(2)))
    story.do(PauseAsked())
    story.prepare("i0")
    story.do(ResumeAsked())
    story.do(PauseAsked())
    story.say(DISCARDED, "i0")
    assert (story.part("i0").let_go, story.part("i0").waits_for_place) == (True, True)
    assert part(story, "i0").what == "resume"
    assert shown(story, "i0").endswith("paused since 2026-01-01T00:00:00Z: nothing new begins")


# ---- the sentence ----------------------------------------------------------------


def test_attempts_that_were_discarded_are_not_counted_in_the_sentence() -> None:
    story = Story(of(None, ["a"], retry_count=2))
    story.do(PauseAsked())
    story.prepare("a")
    story.say(DISCARDED, "a")
    story.do(ResumeAsked())
    assert story.part("a").attempt == 2
    story.say(failure("HTTP 503", passing=True), "a")
    assert shown(story, "a").startswith("attempt 1 of 3 failed: HTTP 503; next at")


@pytest.mark.parametrize("phase", [one for one in Phase if not one.ended])
def test_no_phase_is_silent(phase: Phase) -> None:
    story = Story(of(None, ["a"]))
    one = replace(story.part("a"), phase=phase, retry_at=at(3).steady)
    story.task = replace(story.task, assignments={"a": one})
    assert shown(story, "a")
