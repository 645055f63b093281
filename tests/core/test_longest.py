"""How long a task can take at most."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from coordinator.core.longest import longest
from coordinator.core.rollout import PUT_BACK_GRACE
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
    assert longest(strategy, batches, TIMEOUT, NOON) == seconds


def test_a_promotion_by_hand_has_no_limit() -> None:
    assert longest(Strategy(canary=1, promote="manual"), [1, 6], TIMEOUT, NOON) is None


def test_every_round_waits_for_a_window() -> None:
    hour = 3600
    night = Window(days=["mon", "tue"], begin="22:00", until="22:10")
    windowed = Strategy(max_parallel=1, windows=[night])
    assert longest(windowed, [1], TIMEOUT, NOON) == 10 * hour + WHOLE
    # Of three rounds of 7 minutes, two begin in the ten minutes; the third waits for a day.
    assert WHOLE == 420
    assert longest(windowed, [3], TIMEOUT, NOON) == 34 * hour + WHOLE


def test_it_begins_no_earlier_than_told() -> None:
    later = Strategy(not_before=NOON.replace(hour=15))
    assert longest(later, [7], TIMEOUT, NOON) == 3 * 3600 + WHOLE


def test_thousands_of_rounds_in_windows_are_counted_in_no_time() -> None:
    always = [Window(begin="00:00", until="24:00")]
    windowed = longest(Strategy(max_parallel=1, windows=always), [20_000], TIMEOUT, NOON)
    assert windowed == 20_000 * WHOLE
