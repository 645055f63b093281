"""When something new may begin: `not_before` and the windows, by clocks on the wall.

`by_minutes` is the rule told once more, as slowly as can be: a window is open in a minute if a
clock on the wall shows a time in it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.windows import closes_at, opens_at
from protocol.errors import InvalidRequestError
from protocol.strategy import DAYS, Day, Strategy, Window
from tests.parts.rollouts_by_strategy import Story, named, of

BERLIN = "Europe/Berlin"
FORWARD = datetime(2026, 3, 29, 1, tzinfo=UTC)
"""In Berlin 2:00 becomes 3:00, on a Sunday."""
BACK = datetime(2026, 10, 25, 1, tzinfo=UTC)
"""In Berlin 3:00 becomes 2:00, on a Sunday."""


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def strategy(*windows: Window, not_before: datetime | None = None) -> Strategy:
    return Strategy(windows=list(windows) or None, not_before=not_before)


def nightly(begin: str, until: str, *days: Day, timezone: str = "UTC") -> Window:
    return Window(begin=begin, until=until, timezone=timezone, days=list(days or DAYS))


def by_minutes(window: Window, moment: datetime) -> bool:
    shown = moment.astimezone(ZoneInfo(window.timezone))
    yesterday = shown.date() - timedelta(days=1)
    begin, until = (60 * int(clock[:2]) + int(clock[3:]) for clock in (window.begin, window.until))
    while until <= begin:
        until += 24 * 60
    minute = 60 * shown.hour + shown.minute
    today = DAYS[shown.weekday()] in window.days and begin <= minute < until
    late = DAYS[yesterday.weekday()] in window.days and begin <= minute + 24 * 60 < until
    return today or late


def test_without_either_it_may_begin_at_once() -> None:
    assert opens_at(strategy(), utc("2026-06-01 12:00")) is None
    assert closes_at(strategy(), utc("2026-06-01 12:00")) is None


@pytest.mark.parametrize(
    ("now", "opens", "closes"),
    [
        ("2026-06-01 21:59:59", "2026-06-01 22:00", None),
        ("2026-06-01 22:00", None, "2026-06-02 04:00"),
        ("2026-06-02 03:59:59", None, "2026-06-02 04:00"),
        ("2026-06-02 04:00", "2026-06-02 22:00", None),
    ],
)
def test_over_midnight_it_ends_on_the_next_day(now: str, opens: str | None, closes: str) -> None:
    night = strategy(nightly("22:00", "04:00"))
    assert opens_at(night, utc(now)) == (utc(opens) if opens else None)
    assert closes_at(night, utc(now)) == (utc(closes) if closes else None)


def test_the_day_of_a_window_is_the_one_on_which_it_begins() -> None:
    friday = strategy(nightly("22:00", "04:00", "fri"))
    assert opens_at(friday, utc("2026-06-06 03:00")) is None, "Saturday, in Friday's window"
    assert opens_at(friday, utc("2026-06-05 03:00")) == utc("2026-06-05 22:00")


def test_the_week_wraps() -> None:
    sunday = strategy(nightly("23:00", "01:00", "sun"))
    assert opens_at(sunday, utc("2026-06-08 00:30")) is None, "Monday, in Sunday's window"
    assert opens_at(sunday, utc("2026-06-08 01:00")) == utc("2026-06-14 23:00")
    monday = strategy(nightly("08:00", "09:00", "mon"))
    assert opens_at(monday, utc("2026-06-08 09:00")) == utc("2026-06-15 08:00")


@pytest.mark.parametrize(
    ("begin", "until", "now", "closes"),
    [
        ("00:00", "24:00", "2026-06-01 13:00", "2026-06-02 00:00"),
        ("00:00", "00:00", "2026-06-01 13:00", "2026-06-02 00:00"),
        ("12:00", "12:00", "2026-06-01 13:00", "2026-06-02 12:00"),
        ("12:00", "24:00", "2026-06-01 13:00", "2026-06-02 00:00"),
        ("24:00", "02:00", "2026-06-02 01:00", "2026-06-02 02:00"),
        ("24:00", "24:00", "2026-06-02 01:00", "2026-06-03 00:00"),
    ],
)
def test_the_ends_of_the_day(begin: str, until: str, now: str, closes: str) -> None:
    """1 June 2026 is a Monday."""
    monday = strategy(nightly(begin, until, "mon"))
    assert opens_at(monday, utc(now)) is None
    assert closes_at(monday, utc(now)) == utc(closes)


def test_what_is_always_open_never_closes() -> None:
    always = strategy(nightly("00:00", "24:00", timezone=BERLIN))
    assert opens_at(always, FORWARD) is None
    assert closes_at(always, FORWARD) is None


def test_of_several_the_first_that_opens_counts_and_the_last_that_closes() -> None:
    several = strategy(
        nightly("02:00", "04:00"),
        nightly("03:00", "05:00", "mon", "tue"),
        nightly("05:00", "06:00", "mon"),
        nightly("20:00", "21:00", "sun"),
    )
    assert opens_at(several, utc("2026-06-01 01:00")) == utc("2026-06-01 02:00")
    assert closes_at(several, utc("2026-06-01 03:30")) == utc("2026-06-01 06:00"), (
        "one after another"
    )
    assert closes_at(several, utc("2026-06-02 03:30")) == utc("2026-06-02 05:00")
    assert opens_at(several, utc("2026-06-07 04:00")) == utc("2026-06-07 20:00")


def test_not_before_comes_first_and_a_window_after_it() -> None:
    start = utc("2026-06-03 12:00")
    assert opens_at(strategy(not_before=start), utc("2026-06-01 12:00")) == start
    assert opens_at(strategy(not_before=start), start) is None
    both = strategy(nightly("02:00", "04:00"), not_before=start)
    assert opens_at(both, utc("2026-06-01 03:00")) == utc("2026-06-04 02:00")
    assert opens_at(both, utc("2026-06-05 03:00")) is None
    inside = strategy(nightly("11:00", "13:00"), not_before=start)
    assert opens_at(inside, utc("2026-06-03 11:30")) == start


def test_a_window_is_what_clocks_show_in_its_zone() -> None:
    """The same window, an hour apart in summer and winter; and one zone ahead of the day."""
    berlin = strategy(nightly("02:00", "04:00", timezone=BERLIN))
    assert opens_at(berlin, utc("2026-01-10 12:00")) == utc("2026-01-11 01:00")
    assert opens_at(berlin, utc("2026-07-10 12:00")) == utc("2026-07-11 00:00")
    monday = strategy(nightly("09:00", "10:00", "mon", timezone="Pacific/Auckland"))
    assert opens_at(monday, utc("2026-06-07 12:00")) == utc("2026-06-07 21:00"), "Sunday in UTC"


# ---- changes of the clock ----------------------------------------------------


def test_an_hour_that_is_left_out_is_not_there() -> None:
    """Of 2:15 to 2:45 nothing is left on that day; a week later it is there again."""
    sunday = strategy(nightly("02:15", "02:45", "sun", timezone=BERLIN))
    for before in (FORWARD - timedelta(days=6), FORWARD - timedelta(minutes=1), FORWARD):
        assert opens_at(sunday, before) == utc("2026-04-05 00:15")


@pytest.mark.parametrize("days_before", range(8))
def test_a_weekly_window_that_is_left_out_once_is_found_from_every_day_before(
    days_before: int,
) -> None:
    sunday = strategy(nightly("02:15", "02:45", "sun", timezone=BERLIN))
    now = FORWARD - timedelta(days=days_before, hours=-5)
    found = utc("2026-03-22 01:15") if days_before == 7 and now < utc("2026-03-22 01:15") else None
    assert opens_at(sunday, now) == (found or utc("2026-04-05 00:15"))


def test_a_window_that_begins_or_ends_in_the_hour_that_is_left_out() -> None:
    late = strategy(nightly("02:30", "04:00", timezone=BERLIN))
    assert opens_at(late, FORWARD - timedelta(minutes=1)) == FORWARD, "the clock shows 3:00 then"
    early = strategy(nightly("01:00", "02:30", timezone=BERLIN))
    assert closes_at(early, FORWARD - timedelta(minutes=20)) == FORWARD


def test_in_an_hour_that_is_there_twice_a_window_is_open_twice() -> None:
    inside = strategy(nightly("02:15", "02:45", timezone=BERLIN))
    first = BACK - timedelta(minutes=45)
    assert opens_at(inside, BACK - timedelta(hours=1)) == first
    assert closes_at(inside, first) == BACK - timedelta(minutes=15)
    assert opens_at(inside, BACK - timedelta(minutes=15)) == BACK + timedelta(minutes=15)
    assert closes_at(inside, BACK + timedelta(minutes=15)) == BACK + timedelta(minutes=45)


def test_a_window_that_ends_in_the_hour_that_is_there_twice_opens_again() -> None:
    early = strategy(nightly("01:00", "02:30", timezone=BERLIN))
    closes = BACK - timedelta(minutes=30)
    assert closes_at(early, BACK - timedelta(hours=1)) == closes
    assert opens_at(early, closes) == BACK
    assert closes_at(early, BACK) == BACK + timedelta(minutes=30)


CLOCKS = st.builds(lambda m: f"{m // 60:02}:{m % 60:02}", st.integers(0, 1440))
ZONES = ["UTC", BERLIN, "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]
WINDOWS = st.builds(
    Window,
    days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True),
    begin=CLOCKS,
    until=CLOCKS,
    timezone=st.sampled_from(ZONES),
)
CHANGES = [
    FORWARD,
    BACK,
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
]
MOMENTS = st.builds(
    lambda change, minutes: change + timedelta(minutes=minutes),
    st.sampled_from(CHANGES),
    st.integers(-2880, 2880),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(WINDOWS, min_size=1, max_size=3), MOMENTS)
def test_it_is_the_first_minute_in_which_a_clock_shows_it(
    windows: list[Window], now: datetime
) -> None:
    opens = opens_at(strategy(*windows), now) or now
    longest = now + timedelta(days=15)
    assert opens <= longest
    minute = now
    while not any(by_minutes(window, minute) for window in windows):
        minute += timedelta(minutes=1)
    assert opens == minute
    closes = closes_at(strategy(*windows), opens)
    while closes is not None and minute < closes:
        assert any(by_minutes(window, minute) for window in windows)
        minute += timedelta(minutes=1)
    assert closes is None or not any(by_minutes(window, closes) for window in windows)


EDGES = ["00:00", "00:01", "02:30", "12:00", "23:59", "24:00"]


@pytest.mark.parametrize("timezone", [BERLIN, "Australia/Lord_Howe"])
@pytest.mark.parametrize(("begin", "until"), [*product(EDGES, EDGES)])
def test_every_pair_of_clocks_opens_and_closes(begin: str, until: str, timezone: str) -> None:
    """On each day of the week, and on days on which the clock changes."""
    for day in DAYS:
        window = nightly(begin, until, day, timezone=timezone)
        for now in [utc("2026-06-01 00:00"), utc("2026-06-03 12:00"), *CHANGES]:
            opens = opens_at(strategy(window), now) or now
            assert by_minutes(window, opens)
            assert opens <= now + timedelta(days=15)
            closes = closes_at(strategy(window), opens)
            assert closes is not None
            assert opens < closes <= opens + timedelta(days=1, hours=1)
            assert not by_minutes(window, closes)


@pytest.mark.parametrize("until", ["00:00", "24:00"])
def test_a_window_that_begins_at_the_end_of_a_day_is_all_of_the_next(until: str) -> None:
    """1 June 2026 is a Monday."""
    monday = strategy(nightly("24:00", until, "mon"))
    assert opens_at(monday, utc("2026-06-01 12:00")) == utc("2026-06-02 00:00")
    assert closes_at(monday, utc("2026-06-02 00:00")) == utc("2026-06-03 00:00")


# ---- the task ------------------------------------------------------------------


def test_nothing_new_begins_outside_and_what_runs_goes_on() -> None:
    """The story begins on a Thursday at midnight, UTC."""
    story = Story(of(Strategy(max_parallel=1, windows=[nightly("01:00", "02:00")]), named(3)))
    assert (story.told_to_prepare(), story.wakes()) == ([], [3600])
    story.after(3599)
    assert story.told_to_prepare() == []
    story.after(1)
    assert story.told_to_prepare() == ["i0"]
    story.seconds = 7200 - 10
    story.complete("i0")
    assert story.told_to_prepare() == ["i1"]
    story.seconds = 7200 + 10
    story.prepare("i1")
    assert story.told_to_switch() == ["i1"], "it had begun"
    story.succeed("i1")
    assert story.told_to_prepare() == []
    story.seconds = 25 * 3600
    story.tick()
    assert story.told_to_prepare() == ["i2"]


def test_a_closed_window_asks_for_a_look_once_and_again_after_a_restart() -> None:
    """Each look costs a step: thousands of reports must not ask for thousands of looks."""
    window = nightly("00:00", "01:00")
    story = Story(of(Strategy(max_parallel=3, windows=[window]), named(5)))
    story.seconds = 3600 + 10
    story.prepare("i0")
    assert story.wakes() == [24 * 3600]
    story.prepare("i1", "i2")
    story.succeed("i0")
    assert story.wakes() == []
    story.tick()
    assert story.wakes() == [24 * 3600], "what a restart arms is such a look"
    story.succeed("i1", "i2")
    story.seconds = 24 * 3600
    story.tick()
    assert story.told_to_prepare() == ["i3", "i4"]


def test_a_late_report_of_an_ended_task_asks_for_no_look() -> None:
    story = Story(of(Strategy(guard=600, windows=[nightly("00:00", "01:00")]), ["a"]))
    story.complete("a")
    story.seconds = 4000
    story.regress("a")
    assert story.wakes() == []


def test_a_time_that_no_window_can_follow_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="before the year 9999"):
        strategy(nightly("01:00", "02:00"), not_before=utc("9999-12-31 12:00"))
    last = strategy(nightly("01:00", "02:00"), not_before=utc("9998-12-31 12:00"))
    assert opens_at(last, utc("2026-01-01 12:00")) == utc("9999-01-01 01:00")
