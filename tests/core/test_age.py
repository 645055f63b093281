"""How long ago something was on a host, whatever was done to its wall clock."""

from __future__ import annotations

import pytest

from agent.core.age import Moment, age

HOUR = 3600.0


@pytest.mark.parametrize("jump", [-10_000 * HOUR, 0.0, 10_000 * HOUR])
def test_within_one_boot_the_wall_clock_does_not_count(jump: float) -> None:
    then = Moment("one", 100.0, 1_000_000.0)
    assert age(then, Moment("one", 100.0 + HOUR, 1_000_000.0 + jump)) == HOUR


def test_over_a_boot_the_wall_clock_tells_how_long_the_host_was_off() -> None:
    then = Moment("one", 9 * HOUR, 1_000_000.0)
    assert age(then, Moment("two", 60.0, 1_000_000.0 + 5 * HOUR)) == 5 * HOUR


def test_it_is_at_least_as_long_ago_as_this_boot_if_the_clock_was_set_back() -> None:
    then = Moment("one", 9 * HOUR, 1_000_000.0)
    assert age(then, Moment("two", 2 * HOUR, 0.0)) == 2 * HOUR


def test_it_is_never_in_the_future() -> None:
    assert age(Moment("one", 100.0, 50.0), Moment("one", 99.0, 0.0)) == 0.0
    assert age(Moment("one", 100.0, 50.0), Moment("two", 0.0, 0.0)) == 0.0
