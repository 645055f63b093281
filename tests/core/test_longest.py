"""How long a task can take at most."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from coordinator.core import longest as counting
from coordinator.core import windows
from coordinator.core.commands import PUT_BACK_GRACE
from coordinator.core.longest import LOOKS, Longest, longest
from protocol.strategy import Strategy, Window

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""A Monday."""
TIMEOUT = 300
WHOLE = TIMEOUT + PUT_BACK_GRACE


@pytest.mark.parametrize(
    ("strategy", "batches", "seconds"),
    [
        (None, [7], WHOLE),
        (Strategy(), [7], WHOLE),
        (Strategy(max_parallel=3), [7], 3 * WHOLE),
        (Strategy(max_parallel="10%"), [7], 7 * WHOLE),
        (Strategy(canary=1), [1, 6], 2 * WHOLE),
        (Strategy(canary=1, bake=60), [1, 6], 2 * WHOLE + 60),
        (Strategy(canary=1, bake=60, max_parallel=3), [1, 3, 3], 3 * WHOLE + 120),
        (Strategy(prepare="all"), [7], TIMEOUT + WHOLE),
        (Strategy(prepare="all", max_parallel=2, canary=1), [1, 6], 4 * TIMEOUT + 4 * WHOLE),
        (Strategy(canary=7, promote="manual"), [7], WHOLE),
    ],
)
def test_each_round_takes_its_timeout_and_the_way_back(
    strategy: Strategy | None, batches: list[int], seconds: float
) -> None:
    assert longest(strategy, batches, TIMEOUT, NOON) == Longest(seconds)


def test_a_promotion_by_hand_has_no_limit() -> None:
    takes = longest(Strategy(canary=1, promote="manual"), [1, 6], TIMEOUT, NOON)
    assert takes == Longest(None, "no limit: somebody has to promote the canary")


def test_every_round_waits_for_a_window() -> None:
    hour = 3600
    night = Window(days=["mon", "tue"], begin="22:00", until="22:10")
    windowed = Strategy(max_parallel=1, windows=[night])
    assert longest(windowed, [1], TIMEOUT, NOON) == Longest(10 * hour + WHOLE)
    # Of three rounds of 7 minutes, two begin in the ten minutes; the third waits for a day.
    assert WHOLE == 420
    assert longest(windowed, [3], TIMEOUT, NOON) == Longest(34 * hour + WHOLE)


def test_it_begins_no_earlier_than_told() -> None:
    later = Strategy(not_before=NOON.replace(hour=15))
    assert longest(later, [7], TIMEOUT, NOON) == Longest(3 * 3600 + WHOLE)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the windows are asked when they open and when they close."""
    asked: Counter[str] = Counter()
    for name in ("opens_at", "closes_at"):
        whole = getattr(windows, name)

        def counted(
            strategy: Strategy, now: datetime, name: str = name, whole: Any = whole
        ) -> datetime | None:
            asked[name] += 1
            found: datetime | None = whole(strategy, now)
            return found

        monkeypatch.setattr(counting, name, counted)
    return asked


@pytest.mark.parametrize("bake", [0, 60])
def test_thousands_of_rounds_in_a_window_need_one_look(looks: Counter[str], bake: int) -> None:
    always = Strategy(max_parallel=1, bake=bake, windows=[Window(begin="00:00", until="24:00")])
    batches = [1] * 20_000 if bake else [20_000]
    whole = 20_000 * WHOLE + (len(batches) - 1) * bake
    assert longest(always, batches, TIMEOUT, NOON) == Longest(whole)
    assert looks == {"opens_at": 1, "closes_at": 1}


@pytest.mark.parametrize("count", [1, 3, 32])
def test_windows_are_followed_only_so_far(looks: Counter[str], count: int) -> None:
    minutes = [
        Window(days=["mon"], begin=f"22:{at:02}", until=f"22:{at + 1:02}") for at in range(count)
    ]
    weekly = Strategy(max_parallel=1, windows=minutes)
    takes = longest(weekly, [20_000], TIMEOUT, NOON)
    assert takes == Longest(None, "not known: it may need more windows than are counted")
    assert looks["opens_at"] * count <= LOOKS
    assert looks["closes_at"] * count <= LOOKS


def test_a_window_of_every_night_is_followed_for_a_year() -> None:
    night = Strategy(max_parallel=1, windows=[Window(begin="22:00", until="22:01")])
    assert longest(night, [365], TIMEOUT, NOON) == Longest(364 * 86_400 + 10 * 3600 + WHOLE)


@pytest.mark.parametrize("windowed", [False, True])
def test_what_may_go_on_beyond_the_calendar_is_not_known(windowed: bool) -> None:
    always = [Window(begin="00:00", until="24:00", timezone="Asia/Tokyo")]
    far = Strategy(
        max_parallel=1,
        not_before=datetime(9998, 12, 31, tzinfo=UTC),
        windows=always if windowed else None,
    )
    takes = longest(far, [20_000], 86_400, NOON)
    assert takes == Longest(None, "not known: it may go on after the year 9999")
