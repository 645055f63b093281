"""How long an agent waits before it dials again."""

from __future__ import annotations

import pytest

from agent.core.backoff import LONGEST, pause


@pytest.mark.parametrize(("tries", "widest"), [(0, 0.5), (1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0)])
def test_pauses_grow_up_to_the_longest(tries: int, widest: float) -> None:
    assert pause(tries, 1.0) == widest


@pytest.mark.parametrize("tries", [0, 1, 5, 1000])
def test_every_pause_has_full_jitter_the_first_one_too(tries: int) -> None:
    assert pause(tries, 0.0) == 0.0
    assert pause(tries, 0.5) == pause(tries, 1.0) / 2
    assert pause(tries, 1.0) <= LONGEST


def test_a_large_fleet_spreads_from_the_first_pause_on() -> None:
    assert [pause(tries, 1.0, spread=3.0) for tries in range(4)] == [3.0, 3.0, 3.0, 4.0]


def test_a_coordinator_cannot_make_agents_stay_away_for_long() -> None:
    assert pause(0, 1.0, spread=3600.0) == LONGEST
