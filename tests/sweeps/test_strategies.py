"""Thousands of rollouts by any strategy on imagined hosts, and a few of ten thousand instances.

Each run holds the rules of `tests.parts.rules_of_rollouts` after each of its steps.
"""

from __future__ import annotations

from random import Random
from time import process_time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Trying

from protocol.strategy import Strategy
from tests.core.test_rollout_by_strategy import LARGE, run_large, seeds, try_many, with_times
from tests.lab.tally import Tally

pytestmark = [pytest.mark.sweep, pytest.mark.timeout(600)]

LEAST_RUNS = 3_000
CPU_SECONDS = 15.0
"""After them no other fleet of any size is begun, once there were so many."""
FEWEST_FLEETS = 5


def test_thousands_of_rollouts_break_no_rule(tally: Tally) -> None:
    tried = try_many(LEAST_RUNS // 2, fixed=False)
    tally(points=tried)
    assert tried >= LEAST_RUNS


def test_larger_fleets_break_no_rule_either(tally: Tally) -> None:
    tried = try_many(50, fixed=False, most=100)
    tally(points=tried)
    assert tried >= 100


@pytest.mark.parametrize("strategy", LARGE)
def test_ten_thousand_instances_break_no_rule(strategy: Strategy | None, tally: Tally) -> None:
    tally(points=run_large(strategy, 2, 10_000).steps)
    assert tally.points > 100


def test_any_strategy_breaks_no_rule_on_fleets_of_any_size(tally: Tally) -> None:
    """From 1 to 10,000 instances, each order of magnitude as often, until the time is used up."""
    tried, ends = 0, process_time() + CPU_SECONDS

    @settings(
        max_examples=50,
        phases=[Trying.generate],
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(with_times, seeds)
    def on_any_fleet(strategy: Strategy, seed: int) -> None:
        nonlocal tried
        if process_time() < ends or tried < FEWEST_FLEETS:
            tried += 1
            run_large(strategy, seed, round(10 ** Random(seed).uniform(0, 4)))

    on_any_fleet()
    tally(points=tried)
    assert tried >= FEWEST_FLEETS
